"""What OpenAI's protocol sends and gets back: the body of a request, an answer, and what a refusal is about.

>>> answer = b'{"choices": [{"text": "So 4.", "finish_reason": "stop"}], "usage": {"completion_tokens": 3}}'
>>> read(answer).text, read(answer).completion_tokens
('So 4.', 3)
>>> read(b'{"choices": []}')
Traceback (most recent call last):
ValueError: it holds no choices
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from deepcritic.samplers.base import Request

NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""Sent to servers that know these fields (vLLM, SGLang): else they mix in what the model's own folder says of sampling."""
FINISH_REASONS = {"stop": "stop", "length": "length"}
_TOO_LONG = re.compile(
    r"maximum context length|context[_ ](length|window)|longer than the maximum model|prompt is too long", re.I
)
_TOO_MANY_ASKED = re.compile(
    r"max(_completion|_new|_output)?_tokens\b.{0,80}(too large|at most|less than|must be|exceed|maximum)"
    r"|(too large|exceed|maximum|reduce).{0,200}max(_completion|_new|_output)?_tokens\b|in the completion|completion tokens",
    re.I | re.S,
)
_UNWANTED = re.compile(r"content[_ ](policy|filter|management)|moderation|flagged", re.I)


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    finish_reason: str | None = None
    text: str | None = None
    message: _Message | None = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Answer(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


class Card(msgspec.Struct):
    """What a server says of one model that it has: its name, the folder it was loaded from, the length of its context."""

    id: str
    root: str | None = None
    owned_by: str | None = None
    max_model_len: int | None = None


class Completion(NamedTuple):
    """What an answer says. `refused` is why the server would not write (a content filter); the text is then not to be used."""

    text: str
    finish_reason: str
    refused: str | None
    prompt_tokens: int | None
    completion_tokens: int
    cached_tokens: int


_ANSWER = msgspec.json.Decoder(_Answer)


def encode(
    model: str, request: Request, ids: list[int] | None, length_field: str, extra: Mapping[str, Any], limit: int | None
) -> bytes:
    """The body of a request but for its seed and its closing brace; `with_seed` completes it.

    With `ids` the prompt is these tokens (for `completions`), else the messages (for `chat/completions`). A reply may have
    `limit` tokens; None leaves that to the server. A field of `extra` takes the place of ours, and None leaves it out.
    """
    sampling = request.sampling
    fields: dict[str, Any] = {
        "model": model, length_field: limit, "temperature": sampling.temperature, "top_p": sampling.top_p,
    }  # fmt: skip
    if sampling.stop:
        fields["stop"] = sampling.stop
    if ids is not None:
        fields["prompt"] = ids
    else:
        fields["messages"] = [{"role": one.role, "content": one.content} for one in request.messages]
        if request.prefix:
            fields["messages"].append({"role": "assistant", "content": request.prefix})
            fields |= {"continue_final_message": True, "add_generation_prompt": False}
    fields = {name: value for name, value in {**fields, **extra}.items() if value is not None}
    try:
        return msgspec.json.encode(fields)[:-1]
    except UnicodeEncodeError:  # lone surrogates, which UTF-8 cannot hold
        return json.dumps(fields).encode()[:-1]


def with_seed(body: bytes, seed: int | None) -> bytes:
    """What `encode` made, whole.

    >>> with_seed(b'{"model":"m"', 7), with_seed(b'{"model":"m"', None)
    (b'{"model":"m","seed":7}', b'{"model":"m"}')
    """
    return body + (b"}" if seed is None else b',"seed":%d}' % seed)


def read(content: bytes) -> Completion:
    """The one completion of an answer. Raises ValueError where it is not whole.

    What a reasoning model returns apart from its reply (`reasoning_content`) is not read.
    """
    try:
        answer = _ANSWER.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:  # of other types, or no JSON at all
        raise ValueError(f"it cannot be read ({error}): {shown(content)}") from None
    if not answer.choices:
        raise ValueError(f"it holds no choices{f': {shown(content)}' if answer.error else ''}")
    choice, usage = answer.choices[0], answer.usage or _Usage()
    message = choice.message or _Message(content=choice.text)
    refused = message.refusal or ("content filter" if choice.finish_reason == "content_filter" else None)
    if refused is None and choice.finish_reason not in FINISH_REASONS:
        raise ValueError(f"it ended in another way than by stop or length ({choice.finish_reason!r})")
    return Completion(
        text=message.content or "",
        finish_reason=FINISH_REASONS.get(choice.finish_reason or "", "stop"),
        refused=refused,
        prompt_tokens=usage.prompt_tokens,
        completion_tokens=usage.completion_tokens or 0,
        cached_tokens=(usage.prompt_tokens_details or _Details()).cached_tokens or 0,
    )


def refusal_of_row(status: int, said: str) -> str | None:
    """Why a row was refused: `too_long` or `refused` (its content); None where the refusal is about something else.

    >>> refusal_of_row(400, "This model's maximum context length is 2048 tokens. However, you requested 4096.")
    'too_long'
    >>> refusal_of_row(400, "Your prompt was flagged"), refusal_of_row(400, "no field of that name")
    ('refused', None)
    """
    if status not in {400, 403, 413, 422}:
        return None
    if status != 403 and _TOO_LONG.search(said):
        return "too_long"
    return "refused" if _UNWANTED.search(said) else None


def asks_too_much(status: int, said: str) -> bool:
    """Whether a refusal is about the length of the reply that was asked for, and not about the prompt alone.

    >>> asks_too_much(400, "max_tokens is too large: 32768. This model supports at most 16384 completion tokens")
    True
    >>> asks_too_much(400, "This model's maximum context length is 2048 tokens. Your prompt has 4096 tokens")
    False
    """
    return status in {400, 413, 422} and bool(_TOO_MANY_ASKED.search(said))


def message_of(content: bytes) -> str:
    """What an error says, in the shapes that servers give it, on one line.

    >>> message_of(b'{"error": {"message": "no such model", "code": 404}}'), message_of(b"<html>")
    ('no such model', '<html>')
    """
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return shown(content)
    for name in ("error", "message", "detail"):
        said = said.get(name, said) if isinstance(said, dict) else said
    return shown(said.encode("utf-8", "replace") if isinstance(said, str) else content)


def cards(content: bytes) -> list[Card]:
    """The models that a server lists; none where the list is in a shape of its own.

    >>> [card.id for card in cards(b'{"object": "list", "data": [{"id": "m", "created": 1}]}')], cards(b"<html>")
    (['m'], [])
    """
    try:
        listed = json.loads(content)
        return msgspec.convert(listed["data"] if isinstance(listed, dict) else listed, list[Card])
    except (ValueError, KeyError, RecursionError, msgspec.ValidationError):
        return []


def shown(content: bytes) -> str:
    """The beginning of an answer as one printable line."""
    text = "".join(letter if letter.isprintable() else " " for letter in content[:1200].decode("utf-8", "replace"))
    return " ".join(text.split())[:300]

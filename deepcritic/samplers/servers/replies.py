"""Parses a server's answer: the text, the finish reason and the tokens. Only the text is required.

>>> answer = b'{"choices": [{"text": "So 4.", "finish_reason": "eos_token"}], "usage": {"completion_tokens": "3"}}'
>>> read(answer).text, read(answer).finish_reason, read(answer).tokens.completion
('So 4.', 'stop', 3)
>>> read(b'{"choices": []}')
Traceback (most recent call last):
deepcritic.samplers.servers.replies.Unreadable: no choices in the answer: {"choices": []}
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import msgspec

from deepcritic.samplers.finish_reason import BROKEN, WITHHELD, finish_reason
from deepcritic.samplers.servers.connection import Final

CHARACTERS = 3
"""Characters per token if the server does not count them: a low number, so that tokens are overestimated."""
_BOM = b"\xef\xbb\xbf"
_BESIDE = ("content", "reasoning_content", "reasoning", "thinking")
"""The fields of a message that may hold text. vLLM, SGLang and DeepSeek write thoughts to `reasoning_content`, newer vLLM and
Ollama to `reasoning`."""
_PROMPT = ("prompt_tokens", "input_tokens")
_COMPLETION = ("completion_tokens", "output_tokens")
_CACHED = ("cached_tokens", "cache_read_input_tokens", "prompt_cache_hit_tokens")


class Tokens(NamedTuple):
    """The token counts of an answer; None if not given."""

    prompt: int | None = None
    completion: int | None = None
    cached: int = 0


class Completion(NamedTuple):
    """One reply. `refused` says why the server refused; the text must then not be used. `served` is the server's name for the
    model, or empty. If the reply is empty, `beside` names another field that has text, or is empty."""

    text: str
    finish_reason: str
    refused: str | None
    tokens: Tokens
    served: str = ""
    beside: str = ""


class Unreadable(ValueError):
    """An answer without a usable reply. It may have been paid for: `tokens` has its counts."""

    def __init__(self, problem: str, tokens: Tokens | None = None) -> None:
        super().__init__(problem)
        self.tokens = tokens or Tokens()


class NoText(Unreadable, Final):
    """An answer whose reply is not text."""


def read(content: bytes, field: str = "content") -> Completion:
    """The reply of an answer, from `field` of its message. Raises `Unreadable`."""
    answer = _decoded(content)
    tokens = _tokens(answer.get("usage"))
    choices = answer.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, Mapping):
        raise Unreadable(f"no choices in the answer: {shown(content)}", tokens)
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {field: choice.get("text")}
    ended, declined = finish_reason(choice.get("finish_reason")), message.get("refusal")
    if isinstance(declined, str) and declined:
        refused: str | None = declined
    else:
        refused = f"withheld ({choice.get('finish_reason')})" if ended == WITHHELD else None
    if refused is None and ended == BROKEN:
        raise Unreadable(f"the server aborted the reply ({choice.get('finish_reason')!r})", tokens)
    text = _text(message.get(field))
    if text is None and refused is None:
        raise NoText(f"{field} is not text: {shown(content)}", tokens)
    served = answer.get("model")
    return Completion(
        text=text or "",
        finish_reason=ended,
        refused=refused,
        tokens=tokens,
        served=served if isinstance(served, str) else "",
        beside=""
        if text and text.strip()
        else next((name for name in _BESIDE if name != field and _text(message.get(name))), ""),
    )


def estimated(characters: int) -> int:
    """The estimated tokens of a text with this many characters.

    >>> estimated(7)
    3
    """
    return -(-characters // CHARACTERS)


def message_of(content: bytes) -> str:
    """The message of an error in any of the servers' formats, on one line.

    >>> message_of(b'{"error": {"message": "no such model", "code": 404}}'), message_of(b"<html>")
    ('no such model', '<html>')
    """
    try:
        said = json.loads(content.removeprefix(_BOM))
    except (ValueError, RecursionError):
        return shown(content)
    for name in ("error", "message", "detail"):
        said = said.get(name, said) if isinstance(said, dict) else said
    return shown(said.encode("utf-8", "replace") if isinstance(said, str) else content)


def shown(content: bytes) -> str:
    """The beginning of an answer as one printable line."""
    text = "".join(letter if letter.isprintable() else " " for letter in content[:1200].decode("utf-8", "replace"))
    return " ".join(text.split())[:300]


def _decoded(content: bytes) -> Mapping[str, Any]:
    """The JSON object of an answer. It accepts half a surrogate pair, invalid UTF-8 and NaN, to avoid paying twice."""
    content = content.removeprefix(_BOM).strip()
    try:
        answer = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        try:
            answer = json.loads(content.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            raise Unreadable(_no_json(content, problem)) from None
    if not isinstance(answer, Mapping):
        raise Unreadable(f"the answer is not a JSON object: {shown(content)}")
    return answer


def _no_json(content: bytes, problem: BaseException) -> str:
    start = content[:1000].lower()
    if start.startswith(b"<") and b"html" in start:
        title = re.search(rb"<title[^>]*>(.*?)</title", content[:20_000], re.I | re.S)
        named = f" ({shown(title.group(1))})" if title and title.group(1).strip() else ""
        return f"the answer is a web page{named}, not JSON: {shown(content)}"
    if start.startswith((b"data:", b"event:")):
        return f"the answer is an event stream, which was not requested: {shown(content)}"
    return f"the answer is not valid JSON ({problem}): {shown(content)}"


def _text(value: object) -> str | None:
    """A text, or the texts of a list of parts, without thoughts and images. None for anything else.

    >>> _text([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "So "}, "4."]), _text(None), _text(7)
    ('So 4.', '', None)
    """
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list):
        return None
    texts = []
    for part in value:
        if isinstance(part, Mapping):
            part = part.get("text") if part.get("type", "text") in {"text", "output_text"} else ""
        if not isinstance(part, str):
            return None
        texts.append(part)
    return "".join(texts)


def _tokens(usage: object) -> Tokens:
    """The counts from OpenAI's field names or those of other providers.

    >>> _tokens({"input_tokens": 7.0, "output_tokens": "3", "prompt_tokens_details": {"cached_tokens": 99}})
    Tokens(prompt=7, completion=3, cached=7)
    """
    if not isinstance(usage, Mapping):
        return Tokens()
    prompt, completion, total = _first(usage, _PROMPT), _first(usage, _COMPLETION), _number(usage.get("total_tokens"))
    if total is not None and (prompt is None) != (completion is None):
        prompt = max(0, total - (completion or 0)) if prompt is None else prompt
        completion = max(0, total - prompt) if completion is None else completion
    details = usage.get("prompt_tokens_details")
    cached = _first({**usage, **details} if isinstance(details, Mapping) else usage, _CACHED) or 0
    return Tokens(prompt, completion, min(cached, prompt or 0))


def _first(fields: Mapping[Any, Any], names: tuple[str, ...]) -> int | None:
    return next((number for name in names if (number := _number(fields.get(name))) is not None), None)


def _number(value: object) -> int | None:
    """A count given as an integer, float or text; None for anything else."""
    if isinstance(value, str) and re.fullmatch(r"\d{1,12}", value.strip()):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**12:
        return None
    return int(value)

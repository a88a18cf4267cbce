"""Request bodies of OpenAI's API, and the list of a server's models.

>>> with_seed(b'{"model":"m"', 7)
b'{"model":"m","seed":7}'
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from deepcritic.samplers.base import Request

NEUTRAL = {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""Sent to vLLM and SGLang, which otherwise use sampling defaults from the model's folder."""


class Card(msgspec.Struct):
    """A server's entry for one model: its name, the folder it was loaded from, and the length of its context."""

    id: str
    root: str | None = None
    owned_by: str | None = None
    max_model_len: int | None = None


def encode(
    model: str, request: Request, ids: list[int] | None, length_field: str, extra: Mapping[str, Any], limit: int | None
) -> bytes:
    """The body of a request without its seed and closing brace; `with_seed` completes it.

    With `ids` the prompt is these tokens (for `completions`), else the messages (for `chat/completions`). `limit` is the most
    tokens of the reply; None leaves that to the server. A field of `extra` replaces the default one, and None removes it.
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
    """The body from `encode`, completed with its seed.

    >>> with_seed(b'{"model":"m"', None)
    b'{"model":"m"}'
    """
    return body + (b"}" if seed is None else b',"seed":%d}' % seed)


def cards(content: bytes) -> list[Card]:
    """The models that a server lists; empty if the list has another format. A field of another type is ignored.

    >>> [card.id for card in cards(b'{"object": "list", "data": [{"id": "m", "created": 1}]}')], cards(b"<html>")
    (['m'], [])
    """
    try:
        listed = json.loads(content.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        return []
    listed = listed.get("data") if isinstance(listed, dict) else listed
    found = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    kinds = {"id": str, "root": str, "owned_by": str, "max_model_len": int}
    fields = [{name: one[name] for name, kind in kinds.items() if isinstance(one.get(name), kind)} for one in found]
    return [Card(**one) for one in fields if "id" in one]

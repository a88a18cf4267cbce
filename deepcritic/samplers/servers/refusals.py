"""Classifies a server's refusal: it concerns one row, or settings for all rows that an option can fix.

>>> remedy_of("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.")
'set sampler.length_field=max_completion_tokens'
>>> remedy_of("Unsupported value: 'temperature' does not support 0.6 with this model. Only the default (1) value is supported.")
"set '+sampler.extra.temperature=null'"
"""

from __future__ import annotations

import json
import re

_TOO_LONG = re.compile(
    r"maximum context length|context[_ ](length|window|size)|longer than the maximum model|prompt is too long"
    r"|exceeds? the (available|maximum) context|`inputs` tokens \+ `max_new_tokens` must be",
    re.I,
)
_TOO_MANY_ASKED = re.compile(
    r"max(_completion|_new|_output)?_tokens\b.{0,80}(too large|at most|less than|must be|exceed|maximum)"
    r"|(too large|exceed|maximum|reduce).{0,200}max(_completion|_new|_output)?_tokens\b|in the completion|completion tokens",
    re.I | re.S,
)
_UNWANTED = re.compile(r"content[_ ](policy|filter|management)|moderation|flagged", re.I)
_UNKNOWN_FIELD = re.compile(
    r"unsupported|unrecogni[sz]ed|unknown|unexpected|not supported|not permitted|extra (fields|inputs)|does not support"
    r"|not allowed|deprecated|cannot both be|only the default|must be (set to )?1\b",
    re.I,
)
_AT_MOST = re.compile(
    r"(?:at most|maximum(?: value)?(?: of| is|:)?|less than or equal to|<=|range \[1,|limit (?:is|of))\s*([\d,]{2,9})", re.I
)
LENGTHS = ("max_tokens", "max_completion_tokens", "max_new_tokens")
_TAKEN_AWAY = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "stop", "reasoning_effort")
REASONING = "use sampler=openai_reasoning for reasoning models"


def refusal_of_row(status: int, said: str) -> str | None:
    """Why a row was refused: `too_long` or `refused` (its content); None if the refusal has another cause.

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
    """Whether a refusal is about the requested length of the reply, not only about the prompt.

    >>> asks_too_much(400, "max_tokens is too large: 32768. This model supports at most 16384 completion tokens")
    True
    >>> asks_too_much(400, "This model's maximum context length is 2048 tokens. Your prompt has 4096 tokens")
    False
    """
    return status in {400, 413, 422} and bool(_TOO_MANY_ASKED.search(said))


def remedy_of(said: str, length_field: str = "max_tokens", param: str = "") -> str | None:
    """An instruction for the option that would fix a refusal; None if it names no field of the request. `param` is the
    field that the server names separately from its message.

    >>> remedy_of("max_tokens is too large: 32768. This model supports at most 16384 completion tokens")
    'set stage.max_tokens=16384 or less'
    >>> remedy_of("[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted'}]")
    'set sampler.seeds=false'
    """
    better = re.search(r"\buse\W{0,3}(max_\w*tokens)\b", said, re.I)
    if better and better.group(1) != length_field:
        return f"set sampler.length_field={better.group(1)}"
    named = [param.rpartition(".")[2], *re.findall(r"\b[a-z]+(?:_[a-z]+)*\b", said)]
    unknown = bool(_UNKNOWN_FIELD.search(said))
    if any(name in named for name in LENGTHS):
        at_most = _AT_MOST.search(said)
        if at_most:
            return f"set stage.max_tokens={at_most.group(1).replace(',', '')} or less"
        if unknown and length_field in named:
            return f"set sampler.length_field={'max_tokens' if length_field != 'max_tokens' else 'max_completion_tokens'}"
    if unknown and "seed" in named:
        return "set sampler.seeds=false"
    fields = [name for name in dict.fromkeys(named) if name in _TAKEN_AWAY]
    if "top_p" in fields and re.search(r"both", said):  # one of the two must be removed
        fields = ["top_p"]
    return " ".join(["set", *(f"'+sampler.extra.{name}=null'" for name in fields)]) if unknown and fields else None


def param_of(content: bytes) -> str:
    """The field that an error names separately from its message, as OpenAI's errors do.

    >>> param_of(b'{"error": {"message": "Unsupported value", "param": "temperature"}}')
    'temperature'
    """
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    error = said.get("error") if isinstance(said, dict) else None
    param = error.get("param") if isinstance(error, dict) else None
    return param if isinstance(param, str) else ""

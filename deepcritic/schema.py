"""The rows that stages exchange: frozen, typed, one JSON object per line.

Steps are numbered from 1, and `ALL_CORRECT` means that no step is wrong. A verdict of None is unparsed. Unknown gold is
`UNLABELLED`, which is neither.

>>> row = Example(id="a-1", item=Item(problem="1 + 1?", steps=("1 + 1 = 3",)), gold=Gold(first_error=1), source="made")
>>> decode(encode(row), Example) == row
True
>>> decode(b'{"id": "a-1"}', Example)
Traceback (most recent call last):
deepcritic.errors.InputError: item: required field is missing; expected a row of type Example, schema 1
"""

from __future__ import annotations

import enum
import functools
import hashlib
import json
import math
import re
from collections.abc import Iterable, Sequence
from json.encoder import encode_basestring_ascii
from typing import Any, Final, TypeVar

import msgspec

from deepcritic.errors import InputError

ALL_CORRECT: Final = -1
WITH_ERROR: Final = "with an error"
WITHOUT_ERROR: Final = "all correct"
"""The two classes of solutions. F1 is the harmonic mean of their accuracies."""
SCHEMA: Final = 1


class Unlabelled(enum.Enum):
    """The type of unknown gold. Compare with `is UNLABELLED`."""

    UNLABELLED = "unlabelled"


UNLABELLED: Final = Unlabelled.UNLABELLED


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all rows. Unknown fields are rejected."""


class Item(Row, frozen=True, kw_only=True):
    """What a critic may see, which never includes gold. `steps` holds the text without numbering."""

    problem: str
    steps: tuple[str, ...] = ()
    meta: dict[str, Any] = {}


class Gold(Row, frozen=True, kw_only=True):
    """The label of an example. `step_ratings`: 1, 0 (neutral) or -1 for each step, None if not rated."""

    first_error: int | Unlabelled = UNLABELLED
    step_ratings: tuple[int | None, ...] | None = None
    step_values: tuple[float, ...] | None = None
    """Soft labels: for each step, the share of its rollouts that reach the reference answer."""
    reference_answer: str | None = None
    answer_right: bool | None = None
    """Whether the final answer equals the reference. None if it was not or could not be compared."""
    error_kind: str | None = None
    """The kind of the first error, if the source gives it: a word to group rows by."""
    error_reasons: tuple[str, ...] = ()
    """Why the first wrong step is wrong, in the annotators' words."""
    grade: float | None = None
    """The grade of a proof as a share of the full marks: 0 to 1."""


class Example(Row, frozen=True, kw_only=True):
    """A problem, usually with a solution in steps, and its label."""

    id: str
    item: Item
    gold: Gold = Gold()
    source: str
    parent_id: str | None = None
    license: str | None = None
    schema: int = SCHEMA


class Responses(Row, frozen=True, kw_only=True):
    """What a judge of responses may see, which never includes gold. `meta` may name a `domain` to group figures by."""

    query: str
    responses: tuple[str, ...]
    meta: dict[str, Any] = {}

    @property
    def problem(self) -> str:
        """The query, under the name that all item types share."""
        return self.query


class Preferred(Row, frozen=True, kw_only=True):
    """The best response, from 1, and the source's scores. A single response has only a score: 1 if it is right, else 0."""

    best: int | Unlabelled = UNLABELLED
    scores: tuple[float, ...] | None = None


class Preference(Row, frozen=True, kw_only=True):
    """A query with one or more responses, and its label."""

    id: str
    item: Responses
    gold: Preferred = Preferred()
    source: str
    license: str | None = None
    schema: int = SCHEMA


class Key(Row, frozen=True, order=True, kw_only=True):
    """The key of a generation: the `sample`-th reply to call `request` about `step` of `example_id`.

    `parent` is the `text` of the key of the generation that the call builds on, or empty.
    """

    example_id: str
    request: str
    step: int = 0
    sample: int = 0
    parent: str = ""

    @property
    def text(self) -> str:
        return f"{self.example_id}|{self.request}|{self.step}|{self.sample}"


class Generation(Row, frozen=True, kw_only=True):
    """One reply of a model. `text` does not repeat `prefix`, the forced beginning of the reply."""

    key: Key
    text: str
    finish_reason: str
    """`stop` (the model ended it, or a stop string did), `length` (cut at `max_tokens`) or `unknown` (not reported)."""
    model: str
    fingerprint: str
    """Hash of the prompt, the model and the sampling parameters."""
    seed: int
    prefix: str = ""
    context: Any = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    served: str = ""
    """The model name that a server reported, if it differs from the requested one."""
    schema: int = SCHEMA


REFUSED: Final = "refused"
"""The reason if a model or its server declines to answer."""
PERMANENT: Final = frozenset({"too_long", REFUSED, "cannot_continue", "not_recorded"})
"""Reasons that a retry cannot change: the request does not fit, or the engine will not or cannot answer it."""


class Failure(Row, frozen=True, kw_only=True):
    """A request without a reply, or a rejected input row, and the reason. Never a score.

    Reasons in `PERMANENT` are final. Any other (`timed_out`, `unreachable`, ...) may be temporary, and the next start retries it.
    """

    key: Key
    reason: str
    detail: str = ""
    schema: int = SCHEMA

    @property
    def permanent(self) -> bool:
        return self.reason in PERMANENT


class Scores(Row, frozen=True, kw_only=True):
    """A scorer's numbers for an item. A process reward model gives one per step: the probability that it is right."""

    key: Key
    values: tuple[float, ...]
    model: str
    prompt_tokens: int = 0
    schema: int = SCHEMA


class Message(Row, frozen=True, kw_only=True):
    """One turn of a conversation; `role` is system, user or assistant."""

    role: str
    content: str


class Judged(Row, frozen=True, kw_only=True):
    """One row of an evaluation: the verdicts of all samples, the gold one, and attributes to group rows by.

    `correct` is the share of the replies that are right. None if all were refused or failed.
    """

    id: str
    gold: Any
    stratum: str
    cluster: str
    verdicts: tuple[Any, ...]
    """One per reply, in the order of the samples. None if unparsed."""
    correct: float | None
    benchmark: str = ""
    """The benchmark's name and part, such as `processbench/math`."""
    vote: Any = None
    vote_correct: float | None = None
    agreement: float = 0.0
    samples: int = 0
    """The number of replies requested. 0 if the row is missing from a recording, and so counts as wrong."""
    truncated: int = 0
    """Replies truncated at `max_tokens`, with or without a verdict."""
    unparsed: int = 0
    """Replies without a readable verdict that were not truncated."""
    refused: int = 0
    """Requests that the model or its server declined."""
    failed: int = 0
    """Requests without a reply for other reasons. Neither these nor refused ones are right or wrong."""
    error_kind: str | None = None
    steps: int = 0
    generator: str | None = None
    """The model that wrote the solution, if the source names it."""
    answer_right: bool | None = None
    """Whether the solution's final answer is right, if the source says so."""
    responses: int = 0
    """The number of responses judged, in tasks about responses."""
    domain: str | None = None
    """The domain of the query, if the source gives it."""
    contexts: tuple[Any, ...] = ()
    """One per reply: the order in which it saw the responses. Empty if nothing was shuffled."""
    meta_rm_scores: tuple[float, ...] = ()
    """One per reply: its Meta RM score. Empty without a Meta RM, or if it gave none."""
    vote_samples: int = 0
    """Of an adaptive vote: the samples that could vote. `verdicts` and all counts are those of the samples drawn for every row;
    `vote`, `vote_correct` and `agreement` include `later_verdicts`. 0: all replies voted."""
    later_verdicts: tuple[Any, ...] = ()
    """Of an adaptive vote: the verdicts of the samples drawn because the first ones did not decide it."""
    schema: int = SCHEMA


class Dialogue(Row, frozen=True, kw_only=True):
    """A training conversation. `provenance` holds the keys of the generations that it was made from."""

    id: str
    task: str
    messages: tuple[Message, ...]
    verdict: Any
    provenance: tuple[str, ...] = ()
    source: str = ""
    license: str | None = None
    schema: int = SCHEMA


R = TypeVar("R", bound=Row)
_ENCODER = msgspec.json.Encoder()
_DECODERS: dict[type, msgspec.json.Decoder[Any]] = {}
_AT = re.compile(r" - at `\$\.?([^`]*)`$")


def encode(row: Row) -> bytes:
    """`row` as one line of JSON, without the line feed. Lone surrogates, which UTF-8 forbids, are replaced.

    Raises `InputError` for a number that is not finite: JSON has none, and null would be a different value.
    """
    try:
        line = _ENCODER.encode(row)
    except UnicodeEncodeError:
        line = json.dumps(_without_surrogates(msgspec.to_builtins(row)), ensure_ascii=False).encode()
    if b"null" in line or b"NaN" in line or b"Infinity" in line:
        place = _not_finite(row)
        if place is not None:
            raise InputError("not a finite number", field=place[0], found=place[1], expected="a number, or null")
    return line


def decode(line: bytes, kind: type[R]) -> R:
    """The row of type `kind` in `line`. Raises `InputError` naming the field, what was found and what was expected."""
    decoder = _DECODERS.get(kind)
    if decoder is None:
        decoder = _DECODERS[kind] = msgspec.json.Decoder(kind)
    try:
        row: R = decoder.decode(line)
    except msgspec.ValidationError as error:
        raise _explain(str(error), line, kind) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _not_json(line) from None
    schema = getattr(row, "schema", SCHEMA)
    if schema != SCHEMA:
        raise InputError(
            "unknown schema version", field="schema", found=schema, expected=f"schema {SCHEMA}, or a newer deepcritic"
        )
    return row


def content_id(source: str, problem: str, steps: Sequence[str] = ()) -> str:
    """An id computed from the content, so it survives reordering: `source-<16 hex digits>`.

    >>> content_id("made", "1 + 1?", ["2"]) == content_id("made", "1 + 1?", ["2"])
    True
    """
    digest = hashlib.blake2b(json.dumps([problem, list(steps)]).encode(), digest_size=8)
    return f"{source}-{digest.hexdigest()}"


def sample_seed(run_seed: int, key: Key) -> int:
    """The seed of one sample: a hash of the run's seed and the row's key, independent of anything else.

    >>> sample_seed(1, Key(example_id="a", request="critique")) == sample_seed(1, Key(example_id="a", request="critique"))
    True
    """
    # The JSON of a list, written by hand for speed: this runs once per requested sample.
    name, call = encode_basestring_ascii(key.example_id), encode_basestring_ascii(key.request)
    digest = hashlib.blake2b(f"[{run_seed}, {name}, {call}, {key.step}, {key.sample}]".encode(), digest_size=8)
    return int.from_bytes(digest.digest(), "big") >> 1


def _explain(message: str, line: bytes, kind: type) -> InputError:
    found = _AT.search(message)
    path = found.group(1) if found else ""
    problem = message[: found.start()] if found else message
    expected = f"a row of type {kind.__name__}, schema {SCHEMA}"
    missing = re.search(r"missing required field `([^`]*)`", problem)
    if missing:
        return InputError("required field is missing", field=_join(path, missing.group(1)), expected=expected)
    unknown = re.search(r"unknown field `([^`]*)`", problem)
    if unknown:
        return InputError("field is not declared", field=_join(path, unknown.group(1)), expected=expected)
    try:
        found_value = _value_at(line, path)
    except (ValueError, RecursionError):  # the line is cut or invalid after the wrong field
        return _not_json(line)
    return InputError(problem, field=path or None, found=found_value, expected=expected)


def _not_json(line: bytes) -> InputError:
    return InputError("the line is not JSON", found=line[:80].decode("utf-8", "replace"), expected="one JSON object per line")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _value_at(line: bytes, path: str) -> object:
    value: Any = json.loads(line)
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdigit():
            value = value[int(part)]
    return value


def _not_finite(value: Any, place: str = "") -> tuple[str, float] | None:
    """The first number in `value` that is not finite, and its place."""
    if isinstance(value, float):
        return None if math.isfinite(value) else (place.lstrip("."), value)
    parts: Iterable[tuple[object, Any]] = ()
    if isinstance(value, msgspec.Struct):
        parts = [(name, getattr(value, name)) for name in _may_hold_numbers(type(value))]
    elif isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    for name, part in parts:
        kind = type(part)
        if kind is float:
            if not math.isfinite(part):
                return f"{place}.{name}".lstrip("."), part
        elif part and kind not in _NO_NUMBERS and (found := _not_finite(part, f"{place}.{name}")):
            return found
    return None


_NO_NUMBERS: Final = frozenset({str, int, bool, type(None)})
"""Types that hold no non-finite number."""


@functools.cache
def _may_hold_numbers(kind: type[msgspec.Struct]) -> tuple[str, ...]:
    """The fields of a row that must be checked. Most are texts and whole numbers."""

    def plain(field: Any) -> bool:
        if isinstance(field, type) and issubclass(field, msgspec.Struct):
            return not _may_hold_numbers(field)
        return field in {str, int, bool}

    return tuple(field.name for field in msgspec.structs.fields(kind) if not plain(field.type))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return [_without_surrogates(item) for item in value] if isinstance(value, list | tuple) else value

"""Sampler that serves replies from a file, written by this package or by any other program.

A row needs `example_id`, `sample` and `text`; `request` and `step` distinguish the calls of a stage that makes several.
Unknown fields are counted and ignored, because recordings may come from other programs. Output and error files of OpenAI's
batch API can be read directly (see `batch_output`).

>>> import json, pathlib, tempfile
>>> path = pathlib.Path(tempfile.mkdtemp()) / "replies.jsonl"
>>> _ = path.write_text(json.dumps({"example_id": "a-1", "sample": 0, "text": "fine \\\\boxed{-1}", "who": "me"}))
>>> recorded = RecordedSampler(path)
>>> recorded.reply(Key(example_id="a-1", request="critique")).text, recorded.ignored
('fine \\\\boxed{-1}', {'who': 1})
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import weakref
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

import msgspec
import numpy as np

from deepcritic.datasets.reading import lines_file
from deepcritic.errors import InputError
from deepcritic.runs.folder import existing
from deepcritic.runs.jsonl import file_sha256
from deepcritic.samplers.base import Request
from deepcritic.samplers.batch_output import is_batch, rows
from deepcritic.samplers.finish_reason import BROKEN, WITHHELD, finish_reason
from deepcritic.schema import REFUSED, Failure, Generation, Key

_BLANK = b" \t\r\n"
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_OURS = frozenset(Generation.__struct_fields__) | frozenset(Key.__struct_fields__)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded reply, as in the file."""

    example_id: str
    text: str
    sample: _Count
    request: str | None = None
    step: _Count = 0
    finish_reason: str | None = "stop"
    """Any word that servers use (see `finish_reason`); null means unknown."""
    model: str | None = "recorded"
    prompt_tokens: _Count | None = 0
    completion_tokens: _Count | None = 0
    context: Any = None
    failed: str | None = None
    """Why a request of a batch failed; `detail` is the error message."""
    detail: str = ""


class Saved(msgspec.Struct, frozen=True, gc=False):
    """The position of a recorded reply; its text stays in the file."""

    example_id: str
    request: str | None
    step: int
    sample: int
    line: int
    start: int
    size: int
    at: int = 0
    """Its index among the replies on its line."""


_DECLARED = tuple(name for name in Reply.__struct_fields__ if name not in ("failed", "detail"))
"""The fields that a row of a recording may have."""


class RecordedSampler:
    """Serves the replies of a file, which must not change. Only their positions are kept in memory."""

    def __init__(self, file: str | Path, **_: Any) -> None:
        self.path = existing(Path(file), "generations")
        self.ignored: dict[str, int] = {}
        self._numbers: dict[str, int] = {}
        """A number for each `example_id`, and likewise for each `request`."""
        self._calls: dict[str | None, int] = {}
        self._columns = {name: array("q") for name in ("example", "call", "step", "sample", "line", "start", "size", "at")}
        self._last: tuple[int, dict[tuple[str | None, int, int], Saved]] = (-1, {})
        ignored: Counter[str] = Counter()
        self._file, lines = lines_file(self.path)
        weakref.finalize(self, self._file.close)
        add = [column.append for column in self._columns.values()]
        for number, start, line in lines:
            if line.strip(_BLANK):
                for at, reply in enumerate(self._read(number, line, ignored)):
                    example = self._numbers.setdefault(reply.example_id, len(self._numbers))
                    call = self._calls.setdefault(reply.request, len(self._calls))
                    values = (example, call, reply.step, reply.sample, number, start, len(line), at)
                    for append, value in zip(add, values, strict=True):
                        append(value)
        self._put_in_order()
        self.ignored = dict(ignored)
        self._id = f"recorded#{file_sha256(self.path)[:12]}"

    def _put_in_order(self) -> None:
        """Sort the positions by example and sample, so that those of an example are contiguous. Raises `InputError` for a
        duplicate reply."""
        columns = [np.frombuffer(self._columns[name], np.int64) for name in ("line", "call", "step", "sample", "example")]
        order = np.lexsort(columns)
        same = np.all([np.diff(column[order]) == 0 for column in columns[1:]], axis=0)
        if same.any():
            at = min(np.flatnonzero(same), key=lambda one: int(columns[0][order[one + 1]]))
            first, second = (int(order[one]) for one in (at, at + 1))
            name = next(itertools.islice(self._numbers, self._columns["example"][second], None))
            raise InputError(
                "duplicate sample", file=self.path, line=self._columns["line"][second], field="sample",
                found=self._columns["sample"][second],
                expected=f"one reply per sample of {name!r} (first on line {self._columns['line'][first]})",
            )  # fmt: skip
        self._columns = {
            name: array("q", np.frombuffer(column, np.int64)[order].tobytes()) for name, column in self._columns.items()
        }
        ends = np.cumsum(np.bincount(np.frombuffer(self._columns["example"], np.int64), minlength=len(self._numbers)))
        self._ends = array("q", ends.astype(np.int64).tobytes())

    @property
    def model_id(self) -> str:
        return self._id

    def names(self) -> Iterator[tuple[str, int]]:
        """Each example that has replies, with the line of its lowest sample, in file order."""
        for name, number in self._numbers.items():
            yield name, self._columns["line"][self._ends[number - 1] if number else 0]

    def has(self, call: str) -> bool:
        """Whether any reply names this request."""
        return call in self._calls

    def numbers(self, name: str, call: str) -> tuple[int, ...]:
        """The samples of an example that serve a request, sorted."""
        saved = self._of(name)
        return _shared(
            tuple(
                sample
                for request, step, sample in saved
                if not step and (request == call or (request is None and (call, step, sample) not in saved))
            )
        )

    def samples(self) -> dict[str, list[Saved]]:
        """The replies of each example, in order of sample."""
        return {name: [*self._of(name).values()] for name in sorted(self._numbers)}

    def reply(self, key: Key) -> Reply | None:
        """The reply recorded for `key`, or None. A reply that names no request serves every request."""
        saved = self._find(key)
        return None if saved is None else self.read(saved)

    def read(self, saved: Saved) -> Reply:
        """The whole reply, from the file."""
        return self._read(saved.line, os.pread(self._file.fileno(), saved.size, saved.start), Counter())[saved.at]

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        for request in requests:
            fingerprint = request.fingerprint(self._id)
            for key, seed in zip(request.keys, request.seeds, strict=True):
                reply = self.reply(key)
                if reply is None:
                    yield Failure(key=key, reason="not_recorded", detail=f"{self.path} has no reply for {key.text}")
                    continue
                if reply.failed is not None:
                    yield Failure(key=key, reason=reply.failed, detail=reply.detail)
                    continue
                ended = finish_reason(reply.finish_reason)
                if ended in {WITHHELD, BROKEN}:
                    reason = REFUSED if ended == WITHHELD else "not_recorded"
                    yield Failure(key=key, reason=reason, detail=f"its finish_reason is {reply.finish_reason}")
                    continue
                yield Generation(
                    key=key,
                    text=reply.text,
                    finish_reason=ended,
                    model=reply.model or "recorded",
                    fingerprint=fingerprint,
                    seed=seed,
                    prefix=request.prefix,
                    context=request.context if reply.context is None else reply.context,
                    prompt_tokens=reply.prompt_tokens or 0,
                    completion_tokens=reply.completion_tokens or 0,
                )

    def _find(self, key: Key) -> Saved | None:
        saved = self._of(key.example_id)
        return saved.get((key.request, key.step, key.sample)) or saved.get((None, key.step, key.sample))

    def _of(self, name: str) -> dict[tuple[str | None, int, int], Saved]:
        """The replies to one example by request, step and sample, in order of sample."""
        number = self._numbers.get(name, -1)
        if number != self._last[0]:
            calls, found = [*self._calls], {}
            call, step, sample, line, start, size, which = [*self._columns.values()][1:]
            for at in range(self._ends[number - 1] if number else 0, self._ends[number]) if number >= 0 else ():
                request = calls[call[at]]
                found[request, step[at], sample[at]] = Saved(
                    name, request, step[at], sample[at], line[at], start[at], size[at], which[at]
                )
            self._last = (number, found)
        return self._last[1]

    def _read(self, number: int, line: bytes, ignored: Counter[str]) -> list[Reply]:
        """The replies of a line: one, or all replies of a line of a batch file."""

        def refuse(problem: str, field: str | None, found: object, expected: str) -> InputError:
            return InputError(problem, file=self.path, line=number, field=field, found=found, expected=expected)

        line = line.strip(_BLANK)
        try:
            row = _decoded(line)
        except (ValueError, RecursionError):
            raise refuse("the line is not JSON", None, line[:80].decode("utf-8", "replace"), "one JSON object per line") from None
        if not isinstance(row, dict):
            raise refuse("the line is not an object", None, row, '{"example_id": ..., "sample": ..., "text": ...}')
        if is_batch(row):
            try:
                return [msgspec.convert(one, Reply) for one in rows(row)]
            except InputError as error:
                raise error.replace(file=self.path, line=number) from None
        flat = {**row, **row["key"]} if isinstance(row.get("key"), dict) else row
        declared = {name: flat[name] for name in _DECLARED if name in flat}
        for name in flat.keys() - declared.keys() - _OURS:
            ignored[name] += 1
        try:
            return [msgspec.convert(declared, Reply, strict=self.path.suffix not in (".csv", ".tsv"))]  # CSV has only strings
        except msgspec.ValidationError as error:
            message, _, place = str(error).partition(" - at `$.")
            field = place.rstrip("`") or None
            raise refuse(message, field, flat.get(field or "", None), "text: a string, sample: a number from 0") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


@functools.lru_cache(maxsize=4096)
def _shared(samples: tuple[int, ...]) -> tuple[int, ...]:
    """One tuple for all examples with the same samples."""
    return samples


def _decoded(line: bytes) -> Any:
    """Decode with msgspec, or with the more lenient `json` if that fails (half a surrogate pair, NaN)."""
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(line)

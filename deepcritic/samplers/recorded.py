"""Replies that were recorded before, by this package or by anything else, served through the sampler protocol.

A row needs `example_id`, `sample` and `text`; `request` and `step` tell the calls of a stage apart where it makes
several. Fields that are not declared are counted and ignored: recordings come from outside. Lines of the output and error files
of OpenAI's batch API are read as they are (see `batch_output`).

>>> import json, pathlib, tempfile
>>> path = pathlib.Path(tempfile.mkdtemp()) / "replies.jsonl"
>>> _ = path.write_text(json.dumps({"example_id": "a-1", "sample": 0, "text": "fine \\\\boxed{-1}", "who": "me"}))
>>> recorded = RecordedSampler(path)
>>> recorded.reply(Key(example_id="a-1", request="critique")).text, recorded.ignored
('fine \\\\boxed{-1}', {'who': 1})
"""

from __future__ import annotations

import json
import os
import weakref
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

import msgspec

from deepcritic.datasets.reading import lines_file
from deepcritic.errors import InputError
from deepcritic.runs.folder import existing
from deepcritic.runs.jsonl import file_sha256
from deepcritic.samplers.base import Request
from deepcritic.samplers.batch_output import is_batch, rows
from deepcritic.samplers.finish_reason import BROKEN, WITHHELD, finish_reason
from deepcritic.schema import REFUSED, Failure, Generation, Key

_BLANK = b" \t\r\n"
_Place = tuple[str, str | None, int, int]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_OURS = frozenset(Generation.__struct_fields__) | frozenset(Key.__struct_fields__)


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded reply as it stands in the file."""

    example_id: str
    text: str
    sample: _Count
    request: str | None = None
    step: _Count = 0
    finish_reason: str | None = "stop"
    """Any word that servers use (see `finish_reason`); null: nobody knows."""
    model: str | None = "recorded"
    prompt_tokens: _Count | None = 0
    completion_tokens: _Count | None = 0
    context: Any = None
    failed: str | None = None
    """Why the reply did not come, of a batch; `detail` is what was said of it."""
    detail: str = ""


class Saved(msgspec.Struct, frozen=True, gc=False):
    """Where a recorded reply stands: its text stays in the file."""

    example_id: str
    request: str | None
    step: int
    sample: int
    line: int
    start: int
    size: int
    at: int = 0
    """Which of the replies on its line it is."""


_DECLARED = tuple(name for name in Reply.__struct_fields__ if name not in ("failed", "detail"))
"""The fields that a row of a recording may have."""


class RecordedSampler:
    """Serves the replies of a file, which must stay as it is. In memory is only where each one stands."""

    def __init__(self, file: str | Path, **_: Any) -> None:
        self.path = existing(Path(file), "generations")
        self.ignored: dict[str, int] = {}
        self._saved: dict[_Place, Saved] = {}
        names: dict[str, str] = {}
        ignored: Counter[str] = Counter()
        self._file, lines = lines_file(self.path)
        weakref.finalize(self, self._file.close)
        for number, start, line in lines:
            if line.strip(_BLANK):
                for at, reply in enumerate(self._read(number, line, ignored)):
                    name = names.setdefault(reply.example_id, reply.example_id)
                    place = (name, reply.request, reply.step, reply.sample)
                    if place in self._saved:
                        raise InputError(
                            "the same sample a second time", file=self.path, line=number, field="sample", found=reply.sample,
                            expected=f"each sample of {name!r} once (first on line {self._saved[place].line})",
                        )  # fmt: skip
                    self._saved[place] = Saved(*place, number, start, len(line), at)
        self.ignored = dict(ignored)
        self._id = f"recorded#{file_sha256(self.path)[:12]}"

    @property
    def model_id(self) -> str:
        return self._id

    def samples(self, call: str | None = None) -> dict[str, list[Saved]]:
        """The replies of each example, in order of sample; with `call` those that serve this request."""
        grouped: dict[str, list[Saved]] = {}
        for saved in sorted(self._saved.values(), key=lambda saved: (saved.example_id, saved.sample)):
            replies = grouped.setdefault(saved.example_id, [])
            key = None if call is None else Key(example_id=saved.example_id, request=call, sample=saved.sample)
            if key is None or saved is self._find(key):
                replies.append(saved)
        return grouped

    def reply(self, key: Key) -> Reply | None:
        """What was recorded for `key`; a reply that names no request serves any."""
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
        exact = self._saved.get((key.example_id, key.request, key.step, key.sample))
        return exact or self._saved.get((key.example_id, None, key.step, key.sample))

    def _read(self, number: int, line: bytes, ignored: Counter[str]) -> list[Reply]:
        """The replies of a line: one, or of a batch's line as many as it has."""

        def refuse(problem: str, field: str | None, found: object, expected: str) -> InputError:
            return InputError(problem, file=self.path, line=number, field=field, found=found, expected=expected)

        line = line.strip(_BLANK)
        try:
            row = _decoded(line)
        except (ValueError, RecursionError):
            raise refuse("the line is not JSON", None, line[:80].decode("utf-8", "replace"), "one JSON object a line") from None
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
            return [msgspec.convert(declared, Reply, strict=self.path.suffix not in (".csv", ".tsv"))]  # which know texts alone
        except msgspec.ValidationError as error:
            message, _, place = str(error).partition(" - at `$.")
            field = place.rstrip("`") or None
            raise refuse(message, field, flat.get(field or "", None), "text: a string, sample: a number from 0") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


def _decoded(line: bytes) -> Any:
    """The fast reader, and for what it refuses (half a surrogate pair, NaN) the lenient one: recordings come from outside."""
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return json.loads(line)

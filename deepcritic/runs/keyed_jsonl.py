"""Keyed rows in a JSON Lines file. Memory holds only the offset of each row.

rows = JsonlIndex(path, Generation)
for header in rows.open():
    ...                            # the existing rows, without their text
rows.append(row)                   # flushed to the operating system on return (not fsynced)
digest_of(key) in rows             # about 150 bytes of memory per row, for any text length
rows.put_in_order()                # by key, after the last row
"""

from __future__ import annotations

import hashlib
import itertools
import weakref
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
import numpy as np

from deepcritic.errors import InputError
from deepcritic.runs.jsonl import Journal, replacing
from deepcritic.schema import Failure, Generation, Key, Scores, decode, encode

R = TypeVar("R", bound=Generation | Failure | Scores)
DIGEST = 15
"""Bytes of a key's hash. With 120 bits, a collision among a billion keys is unlikely. A 16th byte would cost 16 bytes a row."""
_MOST = 1 << 62
_PRINT = 32
"""Bits of a fingerprint's checksum. Offset and checksum are packed into one number: two would cost 48 bytes more a row."""


class RowHeader(msgspec.Struct, frozen=True):
    """The fields of an existing row that are read. Its text stays on disk."""

    key: Key
    fingerprint: str = ""
    finish_reason: str = ""
    reason: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    served: str = ""


_HEADER = msgspec.json.Decoder(RowHeader)
_ENCODER = msgspec.json.Encoder()


class Rows(Generic[R]):
    """Rows of a file at given offsets, in that order. Each iteration reads them from disk.

    The rows stay readable even if the file is replaced.
    """

    def __init__(self, path: Path, kind: type[R], places: array[int]) -> None:
        self._path, self._kind, self._places = path, kind, places
        if places:
            self._file = path.open("rb")
            weakref.finalize(self, self._file.close)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[R]:
        for place in self._places:
            self._file.seek(place)
            try:
                yield decode(self._file.readline(), self._kind)
            except InputError as error:
                raise error.replace(problem=f"{error.problem} (at byte {place})", file=self._path) from None


class JsonlIndex(Generic[R]):
    """The rows of one type in a journal at `path`. Of rows with the same key, the first counts."""

    def __init__(self, path: Path, kind: type[R]) -> None:
        self.path, self.kind = path, kind
        self.cut = 0
        self._places: dict[bytes, int] = {}
        self._journal: Journal[R] | None = None

    def open(self, keep: Callable[[RowHeader], bool] = lambda header: True) -> Iterator[RowHeader]:
        """Open the file for writing. Yields the headers of existing rows that `keep` accepts."""
        self._journal = Journal(self.path, self.kind)
        self.cut = self._journal.cut
        return self.look(keep)

    def look(self, keep: Callable[[RowHeader], bool] = lambda header: True) -> Iterator[RowHeader]:
        """The same without writing: a partial last line is skipped."""
        if not self.path.exists():
            return
        start = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                place, start = start, start + len(line)
                if not line.endswith(b"\n") or not line.strip():
                    continue
                try:
                    header = _HEADER.decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    raise _explained(line, self.kind, self.path, number) from None
                if not (abs(header.key.step) < _MOST and abs(header.key.sample) < _MOST):
                    found = max(header.key.step, header.key.sample, key=abs)
                    problem, expected = "the number is too large", f"a number below {_MOST}"
                    raise InputError(problem, file=self.path, line=number, field="key", found=found, expected=expected)
                digest = digest_of(header.key)
                if digest not in self._places and keep(header):
                    self._places[digest] = _packed(place, header.fingerprint)
                    yield header

    def headers(self) -> Iterator[RowHeader]:
        """The headers of all rows, in file order."""
        return JsonlIndex(self.path, self.kind).look()

    def append(self, row: R) -> bool:
        """Add `row`. Returns False, and keeps the existing row, if its key exists."""
        return bool(self.extend([row]))

    def extend(self, rows: Iterable[R]) -> list[R]:
        """Add `rows` in one write. Returns the new ones; an existing key keeps its first row."""
        new: dict[bytes, R] = {}
        for row in rows:
            digest = digest_of(row.key)
            if digest not in self._places:
                new.setdefault(digest, row)
        assert self._journal is not None, "the rows are not open for writing"
        for (digest, row), place in zip(new.items(), self._journal.extend(new.values()), strict=True):
            self._places[digest] = _packed(place, row.fingerprint if isinstance(row, Generation) else "")
        return [*new.values()]

    def __contains__(self, digest: bytes) -> bool:
        return digest in self._places

    def __len__(self) -> int:
        return len(self._places)

    def fingerprint_differs(self, digest: bytes, fingerprint: str) -> bool:
        """Whether the key exists with another fingerprint."""
        known = self._places.get(digest)
        return known is not None and known & ((1 << _PRINT) - 1) != _checksum(fingerprint)

    def rows(self, digests: Iterable[bytes]) -> Rows[R]:
        """The existing rows with these keys (see `digest_of`), in the given order."""
        found = (self._places.get(digest) for digest in digests)
        return Rows(self.path, self.kind, array("q", (known >> _PRINT for known in found if known is not None)))

    def everything(self) -> Rows[R]:
        """All rows, in file order."""
        return Rows(self.path, self.kind, array("q", sorted(known >> _PRINT for known in self._places.values())))

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()

    def put_in_order(self) -> int:
        """Rewrite the file with only the rows that count, sorted by key, and close it. Returns their number."""
        self.close()
        places = np.sort(np.fromiter((known >> _PRINT for known in self._places.values()), np.int64))
        self._places.clear()
        with self.path.open("rb") as file:
            order, size = [], 0
            for place in map(int, places):
                file.seek(place)
                line = file.readline()
                order.append(_rank(_HEADER.decode(line).key) + place.to_bytes(8, "big"))
                size += len(line)
            if size == self.path.stat().st_size and all(one < other for one, other in itertools.pairwise(order)):
                return len(order)
            order.sort()
            with replacing(self.path) as finished:
                for entry in order:
                    file.seek(int.from_bytes(entry[-8:], "big"))
                    finished.write(file.readline())
        return len(order)


def digest_of(key: Key) -> bytes:
    """The hash that represents `key` in memory."""
    try:
        content = _ENCODER.encode(key)
    except UnicodeEncodeError:  # `encode` replaces such characters when it writes the row
        content = encode(key)
    return hashlib.blake2b(content, digest_size=DIGEST).digest()


def _packed(place: int, fingerprint: str) -> int:
    return place << _PRINT | _checksum(fingerprint)


def _checksum(fingerprint: str) -> int:
    return zlib.crc32(fingerprint.encode())


def _rank(key: Key) -> bytes:
    """Bytes that sort like keys. A text ends with two zeros, which sort below any continuation of a longer text."""
    texts = [text.encode("utf-8", "replace").replace(b"\0", b"\0\xff") + b"\0\0" for text in (key.example_id, key.request)]
    numbers = [(number + (1 << 63)).to_bytes(8, "big") for number in (key.step, key.sample)]
    return b"".join([*texts, *numbers, key.parent.encode("utf-8", "replace"), b"\0\0"])


def _explained(line: bytes, kind: type[R], path: Path, number: int) -> InputError:
    try:
        decode(line, kind)
    except InputError as error:
        return error.replace(file=path, line=number)
    return InputError("the row cannot be read", file=path, line=number, expected=f"a row of type {kind.__name__}")

"""Rows kept on disk to save memory; only their ids and offsets are in memory.

>>> from deepcritic.schema import Example, Item
>>> rows = RowsOnDisk(Example, (Example(id=f"r{at}", item=Item(problem="1 + 1?"), source="made") for at in range(3)))
>>> len(rows), rows[2].id, [row.id for row in rows], rows.only([2, 0]).ids
(3, 'r2', ['r0', 'r1', 'r2'], ['r2', 'r0'])
"""

from __future__ import annotations

import os
import tempfile
import weakref
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, overload

from deepcritic.schema import Example, Preference, decode, encode

R = TypeVar("R", Example, Preference)
IN_MEMORY = 64 << 20
"""Bytes of rows kept in memory; more go to a temporary file (in `TMPDIR`), which is deleted with its last reader."""
_AHEAD = 1 << 20
_AHEAD_OF_SOME = 1 << 16


class _Lines:
    """Concatenated encoded rows; `starts` has one entry more than there are rows."""

    def __init__(self) -> None:
        self.starts = array("q", [0])
        self._buffer = bytearray()
        self._file: int | None = None

    def append(self, line: bytes) -> None:
        self.starts.append(self.starts[-1] + len(line))
        self._buffer += line
        if len(self._buffer) > IN_MEMORY or (self._file is not None and len(self._buffer) > _AHEAD):
            self.flush()

    def flush(self) -> None:
        """Write the rows in memory to the file, if they exceed the limit."""
        if self._file is None:
            if len(self._buffer) <= IN_MEMORY:
                return
            with tempfile.TemporaryFile(prefix="deepcritic-rows-") as file:
                self._file = os.dup(file.fileno())
            weakref.finalize(self, os.close, self._file)
        written = 0
        while written < len(self._buffer):
            written += os.write(self._file, memoryview(self._buffer)[written:])
        self._buffer = bytearray()

    def read(self, start: int, end: int) -> bytes:
        if self._file is None:
            return bytes(self._buffer[start:end])
        chunks = []
        while start < end and (chunk := os.pread(self._file, end - start, start)):
            chunks.append(chunk)
            start += len(chunk)
        return b"".join(chunks)


class RowsOnDisk(Sequence[R]):
    """The rows in their order. Each iteration reads them again."""

    def __init__(self, kind: type[R] | None, rows: Iterable[R]) -> None:
        """`kind` is the type of the rows; None means that of the first row."""
        self._lines, self.ids = _Lines(), list[str]()
        self._order: array[int] | None = None
        for row in rows:
            kind = kind or type(row)
            self.ids.append(row.id)
            self._lines.append(encode(row))
        self._lines.flush()
        self._kind: Any = kind

    def only(self, positions: Iterable[int]) -> RowsOnDisk[R]:
        """The rows at these positions, without copying them."""
        chosen = object.__new__(RowsOnDisk)
        chosen._lines, chosen._kind = self._lines, self._kind
        order = array("q", positions)
        chosen.ids = [self.ids[at] for at in order]
        chosen._order = order if self._order is None else array("q", (self._order[at] for at in order))
        return chosen

    def encoded(self) -> Iterator[bytes]:
        """Each row as its line of JSON, without the line end."""
        starts, read, held, begin, end = self._lines.starts, self._lines.read, b"", 0, 0
        ahead = _AHEAD if self._order is None else _AHEAD_OF_SOME
        for at in range(len(starts) - 1) if self._order is None else self._order:
            first, last = starts[at], starts[at + 1]
            if not (begin <= first and last <= end):
                begin, end = first, max(last, min(first + ahead, starts[-1]))
                held = read(begin, end)
            yield held[first - begin : last - begin]

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[R]:
        for line in self.encoded():
            yield decode(line, self._kind)

    @overload
    def __getitem__(self, at: int) -> R: ...

    @overload
    def __getitem__(self, at: slice) -> RowsOnDisk[R]: ...

    def __getitem__(self, at: int | slice) -> R | RowsOnDisk[R]:
        if isinstance(at, slice):
            return self.only(range(len(self))[at])
        return next(iter(self.only([range(len(self))[at]])))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

"""Row files that survive a killed writer: append lines, cut a partial last line on opening, replace finished files atomically.

>>> import tempfile, pathlib
>>> from deepcritic.schema import Message
>>> path = pathlib.Path(tempfile.mkdtemp()) / "rows.jsonl"
>>> with Journal(path, Message) as journal:
...     _ = journal.append(Message(role="user", content="a line ends at \\n only"))
>>> [row.content for row in read_rows(path, Message)]
['a line ends at \\n only']
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from deepcritic.errors import InputError
from deepcritic.runs.renamed_fields import RENAMED, with_current_names
from deepcritic.schema import Row, decode, encode
from deepcritic.text.files import lines_of

R = TypeVar("R", bound=Row)
_CHUNK = 1 << 20
UNFINISHED = ".part"
"""The suffix of temporary files. `clear_unfinished` removes those that a killed writer left."""


class Journal(Generic[R]):
    """A file that rows are appended to. Each row is flushed to the operating system before `append` or `extend` returns.

    `cut` is the number of bytes of a partial last line, left by a killed writer, that were removed on opening.
    """

    def __init__(self, path: Path, kind: type[R]) -> None:
        self.path, self.kind = path, kind
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.cut = _cut_torn_tail(self._file)
        self._end = os.fstat(self._file).st_size

    def __iter__(self) -> Iterator[R]:
        return read_rows(self.path, self.kind)

    def append(self, row: R) -> int:
        """Write `row` as one line. Returns its byte offset."""
        return self.extend([row])[0]

    def extend(self, rows: Iterable[R]) -> list[int]:
        """Write `rows` in one write. Returns their byte offsets. On a full disk, none of them stays in the file."""
        lines = [encode(row) + b"\n" for row in rows]
        content, written = b"".join(lines), 0
        try:
            while written < len(content):
                written += os.write(self._file, content[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
            raise OSError(error.errno, error.strerror, os.fspath(self.path)) from error
        starts = [*itertools.accumulate(map(len, lines), initial=self._end)]
        self._end = starts.pop()
        return starts

    def close(self) -> None:
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield `(number, line)`, from 1. A line ends only at a line feed. Blank lines are skipped.

    Gzip files and files with a byte-order mark are supported.
    """
    return lines_of(path)


def read_rows(path: Path, kind: type[R]) -> Iterator[R]:
    """Yield the rows of `path`. Raises `InputError` with file, line and field for an invalid row."""
    for number, line in read_lines(path):
        try:
            yield decode(line, kind)
        except InputError as error:
            if (error.field or "").rpartition(".")[2] not in RENAMED:
                raise error.replace(file=path, line=number) from None
            line = json.dumps(with_current_names(json.loads(line))).encode()
            try:
                yield decode(line, kind)
            except InputError as other:
                raise other.replace(file=path, line=number) from None


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write a row file atomically (temporary file, fsync, rename). Returns the number of rows."""
    count = 0
    with replacing(path) as file:
        for row in rows:
            file.write(encode(row) + b"\n")
            count += 1
    return count


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file of a run, under the current names of its fields. Raises `InputError` for anything else."""
    expected, remedy = "a JSON object written by deepcritic", "restore the file, or start over with overwrite=true"
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({error})", file=path, expected=expected, remedy=remedy) from None
    if not isinstance(value, dict):
        raise InputError("not an object", file=path, found=value, expected=expected, remedy=remedy)
    found: dict[str, Any] = with_current_names(value)
    return found


@contextlib.contextmanager
def as_written(*paths: Path) -> Iterator[None]:
    """Wraps code that reads files this package wrote to `paths`. Raises `InputError` if their contents are wrong."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        problem = f"invalid fields ({type(error).__name__}: {error})"
        remedy = "restore the file, or start over with overwrite=true"
        raise InputError(problem, file=", ".join(map(str, paths)), remedy=remedy) from error


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically, with keys in the given order."""
    with replacing(path) as file:
        file.write(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Any]:
    """A binary file that replaces `path` when the block succeeds, and is removed when it fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=UNFINISHED, dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None and error.errno:
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise


def clear_unfinished(folder: Path) -> None:
    """Remove a killed writer's temporary files in `folder`. Call it only as the folder's owner, while not writing."""
    for path in folder.rglob(f".*{UNFINISHED}"):
        path.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system can sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _cut_torn_tail(file: int) -> int:
    size = end = os.fstat(file).st_size
    while end > 0:
        start = max(0, end - _CHUNK)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(file, end)
    return size - end

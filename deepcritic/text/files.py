r"""Text files in UTF-8: gzip is detected by content, a byte-order mark is skipped, and other encodings raise a clear error.

A line ends at "\n" only: form feeds and U+2028 occur inside real steps.

>>> import gzip, pathlib, tempfile
>>> path = pathlib.Path(tempfile.mkdtemp()) / "rows.jsonl"
>>> _ = path.write_bytes(gzip.compress(b'\xef\xbb\xbf{"a": 1}\n\n{"a": 2}\n'))
>>> list(lines_of(path))
[(1, b'{"a": 1}'), (3, b'{"a": 2}')]
"""

from __future__ import annotations

import contextlib
import gzip
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, cast

from deepcritic.errors import InputError

BOM: Final = b"\xef\xbb\xbf"
BLANK: Final = b" \t\r\n"
_GZIP: Final = b"\x1f\x8b"
_OTHERS: Final = (
    (b"PAR1", "Parquet"), (b"ARROW1", "Arrow"), (b"PK\x03\x04", "a zip archive or a spreadsheet"), (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"SQLite format 3", "an SQLite database"),
    (b"\x80\x04\x95", "a pickle"),
)  # fmt: skip
_UTF: Final = (
    (b"\xff\xfe\x00\x00", "UTF-32"), (b"\x00\x00\xfe\xff", "UTF-32"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"),
)  # fmt: skip

_PAGE: Final = "download the file itself: on the hub its address has /resolve/ in place of /blob/"
_IN_PLACE: Final = (
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file: git lfs pull"),
    (b"<!doctype html", "a web page", _PAGE),
    (b"<html", "a web page", _PAGE),
    (b"<?xml", "XML, perhaps the error of a server", _PAGE),
)


def open_bytes(path: str | os.PathLike[str]) -> IO[bytes]:
    """The file opened for reading bytes, decompressed if its content is gzip, once or twice, whatever its name."""
    file = Path(path).expanduser()
    plain = file.open("rb")
    if plain.peek(2)[:2] != _GZIP:
        return plain
    plain.close()
    with gzip.open(file, "rb") as inner:
        twice = inner.read(2) == _GZIP
    packed = cast(IO[bytes], gzip.open(file, "rb"))  # noqa: SIM115  # the caller closes it
    return cast(IO[bytes], gzip.open(packed, "rb")) if twice else packed


def head_of(path: str | os.PathLike[str], size: int = 4096) -> bytes:
    """The first bytes of the decompressed content. Raises `InputError` for a file that cannot be read."""
    with readable(path), open_bytes(path) as stream:
        return stream.read(size)


def kind_of(head: bytes) -> str | None:
    """The format of content that is not UTF-8 text: "Parquet", "UTF-16", "a zip archive or a spreadsheet"; None for text."""
    for magic, name in (*_OTHERS, *_UTF):
        if head.startswith(magic):
            return name
    nul = head[:64]
    if len(nul) >= 4 and b"\x00" in nul:
        return "UTF-16" if set(nul[::2]) == {0} or set(nul[1::2]) == {0} else "binary"
    return None


def check_text(path: str | os.PathLike[str], head: bytes) -> None:
    """Refuse content that is not UTF-8 text, or is a page or a pointer in place of the file; the error names what it is."""
    kind = kind_of(head)
    begins = head.removeprefix(BOM).lstrip(BLANK)[:64]
    for magic, what, remedy in _IN_PLACE:
        if begins.lower().startswith(magic):
            shown = begins.partition(b"\n")[0].decode("utf-8", "replace")
            raise InputError(f"the file is {what}", file=path, found=shown, expected="the data themselves", remedy=remedy)
    if kind in ("UTF-16", "UTF-32"):
        raise InputError(
            f"the file is in {kind}", file=path, expected="UTF-8", remedy=f"convert it: iconv -f {kind} -t UTF-8 OLD > NEW"
        )
    if kind is not None:
        raise InputError(f"the file is not text but {kind}", file=path, expected="UTF-8 text, plain or gzipped")


def lines_of(path: str | os.PathLike[str]) -> Iterator[tuple[int, bytes]]:
    r"""Stream `(number, line)` from 1, without line ends, blank lines and a byte-order mark."""
    number = 0
    with readable(path) as at, open_bytes(path) as stream:
        for number, line in enumerate(stream, start=1):
            if number == 1:
                check_text(path, line)
                line = line.removeprefix(BOM)
            if content := line.strip(BLANK):
                yield number, content
            at[0] = number + 1


@contextlib.contextmanager
def readable(path: str | os.PathLike[str]) -> Iterator[list[int]]:
    """Turn read errors into `InputError`; the caller keeps the current line number in the yielded list."""
    at = [1]
    try:
        yield at
    except FileNotFoundError:
        raise
    except (gzip.BadGzipFile, EOFError, zlib.error, OSError) as error:
        raise InputError(f"the file cannot be read ({error})", file=path, line=at[0], expected="a whole file") from None

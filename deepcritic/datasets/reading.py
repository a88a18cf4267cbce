"""Records out of files and off the hub, each with the line that it begins on.

A line ends at "\\n" only: form feeds and U+2028 occur inside real steps.
"""

from __future__ import annotations

import difflib
import gzip
import json
import os
import re
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import IO, Any, Final, cast

import msgspec

from deepcritic.errors import InputError

Record = dict[str, Any]
_HUB: Final = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_FILES: Final = (".json", ".jsonl", ".json.gz", ".jsonl.gz")
_BLANK: Final = re.compile(r"[ \t\r\n]*")


def read_records(
    path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    split: str | None = None,
    on_bad: Callable[[InputError], None] | None = None,
) -> Iterator[tuple[int, Record]]:
    """The records of a file with the line that each begins on, or those of a data set on the hub with their number.

    In a .json file they are the elements of an array, those of the arrays in an object (MR-Ben), or the object itself.
    JSON Lines are read as a stream. A line that is not a JSON object goes to `on_bad`, which may raise it, as happens without.
    """
    file = Path(path).expanduser()
    if file.exists() or not isinstance(path, str) or not (hub := _HUB.fullmatch(path)) or path.endswith(_FILES):
        if revision is not None:
            raise InputError("a local file has no revision", file=path, found=revision, expected="a hub id, or no revision")
        _check_file(path, file)
        records = _json_lines(path, on_bad) if file.name.endswith((".jsonl", ".jsonl.gz")) else _json(path)
        return _objects(path, records, on_bad)
    return _hub(hub["name"], revision or hub["revision"], split)


def read_lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, bytes]]:
    r"""The lines of a file, which end at "\n" only, without their ends and without blank ones; and their numbers, from 1."""
    file = Path(path).expanduser()
    _check_file(path, file)
    return _lines(path)


def _check_file(path: str | os.PathLike[str], file: Path) -> None:
    if not file.exists():
        siblings = [entry.name for entry in file.parent.iterdir()] if file.parent.is_dir() else []
        near = difflib.get_close_matches(file.name, siblings, n=1)
        expected = os.fspath(file.with_name(near[0])) if near else "an existing file, or a hub id such as Qwen/ProcessBench"
        raise InputError("there is no such file", file=path, expected=expected)
    if not file.is_file():
        raise InputError("this is not a file", file=path, expected=f"a file ending in {', '.join(_FILES)}")
    if not file.name.endswith(_FILES):
        raise InputError("unknown kind of file", file=path, expected=f"a name ending in {', '.join(_FILES)}")


def _open(path: str | os.PathLike[str]) -> IO[bytes]:
    file = Path(path).expanduser()
    return cast(IO[bytes], gzip.open(file, "rb")) if file.name.endswith(".gz") else file.open("rb")


def _lines(path: str | os.PathLike[str]) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with _open(path) as stream:
            for number, line in enumerate(stream, start=1):
                content = (line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line).strip(b" \t\r\n")
                if content:
                    yield number, content
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"the file cannot be read ({error})", file=path, line=number + 1, expected="a whole file") from None


def _json_lines(path: str | os.PathLike[str], on_bad: Callable[[InputError], None] | None) -> Iterator[tuple[int, Any]]:
    for number, line in _lines(path):
        try:
            value = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            shown, expected = line[:80].decode("utf-8", "replace"), "one JSON object a line"
            bad = InputError(f"not JSON in UTF-8 ({error})", file=path, line=number, found=shown, expected=expected)
            if on_bad is None:
                raise bad from None
            on_bad(bad)
        else:
            yield number, value


def _objects(
    path: str | os.PathLike[str], values: Iterator[tuple[int, Any]], on_bad: Callable[[InputError], None] | None
) -> Iterator[tuple[int, Record]]:
    for number, value in values:
        if isinstance(value, dict):
            yield number, value
            continue
        bad = InputError("a row must be an object", file=path, line=number, found=value, expected='{"id": ..., ...}')
        if on_bad is None:
            raise bad
        on_bad(bad)


def _json(path: str | os.PathLike[str]) -> Iterator[tuple[int, Any]]:
    try:
        with _open(path) as stream:
            text = stream.read().decode("utf-8-sig")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InputError(f"the file cannot be read ({error})", file=path, expected="a whole file in UTF-8") from None
    line, counted = 1, 0
    try:
        for at, value in _elements(text):
            line, counted = line + text.count("\n", counted, at), at
            yield line, value
    except json.JSONDecodeError as error:
        expected = "a JSON array of objects"
        raise InputError(
            f"not JSON ({error.msg}, column {error.colno})", file=path, line=error.lineno, expected=expected
        ) from None
    except RecursionError:
        raise InputError("nested too deeply", file=path, expected="a JSON array of objects") from None


def _elements(text: str) -> Iterator[tuple[int, Any]]:
    decoder = json.JSONDecoder()
    at = _skip(text, 0)
    if text.startswith("[", at):
        at = yield from _array(text, at, decoder)
        _expect_end(text, at)
        return
    value, end = decoder.raw_decode(text, at)
    _expect_end(text, end)
    if not (value and isinstance(value, dict) and all(isinstance(entry, list) for entry in value.values())):
        yield at, value
        return
    at = _skip(text, at + 1)
    while text[at] != "}":  # the object has been read once: its form is right
        _, at = decoder.raw_decode(text, at)
        at = yield from _array(text, _skip(text, _skip(text, at) + 1), decoder)
        at = _skip(text, at)
        at = _skip(text, at + 1) if text[at] == "," else at


def _array(text: str, at: int, decoder: json.JSONDecoder) -> Generator[tuple[int, Any], None, int]:
    """The elements of the array at `at`, each with where it starts; returns where the array ends."""
    at = _skip(text, at + 1)
    if text.startswith("]", at):
        return at + 1
    while True:
        value, end = decoder.raw_decode(text, at)
        yield at, value
        at = _skip(text, end)
        if text.startswith("]", at):
            return at + 1
        if not text.startswith(",", at):
            raise json.JSONDecodeError("expecting ',' or ']'", text, at)
        at = _skip(text, at + 1)


def _skip(text: str, at: int) -> int:
    match = _BLANK.match(text, at)
    return match.end() if match else at


def _expect_end(text: str, at: int) -> None:
    at = _skip(text, at)
    if at < len(text):
        raise json.JSONDecodeError("extra data", text, at)


def _hub(name: str, revision: str | None, split: str | None) -> Iterator[tuple[int, Record]]:
    shown = f"{name}@{revision}" if revision else name
    try:
        import datasets
    except ImportError:
        remedy = "pip install 'deepcritic[datasets]' to read from the hub"
        raise InputError("there is no such file, and `datasets` is not installed", file=shown, remedy=remedy) from None
    try:
        loaded = datasets.load_dataset(name, revision=revision, split=split)
    except Exception as error:  # the library raises dozens of kinds, for no network, no such name and no such revision alike
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        expected = "an existing file, or a data set that the hub or its local cache holds"
        raise InputError(
            f"there is no such file, and the hub gives no data set ({reason})", file=shown, expected=expected
        ) from None
    parts = loaded.values() if isinstance(loaded, dict) else [loaded]
    return enumerate((dict(row) for part in parts for row in part), start=1)

r"""Reads all input rows: from a file, a folder, a data set on the hub, or memory.

    for place, record in read_records("rows.jsonl"): ...           # place.file, place.line; record: a dict
    for place, record in read_records("org/name@v1", split="test", config="main"): ...
    for place, record in read_records(pandas.read_csv("rows.csv")): ...

The format is detected from the content: JSON, JSON Lines, CSV (by its name), Parquet, Arrow; plain or gzipped; with or without a
byte-order mark. A line ends at "\n" only. JSON Lines, CSV and Parquet are streamed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

import msgspec

from deepcritic.datasets.csv_rows import separated_rows
from deepcritic.datasets.documents import documents_of
from deepcritic.datasets.frames import from_disk, from_hub, from_memory, parquet_rows, plain
from deepcritic.errors import InputError
from deepcritic.text.files import BLANK, BOM, check_text, head_of, kind_of, lines_of

Record = dict[str, Any]
Rows = str | os.PathLike[str] | Iterable[Mapping[str, Any]]
"""A source of rows: a path, a hub id, or an iterable of mappings (`datasets.Dataset`, a pandas frame, a list)."""
OnBad = Callable[[InputError], None]
ENDINGS: Final = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet")
_LINES: Final = (".jsonl", ".ndjson")
_HUB: Final = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_NOT_ROWS: Final = frozenset({"dataset_infos.json", "dataset_info.json", "state.json", "config.json", "manifest.json"})
_CONSTANT: Final = re.compile(rb"[\[:,]\s*(NaN|-?Infinity)\s*[,\]}]")


class Place(NamedTuple):
    """The place of a row: its file, and its first line, from 1 (the row number if not a text file)."""

    file: str
    line: int


def read_records(
    path: Rows,
    *,
    revision: str | None = None,
    split: str | None = None,
    config: str | None = None,
    on_bad: OnBad | None = None,
) -> Iterator[tuple[Place, Record]]:
    """The records of `path`, each with its place.

    In a JSON file they are the elements of an array, those of the arrays in an object (MR-Ben), the rows of a table stored by
    column, the objects stored under their ids, or the object itself. All files with rows in a folder and all splits are read;
    `split` selects one, `config` a configuration on the hub.
    A row that is not a JSON object is passed to `on_bad` as an error, or raised without `on_bad`. A missing source raises
    `InputError` immediately, unreadable content while iterating.
    """
    if not isinstance(path, str | os.PathLike):
        return _placed(type(path).__name__, from_memory(path, split))
    file, name = Path(path).expanduser(), os.fspath(path)
    hub = _HUB.fullmatch(name) if isinstance(path, str) and not _has_ending(name) else None
    if hub and not file.exists():
        shown = revision or hub["revision"]
        return _placed(f"{hub['name']}@{shown}" if shown else hub["name"], from_hub(hub["name"], shown, split, config))
    for option, value in (("revision", revision), ("config", config)):
        if value is not None:
            raise InputError(
                f"a local file does not support {option}", file=path, found=value, expected=f"a hub id, or no {option}"
            )
    _check_there(name, file)
    if file.is_dir():
        return _folder(file, name, split, on_bad)
    return _objects(_file(name), on_bad)


def read_lines(path: Rows) -> Iterator[tuple[Place, bytes]]:
    """The rows of `path` as lines of JSON, each with its place; the lines of JSON Lines are unchanged."""
    if isinstance(path, str | os.PathLike) and (file := Path(path).expanduser()).is_file() and _is_lines(os.fspath(path)):
        name = os.fspath(path)
        return ((Place(name, number), line) for number, line in lines_of(file))
    return ((place, as_json(record, place)) for place, record in read_records(path))


def lines_file(path: str | os.PathLike[str]) -> tuple[IO[bytes], Iterator[tuple[int, int, bytes]]]:
    """An open file of JSON Lines with the rows of `path`, and a stream of `(line, start, content)`; rows can be reread from
    `start`. It is a temporary copy if `path` is gzipped, has a byte-order mark, or is in another format."""
    import tempfile

    name = os.fspath(path)
    _check_there(name, Path(path).expanduser())
    with Path(path).expanduser().open("rb") as stream:
        head = stream.read(4096)
    if kind_of(head) is None and not head.startswith((BOM, b"\x1f\x8b")) and _is_lines(name):
        file = Path(path).expanduser().open("rb")
        return file, _with_starts(enumerate(file, start=1))
    copy: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it

    def copied() -> Iterator[tuple[int, bytes]]:
        for place, line in read_lines(path):
            copy.write(line + b"\n")
            copy.flush()  # yielded rows can be reread at once
            yield place.line, line + b"\n"

    return copy, _with_starts(copied())


def _with_starts(lines: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, int, bytes]]:
    start = 0
    for number, line in lines:
        yield number, start, line
        start += len(line)


def is_lines_of_json(name: str) -> bool:
    """Whether the name says that a file holds JSON Lines."""
    return name.removesuffix(".gz").endswith(_LINES)


def _has_ending(name: str) -> bool:
    return name.removesuffix(".gz").endswith(ENDINGS)


def _check_there(name: str, file: Path) -> None:
    if file.exists():
        return
    import difflib

    siblings = [entry.name for entry in file.parent.iterdir()] if file.parent.is_dir() else []
    near = difflib.get_close_matches(file.name, siblings, n=1)
    expected = os.fspath(file.with_name(near[0])) if near else "an existing file, or a hub id such as Qwen/ProcessBench"
    raise InputError("no such file", file=name, expected=expected)


def _placed(name: str, records: Iterable[Record]) -> Iterator[tuple[Place, Record]]:
    return ((Place(name, number), record) for number, record in enumerate(records, start=1))


def _folder(folder: Path, name: str, split: str | None, on_bad: OnBad | None) -> Iterator[tuple[Place, Record]]:
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        return _placed(name, from_disk(folder, split))
    if (folder / "manifest.json").is_file():
        found = ", ".join(sorted(file.name for file in folder.glob("*.jsonl")))
        raise InputError("the path is a stage folder", file=name, found=found, expected="one of its files")
    inside = files_of(folder)
    chosen = inside if split is None else [file for file in inside if _of_split(file.relative_to(folder).as_posix(), split)]
    if not chosen:
        ends = ", ".join(ENDINGS)
        what = "no file with rows in this folder" if not inside else f"no file for split {split!r} in this folder"
        raise InputError(what, file=name, found=[file.name for file in inside] or None, expected=f"a file ending in {ends}")
    return (row for file in chosen for row in _objects(_file(os.fspath(file)), on_bad))


def files_of(folder: Path) -> list[Path]:
    """The files with rows in a folder and its subfolders, sorted by name."""

    def has_rows(file: Path) -> bool:
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        return _has_ending(file.name) and file.name not in _NOT_ROWS and not hidden and file.is_file()

    return sorted(filter(has_rows, folder.rglob("*")))


def _of_split(name: str, split: str) -> bool:
    return re.search(rf"(?<![A-Za-z0-9]){re.escape(split)}(?![A-Za-z])", name) is not None


def _file(name: str) -> Iterator[tuple[Place, Any]]:
    path = Path(name).expanduser()
    head = head_of(path)
    kind = kind_of(head)
    if kind in ("Parquet", "Arrow"):
        return _placed(name, parquet_rows(path, kind))
    check_text(name, head)
    ending = Path(name.removesuffix(".gz")).suffix
    if ending == ".parquet":
        raise InputError(
            "the name says Parquet, and the content is not",
            file=name,
            found=head[:40].decode("utf-8", "replace"),
            expected="PAR1",
        )
    begins = head.removeprefix(BOM).lstrip(BLANK)[:1]
    if ending in (".csv", ".tsv"):
        return ((Place(name, line), row) for line, row in separated_rows(path, "\t" if ending == ".tsv" else None))
    if begins not in (b"{", b"[") and ending not in ENDINGS:
        shown = head[:40].decode("utf-8", "replace")
        raise InputError("unknown kind of file", file=name, found=shown, expected=f"a file ending in {', '.join(ENDINGS)}")
    if _is_lines(name, begins):
        return _json_lines(name)
    return ((Place(name, line), value) for line, value in documents_of(path))


def _is_lines(name: str, begins: bytes | None = None) -> bool:
    """Whether a file holds JSON Lines: by its name, unless it begins an array; else if its first line is a complete object and is
    not the only line."""
    path = Path(name).expanduser()
    if begins is None:
        head = head_of(path)
        if kind_of(head) is not None:
            return False
        begins = head.removeprefix(BOM).lstrip(BLANK)[:1]
    if is_lines_of_json(name) or begins != b"{":
        return is_lines_of_json(name) and begins != b"["
    if Path(name.removesuffix(".gz")).suffix in (".csv", ".tsv"):
        return False
    lines = lines_of(path)
    first, second = next(lines, (0, b""))[1], next(lines, (0, b""))[1]
    try:
        return second[:1] == b"{" and isinstance(msgspec.json.decode(first), dict)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


def _json_lines(name: str) -> Iterator[tuple[Place, Any]]:
    for number, line in lines_of(name):
        place = Place(name, number)
        try:
            yield place, msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield place, _not_json(place, line, error)


def _not_json(place: Place, line: bytes, error: Exception) -> InputError:
    shown = line[:80].decode("utf-8", "replace")
    if constant := _CONSTANT.search(line):
        what = constant[1].decode()
        return InputError(f"{what} is not JSON", file=place.file, line=place.line, found=shown, expected="a number, or null")
    if place.line == 1 and b"truncated" in str(error).encode():
        remedy = "write one object per line: jq -c . OLD > NEW"
        problem = "not JSON in UTF-8 (the object does not end on its line)"
        return InputError(problem, file=place.file, line=place.line, found=shown, remedy=remedy)
    return InputError(
        f"not JSON in UTF-8 ({error})", file=place.file, line=place.line, found=shown, expected="one JSON object per line"
    )


def _objects(values: Iterator[tuple[Place, Any]], on_bad: OnBad | None) -> Iterator[tuple[Place, Record]]:
    for place, value in values:
        if isinstance(value, dict):
            yield place, value
            continue
        bad = value
        if not isinstance(value, InputError):
            bad = InputError(
                "a row must be an object", file=place.file, line=place.line, found=value, expected='{"id": ..., ...}'
            )
        if on_bad is None:
            raise bad
        on_bad(bad)


def as_json(record: Record, place: Place) -> bytes:
    """A record as one line of JSON, without the line end. Raises `InputError` for a value that JSON cannot represent."""
    try:
        return json.dumps(plain(record), ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")
    except (TypeError, ValueError) as error:
        raise InputError(f"the row cannot be written as JSON ({error})", file=place.file, line=place.line) from None

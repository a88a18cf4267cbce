"""Reads a critic's saved verdicts, from `stage=evaluate`, `stage=filter` or another program.

source = find_verdicts("runs/x/filter", "stage.verdicts")
rows, forged = read_votes(source.file)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from deepcritic.datasets.forged import kind_of
from deepcritic.datasets.own import rows_of
from deepcritic.datasets.reading import read_records
from deepcritic.errors import InputError
from deepcritic.runs.jsonl import read_json
from deepcritic.runs.manifest import manifest_of
from deepcritic.schema import ALL_CORRECT, Judged


class RowVotes(NamedTuple):
    """A critic's verdicts on one row: the `share` of the readable `votes` that name an error (NaN: none readable), whether the
    vote names one, and all verdicts."""

    id: str
    part: str
    share: float
    votes: int
    says_error: bool | None
    failed: bool = False
    verdicts: tuple[int | None, ...] = ()


class Source(NamedTuple):
    """The source of verdicts: the file, the critic's name, and the file of the judged rows, if found, with its column
    names."""

    file: Path
    model: str | None
    examples: Path | None
    columns: Mapping[str, str] | None = None


def find_verdicts(given: str, field: str) -> Source:
    """Find the verdicts of a finished evaluation or filter from its folder or `verdicts.jsonl`, or another file of verdicts."""
    path = Path(given).expanduser()
    file = path / "verdicts.jsonl" if path.is_dir() else path
    if not file.is_file():
        expected = "the folder of stage=evaluate or stage=filter, or a file of verdicts"
        raise InputError("no verdicts found", field=field, found=given, expected=expected)
    manifest = manifest_of(file.parent) if file.name == "verdicts.jsonl" else None
    if path.is_dir() and manifest is None:
        raise InputError("the stage is not finished", field=field, found=given, remedy="rerun its command to finish it")
    model = (manifest or {}).get("label") or (manifest or {}).get("model")
    if manifest is None:
        return Source(file, model, None)
    beside, config = file.parent / "examples.jsonl", file.parent / "config.json"
    asked = read_json(config) if config.is_file() else {}
    columns = {name.partition(".")[2]: str(value) for name, value in asked.items() if name.startswith("columns.")}
    examples = beside if beside.is_file() else Path(str(asked.get("examples", "")))
    return Source(file, model, examples if examples.is_file() else None, columns or None)


def read_votes(file: Path) -> tuple[list[RowVotes], int]:
    """The critic's verdicts on each row, and the number of forged rows skipped.

    Rows are those of `verdicts.jsonl`, or have `id`, `verdict` or `verdicts` (-1: no error, null: unparsed), and optionally
    `part`.
    Raises `InputError` for a duplicate id, for verdicts of another task, and for a file without rows.
    """
    found: dict[str, RowVotes] = {}
    forged = 0
    for line, row in enumerate(_rows(file), start=1):
        if kind_of(row.id)[1] is not None:
            forged += 1
            continue
        if row.id in found:
            raise InputError("duplicate id", file=file, line=line, field="id", found=row.id, expected="unique ids")
        found[row.id] = row
    if not found:
        raise InputError("no rows", file=file, expected="verdicts.jsonl of stage=evaluate or stage=filter")
    return list(found.values()), forged


def _rows(file: Path) -> Iterator[RowVotes]:
    first: dict[str, Any] = next((record for _, record in read_records(file)), {})
    if "stratum" in first:
        yield from (_of_judged(row, file) for row in rows_of(file, Judged))
        return
    for place, record in read_records(file):
        verdicts = record.get("verdicts", [record["verdict"]] if "verdict" in record else None)
        if not isinstance(record.get("id"), str) or not isinstance(verdicts, list):
            fields = ", ".join(record)
            expected = "verdicts.jsonl of stage=evaluate or stage=filter, or rows with id and verdict"
            raise InputError("no verdicts", file=place.file, line=place.line, found=fields, expected=expected)
        read = tuple(None if one is None else _whole(one, place.file, place.line) for one in verdicts)
        yield _row_votes(record["id"], str(record.get("part") or ""), read)


def _of_judged(row: Judged, file: Path) -> RowVotes:
    read = tuple(None if one is None else _whole(one, file, None) for one in row.verdicts)
    found = _row_votes(row.id, row.benchmark, read)
    says = found.says_error if row.vote is None or not found.votes else row.vote != ALL_CORRECT
    return found._replace(says_error=says, failed=bool(row.samples) and not read)


def _row_votes(name: str, part: str, verdicts: tuple[int | None, ...]) -> RowVotes:
    readable = [one for one in verdicts if one is not None]
    share = sum(one != ALL_CORRECT for one in readable) / len(readable) if readable else math.nan
    return RowVotes(name, part, share, len(readable), share > 0.5 if readable else None, verdicts=verdicts)


def _whole(verdict: object, file: str | Path, line: int | None) -> int:
    if isinstance(verdict, int) and not isinstance(verdict, bool) and verdict >= ALL_CORRECT:
        return verdict
    raise InputError("not a step verdict", file=file, line=line, field="verdicts", found=verdict, expected="a step, or -1")

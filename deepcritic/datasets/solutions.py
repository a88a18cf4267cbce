"""Solutions to critique: any rows with a problem and steps, each with its original record and without its gold.

    for row in read_solutions("rows.parquet", columns={"steps": "solution"}):
        row.id, row.item.steps, row.record

Reads our own `Example` rows, and rows with any column names as `deepcritic.datasets.table` does; labels are ignored.

>>> (row,) = read_solutions([{"problem": "1 + 1?", "steps": ["It is 3."], "label": 0, "note": "mine"}])
>>> row.item.steps, row.record["note"]
(('It is 3.',), 'mine')
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import msgspec

from deepcritic.datasets import table
from deepcritic.datasets.base import Columns, check_problem, placed, under_names
from deepcritic.datasets.fields import check_columns, missing
from deepcritic.datasets.reading import Place, Record, Rows, read_records
from deepcritic.errors import InputError
from deepcritic.schema import Example, Item

FIELDS: Final = ("problem", "steps", "id", "generator", "subset")


class Solution(NamedTuple):
    """One row: the item that a critic sees, its part (its source, and its subset if it has one), and the whole record."""

    id: str
    item: Item
    part: str
    record: Record
    place: Place


def read_solutions(path: Rows, *, columns: Columns | None = None, source: str = "table") -> Iterator[Solution]:
    """The rows, in file order. `source` is the default source of a row.

    Raises `InputError`, with file, line and field, for a row without a problem or without a field for its steps.
    """
    check_columns(columns, None, FIELDS)
    flat = under_names(lambda record: _flat(record, source), columns)
    for place, record in read_records(path):
        try:
            row = _own(record) if isinstance(record.get("item"), dict) and not columns else flat(record)
            check_problem(row)
        except InputError as error:
            raise placed(error, place) from None
        subset = row.item.meta.get("subset")
        part = f"{row.source}/{subset}" if isinstance(subset, str) and subset else row.source
        yield Solution(row.id, row.item, part, record, place)


def _own(record: Record) -> Example:
    """One of our rows, with its gold removed before parsing."""
    kept = {name: value for name, value in record.items() if name in Example.__struct_fields__ and name != "gold"}
    try:
        return msgspec.convert(kept, Example)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$.")
        raise InputError(message, field=place.rstrip("`") or None, expected="id, item and source") from None


def _flat(record: Record, source: str) -> Example:
    if "steps" not in record:
        raise missing(record, "steps", "the steps of the solution, or its text")
    seen: Record = {name: record[name] for name in ("problem", "steps", "id", "generator") if name in record}
    row = next(table.read([seen], source=source))
    subset = record.get("subset")
    return (
        row
        if not subset
        else msgspec.structs.replace(row, item=msgspec.structs.replace(row.item, meta={**row.item.meta, "subset": str(subset)}))
    )

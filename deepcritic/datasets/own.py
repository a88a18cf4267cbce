"""Our own rows: of the kind that a task needs, or of one given kind.

rows = list(read("labelled.jsonl", task.row))
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from deepcritic.datasets import examples, preference_pairs, table
from deepcritic.datasets.base import Columns, placed
from deepcritic.datasets.reading import Rows, read_lines
from deepcritic.errors import InputError
from deepcritic.schema import Example, Preference, Row, decode

R = TypeVar("R", bound=Row)


def rows_of(path: Rows, kind: type[R]) -> Iterator[R]:
    """Rows of any kind, such as `Generation` or `Scores`, from any kind of file; errors give the place."""
    for place, line in read_lines(path):
        try:
            yield decode(line, kind)
        except InputError as error:
            raise placed(error, place) from None


def read(
    path: Rows, kind: type[Row], *, columns: Columns | None = None, index_base: int | None = None
) -> Iterator[Example] | Iterator[Preference]:
    """The rows of a file, with their gold checked. With `columns` or an `index_base` they are solutions with any column names
    (see `deepcritic.datasets.table`)."""
    if kind is Preference:
        return preference_pairs.read(path)
    named = columns is not None or index_base is not None
    return table.read(path, columns=columns, index_base=index_base) if named else examples.read(path)

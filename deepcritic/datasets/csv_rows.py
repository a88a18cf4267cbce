"""CSV: a header, then one row for each record. All values are texts; an empty one is None."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from deepcritic.errors import InputError
from deepcritic.text.files import open_bytes, readable

_INDEX: Final = "Unnamed: 0"
"""The name that pandas gives to the first column if it has none: the index of a frame."""
_LONGEST: Final = 2**31 - 1


def separated_rows(path: Path, delimiter: str | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Stream `(line, row)`. The default delimiter is the one of comma, semicolon and tab that occurs most often in the header.

    A first column without a name is pandas' index. Raises `InputError` for a header with a repeated or another empty column name,
    and for a row with more or fewer values.
    """
    csv.field_size_limit(_LONGEST)  # a solution may be longer than csv's default limit of 131,072 characters
    with readable(path), open_bytes(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", newline="")
        try:
            yield from _rows(path, text, delimiter)
        except UnicodeDecodeError as error:
            raise InputError(f"the file cannot be read ({error})", file=path, expected="a text in UTF-8") from None


def _rows(path: Path, text: io.TextIOWrapper, delimiter: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    first = text.readline()
    chosen = delimiter or max(",;\t", key=first.count)
    reader = csv.reader(_chain(first, text), delimiter=chosen, strict=True)
    line, names = 1, None
    try:
        for values in reader:
            if names is None:
                names = [name.strip() for name in values]
                if not names[0] and len(names) > 1:
                    names[0] = _INDEX
                if len(set(names)) < len(names) or not all(names):
                    expected = "a first line that names each column once"
                    raise InputError("the header names no columns", file=path, line=1, found=values, expected=expected)
            elif values:
                if len(values) != len(names):
                    raise InputError(
                        "the row has a different number of values than the header", file=path, line=line, found=len(values),
                        expected=f"{len(names)}: {', '.join(names)}",
                    )  # fmt: skip
                yield line, {name: value or None for name, value in zip(names, values, strict=True)}
            line = reader.line_num + 1
    except csv.Error as error:
        raise InputError(f"not CSV ({error})", file=path, line=line, expected="values in double quotes where needed") from None


def _chain(first: str, rest: io.TextIOWrapper) -> Iterator[str]:
    yield first
    yield from rest

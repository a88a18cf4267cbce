"""JSON documents: the rows in an array or in the arrays of an object, stored by column, or each under its id; with their lines.

The whole text is held in memory, and its elements are decoded one by one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

from deepcritic.errors import InputError
from deepcritic.text.files import open_bytes, readable

_BLANK: Final = re.compile(r"[ \t\r\n]*")


class _Constant(ValueError):
    """NaN and infinities, which Python's decoder accepts."""


def documents_of(path: Path) -> Iterator[tuple[int, Any]]:
    """`(line, value)` of each row in a JSON file; raises `InputError` if it is not JSON."""
    try:
        with readable(path), open_bytes(path) as stream:
            text = stream.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
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
    except _Constant as error:
        place = text.find(str(error), counted)
        raise InputError(
            f"{error} is not JSON", file=path, line=1 + text.count("\n", 0, max(place, 0)), expected="a number, or null"
        ) from None
    except RecursionError:
        raise InputError("nested too deeply", file=path, expected="a JSON array of objects") from None


def _refuse(constant: str) -> NoReturn:
    raise _Constant(constant)


def _elements(text: str) -> Iterator[tuple[int, Any]]:
    decoder = json.JSONDecoder(parse_constant=_refuse)
    at = _skip(text, 0)
    if text.startswith("[", at):
        at = yield from _array(text, at, decoder)
        _expect_end(text, at)
        return
    value, end = decoder.raw_decode(text, at)
    _expect_end(text, end)
    turned = _rows_by_column(value) or _rows_by_id(value)
    if turned is not None:
        for row in turned:
            yield at, row
        return
    wrapped = _wrapped(value)
    if not wrapped:
        yield at, value
        return
    at = _skip(text, at + 1)
    while text[at] != "}":  # the object was parsed before, so it is valid
        name, at = decoder.raw_decode(text, at)
        at = _skip(text, _skip(text, at) + 1)
        if name in wrapped:
            at = yield from _array(text, at, decoder)
        else:
            _, at = decoder.raw_decode(text, at)
        at = _skip(text, at)
        at = _skip(text, at + 1) if text[at] == "," else at


def _rows_by_column(value: Any) -> list[dict[str, Any]] | None:
    """The rows of a table that is stored by column: a list for each, or an object whose keys number the rows (pandas)."""
    if not isinstance(value, dict) or len(value) < 2:
        return None
    columns = list(value.values())
    if all(isinstance(column, dict) for column in columns):
        keys = list(columns[0])
        if not keys or any(list(column) != keys for column in columns) or not all(key.isdecimal() for key in keys):
            return None
        if all(name.isdecimal() for name in value):
            return None
        columns = [list(column.values()) for column in columns]
    elif not all(isinstance(column, list) for column in columns):
        return None
    sizes = {len(column) for column in columns}
    if len(sizes) > 1 or sizes == {0} or all(isinstance(entry, dict) for column in columns for entry in column):
        return None
    return [dict(zip(value, entries, strict=True)) for entries in zip(*columns, strict=True)]


def _rows_by_id(value: Any) -> list[dict[str, Any]] | None:
    """The rows of an object that holds each under its id. An id that only numbers the rows is not kept."""
    if not isinstance(value, dict) or len(value) < 2 or not all(isinstance(row, dict) and len(row) > 1 for row in value.values()):
        return None
    shared = set.intersection(*map(set, value.values()))
    if 2 * len(shared) < max(map(len, value.values())):
        return None
    return [row if "id" in row or key.isdecimal() else {"id": key, **row} for key, row in value.items()]


def _wrapped(value: Any) -> set[str]:
    """The keys of an object that hold rows: all if each holds a list, else the one that holds a list of objects."""
    if not isinstance(value, dict) or not value:
        return set()
    if all(isinstance(entry, list) for entry in value.values()):
        return set(value)
    lists = {key for key, entry in value.items() if isinstance(entry, list) and entry and isinstance(entry[0], dict)}
    rest = [entry for key, entry in value.items() if key not in lists]
    return (
        lists if len(lists) == 1 and not any(isinstance(entry, list) for entry in rest) and _is_wrapper(value, lists) else set()
    )


def _is_wrapper(value: dict[str, Any], lists: set[str]) -> bool:
    """Whether the object wraps a list of rows, and the list is not a field of one row such as its messages."""
    return bool(lists & {"data", "rows", "examples", "records", "items", "instances", "results", "train", "test", "validation"})


def _array(text: str, at: int, decoder: json.JSONDecoder) -> Generator[tuple[int, Any], None, int]:
    """The elements of the array at `at`, each with its start; returns the end of the array."""
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

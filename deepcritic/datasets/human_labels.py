"""Human labels by row id: whether the solution has an error.

    for place, label in read("labels.csv"): ...            # columns: id, first_error

A row needs `id` and one of `first_error` (or `label`; -1: every step is right, any other number: there is an error), `has_error`
(true or false), or a `gold` as in our own rows; empty or null if unlabelled. Steps may count from 0 or from 1. `probability` is
the probability with which the row was sampled for labelling, as `stage=estimate` writes it.

>>> [(label.id, label.has_error) for _, label in read([{"id": "a", "label": 0}, {"id": "b", "first_error": "-1"}])]
[('a', True), ('b', False)]
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from deepcritic.datasets.base import Columns, placed, under_names
from deepcritic.datasets.fields import check_columns, missing
from deepcritic.datasets.reading import Place, Record, Rows, read_records
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, UNLABELLED

FIELDS: Final = ("id", "first_error", "label", "has_error", "probability")
_BOOLEANS: Final = {"true": True, "false": False, "yes": True, "no": False}


class HumanLabel(NamedTuple):
    """One label. `first_error` is the given number, or None if only `has_error` was given; both are None without a label."""

    id: str
    has_error: bool | None
    first_error: int | None
    probability: float | None


def read(path: Rows, *, columns: Columns | None = None) -> Iterator[tuple[Place, HumanLabel]]:
    """The labels, each with its place. An invalid label raises `InputError` with file, line and field."""
    check_columns(columns, None, FIELDS)
    convert = under_names(_label, columns)
    for place, record in read_records(path):
        try:
            yield place, convert(record)
        except InputError as error:
            raise placed(error, place) from None


def _label(record: Record) -> HumanLabel:
    if _value(record, "id") is None:
        raise missing(record, "id", "the id of a row")
    gold = record.get("gold")
    given = {**gold, **record} if isinstance(gold, dict) else record
    if not {"first_error", "label", "has_error"} & given.keys():
        raise missing(record, "first_error", "the first wrong step, or -1")
    name = next((one for one in ("first_error", "label") if one in given), "first_error")
    first, error = _number(given, name), _boolean(given)
    if first is not None and error is not None and error != (first != ALL_CORRECT):
        raise InputError(
            "the labels contradict each other", field="has_error", found=error, expected=f"the value implied by {name}={first}"
        )
    has_error = error if first is None else first != ALL_CORRECT
    return HumanLabel(str(record["id"]), has_error, first, _probability(given))


def _value(record: Record, name: str) -> Any:
    value = record.get(name)
    return None if isinstance(value, str) and not value.strip() else value


def _number(record: Record, name: str) -> int | None:
    value = _value(record, name)
    if value is None or value == UNLABELLED.value:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,6}\s*", value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value < ALL_CORRECT:
        raise InputError(
            "not a label", field=name, found=value, expected=f"the first wrong step, {ALL_CORRECT} for none, or null"
        )
    return value


def _boolean(record: Record) -> bool | None:
    value = _value(record, "has_error")
    value = _BOOLEANS.get(value.strip().lower(), value) if isinstance(value, str) else value
    if value is not None and not isinstance(value, bool):
        raise InputError("not a label", field="has_error", found=value, expected="true, false or null")
    return value


def _probability(record: Record) -> float | None:
    value = _value(record, "probability")
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not 0 < number <= 1:
        raise InputError("not a probability", field="probability", found=value, expected="a number above 0 and at most 1")
    return number

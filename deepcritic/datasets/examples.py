"""Our own `Example` rows, in the form that `prepare` and `label` write, for your own data sets.

for row in examples.read("mine.jsonl"): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from deepcritic.datasets.base import Report, convert_each
from deepcritic.datasets.reading import Rows, read_lines
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, UNLABELLED, Example, decode

_FLAT: Final = ("problem", "question", "query", "prompt", "steps", "solution", "label")


def read(path: Rows, *, max_bad: int = 0, report: Report | None = None) -> Iterator[Example]:
    """The rows of a file, with their gold checked against their steps. Unknown fields raise `InputError`."""
    return convert_each(read_lines(path), _checked, max_bad, report or Report())


def _checked(content: bytes) -> Example:
    try:
        row = decode(content, Example)
    except InputError as error:
        raise _flat(content) or error from None
    check_gold(row)
    return row


def _flat(content: bytes) -> InputError | None:
    """The error for a row whose problem is outside an `item`, so it is not an `Example` row."""
    try:
        row = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(row, dict) or "item" in row or row.keys().isdisjoint(_FLAT):
        return None
    remedy = "convert it with stage=prepare source=table source.path=FILE"
    expected = "id, item, gold and source"
    return InputError("not a row of stage=prepare", found=", ".join(map(str, row)), expected=expected, remedy=remedy)


def check_gold(row: Example) -> None:
    """Refuse a first error outside the steps, ratings that are invalid or do not match the steps, and a grade off the scale."""
    steps, gold = len(row.item.steps), row.gold
    if gold.first_error is not UNLABELLED and gold.first_error != ALL_CORRECT and not 1 <= gold.first_error <= steps:
        expected = f"1 to {steps}, or {ALL_CORRECT} for none" if steps else "unlabelled, as there are no steps"
        raise InputError(
            "the first error is outside the steps", field="gold.first_error", found=gold.first_error, expected=expected
        )
    if gold.first_error == ALL_CORRECT and not steps:
        raise InputError(
            "the solution has no steps", field="item.steps", found=[], expected="at least one step, or unlabelled gold"
        )
    ratings = gold.step_ratings
    if ratings is not None and (len(ratings) != steps or any(rating not in (None, -1, 0, 1) for rating in ratings)):
        expected = f"{steps} ratings, each -1, 0, 1 or null"
        raise InputError("the ratings do not match the steps", field="gold.step_ratings", found=list(ratings), expected=expected)
    values = gold.step_values
    if values is not None and (len(values) != steps or not all(0 <= value <= 1 for value in values)):
        expected = f"{steps} values from 0 to 1"
        raise InputError("the values do not match the steps", field="gold.step_values", found=list(values), expected=expected)
    if gold.grade is not None and not 0 <= gold.grade <= 1:
        raise InputError("no grade", field="gold.grade", found=gold.grade, expected="a share of the full marks: 0 to 1")

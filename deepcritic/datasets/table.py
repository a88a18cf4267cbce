r"""Your own rows with any column names: a problem, its solution, and optionally the label.

    columns = {"problem": "question", "steps": "solution_steps", "first_error": "label"}
    for row in table.read("mine.csv", columns=columns, index_base=0): ...

`columns` maps fields to columns; other fields are read from the column of the same name, if there is one:
- `problem`: a text. `id`: a text or a number; a missing id is made from the content.
- `steps`: a list of texts, such a list written as JSON (in CSV), or one text, which is split into steps by its layout.
- `first_error` (or `label`): the first wrong step, or -1 if every step is right; empty or null if unknown.
  `index_base` (0 or 1) is its first step number and is required: a wrong guess would shift every label by one step.
- `step_labels`: instead, a label for each step: true and false (the stepwise format of TRL and axolotl) or -1, 0 and 1 (PRM800K).
- `reference_answer`, `generator`: texts.

>>> rows = [{"question": "1 + 1 + 1?", "solution": "Step 1: 1 + 1 = 2\nStep 2: 2 + 1 = 4", "label": 1}]
>>> (row,) = read(rows, columns={"problem": "question", "steps": "solution"}, index_base=0)
>>> row.item.steps, row.gold.first_error
(('1 + 1 = 2', '2 + 1 = 4'), 2)
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from deepcritic.datasets import fields
from deepcritic.datasets.base import reader
from deepcritic.datasets.fields import take, unnumbered
from deepcritic.datasets.reading import Record
from deepcritic.errors import InputError, UsageError
from deepcritic.schema import ALL_CORRECT, UNLABELLED, Example, Gold, Item, Unlabelled, content_id
from deepcritic.text.steps import split_steps

FIELDS: Final = ("problem", "steps", "first_error", "label", "step_labels", "id", "reference_answer", "generator")


def _example(record: Record, *, index_base: int | None = None, source: str = "table", license: str | None = None) -> Example:
    """The rows, with their `source` and `license`. Raises `UsageError` for labels without an `index_base`."""
    problem = take(record, "problem", str)
    steps = steps_of(filled(record, "steps"))
    ratings = _ratings(filled(record, "step_labels"), len(steps))
    first: int | Unlabelled = UNLABELLED
    if ratings is not None:
        first = ratings.index(-1) + 1 if -1 in ratings else ALL_CORRECT
    label = filled(record, "first_error" if "first_error" in record else "label")
    if label is not None and not steps:
        raise InputError("a label without a solution", field="steps", found=[], expected="at least one step, or no label")
    if label is not None:
        found = label_of(label, len(steps), index_base)
        if ratings is not None and found != first:
            raise InputError("first_error contradicts step_labels", field="first_error", found=label, expected=str(first))
        first = found
    answer, generator = filled(record, "reference_answer"), filled(record, "generator")
    return Example(
        id=_id(filled(record, "id"), source) or content_id(source, problem, steps),
        item=Item(problem=problem, steps=unnumbered(steps), meta={"generator": str(generator)} if generator else {}),
        gold=Gold(first_error=first, step_ratings=ratings, reference_answer=None if answer is None else str(answer)),
        source=source,
        license=license,
    )


def filled(record: Record, name: str) -> Any:
    """The value of a field; None if it is missing, empty or blank."""
    value = record.get(name)
    return None if isinstance(value, str) and not value.strip() else value


def steps_of(value: Any) -> list[str]:
    """A solution's steps: a list of texts, the same written as JSON, or a text, split by its layout; empty for None."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            listed = json.loads(value)
        except ValueError:
            listed = None
        value = listed if isinstance(listed, list) and all(isinstance(step, str) for step in listed) else value
    if value is None:
        return []
    if isinstance(value, str):
        return split_steps(value)
    if not isinstance(value, list):
        raise _wrong("steps", value, "a list of texts, or a text")
    for number, step in enumerate(value):
        if not isinstance(step, str):
            raise _wrong(f"steps[{number}]", step, "a text")
    return value


def label_of(label: Any, steps: int, index_base: int | None, field: str = "first_error") -> int:
    """The first error, from 1, or `ALL_CORRECT`, for a label that counts from `index_base`: a whole number or its text."""
    number = _whole(label)
    if number is None:
        raise _wrong(field, label, "a whole number, or null")
    if index_base is None and number != ALL_CORRECT:
        raise UsageError(
            f"index_base: not set, but required for labels in {field}; expected 0 or 1 (the index of the first step)"
        )
    return fields.first_error_of(number, steps, index_base or 0, field)


def _whole(value: Any) -> int | None:
    if isinstance(value, str):
        return int(value) if re.fullmatch(r"\s*[+-]?\d{1,6}(?:\.0+)?\s*", value) and "." not in value else None
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _ratings(value: Any, steps: int) -> tuple[int | None, ...] | None:
    """Step ratings from booleans, or from -1, 0 and 1."""
    if isinstance(value, str):
        try:
            value = json.loads(value.lower())
        except ValueError:
            raise _wrong("step_labels", value, "a list of labels") from None
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != steps:
        raise _wrong("step_labels", value, f"a list of {steps} labels, one for each step")
    if all(isinstance(one, bool) for one in value):
        return tuple(1 if one else -1 for one in value)
    if not all(one is None or (type(one) is int and one in (-1, 0, 1)) for one in value):
        raise _wrong("step_labels", value, "true and false, or -1, 0 and 1")
    if -1 not in value and 0 in value:
        problem = "0 is ambiguous: wrong or neutral"
        raise InputError(problem, field="step_labels", found=value, expected="true and false, or -1 for a wrong step")
    return tuple(value)


def _id(value: Any, source: str) -> str | None:
    number = _whole(value)
    return f"{source}-{number}" if number is not None else None if value is None else str(value)


def _wrong(field: str, found: Any, expected: str) -> InputError:
    return InputError("wrong type", field=field, found=found, expected=expected)


read = reader(_example, fields=FIELDS)

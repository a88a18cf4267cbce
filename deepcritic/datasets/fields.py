"""Typed access to the fields of a record; errors name what was found, and the fields of the record."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar

from deepcritic.datasets.reading import Record
from deepcritic.errors import InputError, UsageError
from deepcritic.schema import ALL_CORRECT
from deepcritic.text.steps import strip_heading

T = TypeVar("T")
_NAMES: Final = {str: "a text", int: "a whole number", bool: "true or false", list: "a list", dict: "an object"}
_ALSO: Final = {
    "problem": ("question", "query", "prompt", "input", "instruction", "problem_statement"),
    "question": ("problem", "query", "prompt", "input"),
    "steps": ("solution_steps", "step", "solution", "completions", "reasoning_steps", "response", "responses"),
    "label": ("first_error", "first_error_step", "error_step", "mistake_index", "ground_truth", "labels"),
    "messages": ("conversations", "conversation", "prompt", "dialogue"),
    "answer": ("solution", "final_answer", "ground_truth", "reference_answer"),
    "id": ("uuid", "idx", "index", "unique_id"),
}
"""Names of a field in other data sets."""


def take(record: Record, name: str, kind: type[T]) -> T:
    """The field `name`; raises an error that lists the record's fields if it is missing or of another type."""
    if name not in record:
        raise missing(record, name, _NAMES[kind])
    value = record[name]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError("wrong type", field=name, found=value, expected=_NAMES[kind])
    return value


def take_id(record: Record, name: str = "id") -> str:
    """The id; empty if no field can be the id, so that the row number is used."""
    if name in record or difflib.get_close_matches(name, record, n=1):
        return take(record, name, str)
    return ""


def missing(record: Record, name: str, expected: str, column_of: str | None = None) -> InputError:
    """The error for a missing field: similar fields, and all fields of the record. `column_of` is the field that `name` was to be
    the column of."""
    fields = ", ".join(record)
    for key, value in record.items():
        inner = value[0] if isinstance(value, list) and value else value
        if isinstance(inner, dict) and name in inner:
            what = "the rows are" if isinstance(value, list) else "the row is"
            remedy = f"remove the {key!r} around {'them' if isinstance(value, list) else 'it'}"
            return InputError(f"{what} nested: the field is inside {key!r}", field=name, found=fields, remedy=remedy)
    also = [other for other in _ALSO.get(name, ()) if other in record]
    near = also or difflib.get_close_matches(name, record, n=1)
    if near:
        remedy = f"{'' if column_of else 'rename it, or '}give columns={{{column_of or name}: {near[0]}}}"
        return InputError(
            f"the field is missing; did you mean {near[0]!r}?", field=name, found=fields, expected=expected, remedy=remedy
        )
    return InputError("the field is missing", field=name, found=fields, expected=expected)


def take_steps(record: Record, name: str) -> list[str]:
    """A solution's steps: a list of at least one text."""
    steps = take(record, name, list)
    if not steps:
        raise InputError("the solution has no steps", field=name, found=[], expected="at least one step")
    for number, step in enumerate(steps):
        if not isinstance(step, str):
            raise InputError("wrong type", field=f"{name}[{number}]", found=step, expected="a text")
    return steps


def take_label(record: Record, name: str, steps: int, index_base: int = 0) -> int:
    """The first error, from a label that counts steps from `index_base` and is -1 for no error."""
    return first_error_of(take(record, name, int), steps, index_base, name)


def first_error_of(label: int, steps: int, index_base: int, field: str) -> int:
    """The first error, from 1, or `ALL_CORRECT`, for a label that counts from `index_base`."""
    if label == ALL_CORRECT:
        return ALL_CORRECT
    if not index_base <= label < steps + index_base:
        other = 1 - index_base
        fits = other <= label < steps + other
        raise InputError(
            "the label is outside the steps", field=field, found=label,
            expected=f"{index_base} to {steps - 1 + index_base}, or -1 for none",
            remedy=f"if labels count steps from {other}, set index_base={other}" if fits else None,
        )  # fmt: skip
    return label + 1 - index_base


def unnumbered(steps: list[str]) -> tuple[str, ...]:
    """The steps without headings that give their position. A heading with another number is part of the text and stays.

    Prompts number the steps, so a heading would repeat the number ("Step 2: Step 2: ..."). If the solution counts otherwise, its
    later text ("by Step 1") refers to its own headings.

    >>> unnumbered(["Step 1: a", "so b", "Step 2: c"])
    ('a', 'so b', 'Step 2: c')
    """
    parts = ((step, *strip_heading(step)) for step in steps)
    return tuple(rest if number == place else step for place, (step, number, rest) in enumerate(parts, start=1))


def check_columns(columns: Mapping[str, str] | None, index_base: int | None, known: Sequence[str], place: str = "") -> None:
    """Refuse columns of unknown fields and an invalid index base; `place` is the option's group in errors."""
    for name in columns or {}:
        if known and name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            offer = f"did you mean {near[0]}?" if near else f"expected {', '.join(known)}"
            raise UsageError(f"{place}columns: unknown field {name}; {offer}")
    if index_base is not None and (isinstance(index_base, bool) or index_base not in (0, 1)):
        raise UsageError(f"{place}index_base: not a valid index base; found {index_base!r}; expected 0 or 1")

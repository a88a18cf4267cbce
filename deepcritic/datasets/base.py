"""Public data sets: one file each, and their conventions end there.

Every source has `read(path, ...)`, which yields `Example` rows: steps count from 1, carry no numbering of their own, and nothing
that tells the truth stands in `item`. `path` is a file (.json or .jsonl, plain or .gz) or a data set on the Hugging Face hub
(`org/name` or `org/name@revision`).

A row that cannot be used raises `InputError` with its file, line and field. Where `max_bad` allows for some, as in data for
training, they are set aside in a `Report`, which also counts what became of each row.

    report = Report()
    rows = list(prm800k.read("phase1.jsonl.gz", max_bad=10, report=report))
    print(report.counts, report.bad)
"""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, TypeVar

from deepcritic.datasets.reading import Record, read_records
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, Dialogue, Example, Preference
from deepcritic.text.steps import strip_heading

T = TypeVar("T")
R = TypeVar("R", Example, Dialogue, Preference)
_NAMES: Final = {str: "a text", int: "a whole number", bool: "true or false", list: "a list", dict: "an object"}


@dataclass
class Report:
    """What became of a source's rows: `counts` by reason (`rows` is all of them), and the bad rows that were set aside."""

    counts: Counter[str] = field(default_factory=Counter)
    bad: list[InputError] = field(default_factory=list)

    def set_aside(self, error: InputError, max_bad: int) -> None:
        """Count the row and keep its error; raise it when there are more than `max_bad` in this report now."""
        self.counts["rows"] += 1
        self.counts["bad"] += 1
        self.bad.append(error)
        if len(self.bad) > max_bad:
            raise error


def convert_rows(
    path: str | os.PathLike[str],
    convert: Callable[[Record], R],
    *,
    revision: str | None = None,
    split: str | None = None,
    max_bad: int = 0,
    report: Report | None = None,
) -> Iterator[R]:
    """`convert` applied to each record; its errors get their file and line here, and an id may occur only once."""
    kept = report or Report()
    records = read_records(path, revision=revision, split=split, on_bad=lambda error: kept.set_aside(error, max_bad))
    return convert_each(path, records, convert, max_bad, kept)


def convert_each(
    path: str | os.PathLike[str], records: Iterator[tuple[int, T]], convert: Callable[[T], R], max_bad: int, report: Report
) -> Iterator[R]:
    """`convert` applied to each of `records`, which come with their lines; bad ones are set aside in `report`."""
    lines: dict[str, int] = {}
    for line, record in records:
        try:
            example = convert(record)
            check_new(example.id, line, lines)
        except InputError as error:
            report.set_aside(placed(error, path, line), max_bad)
            continue
        report.counts["rows"] += 1
        report.counts["examples"] += 1
        yield example


def take(record: Record, name: str, kind: type[T]) -> T:
    """The field `name`, which must be there and of that type."""
    if name not in record:
        near = difflib.get_close_matches(name, record, n=1)
        raise InputError("the field is missing", field=name, expected=f"{name}, not {near[0]}" if near else _NAMES[kind])
    value = record[name]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InputError("wrong type", field=name, found=value, expected=_NAMES[kind])
    return value


def take_steps(record: Record, name: str) -> list[str]:
    """A solution's steps: a list of at least one text."""
    steps = take(record, name, list)
    if not steps:
        raise InputError("a solution without steps", field=name, found=[], expected="at least one step")
    for number, step in enumerate(steps):
        if not isinstance(step, str):
            raise InputError("wrong type", field=f"{name}[{number}]", found=step, expected="a text")
    return steps


def take_label(record: Record, name: str, steps: int) -> int:
    """The first error, from a label that counts steps from 0 and says -1 for none."""
    label = take(record, name, int)
    if not -1 <= label < steps:
        raise InputError(
            "the label lies outside the steps", field=name, found=label, expected=f"0 to {steps - 1}, or -1 for none"
        )
    return ALL_CORRECT if label == -1 else label + 1


def unnumbered(steps: list[str]) -> tuple[str, ...]:
    """The steps without the headings that say their place. One that says another number is part of the text, and stays.

    Prompts number the steps, so "Step 2: Step 2: ..." must not come about; but where the solution's own count differs, its
    later words ("by Step 1") rest on its own headings.

    >>> unnumbered(["Step 1: a", "so b", "Step 2: c"])
    ('a', 'so b', 'Step 2: c')
    """
    parts = ((step, *strip_heading(step)) for step in steps)
    return tuple(rest if number == place else step for place, (step, number, rest) in enumerate(parts, start=1))


def check_new(identity: str, line: int, lines: dict[str, int]) -> None:
    """Note on which line an id stands; refuse one that has been seen."""
    if identity in lines:
        raise InputError(
            "the id occurs twice", field="id", found=identity, expected=f"an id other than that of line {lines[identity]}"
        )
    lines[identity] = line


def placed(error: InputError, path: str | os.PathLike[str], line: int) -> InputError:
    """The same error with its place."""
    return error.replace(file=path, line=line)

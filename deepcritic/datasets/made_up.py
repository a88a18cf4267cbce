"""Rows of worlds whose problems are made up and whose truth is computed: problems, and solutions with a label for every step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from deepcritic.datasets import examples as example_rows
from deepcritic.datasets.base import Report
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item, content_id

LICENSE = "Apache-2.0"


class MadeUpProblem(Protocol):
    """A problem with its text and its answer."""

    @property
    def text(self) -> str: ...
    @property
    def answer(self) -> int: ...


class Truth(Protocol):
    """The first wrong step of a solution, or `ALL_CORRECT`, and the kind of its error."""

    @property
    def first_error(self) -> int: ...
    @property
    def kind(self) -> str | None: ...


def distinct_problems(
    draw: Callable[[], MadeUpProblem], count: int, *, source: str, report: Report | None = None
) -> Iterator[Example]:
    """Yield `count` distinct problems, with their answers as references."""
    kept, seen = report or Report(), set[str]()
    while len(seen) < count:
        problem = draw()
        if problem.text in seen:
            continue
        seen.add(problem.text)
        kept.counts["rows"] += 1
        kept.counts["examples"] += 1
        yield Example(
            id=content_id(source, problem.text),
            item=Item(problem=problem.text),
            gold=Gold(reference_answer=str(problem.answer)),
            source=source,
            license=LICENSE,
        )


def judged_solutions(
    path: str,
    judge: Callable[[str, Sequence[str]], Truth | None],
    *,
    source: str,
    count: int | None,
    half_with_error: bool,
    report: Report | None = None,
) -> Iterator[Example]:
    """Yield the solutions in a file with a label for every step. Text for which `judge` returns None is left out.

    At most `count`, in file order. With `half_with_error`, exactly `count`, half of them with an error. Raises `InputError` if
    the file has too few of either.
    """
    kept = report or Report()
    room: dict[bool, int | None] = {True: None, False: None} if count is None else {True: count // 2, False: count - count // 2}
    for row in example_rows.read(path, report=Report()):
        kept.counts["rows"] += 1
        truth = judge(row.item.problem, row.item.steps)
        if truth is None:
            kept.counts["not a solution"] += 1
            continue
        wrong = truth.first_error != ALL_CORRECT
        free = room[wrong] if half_with_error else None if count is None else count - kept.counts["examples"]
        if free == 0:
            kept.counts["above the requested count"] += 1
            continue
        if half_with_error and free is not None:
            room[wrong] = free - 1
        kept.counts["examples"] += 1
        yield _with_truth(row, truth, source)
    if half_with_error and any(room.values()):
        raise InputError(
            f"too few solutions: missing {room[True]} with an error and {room[False]} without", file=Path(path),
            expected="more problems or a smaller count",
        )  # fmt: skip


def _with_truth(row: Example, truth: Truth, source: str) -> Example:
    """Ratings as people give them: for every step up to the first wrong one, and none after it."""
    first = truth.first_error
    ratings = tuple(
        1 if first == ALL_CORRECT or number < first else -1 if number == first else None
        for number in range(1, len(row.item.steps) + 1)
    )
    gold = Gold(
        first_error=first,
        step_ratings=ratings,
        reference_answer=row.gold.reference_answer,
        answer_right=row.gold.answer_right,
        error_kind=truth.kind,
    )
    return Example(id=row.id, item=row.item, gold=gold, source=source, parent_id=row.parent_id, license=LICENSE)

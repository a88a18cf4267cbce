"""The small world as a source of rows: problems of a split, and solutions with true labels.

The labelled rows replace human labels (seed data, a benchmark). Nothing else may read them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from deepcritic.datasets import examples as example_rows
from deepcritic.datasets.base import Report
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item, content_id
from deepcritic.smallworld.problems import LENGTHS, Problem, Truth, draw_problem, judge

SOURCE = "smallworld"
LICENSE = "Apache-2.0"


def problems(
    *, split: str, count: int, seed: int, lengths: Sequence[int] = LENGTHS, report: Report | None = None
) -> Iterator[Example]:
    """Yield `count` distinct problems of a split, with their answers as references.

    >>> [row.gold.reference_answer for row in problems(split="train", count=1, seed=0)]
    ['1']
    """
    kept = report or Report()
    rng, seen = random.Random(f"problems/{split}/{seed}"), set[str]()
    while len(seen) < count:
        problem = draw_problem(rng, split, lengths)
        if problem.text in seen:
            continue
        seen.add(problem.text)
        kept.counts["rows"] += 1
        kept.counts["examples"] += 1
        yield Example(
            id=content_id(SOURCE, problem.text),
            item=Item(problem=problem.text),
            gold=Gold(reference_answer=str(problem.answer)),
            source=SOURCE,
            license=LICENSE,
        )


def judged(
    *, path: str, count: int | None = None, half_with_error: bool = False, report: Report | None = None
) -> Iterator[Example]:
    """Yield the solutions of `stage=solve` with a label for every step. Text that is not a solution is left out.

    At most `count`, in file order. With `half_with_error`, exactly `count`, half of them with an error. Raises `InputError` if
    the file has too few of either.
    """
    kept = report or Report()
    with_error, without = (None, None) if count is None else (count // 2, count - count // 2)
    room = {True: with_error, False: without}
    for row in example_rows.read(path, report=Report()):
        kept.counts["rows"] += 1
        truth = judge(Problem.read(row.item.problem), row.item.steps)
        if truth is None:
            kept.counts["not a solution"] += 1
            continue
        wrong = truth.first_error != ALL_CORRECT
        free = room[wrong] if half_with_error else None if count is None else count - kept.counts["examples"]
        if free == 0:
            kept.counts["more than asked"] += 1
            continue
        if half_with_error and free is not None:
            room[wrong] = free - 1
        kept.counts["examples"] += 1
        yield _with_truth(row, truth)
    if half_with_error and any(room.values()):
        raise InputError(
            f"too few solutions: {room[True]} with an error and {room[False]} without are missing", file=Path(path),
            expected="more problems, or a smaller count",
        )  # fmt: skip


def _with_truth(row: Example, truth: Truth) -> Example:
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
    return Example(id=row.id, item=row.item, gold=gold, source=SOURCE, parent_id=row.parent_id, license=LICENSE)

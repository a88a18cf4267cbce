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
from deepcritic.microworld.lessons import ERRORS
from deepcritic.microworld.world import Problem, draw_problem, judge, write_solution
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item, content_id

SOURCE = "microworld"
LICENSE = "Apache-2.0"


def problems(
    *, split: str, count: int, seed: int, lengths: Sequence[int] = (3, 4, 5, 6), report: Report | None = None
) -> Iterator[Example]:
    """Yield `count` distinct problems of a split, with their answers as references.

    >>> [row.gold.reference_answer for row in problems(split="train", count=1, seed=0)]
    ['0']
    """
    kept = report or Report()
    rng = random.Random(f"problems/{split}/{seed}")
    seen: set[str] = set()
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


def written(*, split: str, count: int, seed: int, lengths: Sequence[int], report: Report | None = None) -> Iterator[Example]:
    """Yield `count` generated solutions, half of them with an error, of lengths that the generator was not trained on.

    >>> row = next(written(split="test", count=1, seed=0, lengths=[8]))
    >>> len(row.item.steps), row.gold.first_error
    (8, -1)
    """
    kept = report or Report()
    rng = random.Random(f"written/{split}/{seed}")
    room = {True: count // 2, False: count - count // 2}
    while any(room.values()):
        problem = draw_problem(rng, split, lengths)
        steps = write_solution(problem, rng, ERRORS)
        truth = judge(problem, steps)
        assert truth is not None, "what is written by rule is a solution"
        wrong = truth.first_error != ALL_CORRECT
        if room[wrong] == 0:
            continue
        room[wrong] -= 1
        kept.counts["rows"] += 1
        kept.counts["examples"] += 1
        gold = Gold(first_error=truth.first_error, reference_answer=str(problem.answer), error_kind=truth.kind)
        item = Item(problem=problem.text, steps=tuple(steps))
        yield Example(id=content_id(SOURCE, problem.text, steps), item=item, gold=gold, source=SOURCE, license=LICENSE)


def judged(
    *, path: str, count: int | None = None, half_with_error: bool = False, report: Report | None = None
) -> Iterator[Example]:
    """Yield the solutions of `stage=solve` with a label for every step. Text that is not a solution is left out.

    At most `count`, in file order. With `half_with_error`, exactly `count`, half of them with an error.
    """
    kept = report or Report()
    room: dict[bool, int | None] = {True: None, False: None} if count is None else {True: count // 2, False: count - count // 2}
    for row in example_rows.read(path, report=Report()):
        kept.counts["rows"] += 1
        truth = judge(Problem.read(row.item.problem), row.item.steps)
        if truth is None:
            kept.counts["not a solution"] += 1
            continue
        wrong = truth.first_error != ALL_CORRECT
        left = room[wrong] if half_with_error else None if count is None else count - kept.counts["examples"]
        if left == 0:
            kept.counts["more than asked"] += 1
            continue
        if half_with_error and left is not None:
            room[wrong] = left - 1
        kept.counts["examples"] += 1
        ratings = tuple(_rating(index, truth.first_error) for index in range(1, len(row.item.steps) + 1))
        gold = Gold(
            first_error=truth.first_error,
            step_ratings=ratings,
            reference_answer=row.gold.reference_answer,
            answer_right=row.gold.answer_right,
            error_kind=truth.kind,
        )
        yield Example(id=row.id, item=row.item, gold=gold, source=SOURCE, parent_id=row.parent_id, license=LICENSE)
    if half_with_error and any(room.values()):
        raise InputError(
            f"too few solutions: {room[True]} with an error and {room[False]} without are missing", file=Path(path),
            expected="more problems, or a smaller count",
        )  # fmt: skip


def _rating(index: int, first_error: int) -> int | None:
    """Ratings as people give them: for every step up to the first wrong one, and none after it."""
    if first_error == ALL_CORRECT or index < first_error:
        return 1
    return -1 if index == first_error else None

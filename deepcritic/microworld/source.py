"""The small world as a source of rows: problems of a split, and solutions with true labels.

The labelled rows replace human labels (seed data, a benchmark). Nothing else may read them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from deepcritic.datasets.base import Report
from deepcritic.datasets.made_up import LICENSE, distinct_problems, judged_solutions
from deepcritic.microworld.lessons import ERRORS
from deepcritic.microworld.world import Problem, Truth, draw_problem, judge, write_solution
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item, content_id

SOURCE = "microworld"


def problems(
    *, split: str, count: int, seed: int, lengths: Sequence[int] = (3, 4, 5, 6), report: Report | None = None
) -> Iterator[Example]:
    """Yield `count` distinct problems of a split, with their answers as references.

    >>> [row.gold.reference_answer for row in problems(split="train", count=1, seed=0)]
    ['0']
    """
    rng = random.Random(f"problems/{split}/{seed}")
    return distinct_problems(lambda: draw_problem(rng, split, lengths), count, source=SOURCE, report=report)


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

    def truth(problem: str, steps: Sequence[str]) -> Truth | None:
        return judge(Problem.read(problem), steps)

    return judged_solutions(path, truth, source=SOURCE, count=count, half_with_error=half_with_error, report=report)

"""The small world as a source of rows: problems of a split, and solutions with true labels.

The labelled rows replace human labels (seed data, a benchmark). Nothing else may read them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from deepcritic.datasets.base import Report
from deepcritic.datasets.made_up import distinct_problems, judged_solutions
from deepcritic.schema import Example
from deepcritic.smallworld.problems import LENGTHS, Problem, Truth, draw_problem, judge

SOURCE = "smallworld"


def problems(
    *, split: str, count: int, seed: int, lengths: Sequence[int] = LENGTHS, report: Report | None = None
) -> Iterator[Example]:
    """Yield `count` distinct problems of a split, with their answers as references.

    >>> [row.gold.reference_answer for row in problems(split="train", count=1, seed=0)]
    ['1']
    """
    rng = random.Random(f"problems/{split}/{seed}")
    return distinct_problems(lambda: draw_problem(rng, split, lengths), count, source=SOURCE, report=report)


def judged(
    *, path: str, count: int | None = None, half_with_error: bool = False, report: Report | None = None
) -> Iterator[Example]:
    """Yield the solutions of `stage=solve` with a label for every step. Text that is not a solution is left out.

    At most `count`, in file order. With `half_with_error`, exactly `count`, half of them with an error. Raises `InputError` if
    the file has too few of either.
    """

    def truth(problem: str, steps: Sequence[str]) -> Truth | None:
        return judge(Problem.read(problem), steps)

    return judged_solutions(path, truth, source=SOURCE, count=count, half_with_error=half_with_error, report=report)

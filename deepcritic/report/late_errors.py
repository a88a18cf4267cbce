"""Whether one of two compared evaluations finds late errors worse than the other, which the overall F1 can hide.

late = late_errors(rows_of_a, rows_of_b)
late.step, late.rows, late.a, late.b, late.p       # None if there are too few rows

Late: the first error is at step `step` or later, where `step` is the smallest one that at least half of the errors do not reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from deepcritic.metrics.paired_tests import swap_p, swapped_rates
from deepcritic.schema import WITH_ERROR, Judged

FEWEST: Final = 30
"""Fewer late errors than this are not tested."""
LEVEL: Final = 0.05
"""The level of all tests of a run together (Bonferroni)."""


class Late(NamedTuple):
    """The shares of late errors that A and B find, in percent, and the two-sided p-value of the difference."""

    step: int
    rows: int
    a: float
    b: float
    p: float


def late_errors(a: Sequence[Judged], b: Sequence[Judged]) -> Late | None:
    """Compare single replies on the late errors that both evaluations have scored. The p-value is from a randomisation test that
    swaps the two scores problem by problem."""
    other = {(row.benchmark, row.id): row for row in b}
    pairs = [
        (row, there)
        for row in a
        if row.stratum == WITH_ERROR and isinstance(row.gold, int) and row.correct is not None
        if (there := other.get((row.benchmark, row.id))) is not None and there.correct is not None
    ]
    if not pairs:
        return None
    places = np.array([row.gold for row, _ in pairs])
    step = int(np.floor(np.median(places))) + 1
    late = [pair for pair, place in zip(pairs, places, strict=True) if place >= step]
    if len(late) < FEWEST:
        return None
    first, second = (np.array([pair[side].correct for pair in late], float) for side in (0, 1))
    swapped = swapped_rates(first, second, np.ones(len(late), bool), [row.cluster for row, _ in late])
    p = swap_p(float((first - second).mean()), swapped[0][0] - swapped[1][0])
    return Late(step, len(late), 100 * float(first.mean()), 100 * float(second.mean()), p)

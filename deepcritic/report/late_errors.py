"""Where an evaluation finds late errors worse than another one, which the overall F1 can hide.

late = late_errors(rows_of_a, rows_of_b)
late.step, late.rows, late.a, late.b, late.p       # None if A is nowhere worse, or there are too few rows

Late: the first error is at step `step` or later. Every `step` beyond the median position of the errors is tried. Of those where A
is worse, the one with the smallest p-value is returned; `p` is corrected for the number of tries (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepcritic.metrics.f1 import Array
from deepcritic.metrics.paired_tests import swap_p, swapped_rates
from deepcritic.schema import WITH_ERROR, Judged

FEWEST: Final = 30
"""Fewer late errors than this are not tested."""
LEVEL: Final = 0.05
"""The level of all tests of a run together (Bonferroni)."""


class Late(NamedTuple):
    """The shares of late errors that A and B find, in percent, and the corrected two-sided p-value of the difference."""

    step: int
    rows: int
    a: float
    b: float
    p: float


def late_errors(a: Sequence[Judged], b: Sequence[Judged]) -> Late | None:
    """Compare single replies on the late errors that both evaluations have scored. The two-sided p-value is from a randomisation
    test that swaps the two scores problem by problem."""
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
    scores = np.array([[row.correct, there.correct] for row, there in pairs], float)
    clusters = np.array([row.cluster for row, _ in pairs])
    steps = [int(step) for step in np.unique(places) if step > np.median(places) and (places >= step).sum() >= FEWEST]
    found = [_compared(step, scores[places >= step], clusters[places >= step]) for step in steps]
    worse = [one for one in found if one.a < one.b]
    if not worse:
        return None
    most = min(worse, key=lambda one: (one.p, one.step))
    return most._replace(p=min(1.0, most.p * len(found)))


def _compared(step: int, scores: Array, clusters: NDArray[Any]) -> Late:
    first, second = scores.T
    swapped = swapped_rates(first, second, np.ones(len(scores), bool), clusters)
    p = swap_p(float((first - second).mean()), swapped[0][0] - swapped[1][0])
    return Late(step, len(scores), 100 * float(first.mean()), 100 * float(second.mean()), p)

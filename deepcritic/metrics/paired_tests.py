"""Comparison of two critics on the same rows: the difference, its uncertainty, and the smallest detectable difference.

>>> a, b, error = np.array([1.0] * 9 + [0.0]), np.array([1.0] * 4 + [0.0] * 6), np.arange(10) % 2 == 0
>>> found = paired_bootstrap_f1(a, b, error, cluster=range(10))
>>> round(found.estimate, 3), found.low > 0
(0.489, True)
>>> mcnemar([1, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 0])
McNemar(only_a=5, only_b=0, p=0.0625)
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepcritic.metrics.bootstrap import RESAMPLES, percentiles, resampled_rates
from deepcritic.metrics.f1 import Array, f1, harmonic_f1s

SWAPS: Final = 9_999
DETECTABLE: Final = 1.959963984540054 + 0.8416212335729143
"""The smallest detectable difference in standard errors, at 5% (two-sided) and a power of 80%."""
_CHUNK: Final = 256


class Difference(NamedTuple):
    """How much higher A scores than B on the same rows, its 95% interval, and a two-sided p-value for "no difference"."""

    estimate: float
    low: float
    high: float
    p: float


class McNemar(NamedTuple):
    """Rows that only A has right, rows that only B has right, and the exact two-sided p-value for "no difference"."""

    only_a: int
    only_b: int
    p: float


def paired_bootstrap_f1(
    correct_a: ArrayLike,
    correct_b: ArrayLike,
    stratum: ArrayLike,
    cluster: ArrayLike,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Difference:
    """F1 of A minus F1 of B on the same rows and the same resamples.

    p is twice the smaller share of resamples on either side of 0. Resamples at 0 count on both sides, so p is never below
    2 / (resamples + 1).
    """
    a, b = harmonic_f1s(*resampled_rates(np.array([correct_a, correct_b], float), stratum, cluster, resamples, seed))
    return difference(f1(correct_a, stratum) - f1(correct_b, stratum), a - b)


def difference(estimate: float, drawn: Array) -> Difference:
    """An estimated difference with the interval and the p-value from its resamples."""
    low, high = percentiles(drawn)
    if math.isnan(estimate):
        return Difference(estimate, low, high, math.nan)
    tiny = 1e-12  # the same counts, added in another order, must tie
    tail = min(int((drawn <= tiny).sum()), int((drawn >= -tiny).sum()))
    return Difference(estimate, low, high, min(1.0, 2 * (tail + 1) / (drawn.size + 1)))


def detectable(drawn: ArrayLike) -> float:
    """The smallest true difference that these rows detect with a power of 80%, from the resampled differences.

    That is (z(0.975) + z(0.8)) standard errors, 2.8 of them: the minimum detectable effect of Bloom (1995, Evaluation Review 19,
    547-556), used for language model evaluations by Miller (2024, arXiv 2411.00640, section 5). The standard error is that of
    these two critics. It is unknown (NaN) where they never differ.
    """
    spread = float(np.std(np.asarray(drawn, dtype=float), ddof=1))
    return DETECTABLE * spread if spread > 1e-12 else math.nan


def mcnemar(a: ArrayLike, b: ArrayLike) -> McNemar:
    """McNemar's exact test of 0/1 scores on independent rows.

    A binomial test: under "no difference", A is right on half of the rows on which they differ (McNemar, 1947, Psychometrika 12,
    153-157).
    """
    from scipy.special import bdtr  # only here: scipy is slow to load

    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    only_a, only_b = int((first > second).sum()), int((second > first).sum())
    differ = only_a + only_b
    return McNemar(only_a, only_b, min(1.0, 2 * float(bdtr(min(only_a, only_b), differ, 0.5))) if differ else 1.0)


def swapped_rates(
    a: ArrayLike, b: ArrayLike, stratum: ArrayLike, cluster: ArrayLike, swaps: int = SWAPS, seed: int = 0
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The null distribution: the rates of A and of B after swapping their scores on a random half of the problems.

    For either critic the means over the rows with an error and over those without, one per swap (NaN where there are none).
    """
    first, second, error = np.asarray(a, dtype=float), np.asarray(b, dtype=float), np.asarray(stratum, dtype=bool)
    index: NDArray[Any] = np.unique(np.asarray(cluster), return_inverse=True)[1].reshape(-1)
    problems = int(index.max()) + 1 if index.size else 0
    generator = np.random.default_rng(seed)
    moved: list[list[Array]] = [[], []]
    gains = [np.bincount(index[rows], weights=(second - first)[rows], minlength=problems) for rows in (error, ~error)]
    for start in range(0, swaps, _CHUNK):
        swapped = (generator.random((min(_CHUNK, swaps - start), problems)) < 0.5).astype(float)
        for sums, gain in zip(moved, gains, strict=True):
            sums.append(swapped @ gain)
    rates = []
    for scores, sign in ((first, 1), (second, -1)):
        rates.append(
            [
                (scores[rows].sum() + sign * np.concatenate(sums)) / (rows.sum() or math.nan)
                for rows, sums in zip((error, ~error), moved, strict=True)
            ]
        )
    return (rates[0][0], rates[0][1]), (rates[1][0], rates[1][1])


def swap_p(estimate: float, swapped: Array) -> float:
    """The two-sided p-value of a difference against the swapped ones: a randomisation test, exact up to the number of draws
    (Phipson and Smyth, 2010, doi 10.2202/1544-6115.1585)."""
    if math.isnan(estimate):
        return math.nan
    return float((1 + (np.abs(swapped) >= abs(estimate) - 1e-12).sum()) / (1 + swapped.size))

"""Prediction-powered inference: the error rate of a data set from a critic's verdicts on all rows and labels on a few.

The critic's own rate is biased by its mistakes. The labelled rows show that bias, and it is subtracted:

    rate = mean(y) + weight * (mean of f over all rows - mean of f over the labelled rows)

with the labels y (1: the solution has an error) and the critic's share of votes f for an error. Any f leaves the rate without
bias; a good one makes its interval narrow. Weight 1 is prediction-powered inference (Angelopoulos et al. 2023, Science 382,
669-674, arXiv 2301.09633). Here the weight is the one of least variance, estimated from the labels, which is the power tuning of
PPI++ (Angelopoulos, Duchi and Zrnic 2023, arXiv 2311.01453): a critic that knows nothing gets a weight near 0. As the labelled
rows are among all rows, this is the regression estimator of survey sampling (Cochran 1977, Sampling Techniques, chapter 7), with
its correction for a finite population. The estimated weight leaves a bias of the order 1/n beside an interval of 1/sqrt(n).

Labels may be drawn with unequal, known probabilities (Zrnic and Candes 2024, arXiv 2403.03208): each then counts 1 / probability.

>>> f = np.array([1.0] * 60 + [0.0] * 140)              # the critic finds errors in 60 of 200 rows
>>> labelled = np.arange(0, 200, 2)
>>> y = (f[labelled] > 0).astype(float)
>>> y[[3, 9, 15, 20, 25, 40, 50, 60, 70, 80, 90]] = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1]
>>> found = prediction_powered(y, f[labelled], f)
>>> round(found.rate, 3), round(found.weight, 2), found.method
(0.31, 0.75, 'ppi++')
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from deepcritic.metrics.bootstrap import wilson
from deepcritic.metrics.f1 import Array

LEAST_LABELS: Final = 30
"""Fewer labels have an exact interval, of their own."""
LEAST_SURPRISES: Final = 10
"""Labelled rows that differ from most labels of the rows with their verdict; fewer have an exact interval by verdict, as the
variance that is estimated from them would be too small."""
ALPHA: Final = 0.05


class Estimate(NamedTuple):
    """An error rate with its 95% interval, all fractions. `weight` is that of the critic; `method` made the interval: `ppi++`,
    `exact`, `wilson` (labels alone), or `bounded`, which is what exact and Wilson interval have in common."""

    rate: float
    low: float
    high: float
    weight: float
    method: str


def prediction_powered(
    labels: ArrayLike,
    shares: ArrayLike,
    all_shares: ArrayLike,
    probability: ArrayLike | None = None,
    weight: float | None = None,
) -> Estimate:
    """The share of all rows whose solution has an error.

    Args:
        labels: shape (n,), 1 where a labelled row has an error, else 0.
        shares: shape (n,), of the same rows the share of votes for an error; NaN where no verdict could be read.
        all_shares: shape (N,), of all rows, the labelled ones among them.
        probability: shape (n,), with which each labelled row was drawn; None: all n / N, a simple random sample.
        weight: of the critic; None: the one of least variance, 1: prediction-powered inference without tuning.

    A row without a verdict stays in: it gets the mean share of the others, a number that depends on no label. Raises `ValueError`
    for shapes that do not fit, for no labels, and for probabilities outside 0 to 1.
    """
    y, known, everything = (np.asarray(values, dtype=float) for values in (labels, shares, all_shares))
    n, total = y.size, everything.size
    p = np.full(n, n / total if total else math.nan) if probability is None else np.asarray(probability, dtype=float)
    if not y.shape == known.shape == p.shape or y.ndim != 1 or not 0 < n <= total:
        raise ValueError(f"one share and one probability a label are needed; got {y.shape}, {known.shape}, {p.shape} of {total}")
    if not ((p > 0) & (p <= 1)).all():
        raise ValueError("a probability must be above 0 and at most 1")
    middle = float(np.nanmean(everything)) if not np.isnan(everything).all() else 0.5
    f, mean = np.where(np.isnan(known), middle, known), float(np.where(np.isnan(everything), middle, everything).mean())
    w = (1 / p) / (1 / p).sum()
    rate, at = float(w @ y), float(w @ f)
    spread = float(w @ (f - at) ** 2)
    if weight is None:
        weight = float(w @ ((y - rate) * (f - at))) / spread if spread > 1e-12 else 1.0
    residuals = (y - rate) - weight * (f - at)
    rate += weight * (mean - at)
    floor, ceiling = float(y.sum()) / total, (total - float((1 - y).sum())) / total  # what the labels alone leave possible
    if n >= LEAST_LABELS and _surprises(y, known) >= LEAST_SURPRISES:
        half = _t(n - 2) * math.sqrt(float(((1 - p) * (w * residuals) ** 2).sum()) * n / (n - 2))
        low, high, method = rate - half, rate + half, "ppi++"
    else:
        (low, high), method = _exact(y, known, everything, p), "exact"
        if float(p.max() - p.min()) > 1e-9:  # the exact bounds are far apart: they take the worst probability for all rows
            alone, method = labels_alone(y, total, p), "bounded"
            low, high = (max(low, alone.low), min(high, alone.high)) if low <= alone.high and alone.low <= high else alone[1:3]
    low, high = max(low, floor), min(high, ceiling)
    return Estimate(min(max(rate, low), high), low, high, weight, method)


def labels_alone(labels: ArrayLike, total: int, probability: ArrayLike | None = None) -> Estimate:
    """The baseline without a critic: the mean of the labels with its Wilson interval, corrected for a finite population."""
    y = np.asarray(labels, dtype=float)
    p = np.full(y.size, y.size / total) if probability is None else np.asarray(probability, dtype=float)
    w = 1 / p
    rate, effective = min(1.0, float(w @ y / w.sum())), float(w.sum() ** 2 / (w**2).sum())
    left = 1 - float((w * p).sum() / w.sum())  # the share of the rows that nobody has looked at
    if left < 1e-12:
        return Estimate(rate, rate, rate, 0.0, "wilson")
    size = effective / left
    low, high = wilson(min(rate * size, size), size)
    return Estimate(rate, min(low, rate), max(high, rate), 0.0, "wilson")


def exact_interval(
    found: Sequence[int], labelled: Sequence[tuple[int, int]], total: Sequence[int], alpha: float = ALPHA
) -> tuple[float, float]:
    """An interval of the share of errors among rows in classes, from exact bounds of each class (Bonferroni).

    In each class `found` labelled rows have an error, of between `labelled[0]` and `labelled[1]` (the same number for a simple
    random sample) of its `total` rows. The bounds invert the hypergeometric test (Buonaccorsi 1987, The American Statistician 41,
    215-218), so at least 1 - `alpha` of such intervals hold the truth, however few the labels.

    >>> low, high = exact_interval([0], [(100, 100)], [1000])
    >>> low, round(high, 3)
    (0.0, 0.034)
    """
    unsure = sum(fewest < whole for (fewest, _), whole in zip(labelled, total, strict=True))
    tail = alpha / 2 / max(1, unsure)
    lows, highs = 0, 0
    for x, (fewest, most), whole in zip(found, labelled, total, strict=True):
        highs += _most_errors(min(x, fewest), fewest, whole, tail)
        lows += whole - _most_errors(most - x, most, whole, tail)
    size = sum(total)
    return lows / size, highs / size


def _exact(y: Array, shares: Array, everything: Array, p: Array) -> tuple[float, float]:
    """An exact interval by the critic's verdict, or of the labels alone where they are too few to be parted."""
    few = y.size < LEAST_LABELS
    classes, all_classes = (np.zeros(of.size, int) if few else _verdicts(of) for of in (shares, everything))
    found, labelled, total = [], [], []
    for verdict in np.unique(all_classes):
        mine, whole = classes == verdict, int((all_classes == verdict).sum())
        n = int(mine.sum())
        least, most = (float(p[mine].min()), float(p[mine].max())) if n else (0.0, 0.0)
        even = most - least < 1e-9
        found.append(int(y[mine].sum()))
        total.append(whole)
        labelled.append((n, n) if even else (min(n, math.floor(least * whole)), max(n, math.ceil(most * whole))))
    return exact_interval(found, labelled, total)


def _verdicts(shares: Array) -> Array:
    """The classes of rows: no verdict, an error, none."""
    classes: Array = np.where(np.isnan(shares), 2, np.where(shares > 0.5, 1, 0))
    return classes


def _surprises(y: Array, shares: Array) -> int:
    classes = _verdicts(shares)
    return int(sum(min(y[classes == one].sum(), (1 - y[classes == one]).sum()) for one in np.unique(classes)))


def _most_errors(found: int, labelled: int, total: int, tail: float) -> int:
    """The largest number of errors in `total` rows of which so few are found with a probability of at least `tail`."""
    from scipy.special import gammaln  # only here: scipy is slow to load

    def choose(n: int, k: Array) -> Array:
        chosen: Array = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
        return chosen

    def at_most(errors: int) -> float:
        x = np.arange(max(0, labelled - (total - errors)), min(found, errors) + 1, dtype=float)
        logs = choose(errors, x) + choose(total - errors, labelled - x) - choose(total, np.array(float(labelled)))
        return float(np.exp(logs).sum())

    low, high = found, total - (labelled - found)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if at_most(middle) >= tail else (low, middle - 1)
    return low


def _t(degrees: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, 1 - ALPHA / 2))

"""Calibration of vote agreement as confidence, and accuracy against coverage.

Confidence (a share of votes) takes few values, so rows are grouped by it. Every curve is computed from the number of rows and of
right rows in each group. Rows of equal confidence enter a curve together, since their order is arbitrary.

>>> found = curves([1, 1, 0.5, 0.5], [1, 1, 1, 0], stratum=[True, False, True, False], cluster=range(4))
>>> found["ece"], found["coverage"][4]["accuracy"], found["coverage"][9]["accuracy"]
(0.0, 1.0, 0.75)
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from deepcritic.metrics.bootstrap import percentiles, pooled, resampled_rates
from deepcritic.metrics.f1 import Array

BINS: Final = 10
COVERAGES: Final = tuple(step / 10 for step in range(1, 11))


def curves(confidence: ArrayLike, correct: ArrayLike, stratum: ArrayLike, cluster: ArrayLike) -> dict[str, Any]:
    """Fractions, from one confidence and one score (0 to 1) per row. 95% intervals by `resampled_rates`, both strata pooled.

    - `ece`: the expected calibration error over ten bins of equal width (Guo et al., arXiv 1706.04599): the mean distance of a
      bin's accuracy from its mean confidence, weighted by rows. Its resamples are biased upwards near 0, as distances are.
    - `calibration`: the bins that hold rows. `coverage`: the accuracy on the most confident share of the rows.
    - `aurc`: the error rate averaged over all coverages (Geifman and El-Yaniv, arXiv 1705.08500), as an integral.
    """
    values, group = np.unique(np.asarray(confidence, dtype=float), return_inverse=True)
    right = np.asarray(correct, dtype=float)
    member = (group[None] == np.arange(len(values))[:, None]).astype(float)
    lines = np.concatenate([member, member * right])
    estimate = lines.mean(axis=1)[:, None]
    drawn = pooled(resampled_rates(lines, stratum, cluster), stratum)
    points = _coverage(values, estimate), _coverage(values, drawn)
    return {
        "ece": float(_ece(values, estimate)[0]),
        "ece_interval": percentiles(_ece(values, drawn)),
        "aurc": float(_aurc(estimate)[0]),
        "aurc_interval": percentiles(_aurc(drawn)),
        "calibration": _bins(values, estimate, drawn, group),
        "coverage": [
            {"coverage": share, "accuracy": float(one[0]), "interval": percentiles(many)}
            for share, one, many in zip(COVERAGES, *points, strict=True)
        ],
    }


def _in_bins(values: Array, figures: Array) -> tuple[Array, Array]:
    """Shares of rows and of right rows per bin, from those per group."""
    member = (_bin(values)[None] == np.arange(BINS)[:, None]).astype(float)
    return member @ figures[: len(values)], member @ figures[len(values) :]


def _bin(values: Array) -> Any:
    return np.minimum((values * BINS + 1e-9).astype(int), BINS - 1)


def _ece(values: Array, figures: Array) -> Array:
    confident = _in_bins(values, figures * np.concatenate([values, np.ones(len(values))])[:, None])
    distance: Array = np.abs(confident[1] - confident[0]).sum(axis=0)
    return distance


def _bins(values: Array, estimate: Array, drawn: Array, group: Any) -> list[dict[str, Any]]:
    rows, right = _in_bins(values, estimate)
    drawn_rows, drawn_right = _in_bins(values, drawn)
    mean = _in_bins(values, estimate * np.concatenate([values, np.ones(len(values))])[:, None])[0]
    counts = np.bincount(_bin(values)[group], minlength=BINS)
    with np.errstate(invalid="ignore"):
        intervals = [percentiles(drawn_right[at] / drawn_rows[at]) for at in range(BINS)]
    return [
        {
            "from": at / BINS, "to": (at + 1) / BINS, "rows": int(counts[at]), "confidence": float(mean[at, 0] / rows[at, 0]),
            "accuracy": float(right[at, 0] / rows[at, 0]), "interval": intervals[at],
        }
        for at in range(BINS)
        if counts[at]
    ]  # fmt: skip


def _from_the_surest(figures: Array) -> tuple[Array, Array]:
    """Cumulative rows and right rows, from the most confident group down. The first entry is 0."""
    half = len(figures) // 2
    sums = [np.cumsum(part[::-1], axis=0) for part in (figures[:half], figures[half:])]
    nothing = np.zeros((1, figures.shape[1]))
    return np.concatenate([nothing, sums[0]]), np.concatenate([nothing, sums[1]])


def _coverage(values: Array, figures: Array) -> Array:
    """Accuracy at each of `COVERAGES`: shape (coverages, resamples)."""
    rows, right = _from_the_surest(figures)
    columns = range(figures.shape[1])
    taken = np.array([np.interp(COVERAGES, rows[:, column], right[:, column]) for column in columns]).T
    accuracy: Array = taken / np.array(COVERAGES)[:, None]
    return accuracy


def _aurc(figures: Array) -> Array:
    """Within a group of s rows with error rate r, after n rows with e errors, the integral of (e + r x) / (n + x) over x from 0
    to s is r s + (e - r n) ln((n + s) / n)."""
    rows, right = _from_the_surest(figures)
    wrong = rows - right
    before, size, errors = rows[:-1], np.diff(rows, axis=0), wrong[:-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        rate = np.where(size > 0, np.diff(wrong, axis=0) / size, 0.0)
        growth = np.where((before > 0) & (size > 0), np.log((before + size) / before), 0.0)
    area: Array = (rate * size + (errors - rate * before) * growth).sum(axis=0)
    return area

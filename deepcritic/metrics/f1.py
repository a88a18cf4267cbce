"""ProcessBench's F1: the harmonic mean of the accuracies on solutions with and without an error."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepcritic.schema import ALL_CORRECT

Array = NDArray[np.float64]


class ConstantBaseline(NamedTuple):
    """The best expected score of a guess that ignores the solution."""

    f1: float
    error_accuracy: float
    correct_accuracy: float


def harmonic_f1(a: float, b: float) -> float:
    """The harmonic mean of two accuracies: on rows with an error and on rows without. 0 when both are 0.

    >>> harmonic_f1(0.5, 1.0), harmonic_f1(0.0, 0.0)
    (0.6666666666666666, 0.0)
    """
    return float(harmonic_f1s(a, b))


def harmonic_f1s(a: ArrayLike, b: ArrayLike) -> Array:
    """`harmonic_f1` of each pair of two arrays. NaN where either is NaN."""
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    total = first + second
    unknown = np.where(np.isnan(total), np.nan, 0.0)
    result: Array = np.divide(2 * first * second, total, out=unknown, where=total > 0)
    return result


def f1_from_counts(right_with_error: float, with_error: int, right_all_correct: float, all_correct: int) -> float:
    """F1 from the number of right verdicts in each stratum. NaN if a stratum is empty.

    >>> f1_from_counts(1, 2, 3, 3)
    0.6666666666666666
    """
    if not with_error or not all_correct:
        return math.nan
    return harmonic_f1(right_with_error / with_error, right_all_correct / all_correct)


def f1(correct: ArrayLike, stratum: ArrayLike) -> float:
    """F1 from rows, always over the pooled rows, so that a resampled figure and the plain one agree."""
    right, error = np.asarray(correct, dtype=float), np.asarray(stratum, dtype=bool)
    return f1_from_counts(right[error].sum(), int(error.sum()), right[~error].sum(), int((~error).sum()))


def constant_baseline(first_errors: ArrayLike) -> ConstantBaseline:
    """The best F1 that a critic can expect without reading the solution: the floor for a meaningful score.

    Such a critic says "no error" with probability p and otherwise names the most frequent first error, whose share among the rows
    with an error is m. Any other step scores lower. The accuracies are then p and (1 - p) m, and their harmonic mean is highest
    at p = sqrt(m) / (1 + sqrt(m)), where it is 2 m / (1 + sqrt(m))^2.

    >>> constant_baseline([-1, -1, 2, 2])  # m = 1: say either half of the time
    ConstantBaseline(f1=0.5, error_accuracy=0.5, correct_accuracy=0.5)
    """
    values = np.asarray(first_errors)
    errors = values[values != ALL_CORRECT]
    if not errors.size or errors.size == values.size:
        return ConstantBaseline(math.nan, math.nan, math.nan)
    root = math.sqrt(np.unique(errors, return_counts=True)[1].max() / errors.size)
    return ConstantBaseline(2 * (root / (1 + root)) ** 2, root**2 / (1 + root), root / (1 + root))

"""F1 as in ProcessBench, and bootstrap intervals of F1 and of other rates.

All rates are fractions. A row's `correct` may lie between 0 and 1: the share of its samples that are right. `stratum` is True for
rows whose solution has an error. `cluster` names the problem: rows of one problem are resampled together. A rate over no rows is
NaN (unknown), not 0.

>>> correct, has_error = np.array([1, 0, 1, 1]), np.array([True, True, False, False])
>>> round(f1(correct, has_error), 4)
0.6667
>>> low, high = bootstrap_f1(correct, has_error, ["a", "b", "c", "d"])
>>> low, high
(0.0, 1.0)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepcritic.metrics.f1 import Array, f1, harmonic_f1s

RESAMPLES: Final = 2000
_CHUNK: Final = 256  # resamples at a time: keeps the matrix of counts at a few megabytes


class Seeds(NamedTuple):
    """The mean over `n` runs with different seeds and its 95% interval; a t-interval of a single run has NaN bounds."""

    mean: float
    low: float
    high: float
    n: int


def resampled_rates(
    values: ArrayLike, stratum: ArrayLike, cluster: ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[Array, Array]:
    """The mean of each line of `values` in each resample, per stratum. All intervals are built on it.

    `values` has shape (lines, rows). Problems are resampled within each stratum, with all of their rows in it. Returns two
    arrays of shape (lines, resamples): over the rows with an error, and over those without. All lines share the same resamples,
    and so do calls with the same rows and seed. For a function of such means, pass the function of the returned arrays to
    `percentiles`:

    >>> called_wrong, error = np.array([1, 0, 1, 0, 0, 0]), np.array([True, True, True, False, False, False])
    >>> hit, alarm = resampled_rates([called_wrong], error, range(6))
    >>> low, high = percentiles(hit[0] - alarm[0])  # Youden's J
    >>> low, high
    (0.0, 1.0)
    """
    lines = np.asarray(values, dtype=float)
    error, problem = np.asarray(stratum, dtype=bool), np.asarray(cluster)
    if lines.shape[1:] != error.shape or error.shape != problem.shape or error.ndim != 1:
        raise ValueError(f"one value per row is needed; got shapes {lines.shape[1:]}, {error.shape} and {problem.shape}")
    generator = np.random.default_rng(seed)
    rates: list[Array] = []
    for rows in (error, ~error):
        sums, sizes = _by_cluster(lines[:, rows], problem[rows])
        if not sizes.size:
            rates.append(np.full((len(lines), resamples), math.nan))
            continue
        rates.append(np.concatenate([_rates(c, sums, sizes) for c in _counts(sizes.size, resamples, generator)], axis=1))
    return rates[0], rates[1]


def pooled(rates: tuple[Array, Array], stratum: ArrayLike) -> Array:
    """Means over all rows, from the means per stratum. Each stratum keeps its share of the rows."""
    share = float(np.mean(np.asarray(stratum, dtype=bool)))
    parts = [weight * part for weight, part in zip((share, 1 - share), rates, strict=True) if weight]
    return sum(parts[1:], parts[0])


def percentiles(drawn: ArrayLike) -> tuple[float, float]:
    """The 95% percentile interval of resampled figures. NaN resamples are left out."""
    known = np.asarray(drawn, dtype=float)
    known = known[~np.isnan(known)]
    low, high = np.percentile(known, [2.5, 97.5]) if known.size else (math.nan, math.nan)
    return float(low), float(high)


def bootstrap_f1(
    correct: ArrayLike, stratum: ArrayLike, cluster: ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The 95% percentile interval of F1. Problems are resampled within each stratum, with all of their rows in it."""
    return percentiles(harmonic_f1s(*resampled_rates(np.asarray(correct, float)[None], stratum, cluster, resamples, seed)))


def mean_interval(
    values: ArrayLike, cluster: ArrayLike | None = None, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float]:
    """The 95% percentile interval of a mean over rows, resampled by cluster. Without `cluster` every row is its own cluster."""
    rows = np.asarray(values, dtype=float)
    if not rows.size:
        return math.nan, math.nan
    sums, sizes = _by_cluster(rows[None], np.arange(rows.size) if cluster is None else np.asarray(cluster))
    drawn = np.concatenate(
        [_rates(counts, sums, sizes)[0] for counts in _counts(sizes.size, resamples, np.random.default_rng(seed))]
    )
    return percentiles(drawn)


def wilson(successes: float, n: float, z: float = 1.959963984540054) -> tuple[float, float]:
    """The 95% Wilson interval of a proportion; (0, 1) for no observations.

    >>> [round(bound, 4) for bound in wilson(8, 10)]
    [0.4902, 0.9433]
    """
    if not n:
        return 0.0, 1.0
    if not 0 <= successes <= n:
        raise ValueError(f"successes must lie between 0 and n; got {successes} of {n}")
    rate = successes / n
    middle = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    return max(0.0, middle - half), min(1.0, middle + half)


def multi_seed(values: ArrayLike) -> Seeds:
    """The mean over seeds with its 95% t-interval.

    >>> [round(number, 3) for number in multi_seed([0.5, 0.6, 0.7])]
    [0.6, 0.352, 0.848, 3]
    """
    from scipy.special import stdtrit  # only here: scipy is slow to load

    runs = np.asarray(values, dtype=float)
    if not runs.size:
        return Seeds(math.nan, math.nan, math.nan, 0)
    mean = float(runs.mean())
    if runs.size == 1:
        return Seeds(mean, math.nan, math.nan, 1)
    half = float(stdtrit(runs.size - 1, 0.975) * runs.std(ddof=1) / math.sqrt(runs.size))
    return Seeds(mean, mean - half, mean + half, int(runs.size))


def seeds_bootstrap_f1(
    corrects: ArrayLike, stratum: ArrayLike, cluster: ArrayLike, resamples: int = RESAMPLES, seed: int = 0
) -> Seeds:
    """Mean F1 over runs with different seeds on the same rows. Its 95% interval resamples both the seeds and the problems.

    `corrects` has shape (seeds, rows). `over_seeds` says how seeds are resampled. With one seed, the interval covers the problems
    only.
    """
    runs = np.asarray(corrects, dtype=float)
    drawn = over_seeds(harmonic_f1s(*resampled_rates(runs, stratum, cluster, resamples, seed)), seed)
    return Seeds(float(np.mean([f1(run, stratum) for run in runs])), *percentiles(drawn), len(runs))


def over_seeds(drawn: Array, seed: int = 0) -> Array:
    """The mean over resampled seeds (second level), from figures of shape (seeds, resamples) whose problems were resampled.

    Of n seeds n - 1 are drawn, with replacement. The variance over the draws is then the unbiased one of a mean of n (Rao and
    Wu, 1988, J. Amer. Statist. Assoc. 83, 231-241); n draws would make it smaller by a factor (n - 1) / n, 2/3 for three seeds.
    """
    seeds, resamples = drawn.shape
    generator = np.random.default_rng([seed, 1])  # independent of the stream that the problems were drawn from
    picked = generator.integers(seeds, size=(max(1, seeds - 1), resamples))
    means: Array = drawn[picked, np.arange(resamples)].mean(axis=0)
    return means


def _by_cluster(values: Array, cluster: NDArray[Any]) -> tuple[Array, Array]:
    """Sums of each line of `values`, and numbers of rows, per cluster."""
    index = np.unique(cluster, return_inverse=True)[1].reshape(-1)
    sizes = np.bincount(index).astype(float)
    return np.stack([np.bincount(index, weights=line, minlength=sizes.size) for line in values]), sizes


def _counts(clusters: int, resamples: int, generator: np.random.Generator) -> Iterator[Array]:
    """How often each cluster is drawn: one row per resample, in chunks of resamples."""
    for start in range(0, resamples, _CHUNK):
        lines = min(_CHUNK, resamples - start)
        drawn = generator.integers(clusters, size=(lines, clusters)) + np.arange(lines)[:, None] * clusters
        yield np.bincount(drawn.reshape(-1), minlength=lines * clusters).reshape(lines, clusters).astype(float)


def _rates(counts: Array, sums: Array, sizes: Array) -> Array:
    rates: Array = (sums @ counts.T) / (counts @ sizes)
    return rates

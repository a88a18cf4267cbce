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
MANY: Final = 20_000
"""Problems from which on those with equal rows are drawn together: 2,000 resamples of a million take half a minute each."""
_CHUNK: Final = 256  # resamples at a time: keeps the matrix of counts at a few megabytes
_CELLS: Final = 4_000_000  # of that matrix at most


class Seeds(NamedTuple):
    """The mean over `n` runs with different seeds and its 95% interval; a t-interval of a single run has NaN bounds."""

    mean: float
    low: float
    high: float
    n: int


def resampled_rates(
    values: ArrayLike,
    stratum: ArrayLike,
    cluster: ArrayLike,
    resamples: int = RESAMPLES,
    seed: int = 0,
    *,
    kinds: ArrayLike | None = None,
) -> tuple[Array, Array]:
    """The mean of each line of `values` in each resample, per stratum. All intervals are built on it.

    `values` has shape (lines, rows), or (lines, kinds) where `kinds` says which column is that of each row. Problems are drawn
    anew within each stratum, with all of their rows there. Returns two arrays of shape (lines, resamples): over the rows with an
    error, and over those without. All lines share the draws, and with up to `MANY` problems so do calls with the same rows and
    seed. A figure that is a function of such means has its interval in `percentiles` of that function:

    >>> called_wrong, error = np.array([1, 0, 1, 0, 0, 0]), np.array([True, True, True, False, False, False])
    >>> hit, alarm = resampled_rates([called_wrong], error, range(6))
    >>> low, high = percentiles(hit[0] - alarm[0])  # Youden's J
    >>> low, high
    (0.0, 1.0)
    """
    lines = np.asarray(values, dtype=float)
    error, problem = np.asarray(stratum, dtype=bool), np.asarray(cluster)
    kind = None if kinds is None else np.asarray(kinds)
    of_rows = lines.shape[1:] if kind is None else kind.shape
    if of_rows != error.shape or error.shape != problem.shape or error.ndim != 1 or lines.ndim != 2:
        raise ValueError(f"one value per row is needed; got shapes {of_rows}, {error.shape} and {problem.shape}")
    generator = np.random.default_rng(seed)
    rates: list[Array] = []
    for rows in (error, ~error):
        own = lines[:, rows] if kind is None else lines
        rates.append(_resampled(own, None if kind is None else kind[rows], problem[rows], resamples, generator))
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
    problem = np.arange(rows.size) if cluster is None else np.asarray(cluster)
    return percentiles(_resampled(rows[None], None, problem, resamples, np.random.default_rng(seed))[0])


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


def _resampled(
    lines: Array, kind: NDArray[Any] | None, cluster: NDArray[Any], resamples: int, generator: np.random.Generator
) -> Array:
    """The mean of each line in each resample: shape (lines, resamples); NaN where there are no rows."""
    if not cluster.size:
        return np.full((len(lines), resamples), math.nan)
    index = np.unique(cluster, return_inverse=True)[1].reshape(-1)
    clusters = int(index.max()) + 1
    if clusters > MANY:
        columns, kind = _different(lines) if kind is None else (lines, kind)
        first, times = _alike(index, kind)
        if len(times) * 8 <= clusters:  # else there is little to gain
            chosen = np.full(clusters, -1)
            chosen[first] = np.arange(len(first))
            at = chosen[index]
            sums, sizes = _by_cluster(columns, kind[at >= 0], at[at >= 0], len(first))
            drawn = _times(times, resamples, generator)
            return np.concatenate([_rates(counts, sums, sizes) for counts in drawn], axis=1)
        lines = columns
    sums, sizes = _by_cluster(lines, kind, index, clusters)
    return np.concatenate([_rates(counts, sums, sizes) for counts in _counts(clusters, resamples, generator)], axis=1)


def _different(lines: Array) -> tuple[Array, NDArray[np.int64]]:
    """The columns of `lines` that differ, and which of them each row has."""
    kind = np.zeros(lines.shape[1], np.int64)
    for line in lines:
        values, own = np.unique(line, return_inverse=True)
        kind = np.unique(kind * len(values) + own.reshape(-1), return_inverse=True)[1].reshape(-1)
    return lines[:, np.unique(kind, return_index=True)[1]], kind


def _alike(index: NDArray[np.int64], kind: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One cluster of each sort, and how many there are of it. Two are of one sort that have as many rows of each kind.

    They are told apart by a sum of random 64-bit numbers, one a kind: of a million clusters two are mistaken for each other with
    a chance of 3e-8.
    """
    numbers = np.random.default_rng(0).integers(1 << 63, size=int(kind.max()) + 1, dtype=np.uint64)
    total = np.zeros(int(index.max()) + 1, np.uint64)
    np.add.at(total, index, numbers[kind])
    _, first, times = np.unique(total, return_index=True, return_counts=True)
    return first, times


def _by_cluster(lines: Array, kind: NDArray[Any] | None, index: NDArray[np.int64], clusters: int) -> tuple[Array, Array]:
    """Sums of each line, and numbers of rows, by cluster."""
    rows = ((line if kind is None else line[kind]) for line in lines)
    sums: Array = np.stack([np.bincount(index, weights=line, minlength=clusters) for line in rows])
    return sums, np.bincount(index, minlength=clusters).astype(float)


def _counts(clusters: int, resamples: int, generator: np.random.Generator) -> Iterator[Array]:
    """How often each cluster is drawn, a line for each resample, some resamples at a time."""
    for lines in _chunks(clusters, resamples):
        drawn = generator.integers(clusters, size=(lines, clusters)) + np.arange(lines)[:, None] * clusters
        yield np.bincount(drawn.reshape(-1), minlength=lines * clusters).reshape(lines, clusters).astype(float)


def _times(times: NDArray[np.int64], resamples: int, generator: np.random.Generator) -> Iterator[Array]:
    """How often the clusters of each sort are drawn: the same draws as those of `_counts`, summed by sort."""
    clusters = int(times.sum())
    for lines in _chunks(len(times), resamples):
        yield generator.multinomial(clusters, times / clusters, size=lines).astype(float)


def _chunks(columns: int, resamples: int) -> Iterator[int]:
    most = max(1, min(_CHUNK, _CELLS // columns))
    for start in range(0, resamples, most):
        yield min(most, resamples - start)


def _rates(counts: Array, sums: Array, sizes: Array) -> Array:
    rates: Array = (sums @ counts.T) / (counts @ sizes)
    return rates

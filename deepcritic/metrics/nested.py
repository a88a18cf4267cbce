"""One interval for a figure over seeds, and over instances of the models: the criterion of every claim.

>>> over = nested_interval([12.0, 15.0, 13.0], [(10.0, 14.0), (13.0, 17.0), (11.0, 15.0)])
>>> over.low < over.mean < over.high
True
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from deepcritic.metrics.bootstrap import RESAMPLES, Seeds

Z: Final = 1.959963984540054
Bounds = Sequence[float] | None
EDGE: Final = 0.05
"""Shares nearer to 0 or 100 percent than this are moved here: their logit is infinite."""


def nested_interval(
    values: Sequence[float],
    intervals: Sequence[Bounds] = (),
    instances: Sequence[int] = (),
    *,
    share: bool = False,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Seeds:
    """The mean over seeds and its 95% interval by a two-level bootstrap.

    `values` has a figure for each run. `intervals` are their own 95% intervals over rows (None: not known), from which the
    sampling error of a run is drawn as normal. `instances` says with which models each run was made; with none given all were
    made with the same ones. First instances are drawn, then runs of each, then the error of each run. Of n instances or runs
    n - 1 are drawn, with replacement, which keeps the variance unbiased (Rao and Wu, 1988). The mean of few runs has wider tails
    than a normal variable: what differs between runs is multiplied by the ratio of the t to the normal quantile, at the degrees
    of freedom of the outer level. The interval is symmetric about the mean: of three runs the quantiles of one side say little.

    With `share`, figures are percent, and all is done on the logit scale, so that no interval leaves 0 to 100.

    >>> nested_interval([90.0, 97.0, 99.0], share=True).high < 100
    True
    """
    runs = np.asarray(values, dtype=float)
    if not runs.size or np.isnan(runs).any():
        return Seeds(math.nan, math.nan, math.nan, int(runs.size))
    bounds = [*intervals, *[None] * (runs.size - len(intervals))]
    errors = np.array([_error(one, share) for one in bounds])
    scaled = _logit(runs) if share else runs
    labels = np.asarray(instances if len(instances) else np.zeros(runs.size), dtype=int)
    groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    outer = len(groups) if len(groups) > 1 else runs.size
    middle = float(np.mean([scaled[group].mean() for group in groups]))
    between, within = _draw(scaled, errors, groups, resamples, np.random.default_rng(seed))
    wider = _t(outer - 1) / Z if outer > 1 else 1.0
    half = float(np.quantile(np.abs(wider * (between - middle) + within), 0.95))
    low, high = middle - half, middle + half
    mean = float(np.mean([runs[group].mean() for group in groups]))
    if outer == 1 and not errors.any():
        low = high = math.nan
    return Seeds(mean, _percent(low) if share else low, _percent(high) if share else high, int(runs.size))


def _draw(
    runs: NDArray[np.float64],
    errors: NDArray[np.float64],
    groups: Sequence[NDArray[np.int64]],
    resamples: int,
    generator: np.random.Generator,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of the runs drawn, and that of their errors, each of shape (resamples,)."""
    picked = generator.integers(len(groups), size=(resamples, max(1, len(groups) - 1)))
    means, noise = np.empty(picked.shape), np.empty(picked.shape)
    for number, group in enumerate(groups):
        here = picked == number
        count = int(here.sum())
        at = group[generator.integers(group.size, size=(count, max(1, group.size - 1)))]
        means[here] = runs[at].mean(axis=1)
        noise[here] = (errors[at] * generator.standard_normal(at.shape)).mean(axis=1)
    return means.mean(axis=1), noise.mean(axis=1)


def _error(bounds: Bounds, share: bool) -> float:
    """The standard error that a 95% interval says."""
    if bounds is None or any(math.isnan(bound) for bound in bounds):
        return 0.0
    low, high = (_logit(np.asarray(bounds, float)) if share else np.asarray(bounds, float)).tolist()
    return float(high - low) / (2 * Z)


def _logit(percent: NDArray[np.float64]) -> NDArray[np.float64]:
    kept = np.clip(percent, EDGE, 100 - EDGE) / 100
    result: NDArray[np.float64] = np.log(kept / (1 - kept))
    return result


def _percent(logit: float) -> float:
    return 100 / (1 + math.exp(-logit))


def _t(freedom: int) -> float:
    from scipy.special import stdtrit  # only here: scipy is slow to load

    return float(stdtrit(freedom, 0.975))

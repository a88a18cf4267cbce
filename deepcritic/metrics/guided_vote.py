"""Votes of k replies guided by a Meta RM: only the half with the highest Meta RM scores votes.

From n sampled replies, the curve of a row is a mean over subsets of size k (all of them, or 64 random ones), beside the plain
vote of the same subsets. Ties are split evenly: a winner among t tied candidates counts 1 / t.

>>> curve = guided_chances([{1: 9.0, 2: 2.0}, {1: 2.0, 2: 6.0}], target=2, meta_rm_scores=[0.1, 0.9], ks=[1, 2])
>>> curve.plain.tolist(), curve.guided.tolist()
([0.5, 0.0], [0.5, 1.0])
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepcritic.metrics.f1 import Array

DRAWS: Final = 64
"""Random subsets per size and row. Half of them are complements of others, which reduces the variance of means."""
Points = Mapping[Hashable, float]


class Chances(NamedTuple):
    """For each k the probability that the target wins: in the plain vote, and in the guided one (NaN without a Meta RM)."""

    plain: Array
    guided: Array


def kept_half(meta_rm_scores: Sequence[float]) -> list[float]:
    """Vote weights: 1 for the half of the replies with the highest scores (k / 2, at least one), 0 for the others.

    Of equal scores the first are kept.

    >>> kept_half([0.2, 0.9, 0.4])
    [0.0, 1.0, 0.0]
    """
    keep = sorted(range(len(meta_rm_scores)), key=lambda at: -meta_rm_scores[at])[: max(1, len(meta_rm_scores) // 2)]
    return [float(at in keep) for at in range(len(meta_rm_scores))]


def powers(most: int) -> list[int]:
    """1, 2, 4 ... up to `most`, and `most` itself: the values of k that a curve shows."""
    sizes = [2**power for power in range(most.bit_length())]
    return sizes if sizes[-1] == most else [*sizes, most]


def guided_chances(
    points: Sequence[Points | None],
    target: Hashable,
    ks: Sequence[int],
    meta_rm_scores: Sequence[float] = (),
    seed: int = 0,
) -> Chances:
    """Plain and guided curves, from the points that each reply gives to each candidate (None: unparsed, does not vote). A k above
    the number of replies counts as that number."""
    names: dict[Hashable, int] = {target: 0}
    for given in points:
        for candidate in given or ():
            names.setdefault(candidate, len(names))
    table = np.zeros((len(points), len(names)))
    readable = np.array([given is not None for given in points])
    for at, given in enumerate(points):
        for candidate, value in (given or {}).items():
            table[at, names[candidate]] = value
    likes = np.asarray(meta_rm_scores, float)
    plain, guided = np.zeros(len(ks)), np.full(len(ks), np.nan)
    for place, k in enumerate(ks):
        chosen = _subsets(len(points), min(k, len(points)), seed)
        plain[place] = _wins(table, readable, chosen)
        if likes.size:
            size = max(1, chosen.shape[1] // 2)
            best = np.argsort(-likes[chosen], axis=1, kind="stable")[:, :size]
            guided[place] = _wins(table, readable, np.take_along_axis(chosen, best, axis=1))
    return Chances(plain, guided)


def _subsets(size: int, k: int, seed: int) -> NDArray[np.int64]:
    """Subsets of size k out of `size`, one per row: all of them if they are few, else a random sample drawn with `seed`."""
    if math.comb(size, k) <= DRAWS:
        return np.array(list(itertools.combinations(range(size), k)), np.int64)
    half = np.argsort(np.random.default_rng([seed, k]).random((DRAWS // 2, size)), axis=1)
    return np.concatenate([half, half[:, ::-1]])[:, :k]


def _wins(table: Array, readable: NDArray[np.bool_], chosen: NDArray[np.int64]) -> float:
    """The target's share of the first place, averaged over subsets (rows of `chosen`)."""
    sums = table[chosen].sum(axis=1)
    first = sums >= sums.max(axis=1, keepdims=True)
    heard = readable[chosen].any(axis=1)
    return float(np.mean(np.where(heard & first[:, 0], 1 / first.sum(axis=1), 0.0)))

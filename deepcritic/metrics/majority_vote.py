"""Accuracy of a majority vote of k replies, from n >= k sampled replies: the exact mean over all subsets, not the first k.

An unparsed reply (None) is sampled like any other but does not vote. A subset without a parsed reply has no winner. Ties are
split evenly between the tied verdicts (`random`), or go to the verdict that appears first in sample order (`first`, the rule of
DeepCritic's code, arXiv 2505.00662).

>>> chances([2, 2, -1], target=2).round(4)  # of one reply, of two, of three
array([0.6667, 0.6667, 1.    ])
>>> chances([2, 2, -1], target=2, ties="first")
array([0.66666667, 1.        , 1.        ])
"""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Sequence
from typing import Any, Final, Literal

import numpy as np

from deepcritic.errors import InputError
from deepcritic.metrics.f1 import Array

Ties = Literal["random", "first"]
TIES: Final[tuple[Ties, ...]] = ("random", "first")
_Pattern = tuple[int, ...]
_TARGET, _UNPARSED = 0, -1


def vote_rule(name: str, field: str) -> Ties:
    """The tie rule called `name`. Raises `InputError` for an unknown name; `field` is the option that the error names."""
    for rule in TIES:
        if rule == name:
            return rule
    raise InputError("unknown tie rule", field=field, found=name, expected=" or ".join(TIES))


def chances(verdicts: Sequence[Hashable | None], target: Hashable, ties: Ties = "random") -> Array:
    """The chance that `target` wins a vote of k of these replies, for k = 1 .. n: an array of shape (n,).

    Every subset of size k is as likely as any other, and keeps the order of the samples.
    """
    if target not in verdicts:
        return np.zeros(len(verdicts))
    names: dict[Any, int] = {target: _TARGET, None: _UNPARSED}
    pattern = tuple(names.setdefault(verdict, len(names) - 1) for verdict in verdicts)
    return _chances(pattern if ties == "first" else _canonical(pattern), ties).copy()


def _canonical(pattern: _Pattern) -> _Pattern:
    """One representative for all patterns with the same tallies: the order is irrelevant when ties are random."""
    counts = sorted((pattern.count(name) for name in set(pattern) - {_TARGET, _UNPARSED}), reverse=True)
    others = tuple(name for name, count in enumerate(counts, start=1) for _ in range(count))
    return (_TARGET,) * pattern.count(_TARGET) + others + (_UNPARSED,) * pattern.count(_UNPARSED)


@functools.lru_cache(maxsize=20_000)
def _chances(pattern: _Pattern, ties: Ties) -> Array:
    """Subsets are counted by how many votes g the target has in them. Every other verdict has fewer votes, or exactly g and
    loses the tie. `ways[branch, g, k]` counts the subsets of size k that the verdicts processed so far allow.

    The branches handle ties. `first`: in branch b the target's first vote is its b-th one, so all votes of a tied verdict must
    come later. `random`: with t tied verdicts the target wins with probability 1 / (t + 1), which is the integral of y^t from 0
    to 1: a sum over the branches' nodes y that is exact for these degrees (Gauss-Legendre quadrature).
    """
    size = len(pattern)
    places = {name: [place for place, other in enumerate(pattern) if other == name] for name in set(pattern)}
    own, unparsed = places.pop(_TARGET), len(places.pop(_UNPARSED, []))
    most, choose = len(own), _binomials(size)
    if ties == "first":
        later = np.arange(most)[::-1]
        start = choose[later[:, None], np.arange(most)]  # g - 1 further votes out of the later ones
        tied = [choose[[sum(place > first for place in rivals) for first in own], 1 : most + 1] for rivals in places.values()]
    else:
        nodes, weights = np.polynomial.legendre.leggauss((len(places) + 2) // 2)
        start = (weights / 2)[:, None] * choose[most, 1 : most + 1]
        tied = [((nodes + 1) / 2)[:, None] * choose[len(rivals), 1 : most + 1] for rivals in places.values()]
    ways = np.zeros((len(start), most, size + 1))
    for g in range(1, most + 1):
        ways[:, g - 1, g] = start[:, g - 1]
    for rivals, losing in zip(places.values(), tied, strict=True):
        further = ways.copy()  # the rival has no vote
        for votes in range(1, min(len(rivals), most) + 1):
            further[:, votes:, votes:] += choose[len(rivals), votes] * ways[:, votes:, :-votes]
            further[:, votes - 1, votes:] += losing[:, votes - 1, None] * ways[:, votes - 1, :-votes]
        ways = further
    total = ways.sum(axis=(0, 1))
    total = np.convolve(total, choose[unparsed, : unparsed + 1])[: size + 1]
    result: Array = np.minimum(1.0, total[1:] / choose[size, 1:])
    return result


@functools.lru_cache(maxsize=64)
def _binomials(size: int) -> Array:
    """`table[n, k]` is n over k, for n and k from 0 to `size`."""
    return np.array([[math.comb(n, k) for k in range(size + 1)] for n in range(size + 1)], dtype=float)

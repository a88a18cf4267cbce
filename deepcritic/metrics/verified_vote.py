"""Votes over several solutions of one problem: plain, filtered by a critic, weighted by a critic, or the best single solution.

Four solutions of a problem, two with the wrong answer 0 and two with the right answer 1. The critic rejects the first:

>>> votes = Votes(answer=[0, 0, 1, 1], right=[0, 0, 1, 1], stands=[0, 1, 1, 1], weight=[0.1, 0.6, 0.9, 0.7])
>>> [round(accuracy(votes, method, subsets(4, 4)), 3) for method in METHODS]
[0.5, 1.0, 1.0, 1.0]
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

METHODS = ("majority", "verified", "weighted", "best")
"""`majority`: the most frequent answer. `verified`: the same among the solutions that the critic accepts, or among all if it
accepts none (DeepCritic's verified majority voting, arXiv 2505.00662). `weighted`: each solution counts with the share of the
critic's votes that accept it. `best`: the answer of the solution with the largest such share."""
MOST_SUBSETS = 256


class Votes:
    """The solutions of one problem, one entry each: `answer`, a number per distinct answer, -1 if unreadable; `right`, whether
    it equals the reference answer; `stands`, whether the critic accepts the solution; `weight`, the share of the critic's votes
    that accept it."""

    def __init__(self, answer: ArrayLike, right: ArrayLike, stands: ArrayLike, weight: ArrayLike) -> None:
        self.answer = np.asarray(answer, int)
        self.right = np.asarray(right, bool) & (self.answer >= 0)
        self.stands, self.weight = np.asarray(stands, float), np.asarray(weight, float)

    def first(self, count: int) -> Votes:
        """The first `count` solutions."""
        return Votes(self.answer[:count], self.right[:count], self.stands[:count], self.weight[:count])


def subsets(n: int, k: int, seed: int = 0) -> NDArray[np.int64]:
    """The subsets of k out of n, one per row: all of them, or `MOST_SUBSETS` drawn with `seed` if there are more.

    >>> subsets(3, 2).tolist()
    [[0, 1], [0, 2], [1, 2]]
    """
    if math.comb(n, k) <= MOST_SUBSETS:
        return np.array(list(itertools.combinations(range(n), k)), np.int64).reshape(-1, k)
    return np.random.default_rng((seed, n, k)).random((MOST_SUBSETS, n)).argsort(axis=1)[:, :k]


def accuracy(votes: Votes, method: str, chosen: NDArray[np.int64]) -> float:
    """Accuracy of the vote, averaged over the rows of `chosen` (subsets of solutions) and over random ties.

    A solution without a readable answer does not vote. If no solution of a subset has a readable answer, the vote is wrong.
    """
    readable = votes.answer >= 0
    score = {"majority": np.ones(readable.size), "verified": votes.stands, "weighted": votes.weight, "best": votes.weight}[method]
    score, here = (score * readable)[chosen], readable[chosen]
    none_left = score.sum(axis=1) == 0  # the critic rejects all: fall back to the plain vote
    score = np.where(none_left[:, None], here, score)
    if method == "best":
        top = (score == score.max(axis=1, keepdims=True)) & here
        return _share(top, np.broadcast_to(votes.right, (len(chosen), readable.size))[np.arange(len(chosen))[:, None], chosen])
    kinds = int(votes.answer.max(initial=-1)) + 1
    if kinds == 0:
        return 0.0
    is_kind = votes.answer[chosen][:, :, None] == np.arange(kinds)
    tally = (score[:, :, None] * is_kind).sum(axis=1)
    kind_right = np.array([bool(votes.right[votes.answer == kind].any()) for kind in range(kinds)])
    top = np.isclose(tally, tally.max(axis=1, keepdims=True), rtol=0, atol=1e-9) & (tally > 0)
    return _share(top, np.broadcast_to(kind_right, top.shape))


def curve(problems: list[Votes], method: str, most: int) -> NDArray[np.float64]:
    """Accuracy on each problem for k = 1 .. `most`: shape (most, problems). NaN where a problem has fewer than k solutions."""
    result = np.full((most, len(problems)), math.nan)
    for index, votes in enumerate(problems):
        for k in range(1, min(most, votes.answer.size) + 1):
            result[k - 1, index] = accuracy(votes, method, subsets(votes.answer.size, k))
    return result


def _share(top: NDArray[Any], right: NDArray[Any]) -> float:
    """The share of right solutions among the top ones of each row, averaged over rows. An empty row is wrong."""
    count = top.sum(axis=1)
    return float(np.mean(np.divide((top & right).sum(axis=1), count, out=np.zeros(len(top)), where=count > 0)))

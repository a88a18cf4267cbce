"""Which rows are most worth a label next: drawn at random, the doubtful ones more often, with known probabilities.

Picking the most doubtful rows would bias an estimate. Drawn with known probabilities, each labelled row counts 1 / probability,
and the estimate stays without bias (active inference, Zrnic and Candes 2024, arXiv 2403.03208). The best probability is in
proportion to the standard deviation of what the critic leaves open; for a share s of K votes that is sqrt(p (1 - p)) with
p = (K s + 1/2) / (K + 1), which even for votes that agree is not 0.

>>> doubts = doubt([0.0, 0.5, np.nan], [8, 8, 0])
>>> [round(float(one), 2) for one in doubts]
[0.23, 0.5, 0.5]
>>> chances = inclusion(doubts, 2)
>>> [round(float(one), 2) for one in chances], int(draw(chances, np.random.default_rng(0)).sum())
([0.37, 0.81, 0.81], 2)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepcritic.metrics.f1 import Array


def doubt(shares: ArrayLike, votes: ArrayLike) -> Array:
    """How unsure the critic is of each row, from 0 to 0.5; a row without a verdict (NaN) is as doubtful as can be."""
    share, count = np.asarray(shares, dtype=float), np.asarray(votes, dtype=float)
    p = np.where(np.isnan(share), 0.5, (np.nan_to_num(share) * count + 0.5) / (count + 1))
    found: Array = np.sqrt(p * (1 - p))
    return found


def inclusion(doubts: ArrayLike, count: int) -> Array:
    """The probability of each row to be among `count` drawn ones: in proportion to its doubt, and at most 1.

    Raises `ValueError` for more than there are rows, and for a row without any doubt.
    """
    size = np.asarray(doubts, dtype=float)
    if not 0 <= count <= size.size or not (size > 0).all():
        raise ValueError(f"0 to {size.size} rows with doubts above 0 are needed; got {count}")
    sure = np.zeros(size.size, dtype=bool)
    while True:
        rest = count - int(sure.sum())
        chances = np.where(sure, 1.0, size * (rest / max(float(size[~sure].sum()), 1e-300)))
        over = (chances > 1) & ~sure
        if not over.any():
            return chances
        sure |= over


def draw(probabilities: ArrayLike, generator: np.random.Generator) -> NDArray[np.bool_]:
    """A sample that holds each row with exactly its probability, and as many rows as these sum to.

    Systematic sampling in random order (Madow 1949, Annals of Mathematical Statistics 20, 333-354).
    """
    chances = np.asarray(probabilities, dtype=float)
    order = generator.permutation(chances.size)
    ends = np.cumsum(chances[order])
    if chances.size:
        ends[-1] = round(float(ends[-1]), 9)  # a sum such as 49.999999 would lose a row
    passed = np.floor(ends + generator.random()).astype(int)
    drawn = np.zeros(chances.size, dtype=bool)
    drawn[order] = np.diff(passed, prepend=0) > 0
    return drawn


def in_either(first: ArrayLike, second: ArrayLike) -> Array:
    """The probability of each row to be in at least one of two samples that are drawn without regard to each other.

    >>> in_either([0.5], [0.2])
    array([0.6])
    """
    found: Array = 1 - (1 - np.asarray(first, dtype=float)) * (1 - np.asarray(second, dtype=float))
    return found

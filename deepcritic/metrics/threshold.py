"""Verdicts from step scores: the first step whose score is below a threshold, and the choice of that threshold.

>>> first_below((0.9, 0.3, 0.6), 0.5), first_below((0.9, 0.8), 0.5)
(2, -1)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from deepcritic.errors import InputError
from deepcritic.metrics.f1 import harmonic_f1
from deepcritic.schema import ALL_CORRECT


class Choice(NamedTuple):
    """A threshold, and its F1 (a fraction) on the rows that it was chosen on."""

    threshold: float
    f1: float


def first_below(values: Sequence[float], threshold: float) -> int:
    """The first step, from 1, whose score is below the threshold; `ALL_CORRECT` if there is none."""
    return next((step for step, value in enumerate(values, start=1) if value < threshold), ALL_CORRECT)


def best_threshold(rows: Iterable[tuple[Sequence[float], int]]) -> Choice:
    """The threshold with the highest F1 on rows of `(step scores, first error)`. Of equal thresholds it returns the lowest.

    A row with its first error at step e is right for thresholds above its score at e, up to the minimum of the scores before e. A
    row without an error is right for thresholds up to its minimum score. F1 therefore changes only at these values, and one pass
    over them in ascending order finds the best. The threshold is the midpoint to the next value.

    >>> best_threshold([((0.9, 0.25), 2), ((0.75, 0.8), -1)])
    Choice(threshold=0.5, f1=1.0)
    """
    opens: list[float] = []
    closes: list[float] = []
    closes_fine: list[float] = []
    errors = 0
    for values, first_error in rows:
        if first_error == ALL_CORRECT:
            closes_fine.append(min(values))
            continue
        errors += 1
        least = min(values[: first_error - 1], default=np.inf)
        if values[first_error - 1] < least:
            opens.append(values[first_error - 1])
            closes.append(least)
    if not errors or not closes_fine:
        missing = "with an error" if closes_fine else "without an error"
        expected = "rows with and without an error"
        raise InputError(f"no threshold can be chosen without rows {missing}", field="stage.threshold_on", expected=expected)
    # At a threshold just above edge k, a row is right if its interval opens at or before k and closes after it.
    edges = np.unique(np.array([0.0, *opens, *closes_fine, *(value for value in closes if value < np.inf)]))
    opened = np.searchsorted(np.sort(opens), edges, side="right")
    closed = np.searchsorted(np.sort(closes), edges, side="right")
    found = (opened - closed) / errors
    seen = 1 - np.searchsorted(np.sort(closes_fine), edges, side="right") / len(closes_fine)
    f1s = [harmonic_f1(float(a), float(b)) for a, b in zip(found, seen, strict=True)]
    best = int(np.argmax(f1s))
    above = float(edges[best + 1]) if best + 1 < edges.size else float(edges[best]) + 1e-3
    halfway = (float(edges[best]) + above) / 2
    return Choice(halfway if halfway > edges[best] else above, f1s[best])  # adjacent floats have no number between them

"""Breakdown of a critic's mistakes: by what it said instead, by the first error's position and kind, by length, by author.

All values are fractions, each with a 95% interval and the number of rows behind it. The interval is unreliable for few rows, and
where all or none of the rows are right. Every row must have a score.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from deepcritic.metrics.bootstrap import percentiles, resampled_rates
from deepcritic.metrics.f1 import harmonic_f1s
from deepcritic.schema import ALL_CORRECT, WITH_ERROR, WITHOUT_ERROR, Judged

KINDS: Final = ("missed", "too early", "too late", "no verdict", "false alarm")
LENGTHS: Final = (1, 4, 7, 10, 15)
"""The smallest number of steps in each length group."""


def mistakes(rows: Sequence[Judged]) -> dict[str, dict[str, Any]]:
    """Wrong replies by kind: shares among the solutions with an error, and among those without."""
    error, cluster = _strata(rows)
    values = np.array([_shares(row.verdicts, row.gold) for row in rows]).T
    drawn = resampled_rates(values, error, cluster)
    return {
        stratum: {
            kind: {"share": float(values[at][among].mean()), "interval": percentiles(rates[at])}
            for at, kind in enumerate(KINDS)
            if kind in possible
        }
        for stratum, possible, among, rates in (
            (WITH_ERROR, KINDS[:4], error, drawn[0]),
            (WITHOUT_ERROR, KINDS[3:], ~error, drawn[1]),
        )
        if among.any()
    }


def errors_found(rows: Sequence[Judged], group: Callable[[Judged], Any]) -> dict[str, dict[str, Any]]:
    """Accuracy on the solutions with an error, by group. `group` returns a sortable key, or None to leave a row out."""
    return {
        name: {"rows": found["with_error"], "accuracy": found["error_accuracy"], "interval": found["error_accuracy_interval"]}
        for name, found in accuracies([row for row in rows if row.gold != ALL_CORRECT], group).items()
    }


def accuracies(rows: Sequence[Judged], group: Callable[[Judged], Any]) -> dict[str, dict[str, Any]]:
    """Both accuracies and F1, by group; NaN where a group has no rows of a kind."""
    keys = [group(row) for row in rows]
    names = sorted({key for key in keys if key is not None})
    if not names:
        return {}
    rows, keys = [row for row, key in zip(rows, keys, strict=True) if key is not None], [key for key in keys if key is not None]
    places = {name: at for at, name in enumerate(names)}
    of = np.array([places[key] for key in keys])
    error, cluster = _strata(rows)
    right = np.array([row.correct for row in rows], float)
    values, value = np.unique(right, return_inverse=True)
    # A row is of one kind by its group and its score. For each kind: is it in the group, and if so its score.
    member = np.repeat(np.eye(len(names)), len(values), axis=1)
    lines = np.concatenate([member, member * np.tile(values, len(names))])
    drawn = resampled_rates(lines, error, cluster, kinds=of * len(values) + value.reshape(-1))
    by_stratum = [(of[among], right[among]) for among in (error, ~error)]
    sizes = [np.bincount(groups, minlength=len(names)) for groups, _ in by_stratum]
    sums = [np.bincount(groups, weights=scores, minlength=len(names)) for groups, scores in by_stratum]
    found = {}
    with np.errstate(invalid="ignore"):
        for at, name in enumerate(names):
            rates = [part[len(names) + at] / part[at] for part in drawn]
            counts = [int(size[at]) for size in sizes]
            means = [float(total[at] / count) if count else float("nan") for total, count in zip(sums, counts, strict=True)]
            found[str(name)] = {
                "rows": sum(counts),
                "with_error": counts[0],
                "error_accuracy": means[0],
                "error_accuracy_interval": percentiles(rates[0]),
                "correct_accuracy": means[1],
                "correct_accuracy_interval": percentiles(rates[1]),
                "f1": float(harmonic_f1s(*means)),
                "f1_interval": percentiles(harmonic_f1s(*rates)),
            }
    return found


class Length(int):
    """A group of solutions by their number of steps. It sorts by the number and prints as the range.

    >>> [str(Length.of(steps)) for steps in (1, 9, 40)]
    ['1 to 3 steps', '7 to 9 steps', '15 steps or more']
    """

    @classmethod
    @functools.cache
    def of(cls, steps: int) -> Length:
        return cls(max(start for start in LENGTHS if start <= max(steps, LENGTHS[0])))

    def __str__(self) -> str:
        at = LENGTHS.index(int(self)) + 1
        return f"{int(self)} to {LENGTHS[at] - 1} steps" if at < len(LENGTHS) else f"{int(self)} steps or more"


def _strata(rows: Sequence[Judged]) -> tuple[Any, Any]:
    return np.array([row.gold != ALL_CORRECT for row in rows]), np.array([row.cluster for row in rows])


@functools.lru_cache(maxsize=4096)
def _shares(verdicts: tuple[int | None, ...], gold: int) -> tuple[float, ...]:
    """For each of `KINDS` the share of the verdicts that are of it."""
    said = [_said(verdict, gold) for verdict in verdicts]
    return tuple(said.count(kind) / len(said) for kind in KINDS)


def _said(verdict: int | None, gold: int) -> str:
    if verdict is None:
        return "no verdict"
    if verdict == gold:
        return "right"
    if gold == ALL_CORRECT:
        return "false alarm"
    return "missed" if verdict == ALL_CORRECT else "too early" if verdict < gold else "too late"

"""Breakdown of a critic's mistakes: by what it said instead, by the first error's position and kind, by length, by author.

All values are fractions, each with a 95% interval and the number of rows behind it. The interval is unreliable for few rows, and
where all or none of the rows are right. Every row must have a score.
"""

from __future__ import annotations

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
    values = np.array([[_share(row, kind) for row in rows] for kind in KINDS])
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
    """Both accuracies and F1, by group. NaN where a group has no rows of a class."""
    grouped = [(row, key) for row in rows if (key := group(row)) is not None]
    if not grouped:
        return {}
    names = sorted({key for _, key in grouped})
    error, cluster = _strata([row for row, _ in grouped])
    right = np.array([row.correct for row, _ in grouped], float)
    member = np.array([[key == name for _, key in grouped] for name in names], float)
    drawn = resampled_rates(np.concatenate([member, member * right]), error, cluster)
    found = {}
    with np.errstate(invalid="ignore"):
        for at, name in enumerate(names):
            rates = [part[len(names) + at] / part[at] for part in drawn]
            counts = [int(member[at][stratum].sum()) for stratum in (error, ~error)]
            means = [
                float((member[at] * right)[stratum].sum() / count) if count else float("nan")
                for stratum, count in zip((error, ~error), counts, strict=True)
            ]
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
    def of(cls, steps: int) -> Length:
        return cls(max(start for start in LENGTHS if start <= max(steps, LENGTHS[0])))

    def __str__(self) -> str:
        at = LENGTHS.index(int(self)) + 1
        return f"{int(self)} to {LENGTHS[at] - 1} steps" if at < len(LENGTHS) else f"{int(self)} steps or more"


def _strata(rows: Sequence[Judged]) -> tuple[Any, Any]:
    return np.array([row.gold != ALL_CORRECT for row in rows]), np.array([row.cluster for row in rows])


def _share(row: Judged, name: str) -> float:
    return sum(_said(verdict, row.gold) == name for verdict in row.verdicts) / len(row.verdicts)


def _said(verdict: int | None, gold: int) -> str:
    if verdict is None:
        return "no verdict"
    if verdict == gold:
        return "right"
    if gold == ALL_CORRECT:
        return "false alarm"
    return "missed" if verdict == ALL_CORRECT else "too early" if verdict < gold else "too late"

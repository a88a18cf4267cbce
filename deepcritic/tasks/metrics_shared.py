"""Helpers that the metrics of several tasks share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from deepcritic.errors import InputError
from deepcritic.metrics.bootstrap import mean_interval
from deepcritic.metrics.f1 import Array
from deepcritic.metrics.guided_vote import guided_chances
from deepcritic.schema import Judged
from deepcritic.tasks.base import CriticTask


def vote_chances(rows: Sequence[Judged], task: CriticTask[Any], ks: Sequence[int]) -> tuple[Array, Array]:
    """The probability that the target of each row wins a vote of k replies, plain and guided: two arrays of shape (ks, rows).

    In the guided array a row without Meta RM scores is NaN. A row without a parsed reply scores 0.
    """
    plain, guided = np.zeros((len(ks), len(rows))), np.full((len(ks), len(rows)), np.nan)
    for at, row in enumerate(rows):
        points = [None if verdict is None else task.votes_for(verdict) for verdict in row.verdicts]
        plain[:, at], guided[:, at] = guided_chances(points, row.gold, ks, row.meta_rm_scores)
    return plain, guided


REPLIES: Final = ("samples", "truncated", "unparsed", "refused", "failed")
"""Reply counts: how many were requested, and of those how many were truncated, unparsed, refused or failed."""


def answered(judged: Sequence[Judged]) -> list[Judged]:
    """The rows with a reply. Raises `InputError` if there are none."""
    rows = [row for row in judged if row.correct is not None]
    if not rows:
        raise InputError(
            "no row has a reply", field="generations", expected="a model or a recording with replies to the benchmark"
        )
    return rows


def reply_counts(judged: Sequence[Judged]) -> dict[str, int]:
    """The sums of `REPLIES` over all rows."""
    return {name: sum(getattr(row, name) for row in judged) for name in REPLIES}


def truncated_rate(replies: Mapping[str, int]) -> float:
    """The share of the received replies that were truncated; NaN if none was received."""
    received = replies["samples"] - replies["refused"] - replies["failed"]
    return replies["truncated"] / received if received else math.nan


def plain_figures(judged: Sequence[Judged], rows: Sequence[Judged]) -> dict[str, Any]:
    """The figures that do not depend on the task: counts of rows and replies, and the rate of unparsed replies in `rows`, those
    with a reply."""
    replies = reply_counts(judged)
    unparsed = [float(np.mean([verdict is None for verdict in row.verdicts])) for row in rows]
    return {
        "benchmark": {"name": judged[0].benchmark},
        "examples": len(judged),
        "failed": len(judged) - len(rows),
        "missing": sum(row.samples == 0 for row in judged),
        "replies": replies,
        "truncated_rate": truncated_rate(replies),
        "unparsed_rate": float(np.mean(unparsed)),
        "unparsed_rate_interval": mean_interval(unparsed, [row.cluster for row in rows]),
        "samples": max(len(row.verdicts) for row in rows),
    }


def totals(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The counts of rows and replies, summed over benchmarks."""
    found = list(parts)
    counts: dict[str, Any] = {name: sum(part[name] for part in found) for name in ("examples", "failed", "missing")}
    counts["replies"] = {name: sum(part["replies"][name] for part in found) for name in REPLIES}
    return counts


def in_percent(value: Any) -> Any:
    """Fractions (floats) as percent, whole numbers unchanged. None where there is nothing to measure, as in F1 without any
    all-correct row.

    >>> in_percent({"rows": 3, "f1": 0.25, "interval": (0.1, float("nan"))})
    {'rows': 3, 'f1': 25.0, 'interval': [10.0, None]}
    """
    if isinstance(value, float):
        return round(100 * float(value), 4) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: in_percent(one) for name, one in value.items()}
    return [in_percent(one) for one in value] if isinstance(value, list | tuple) else value


def guided_lines(by_votes: Mapping[str, Any]) -> Iterator[str]:
    """One line per k: the effect of the Meta RM's selection on the vote."""
    for k, one in by_votes.items():
        yield (
            f"  k = {k}: plain {number(one['plain'])}, guided {number(one['guided'])}, "
            f"difference {number(one['difference'])} ({span(one['interval'])})"
        )


def span(interval: Sequence[float | None]) -> str:
    return "95% interval {} to {}".format(*map(number, interval))


def number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"

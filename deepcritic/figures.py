"""The figures of an evaluation, in percent, from its judged rows: what `metrics.json` holds, and the lines that say it.

metrics = figures(read_rows(path, Judged), task)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from deepcritic.errors import InputError
from deepcritic.metrics import blind_guess_f1, bootstrap_f1
from deepcritic.rows import ALL_CORRECT, Judged
from deepcritic.tasks import CriticTask

REPLIES = ("samples", "truncated", "refused", "unreadable", "failed")
"""What became of the replies: how many were asked for, and of those how many were cut, withheld, not readable or lost."""


def figures(judged: list[Judged], task: CriticTask[Any]) -> dict[str, Any]:
    """All figures, in percent. Rows that failed for our own reasons are left out, and `f1_bounds` says what they could do."""
    rows = [row for row in judged if row.correct is not None]
    if not rows:
        raise InputError("no row has a reply", field="generations", remedy="a model or a recording that answers the benchmark")
    stratum = np.array([row.stratum for row in rows])
    cluster = np.array([row.cluster for row in rows])
    correct = np.array([row.correct for row in rows], float)
    unreadable = np.array([np.mean([verdict is None for verdict in row.verdicts]) for row in rows])
    main = task.aggregate({"correct": correct, "unreadable": unreadable, "stratum": stratum})
    with_error = stratum == "with an error"
    result: dict[str, Any] = {
        "examples": len(judged),
        **{name: _percent(value) for name, value in main.items()},
        "f1_interval": _interval(correct, with_error, cluster),
        "f1_bounds": _bounds(judged, task),
        "failed": len(judged) - len(rows),
        "missing": sum(row.samples == 0 for row in judged),
        "replies": {name: sum(getattr(row, name) for row in judged) for name in REPLIES},
        "blind_f1": _percent(blind_guess_f1([row.gold for row in rows])),
        "samples": max(len(row.verdicts) for row in rows),
        "error_accuracy_by_position": _by(rows, lambda row: str(row.gold)),
    }
    if any(row.error_kind for row in rows):
        result["error_accuracy_by_kind"] = _by(rows, lambda row: row.error_kind or "unknown")
    if result["samples"] > 1:
        votes = np.array([row.vote_correct for row in rows], float)
        voted = task.aggregate({"correct": votes, "unreadable": unreadable, "stratum": stratum})
        result["maj_f1"] = _percent(voted["f1"])
        result["maj_f1_interval"] = _interval(votes, with_error, cluster)
    return result


def suite_figures(benchmarks: Mapping[str, list[Judged]], task: CriticTask[Any]) -> dict[str, Any]:
    """The figures of each benchmark by name, and their mean F1, which counts every benchmark alike."""
    parts = {name: figures(judged, task) for name, judged in benchmarks.items()}
    values = [part["f1"] for part in parts.values()]
    mean = None if None in values else round(float(np.mean(values)), 4)
    totals: dict[str, Any] = {name: sum(part[name] for part in parts.values()) for name in ("examples", "failed", "missing")}
    totals["replies"] = {name: sum(part["replies"][name] for part in parts.values()) for name in REPLIES}
    return {"mean_f1": mean, "mean_f1_interval": [None, None], **totals, "benchmarks": parts}


def _interval(correct: Any, with_error: Any, cluster: Any) -> list[float | None]:
    return [_percent(bound) for bound in bootstrap_f1(correct, with_error, cluster)]


def _bounds(judged: list[Judged], task: CriticTask[Any]) -> list[float | None]:
    stratum = np.array([row.stratum for row in judged])
    bounds = []
    for unknown in (0.0, 1.0):
        correct = np.array([unknown if row.correct is None else row.correct for row in judged])
        bounds.append(_percent(task.aggregate({"correct": correct, "unreadable": correct, "stratum": stratum})["f1"]))
    return bounds


def _by(rows: list[Judged], name: Callable[[Judged], str]) -> dict[str, dict[str, float | None]]:
    """Accuracy and number of rows with an error, by a property."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        if row.gold != ALL_CORRECT and row.correct is not None:
            groups.setdefault(name(row), []).append(row.correct)
    counts = Counter({key: len(values) for key, values in groups.items()})
    return {key: {"rows": counts[key], "accuracy": _percent(float(np.mean(groups[key])))} for key in sorted(groups)}


def _percent(fraction: float) -> float | None:
    """In percent; None where there is nothing to measure, for instance F1 without any all-correct row."""
    return round(100 * fraction, 4) if math.isfinite(fraction) else None


def show(metrics: dict[str, Any]) -> dict[str, Any]:
    """Print the figures; returns them."""
    lost = f", truncated {metrics['truncated']}" if metrics.get("truncated") else ""
    lost += f", failed {metrics['failed']}" if metrics["failed"] else ""
    lost += f", without a reply {metrics['missing']} (counted as wrong)" if metrics["missing"] else ""
    parts = metrics.get("benchmarks", {"": metrics})
    for name, part in parts.items():
        first = f"{metrics['examples']} examples{lost}" if len(parts) == 1 else f"{name}: {part['examples']} examples"
        low, high = (_figure(bound) for bound in part["f1_interval"])
        print(f"{first}, unreadable {_figure(part['unparsed_rate'])}%")
        print(
            f"F1 {_figure(part['f1'])} (95% interval {low} to {high}; best blind guess {_figure(part['blind_f1'])}), "
            f"errors found {_figure(part['error_accuracy'])}%, all-correct seen {_figure(part['correct_accuracy'])}%"
        )
    if "mean_f1" in metrics:
        low, high = (_figure(bound) for bound in metrics["mean_f1_interval"])
        print(f"{metrics['examples']} examples{lost}: mean F1 {_figure(metrics['mean_f1'])} (95% interval {low} to {high})")
    return metrics


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"

"""The figures of a whole run, from the files of its finished stages, without new sampling or judging.

Step critics are found by the names of their evaluations: `evaluate.base`, `evaluate.sft` and `evaluate.rl` on the same rows,
`evaluate.votes` for Maj@k. Labels are compared with the truth of `prepare.truth`. All judges of responses are included.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from deepcritic.metrics.bootstrap import wilson
from deepcritic.metrics.paired_tests import paired_bootstrap_f1
from deepcritic.runs.jsonl import read_json, read_rows
from deepcritic.runs.manifest import Manifest, finished_manifests
from deepcritic.schema import WITH_ERROR, Example, Judged

CRITICS = ("base", "sft", "rl")
_FIGURES = (
    "f1",
    "f1_interval",
    "error_accuracy",
    "correct_accuracy",
    "unparsed_rate",
    "error_accuracy_by_kind",
    "error_accuracy_by_position",
)
JUDGED = ("accuracy", "accuracy_interval", "vote_accuracy", "roc_auc", "unparsed_rate", "chance_accuracy")


def summarise(run: Path) -> dict[str, Any]:
    """The figures of the run's finished stages, in percent and seconds. Stages not run are absent."""
    manifests = dict(finished_manifests(run))
    measured = {name: _json(run / name / "metrics.json") or {} for name, one in manifests.items() if one.stage == "evaluate"}
    steps = {name: metrics for name, metrics in measured.items() if "f1" in metrics}
    summary: dict[str, Any] = {}
    for critic in CRITICS:
        if metrics := steps.get(f"evaluate.{critic}"):
            summary[critic] = {name: metrics[name] for name in _FIGURES if name in metrics}
            summary["constant_baseline_f1"], summary["examples"] = metrics["constant_baseline_f1"], metrics["examples"]
        longer = steps.get(f"evaluate.{critic}_longer")
        if critic in summary and longer:
            summary[critic]["longer_f1"], summary[critic]["longer_f1_interval"] = longer["f1"], longer["f1_interval"]
    for name, first, second in (("sft_gain", "sft", "base"), ("rl_gain", "rl", "sft")):
        if first in summary and second in summary:
            summary.update(gain(name, run / f"evaluate.{first}", run / f"evaluate.{second}"))
    judges = {name: metrics for name, metrics in measured.items() if "accuracy" in metrics and "mae" not in metrics}
    if judges:
        figures = ("examples", "samples", *JUDGED)
        summary["judges"] = {name: {key: one[key] for key in figures if key in one} for name, one in judges.items()}
    votes = steps.get("evaluate.votes", {})
    if "maj_f1" in votes and "rl" in summary:
        summary["rl"].update(
            single_t_f1=votes["f1"], maj8_f1=votes["maj_f1"], votes=votes["samples"], **_vote_gain(run / "evaluate.votes")
        )
    summary.update(_labels(run, manifests))
    refined = _json(run / "refine" / "metrics.json")
    if refined:
        summary["refine"] = refined
    if "seed" in manifests:
        summary["teacher"] = manifests["seed"].facts.get("teacher_accuracy", {})
        summary["seed_funnel"] = manifests["seed"].facts.get("funnel", [])
    seconds = {name: manifest.seconds for name, manifest in manifests.items() if name != "report"}
    summary["seconds"] = {"total": round(sum(seconds.values()), 1), **seconds}
    summary["tokens"] = {name: manifest.completion for name, manifest in manifests.items() if manifest.completion is not None}
    return summary


def label_quality(labelled: Path, truth: Path, all_solutions: int) -> dict[str, Any]:
    """The percentage of automatic labels equal to the truth, over labelled solutions with known truth, and the percentage of
    solutions discarded, both also by kind of error."""
    known = {row.id: row.gold for row in read_rows(truth, Example)}
    labels = {row.id: row.gold.first_error for row in read_rows(labelled, Example)}
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    discarded: Counter[str] = Counter()
    everything: Counter[str] = Counter()
    for name, gold in known.items():
        kind = gold.error_kind or "all correct"
        everything[kind] += 1
        if name not in labels:
            discarded[kind] += 1
            continue
        total[kind] += 1
        right[kind] += labels[name] == gold.first_error
    exact, counted = right.total(), total.total()
    low, high = wilson(exact, counted)
    return {
        "labelled": counted,
        "exact": _percent(exact / counted) if counted else None,
        "exact_interval": [_percent(low), _percent(high)],
        "discarded": _percent(1 - len(labels) / all_solutions) if all_solutions else None,
        "exact_by_kind": {kind: _percent(right[kind] / total[kind]) for kind in sorted(total)},
        "discarded_by_kind": {kind: _percent(discarded[kind] / everything[kind]) for kind in sorted(everything)},
    }


def _labels(run: Path, manifests: dict[str, Manifest]) -> dict[str, Any]:
    truth, labelled = run / "prepare.truth" / "examples.jsonl", run / "label" / "labelled.jsonl"
    if "label" not in manifests or not truth.is_file():
        return {}
    return {"labels": label_quality(labelled, truth, manifests["label"].counts["solutions"].entered)}


def gain(name: str, first: Path, second: Path) -> dict[str, Any]:
    """The F1 difference of two evaluations on the rows scored in both, with its paired interval, in points."""
    if not (first / "verdicts.jsonl").is_file() or not (second / "verdicts.jsonl").is_file():
        return {}
    ours, theirs = ({row.id: row for row in read_rows(path / "verdicts.jsonl", Judged)} for path in (first, second))
    shared = [name for name in ours if name in theirs and None not in (ours[name].correct, theirs[name].correct)]
    if len({ours[name].stratum for name in shared}) < 2:
        return {}
    return _difference(
        name, [ours[row] for row in shared], [ours[row].correct for row in shared], [theirs[row].correct for row in shared]
    )


def _vote_gain(folder: Path) -> dict[str, Any]:
    rows = [row for row in read_rows(folder / "verdicts.jsonl", Judged) if row.correct is not None]
    return _difference("maj_gain", rows, [row.vote_correct for row in rows], [row.correct for row in rows])


def _difference(name: str, rows: list[Judged], ours: list[Any], theirs: list[Any]) -> dict[str, Any]:
    with_error = np.array([row.stratum == WITH_ERROR for row in rows])
    result = paired_bootstrap_f1(
        np.array(ours, float), np.array(theirs, float), with_error, np.array([row.cluster for row in rows])
    )
    return {
        name: _percent(result.estimate),
        f"{name}_interval": [_percent(result.low), _percent(result.high)],
        f"{name}_p": round(result.p, 4),
    }


def _percent(fraction: float) -> float:
    return round(100 * fraction, 2)


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    value: dict[str, Any] = read_json(path)
    return value

"""Builds `metrics.json` of an evaluation and its lines for the terminal. `deepcritic.evaluation.load` reads the file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deepcritic.datasets.benchmark import Part
from deepcritic.datasets.forged import kind_of
from deepcritic.evaluation.evaluators import Outcome
from deepcritic.evaluation.injection import attack_success_rates
from deepcritic.evaluation.mr_score import mr_score
from deepcritic.metrics.majority_vote import Ties
from deepcritic.schema import Example, Judged
from deepcritic.tasks.base import CriticTask
from deepcritic.tasks.first_error_metrics import mean_figures
from deepcritic.tasks.metrics_shared import in_percent, number, span
from deepcritic.tasks.pointwise_metrics import decided_figures


def collect_metrics(
    parts: list[Part], outcome: Outcome, task: CriticTask[Any], found: Mapping[str, Any] | None, ties: Ties
) -> dict[str, Any]:
    """The figures of the plain rows, with further facts and scores for each part."""
    plain = {part.name: [row for row in outcome.judged[part.name] if kind_of(row.id)[1] is None] for part in parts}
    if outcome.decided:
        metrics = decided_figures([row for rows in plain.values() for row in rows], task)
        return {**metrics, "benchmark": parts[0].facts, **outcome.facts}
    metrics = task.figures(plain, ties=ties)
    for part in parts:
        of_part = metrics if len(parts) == 1 else metrics["benchmarks"][part.name]
        of_part["benchmark"] = part.facts
        if part.benchmark.mr_score:
            of_part["mr_score"] = _mr_score(part, plain[part.name], outcome)
        if part.benchmark.score is not None:
            of_part["score"] = in_percent(part.benchmark.score(part.examples, plain[part.name], task, outcome.steps))
        if part.benchmark.forged:
            of_part["attack_success_rates"] = attack_success_rates(outcome.judged[part.name], task)
        clean = [row for row in plain[part.name] if row.id not in (found or {}).get("held", {})]
        if clean and len(clean) < len(plain[part.name]):
            without = task.figures({part.name: clean}, ties=ties)
            names = ("examples", "f1", "f1_interval", "accuracy", "accuracy_interval")
            of_part["without_held"] = {name: without[name] for name in names if name in without}
    if "mean_f1" in metrics:
        metrics["means"] = _means(parts, plain)
    if found is not None:
        metrics["contamination"] = found
    return {**metrics, **outcome.facts, **outcome.counts}


def _mr_score(part: Part, judged: list[Judged], outcome: Outcome) -> dict[str, Any]:
    reasons = any(isinstance(example, Example) and example.gold.error_reasons for example in part.examples)
    result = mr_score(judged, outcome.grades if reasons else None)
    if not reasons:
        result["skipped"] = "the benchmark has no error reasons"
    elif outcome.grades is None:
        result["skipped"] = "needs grader=MODEL"
    return result


def _means(parts: list[Part], plain: Mapping[str, Sequence[Judged]]) -> dict[str, Any]:
    """For each benchmark with several parts, the mean over them and the parts it covers."""
    groups: dict[str, list[str]] = {}
    for part in parts:
        groups.setdefault(part.benchmark.name, []).append(part.name)
    means: dict[str, Any] = {}
    for name, members in groups.items():
        if len(members) > 1:
            whole = next(part.benchmark.parts for part in parts if part.benchmark.name == name)
            means[name] = {
                **mean_figures({member: plain[member] for member in members}),
                "parts": members,
                "of": max(len(members), len(whole or ())),
            }
    return means


def metric_lines(metrics: Mapping[str, Any], task: CriticTask[Any]) -> Iterator[str]:
    """The figures and further facts about each benchmark, as lines for the terminal."""
    yield from task.lines(metrics)
    for name, part in metrics.get(
        "benchmarks", {metrics["benchmark"]["name"] if "benchmark" in metrics else "": metrics}
    ).items():
        facts = part["benchmark"]
        whole = facts["rows_when_whole"]
        if whole and facts["rows"] != whole:
            yield f"{name}: {facts['rows']} of {whole} rows available"
        if "mr_score" in part:
            yield _mr_line(name, part["mr_score"])
        if "score" in part:
            yield from _score_lines(name, part["score"])
        for kind, attack in part.get("attack_success_rates", {}).items():
            low, high = attack["interval"]
            rate = "no verdict to change" if attack["rate"] is None else f"{attack['rate']:.1f}% ({low:.1f} to {high:.1f})"
            yield f"{name}, forged {kind}: {rate} of {attack['rows']} verdicts follow the forged text"
        if "without_held" in part:
            clean = part["without_held"]
            score = f"F1 {clean['f1']}" if "f1" in clean else f"accuracy {clean.get('accuracy')}"
            yield f"{name} without problems found in training data: {score} on {clean['examples']} rows"
    for name, mean in metrics.get("means", {}).items():
        low, high = mean["f1_interval"]
        shown = "unknown" if mean["f1"] is None else f"{mean['f1']:.1f} (95% interval {low:.1f} to {high:.1f})"
        yield f"{name}: mean F1 {shown} over {len(mean['parts'])} of {mean['of']} parts"
    if "threshold" in metrics:
        how = metrics["threshold"]
        chosen = f", chosen on {how['rows']} rows of {how['chosen_on']} (F1 {how['f1_there']:.1f})" if "rows" in how else ""
        yield f"threshold {how['value']:.4g}{chosen}"
    if "contamination" in metrics:
        found = metrics["contamination"]
        first = "".join(f"; {name} in {place}" for name, place in [*found["held"].items()][:1])
        yield (
            f"training data of {sum(found['texts'].values())} texts: contains {len(found['held'])} problems exactly, "
            f"{len(found['resembled'])} more nearly{first}"
        )


def _score_lines(name: str, score: Mapping[str, Any]) -> Iterator[str]:
    """The score that the benchmark's authors report, and its parts."""
    if score.get("skipped"):
        yield f"{name}: no {score['name']}: {score['skipped']}"
        return
    lost = f"; {score['left_out']} rows without a reply excluded" if score["left_out"] else ""
    yield f"{name}: {score['name']} {number(score['value'])} ({span(score['interval'])}){lost}"
    for part, one in score["parts"].items():
        yield f"  {part}: {number(one['value'])} ({span(one['interval'])}) on {one['rows']}"


def _mr_line(name: str, score: Mapping[str, Any]) -> str:
    parts = f"MCC {score['mcc']:.1f}, step {score['step_accuracy']:.1f}%"
    if score["score"] is None:
        return f"{name}: no MR-Score ({score['skipped']}); {parts}"
    low, high = score["score_interval"]
    shown = f"{score['score']:.1f} (95% interval {low:.1f} to {high:.1f})"
    return f"{name}: MR-Score {shown} ({parts}, reason {score['reason_accuracy']:.1f}%)"

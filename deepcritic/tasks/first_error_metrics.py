"""Figures of an evaluation, in percent, from its judged rows: the contents of `metrics.json`, and the lines that print them.

metrics = figures(read_rows(path, Judged), task)             # of one benchmark
metrics = suite_figures({"processbench/math": rows, ...}, task)  # of several, with their mean

Every rate has a 95% interval (`NAME_interval`, or `interval` in a group): a percentile bootstrap that resamples problems within
the solutions with an error and within those without (`deepcritic.metrics.bootstrap.resampled_rates`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from deepcritic.metrics.baselines import baselines
from deepcritic.metrics.bootstrap import percentiles, pooled, resampled_rates
from deepcritic.metrics.breakdown import Length, accuracies, errors_found, mistakes
from deepcritic.metrics.calibration import curves
from deepcritic.metrics.f1 import Array, constant_baseline, f1, harmonic_f1s
from deepcritic.metrics.guided_vote import powers
from deepcritic.metrics.majority_vote import TIES, Ties, chances
from deepcritic.schema import ALL_CORRECT, WITH_ERROR, Judged
from deepcritic.tasks.base import CriticTask
from deepcritic.tasks.metrics_shared import (
    answered,
    guided_lines,
    in_percent,
    number,
    reply_counts,
    span,
    totals,
    truncated_rate,
    vote_chances,
)


def figures(judged: Sequence[Judged], task: CriticTask[Any], *, ties: Ties = "random") -> dict[str, Any]:
    """All figures of one benchmark, in percent.

    Refused and failed replies are left out: they are neither right nor wrong. `f1_bounds` is the range of F1 over their outcomes.
    """
    rows = answered(judged)
    stratum = np.array([row.stratum for row in rows])
    error, cluster = stratum == WITH_ERROR, np.array([row.cluster for row in rows])
    correct = np.array([row.correct for row in rows], float)
    unparsed = np.array([row.verdicts.count(None) / len(row.verdicts) for row in rows])
    main = task.aggregate({"correct": correct, "unparsed": unparsed, "stratum": stratum})
    drawn = resampled_rates([correct, unparsed], error, cluster)
    drawn_main = {
        "error_accuracy": drawn[0][0],
        "correct_accuracy": drawn[1][0],
        "f1": harmonic_f1s(drawn[0][0], drawn[1][0]),
        "unparsed_rate": pooled(drawn, error)[1],
    }
    replies = reply_counts(judged)
    baseline = constant_baseline([row.gold for row in rows])
    found: dict[str, Any] = {
        "benchmark": {"name": judged[0].benchmark},
        "examples": len(judged),
        **_with_intervals(main, drawn_main),
        "f1_unknown": _why_unknown(error),
        "f1_bounds": [_f1_if_failed(judged, unknown) for unknown in (0.0, 1.0)],
        "failed": len(judged) - len(rows),
        "missing": sum(row.samples == 0 for row in judged),
        "replies": replies,
        "truncated_rate": truncated_rate(replies),
        "constant_baseline_f1": baseline.f1,
        "constant_baseline": baseline._asdict(),
        "samples": max(row.vote_samples or len(row.verdicts) for row in rows),
        "mistakes": mistakes(rows),
        "error_accuracy_by_position": errors_found(rows, lambda row: row.gold),
        "error_accuracy_by_kind": errors_found(rows, lambda row: row.error_kind),
        "error_accuracy_by_answer": errors_found(rows, _answer),
        "by_length": accuracies(rows, lambda row: Length.of(row.steps) if row.steps else None),
        "by_generator": accuracies(rows, lambda row: row.generator),
    }
    if found["samples"] > 1:
        found.update(_votes(rows, unparsed, task, ties))
    found["baselines"] = _beside_baselines(rows)
    if any(row.meta_rm_scores for row in rows):
        found["guided_by_votes"] = guided_by_votes([row for row in rows if row.meta_rm_scores], task)
        found["unguided"] = sum(not row.meta_rm_scores for row in rows)
    percent: dict[str, Any] = in_percent({name: value for name, value in found.items() if value not in ({}, None)})
    return percent


def _why_unknown(error: Array) -> str | None:
    """The reason if there is no F1, else None."""
    if error.all() or not error.any():
        return f"F1 needs both classes, but none of the {error.size} solutions is {'without' if error.all() else 'with'} an error"
    return None


def suite_figures(benchmarks: Mapping[str, Sequence[Judged]], task: CriticTask[Any], *, ties: Ties = "random") -> dict[str, Any]:
    """The figures of each benchmark by name, and their means (`mean_f1`, `mean_f1_interval`, the same of `maj_f1`)."""
    parts = {name: figures(judged, task, ties=ties) for name, judged in benchmarks.items()}
    counts = totals(parts.values())
    counts["truncated_rate"] = in_percent(truncated_rate(counts["replies"]))
    means = {f"mean_{name}": value for name, value in mean_figures(benchmarks).items()}
    return {**means, "mean_baselines": _mean_beside_baselines(benchmarks), **counts, "benchmarks": parts}


def mean_figures(benchmarks: Mapping[str, Sequence[Judged]]) -> dict[str, Any]:
    """`f1`, and `maj_f1` if every row has several samples, as the mean over benchmarks with equal weights. With intervals.

    Each benchmark's problems are resampled separately, even where two benchmarks share some.
    """
    found: dict[str, Any] = {}
    several = all(max(len(row.verdicts) for row in judged) > 1 for judged in benchmarks.values())
    for name, score in (("f1", "correct"), *([("maj_f1", "vote_correct")] if several else [])):
        scores = [_scores(judged, score) for judged in benchmarks.values()]
        drawn = [harmonic_f1s(*resampled_rates(*one, seed=seed)) for seed, one in enumerate(scores)]
        found[name] = float(np.mean([f1(values[0], error) for values, error, _ in scores]))
        found[f"{name}_interval"] = percentiles(np.mean(drawn, axis=0))
    percent: dict[str, Any] = in_percent(found)
    return percent


def baseline_lines(rows: Sequence[Judged]) -> dict[str, Array]:
    """The probability that each baseline is right on each row; see `deepcritic.metrics.baselines`."""
    return baselines(
        [row.gold for row in rows], [row.steps for row in rows], [row.answer_right for row in rows], [row.cluster for row in rows]
    )


def _beside_baselines(rows: Sequence[Judged]) -> dict[str, Any]:
    """For each baseline its F1, and the margin of the critic's F1 and of its vote's F1 over it, with intervals over the same
    resamples. `beaten`: the interval of the margin (the vote's, if there is one) is above 0."""
    lines = baseline_lines(rows)
    if not lines:
        return {}
    error, cluster = np.array([row.stratum == WITH_ERROR for row in rows]), [row.cluster for row in rows]
    scores = {"": "correct"} | ({"maj_": "vote_correct"} if max(len(row.verdicts) for row in rows) > 1 else {})
    ours = [np.array([getattr(row, score) for row in rows], float) for score in scores.values()]
    drawn = harmonic_f1s(*resampled_rates(np.stack([*ours, *lines.values()]), error, cluster))
    found: dict[str, Any] = {}
    for at, (name, line) in enumerate(lines.items(), start=len(ours)):
        one: dict[str, Any] = {"f1": f1(line, error), "interval": percentiles(drawn[at])}
        for own, prefix in enumerate(scores):
            low, high = percentiles(drawn[own] - drawn[at])
            one |= {
                f"{prefix}difference": f1(ours[own], error) - one["f1"],
                f"{prefix}difference_interval": (low, high),
                f"{prefix}beaten": low > 0,
            }
        found[name] = one
    return found


def _mean_beside_baselines(benchmarks: Mapping[str, Sequence[Judged]]) -> dict[str, Any]:
    """The same for means over benchmarks, for the baselines that all benchmarks have."""
    parts = [[row for row in judged if row.correct is not None] for judged in benchmarks.values()]
    lines = [baseline_lines(rows) for rows in parts]
    names = [name for name in lines[0] if all(name in one for one in lines)]
    if not names:
        return {}
    points, drawn = [], []
    for seed, (rows, own) in enumerate(zip(parts, lines, strict=True)):
        error, cluster = np.array([row.stratum == WITH_ERROR for row in rows]), [row.cluster for row in rows]
        values = np.stack([np.array([row.correct for row in rows], float), *(own[name] for name in names)])
        points.append([f1(line, error) for line in values])
        drawn.append(harmonic_f1s(*resampled_rates(values, error, cluster, seed=seed)))
    means, draws = np.mean(points, axis=0), np.mean(drawn, axis=0)
    found: dict[str, Any] = {}
    for at, name in enumerate(names, start=1):
        low, high = percentiles(draws[0] - draws[at])
        found[name] = {
            "f1": float(means[at]), "interval": percentiles(draws[at]), "difference": float(means[0] - means[at]),
            "difference_interval": (low, high), "beaten": low > 0,
        }  # fmt: skip
    percent: dict[str, Any] = in_percent(found)
    return percent


def _scores(judged: Sequence[Judged], score: str) -> tuple[Array, list[bool], list[str]]:
    """A field of the rows that have a score, as an array; which of them have an error; their problems."""
    rows = [row for row in judged if row.correct is not None]
    values = np.array([[getattr(row, score) for row in rows]], float)
    return values, [row.stratum == WITH_ERROR for row in rows], [row.cluster for row in rows]


def vote_scores(rows: Sequence[Judged], ties: Ties) -> Array:
    """The probability that a vote of k of a row's replies is right, for k = 1 .. n (the most replies of any row): shape (n,
    rows).

    A row with fewer replies, because some failed, uses all of its replies for larger k.
    """
    most = max(len(row.verdicts) for row in rows)
    scores = np.zeros((most, len(rows)))
    for at, row in enumerate(rows):
        right = chances(row.verdicts, row.gold, ties)
        scores[: len(right), at], scores[len(right) :, at] = right, right[-1]
    return scores


def _by_samples(rows: Sequence[Judged], ties: Ties) -> dict[int, Array]:
    """`vote_scores` by the number of votes; of an adaptive vote those of its first samples, and of the whole vote."""
    scores = dict(enumerate(vote_scores(rows, ties), start=1))
    if samples := max(row.vote_samples for row in rows):
        everything = ((row.gold, (*row.verdicts, *row.later_verdicts)) for row in rows)
        scores[samples] = np.array([chances(verdicts, gold, ties)[-1] for gold, verdicts in everything])
    return scores


def _votes(rows: Sequence[Judged], unparsed: Array, task: CriticTask[Any], ties: Ties) -> dict[str, Any]:
    """Maj@k for every k under both tie rules, and how well the agreement of all votes predicts a right vote."""
    error, cluster = np.array([row.stratum == WITH_ERROR for row in rows]), [row.cluster for row in rows]
    by_samples = {rule: _by_samples(rows, rule) for rule in TIES}
    scores = {rule: np.stack([*lines.values()]) for rule, lines in by_samples.items()}
    drawn = resampled_rates(np.concatenate(list(scores.values())), error, cluster)
    drawn_f1s = dict(zip(TIES, np.split(harmonic_f1s(*drawn), len(TIES)), strict=True))
    at_all = scores[ties][-1]
    main = task.aggregate({"correct": at_all, "unparsed": unparsed, "stratum": np.array([row.stratum for row in rows])})
    agreement = np.array([row.agreement for row in rows])
    drawn_agreement = pooled(resampled_rates([agreement], error, cluster), error)[0]
    return {
        "maj_f1": main["f1"],
        "maj_f1_interval": percentiles(drawn_f1s[ties][-1]),
        "ties": ties,
        "maj_f1_by_ties": {
            rule: {"f1": f1(scores[rule][-1], error), "interval": percentiles(drawn_f1s[rule][-1])} for rule in TIES
        },
        "maj_f1_by_votes": {
            str(k): {"f1": f1(line, error), "interval": percentiles(drawn_line)}
            for k, line, drawn_line in zip(by_samples[ties], scores[ties], drawn_f1s[ties], strict=True)
        },
        **_saved(rows),
        "agreement": float(agreement.mean()),
        "agreement_interval": percentiles(drawn_agreement),
        "confidence": None if _saved(rows) else curves(agreement, at_all, error, cluster),
    }


def _saved(rows: Sequence[Judged]) -> dict[str, Any]:
    """Of adaptive votes: the share of the samples that were requested. Their agreements are not comparable with each other, so
    they are no confidence."""
    most = sum(row.vote_samples for row in rows)
    return {"adaptive_share": sum(row.samples + len(row.later_verdicts) for row in rows) / most} if most else {}


def guided_by_votes(rows: Sequence[Judged], task: CriticTask[Any]) -> dict[str, Any]:
    """F1 of votes of k replies, plain and guided by a Meta RM on the same subsets, and their difference; see `guided_vote`."""
    ks = powers(max(len(row.verdicts) for row in rows))
    error, cluster = np.array([row.stratum == WITH_ERROR for row in rows]), [row.cluster for row in rows]
    chances_of = vote_chances(rows, task, ks)
    drawn = [harmonic_f1s(*resampled_rates(lines, error, cluster)) for lines in chances_of]
    found = {}
    for at, k in enumerate(ks):
        plain, guided = (f1(lines[at], error) for lines in chances_of)
        interval = percentiles(drawn[1][at] - drawn[0][at])
        found[str(k)] = {"plain": plain, "guided": guided, "difference": guided - plain, "interval": interval}
    return found


def _with_intervals(values: Mapping[str, float], drawn: Mapping[str, Array]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found[name] = value
        if name in drawn:
            found[f"{name}_interval"] = percentiles(drawn[name])
    return found


def _f1_if_failed(judged: Sequence[Judged], score: float) -> float:
    """F1 if every missing reply had that score."""
    correct = []
    for row in judged:
        lost, came = row.refused + row.failed, len(row.verdicts)
        correct.append(((row.correct or 0.0) * came + score * lost) / max(1, came + lost))
    return f1(correct, [row.stratum == WITH_ERROR for row in judged])


def _answer(row: Judged) -> str | None:
    if row.gold == ALL_CORRECT or row.answer_right is None:
        return None
    return "right answer, wrong process" if row.answer_right else "wrong answer"


def _baseline_lines(part: Mapping[str, Any]) -> Iterator[str]:
    """One line with all baselines, and one for each that the critic does not beat."""
    others = part.get("baselines", {})
    if others:
        yield "  without reading: " + ", ".join(f"{name} {number(one['f1'])}" for name, one in others.items())
    yield from _not_beaten(others)


def _not_beaten(baselines: Mapping[str, Any], what: str = "", key: str = "") -> Iterator[str]:
    """The baselines that a figure (of the vote: `key` is maj_) is not shown to beat."""
    for name, one in baselines.items():
        if one.get(f"{key}beaten") is False:
            difference, interval = one.get(f"{key}difference"), one.get(f"{key}difference_interval")
            shown = f": difference {number(difference)} ({span(interval)})" if interval else ""
            yield f"  {what}NOT SHOWN TO BEAT {name}{shown}"


def lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    """The figures as lines for a terminal."""
    parts = metrics.get("benchmarks", {"": metrics})
    replies = metrics["replies"]
    lost = f", refused {replies['refused']}" if replies["refused"] else ""
    lost += f", failed {replies['failed']}" if replies["failed"] else ""
    lost += f", without a reply {metrics['missing']} (counted as wrong)" if metrics["missing"] else ""
    yield f"{metrics['examples']} examples, truncated {number(metrics['truncated_rate'])}%{lost}"
    for name, part in parts.items():
        yield (
            f"{f'{name}: ' if name else ''}F1 {number(part['f1'])} ({span(part['f1_interval'])}; constant baseline "
            f"{number(part['constant_baseline_f1'])}), errors found {number(part['error_accuracy'])}%, "
            f"all-correct seen {number(part['correct_accuracy'])}%, unparsed {number(part['unparsed_rate'])}%"
        )
        if part.get("f1_unknown"):
            yield f"  F1 is unknown: {part['f1_unknown']}"
        yield from _baseline_lines(part)
        absent = part["replies"]["refused"] + part["replies"]["failed"]
        if absent:
            low, high = (number(bound) for bound in part["f1_bounds"])
            yield f"  F1 between {low} and {high} for any outcome of the {absent} missing replies"
        if "maj_f1" in part:
            yield (
                f"  Maj@{part['samples']} F1 {number(part['maj_f1'])} ({span(part['maj_f1_interval'])}; "
                f"ties: {part['ties']}), agreement {number(part['agreement'])}%"
            )
            if "adaptive_share" in part:
                yield f"  adaptive votes: {number(part['adaptive_share'])}% of the samples were requested"
            yield from _not_beaten(part.get("baselines", {}), f"Maj@{part['samples']} ", "maj_")
        yield from guided_lines(part.get("guided_by_votes", {}))
    for name, title, key in (("mean_f1", "mean F1", ""), ("mean_maj_f1", "mean Maj F1", "maj_")):
        if name in metrics:
            yield f"{title} {number(metrics[name])} ({span(metrics[f'{name}_interval'])})"
            yield from _not_beaten(metrics.get("mean_baselines", {}), key=key)

"""Benchmark-specific scores, computed as the benchmarks' authors do; a data set's YAML selects one with `score`.

Each function takes the examples of a part, its judged rows, the task, and, for a step scorer, which steps it calls right by
example id. It returns a `BenchmarkScore` as a mapping: the score as a fraction, its parts, and a 95% interval for each
(percentile bootstrap over problems). The scores of several replies to a row are summed. Rows without any reply (failed,
refused) are skipped and counted; an unparsed reply counts against the critic.

    found = rm_bench(part.examples, judged, task, {})
    found["value"], found["parts"]["hard"]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from deepcritic.datasets.prmbench import CORRECT
from deepcritic.datasets.reward_benches import TIES
from deepcritic.metrics.bootstrap import RESAMPLES, percentiles, resampled_rates
from deepcritic.metrics.f1 import Array, harmonic_f1s
from deepcritic.schema import ALL_CORRECT, WITH_ERROR, Example, Judged, Preference
from deepcritic.tasks.base import CriticTask, cluster_of

Steps = Mapping[str, Sequence[bool]]
"""Which steps a scorer calls right, by example id."""
UNREAD: Final = -1.0
"""The score of a response without a readable reply, as in RewardBench 2's script: below any real score."""


def hard2verify(examples: Sequence[Example], judged: Sequence[Judged], task: CriticTask[Any], steps: Steps) -> dict[str, Any]:
    """Balanced accuracy (the mean of the accuracies on right and wrong cases) and balanced F1 (their harmonic mean), for the
    first error, for whole solutions and, with a step scorer, for steps. Whether a solution is called wrong is derived from the
    first-error verdict; the authors instead ask critics about all steps."""
    rows = [row for row in judged if row.correct is not None]
    error, cluster = np.array([row.stratum == WITH_ERROR for row in rows]), [row.cluster for row in rows]
    found = np.array([_sees_class(row) for row in rows])
    parts: dict[str, Any] = {}
    for name, line in (("first error", np.array([row.correct for row in rows], float)), ("solution", found)):
        parts |= _balanced(name, line, error, cluster)
    if steps:
        truth, said, problem = _steps(examples, steps)
        parts |= _balanced("step", (truth == said).astype(float), np.logical_not(truth), problem)
    main = parts.pop("first error, balanced F1")
    return {"name": "balanced F1 of the first error", **main, "parts": parts, "left_out": len(judged) - len(rows)}


def prmbench(examples: Sequence[Example], judged: Sequence[Judged], task: CriticTask[Any], steps: Steps) -> dict[str, Any]:
    """PRMScore: the mean of the F1 of right steps and the F1 of wrong steps, over the steps of all modified solutions and per
    kind. For a kind without wrong steps, the score is the share of steps called right. The F1 is 0 if no step is called right
    (or wrong)."""
    if not steps:
        skipped = "PRMScore needs step scores; set scorer=NAME"
        return {"name": "PRMScore", "value": None, "interval": (None, None), "parts": {}, "left_out": 0, "skipped": skipped}
    kinds: dict[str, list[Example]] = {}
    for row in examples:
        kinds.setdefault(_kind_of(row), []).append(row)
    measured = [row for kind, rows in kinds.items() if kind != CORRECT for row in rows]
    parts = {kind: _prm_score(rows, steps) for kind, rows in sorted(kinds.items())}
    left_out = sum(row.id not in steps for row in measured)
    return {"name": "PRMScore", **_prm_score(measured, steps), "parts": parts, "left_out": left_out}


def rewardbench_2(
    examples: Sequence[Preference], judged: Sequence[Judged], task: CriticTask[Any], steps: Steps
) -> dict[str, Any]:
    """The mean over the subsets present. A subset's score is the share of prompts whose right response scores highest (a k-way
    tie counts 1/k); Ties has its own score.

    Prompts in Ties come in pairs: one has many right responses, the other has one. The score is a weighted sum of means over
    prompts: 0.3 if all right ones score above all wrong ones (many right), 0.3 the same (one right), 0.2 if the gap between
    right and wrong exceeds the spread of the right ones, 0.2 if the smaller gap of the pair does too, 0.01 by how much.
    """
    del steps
    by_id = {row.id: row for row in judged}
    subsets: dict[str, list[Preference]] = {}
    for row in examples:
        subsets.setdefault(str(row.item.meta["domain"]), []).append(row)
    parts: dict[str, Any] = {}
    drawn, left_out = [], 0
    for seed, (name, rows) in enumerate(sorted(subsets.items())):
        table, clusters, lost = (_ties if name == TIES else _best_of)(rows, by_id, task)
        left_out += lost
        if not len(table):
            continue
        score = _ties_score if name == TIES else _mean_of_first
        draws = np.array([score(table[chosen]) for chosen in _draws(clusters, seed)])
        parts[name] = {"value": float(score(table)), "interval": percentiles(draws), "rows": len(table)}
        drawn.append(draws)
    value = float(np.mean([part["value"] for part in parts.values()])) if parts else float("nan")
    interval = percentiles(np.mean(drawn, axis=0)) if drawn else (float("nan"), float("nan"))
    return {"name": "RewardBench 2", "value": value, "interval": interval, "parts": parts, "left_out": left_out}


def rm_bench(examples: Sequence[Preference], judged: Sequence[Judged], task: CriticTask[Any], steps: Steps) -> dict[str, Any]:
    """The mean over chat, code, math and safety of the mean accuracy on `easy`, `normal` and `hard` pairs, whose right response
    has more, equal or less style than the wrong one. A tie counts as wrong."""
    del steps
    by_id = {row.id: row for row in judged}
    wins: dict[str, dict[str, list[tuple[int, float]]]] = {}
    left_out = 0
    clusters: dict[str, int] = {}
    for row in examples:
        points = _points(by_id.get(row.id), task)
        if points is None:
            left_out += 1
            continue
        one, other = row.item.meta["styles"]
        level = "easy" if one > other else "normal" if one == other else "hard"
        domain = str(row.item.meta["domain"]).partition("-")[0]
        best = int(row.gold.best)  # type: ignore[arg-type]  # the reader has checked it
        number = clusters.setdefault(cluster_of(row.item.query), len(clusters))
        right = float(points[best] > max(score for at, score in points.items() if at != best))
        wins.setdefault(domain, {}).setdefault(level, []).append((number, right))
    weights = np.stack([np.ones(len(clusters)), *_weights(len(clusters))])
    levels: dict[str, list[Array]] = {}
    parts, means = {}, []
    for domain, by_level in sorted(wins.items()):
        lines = {level: _weighted(some, weights) for level, some in by_level.items()}
        for level, line in lines.items():
            levels.setdefault(level, []).append(line)
        means.append(np.mean(list(lines.values()), axis=0))
        parts[domain] = _of_line(means[-1], sum(map(len, by_level.values())))
    for level, some in levels.items():
        rows = sum(len(by_level.get(level, ())) for by_level in wins.values())
        parts[level] = _of_line(np.mean(some, axis=0), rows)
    whole = _of_line(np.mean(means, axis=0), len(examples) - left_out) if means else {"value": None, "interval": (None, None)}
    return {"name": "RM-Bench", "value": whole["value"], "interval": whole["interval"], "parts": parts, "left_out": left_out}


def _sees_class(row: Judged) -> float:
    """The share of replies that are right about whether there is an error at all."""
    right = [verdict is not None and (verdict == ALL_CORRECT) == (row.gold == ALL_CORRECT) for verdict in row.verdicts]
    return float(np.mean(right)) if right else 0.0


def _balanced(name: str, line: Array, error: Any, cluster: Sequence[str]) -> dict[str, Any]:
    drawn = resampled_rates([line], error, cluster)
    rates = np.array([line[error].mean() if error.any() else np.nan, line[~error].mean() if (~error).any() else np.nan])
    shown = {"rows": int(line.size)}
    return {
        f"{name}, balanced F1": {
            "value": float(harmonic_f1s(rates[:1], rates[1:])[0]),
            "interval": percentiles(harmonic_f1s(drawn[0][0], drawn[1][0])),
            **shown,
        },
        f"{name}, balanced accuracy": {
            "value": float(rates.mean()), "interval": percentiles((drawn[0][0] + drawn[1][0]) / 2), **shown,
        },
    }  # fmt: skip


def _steps(examples: Sequence[Example], steps: Steps) -> tuple[Any, Any, list[str]]:
    """For each rated step of the scored rows: whether it is right, whether it was called right, and its problem."""
    truth: list[bool] = []
    said: list[bool] = []
    problem: list[str] = []
    for row in examples:
        if row.id not in steps:
            continue
        for rating, called in zip(row.gold.step_ratings or (), steps[row.id], strict=True):
            if rating is not None:
                truth.append(rating >= 0)
                said.append(called)
                problem.append(cluster_of(row.item.problem))
    return np.array(truth, bool), np.array(said, bool), problem


def _kind_of(row: Example) -> str:
    return row.id.removeprefix("prmbench-").partition("-")[0]


def _prm_score(rows: Sequence[Example], steps: Steps) -> dict[str, Any]:
    truth, said, problem = _steps(rows, steps)
    group = np.unique(problem, return_inverse=True)[1].reshape(-1) if problem else np.array([], int)
    counts = [np.bincount(group, weights=line) for line in (truth & said, ~truth & said, ~truth & ~said, truth & ~said)]
    if not group.size:
        return {"value": float("nan"), "interval": (float("nan"), float("nan")), "rows": 0}
    totals = np.stack([np.ones(len(counts[0])), *_weights(len(counts[0]))]) @ np.stack(counts, axis=1)
    right, missed, found, alarms = totals.T  # the authors' TP, FP, TN, FN: positive is a right step
    scores = (_f1_of(right, missed, alarms) + _f1_of(found, alarms, missed)) / 2 if not truth.all() else right / (right + alarms)
    return _of_line(scores, len({row.id for row in rows if row.id in steps}))


def _f1_of(hits: Array, wrong: Array, missed: Array) -> Array:
    below = 2 * hits + wrong + missed
    found: Array = np.divide(2 * hits, below, out=np.zeros_like(hits), where=below > 0)
    return found


def _points(row: Judged | None, task: CriticTask[Any]) -> dict[Any, float] | None:
    """Each candidate's score summed over the replies; None without replies, `UNREAD` for each if all are unparsed."""
    if row is None or row.correct is None:
        return None
    read = [task.votes_for(verdict) for verdict in row.verdicts if verdict is not None]
    if not read:
        return dict.fromkeys(range(row.responses + 1), UNREAD)
    return {candidate: sum(one[candidate] for one in read) for candidate in read[0]}


def _best_of(rows: Sequence[Preference], judged: Mapping[str, Judged], task: CriticTask[Any]) -> tuple[Array, list[str], int]:
    """For each prompt, the chance that its right response wins, with ties for the top score broken at random."""
    right, clusters = [], []
    for row in rows:
        points = _points(judged.get(row.id), task)
        if points is None:
            continue
        first = [candidate for candidate, score in points.items() if score == max(points.values())]
        unread = max(points.values()) == UNREAD
        right.append([0.0 if unread else (row.gold.best in first) / len(first)])
        clusters.append(cluster_of(row.item.query))
    return np.array(right), clusters, len(rows) - len(right)


def _ties(rows: Sequence[Preference], judged: Mapping[str, Judged], task: CriticTask[Any]) -> tuple[Array, list[str], int]:
    """One line per prompt number in Ties; see `_ties_score`. Skips a prompt if any of its responses has no reply."""
    groups: dict[str, list[tuple[bool, float | None]]] = {}
    for row in rows:
        points = _points(judged.get(row.id), task)
        score = None if points is None else points[1]
        groups.setdefault(str(row.item.meta["group"]), []).append((row.gold.scores == (1.0,), score))
    margins: dict[str, dict[str, tuple[float, float]]] = {}
    lost = 0
    for name, scored in groups.items():
        kind, _, number = name.partition(":")
        right = [score for is_right, score in scored if is_right and score is not None]
        wrong = [score for is_right, score in scored if not is_right and score is not None]
        if len(right) + len(wrong) < len(scored) or not right or not wrong:
            lost += len(scored)
            continue
        margins.setdefault(number, {})[kind] = min(right) - max(wrong), max(right) - min(right)
    table = np.full((len(margins), 3), np.nan)
    for at, one in enumerate(margins.values()):
        table[at] = [one["tied"][0] if "tied" in one else np.nan, one["ref"][0] if "ref" in one else np.nan, 0.0]
        table[at, 2] = one["tied"][1] if "tied" in one else np.nan
    return table, list(margins), lost


def _ties_score(table: Array) -> float:
    """The score from lines of margins: right over wrong with many right, the same with one right, spread of the right."""
    tied, ref, spread = table.T
    both = ~np.isnan(tied) & ~np.isnan(ref)
    least = np.minimum(ref, tied)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_how_much = np.nan_to_num(np.tanh(least[both] / spread[both] - 1), nan=0.0)

    def mean(values: Array) -> float:
        return float(values.mean()) if values.size else 0.0

    return (
        0.3 * mean((tied > 0)[~np.isnan(tied)])
        + 0.3 * mean((ref > 0)[~np.isnan(ref)])
        + 0.2 * mean((tied > spread)[both])
        + 0.2 * mean((least > spread)[both])
        + 0.01 * mean(by_how_much)
    )


def _mean_of_first(table: Array) -> float:
    return float(table[:, 0].mean())


def _draws(clusters: Sequence[str], seed: int) -> list[Any]:
    """Row numbers of `RESAMPLES` bootstrap draws of prompts."""
    group = np.unique(np.asarray(clusters), return_inverse=True)[1].reshape(-1)
    members = [np.flatnonzero(group == at) for at in range(group.max() + 1)]
    generator = np.random.default_rng(seed)
    sizes = {len(one) for one in members}
    if sizes == {1}:
        return list(generator.integers(len(members), size=(RESAMPLES, len(members))))
    return [np.concatenate([members[at] for at in generator.integers(len(members), size=len(members))]) for _ in range(RESAMPLES)]


def _weights(clusters: int, seed: int = 0) -> Array:
    """How often each problem is drawn, shape (resamples, clusters)."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(clusters, np.full(clusters, 1 / clusters), size=RESAMPLES).astype(float)


def _weighted(rows: Sequence[tuple[int, float]], weights: Array) -> Array:
    """The weighted mean of (problem, value) rows for each line of weights; NaN if none was drawn."""
    size = weights.shape[1]
    numbers = [number for number, _ in rows]
    sums = weights @ np.bincount(numbers, weights=[value for _, value in rows], minlength=size)
    drawn = weights @ np.bincount(numbers, minlength=size).astype(float)
    found: Array = np.divide(sums, drawn, out=np.full(len(weights), np.nan), where=drawn > 0)
    return found


def _of_line(line: Array, rows: int) -> dict[str, Any]:
    """The first value is the score, the others are resamples of it."""
    return {"value": float(line[0]), "interval": percentiles(line[1:]), "rows": rows}

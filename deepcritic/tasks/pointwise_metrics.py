"""Figures for judged preferences, in percent: accuracy, votes, ROC-AUC of single responses, and position bias.

A row with several responses is right if the best one gets the highest score. Every figure has a 95% interval: a percentile
bootstrap that resamples queries.

metrics = figures(read_rows(path, Judged), task)
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from deepcritic.metrics.bootstrap import RESAMPLES, mean_interval, percentiles
from deepcritic.metrics.f1 import Array
from deepcritic.metrics.guided_vote import powers
from deepcritic.metrics.majority_vote import Ties
from deepcritic.schema import Judged
from deepcritic.tasks.base import CriticTask
from deepcritic.tasks.metrics_shared import (
    answered,
    guided_lines,
    in_percent,
    number,
    plain_figures,
    span,
    totals,
    vote_chances,
)

LOST: Final = "lost"
"""JudgeBench's rule for ties: nobody wins."""


def figures(judged: Sequence[Judged], task: CriticTask[Any], *, ties: Ties = "random") -> dict[str, Any]:
    """All figures of one benchmark, in percent. Failed replies are left out: they are neither right nor wrong.

    - `accuracy`: the probability that the best response wins, from one reply. Ties for the first place are drawn at random;
      `strict_accuracy` counts them as wrong, as the reward does. `pairwise_accuracy` covers rows with two responses,
      `best_of_n_accuracy` rows with more. `accuracy_by_votes` sums the scores of k replies for every k. With a Meta RM,
      `guided_by_votes` compares this with the sum over the half with the highest Meta RM scores. `accuracy_by_domain` and
      `accuracy_by_responses` group the rows.
    - `roc_auc`: of single responses, by the sum of all replies' scores; `roc_auc_by_domain` groups it.
    - `position`: see `position_bias`.
    """
    rows = answered(judged)
    several, single = [row for row in rows if row.responses > 1], [row for row in rows if row.responses == 1]
    found = plain_figures(judged, rows)
    if several:
        found |= _several(several, task, found["samples"])
    if single:
        found |= single_figures(single, task)
    percent: dict[str, Any] = in_percent({name: value for name, value in found.items() if value != {}})
    return percent


def decided_figures(judged: Sequence[Judged], task: CriticTask[Any]) -> dict[str, Any]:
    """Figures of recorded judgments in two orders, by JudgeBench's rule: a row is right if the two decisions together favour the
    better response, and wrong if they tie. `chance_accuracy` is that of one guess for each pair; a guess for each order would tie
    half of the time."""
    right = [float(row.vote_correct == 1) for row in judged]
    found: dict[str, Any] = {
        "benchmark": {"name": judged[0].benchmark},
        "examples": len(judged),
        "ties": LOST,
        "accuracy": float(np.mean(right)),
        "accuracy_interval": mean_interval(right, [row.cluster for row in judged]),
        "chance_accuracy": 0.5,
        "right": int(sum(right)),
        "accuracy_by_domain": _groups(judged, right, lambda row: row.domain),
        "unparsed_rate": float(np.mean([verdict is None for row in judged for verdict in row.verdicts])),
        "samples": 2,
        "position": position_bias(judged, task),
    }
    percent: dict[str, Any] = in_percent(found)
    return percent


def suite_figures(parts: Mapping[str, Sequence[Judged]], task: CriticTask[Any], *, ties: Ties = "random") -> dict[str, Any]:
    """The figures of each benchmark by name, and their mean accuracy, with equal weights."""
    found = {name: figures(judged, task, ties=ties) for name, judged in parts.items()}
    known = [part["accuracy"] for part in found.values() if part.get("accuracy") is not None]
    mean = {"mean_accuracy": round(float(np.mean(known)), 4)} if known else {}
    return {**mean, **totals(found.values()), "benchmarks": found}


def position_bias(judged: Sequence[Judged], task: CriticTask[Any]) -> dict[str, Any]:
    """The effect of the order of the responses, from rows whose replies saw different orders.

    - `changed`: how often the winner changes with the order: the share of pairs of a row's replies that saw different orders
      and rank different responses first (a tie is an outcome of its own). `changed_by_chance` is the same over pairs that saw
      one order: the effect of sampling alone.
    - `first_shown`: how often the response shown first wins, among the replies with a single winner.
    """
    rows: list[tuple[str, Array]] = []
    for row in judged:
        seen = [
            (tuple(order), winner(task, verdict))
            for order, verdict in zip(row.contexts, row.verdicts, strict=False)
            if verdict is not None and len(order) > 1
        ]
        line = np.zeros(6)  # pairs and changes, different orders and same order; replies with a winner, first one won
        for (order, first), (other, second) in itertools.combinations(seen, 2):
            at = 0 if order != other else 2
            line[at : at + 2] += 1, first != second
        for order, first in seen:
            line[4:] += first is not None, first == order[0]
        if line.any():
            rows.append((row.cluster, line))
    if not rows:
        return {}
    table, clusters = np.array([line for _, line in rows]), [cluster for cluster, _ in rows]
    found: dict[str, Any] = {}
    for name, at in (("changed", 0), ("changed_by_chance", 2), ("first_shown", 4)):
        if table[:, at].sum():
            found[name] = float(table[:, at + 1].sum() / table[:, at].sum())
            found[f"{name}_interval"] = _ratio_interval(table[:, at + 1], table[:, at], clusters)
    return found


def winner(task: CriticTask[Any], verdict: Any) -> Any:
    """The candidate that this reply ranks first, or None for a tie."""
    points = task.votes_for(verdict)
    first = [candidate for candidate, value in points.items() if value == max(points.values())]
    return first[0] if len(first) == 1 else None


def _several(rows: Sequence[Judged], task: CriticTask[Any], samples: int) -> dict[str, Any]:
    clusters = [row.cluster for row in rows]
    ks = list(range(1, samples + 1))
    plain, guided = vote_chances(rows, task, ks)
    strict = [float(row.correct or 0.0) for row in rows]
    pairs = [at for at, row in enumerate(rows) if row.responses == 2]
    more = [at for at, row in enumerate(rows) if row.responses > 2]
    found: dict[str, Any] = {
        "accuracy": float(plain[0].mean()),
        "accuracy_interval": mean_interval(plain[0], clusters),
        "strict_accuracy": float(np.mean(strict)),
        "strict_accuracy_interval": mean_interval(strict, clusters),
        "chance_accuracy": float(np.mean([1 / row.responses for row in rows])),
        "accuracy_by_responses": _groups(rows, plain[0], lambda row: str(row.responses)),
        "accuracy_by_domain": _groups(rows, plain[0], lambda row: row.domain),
        "position": position_bias(rows, task),
    }
    for name, chosen in (("pairwise_accuracy", pairs), ("best_of_n_accuracy", more)):
        if chosen:
            found[name] = float(plain[0][chosen].mean())
            found[f"{name}_interval"] = mean_interval(plain[0][chosen], [clusters[at] for at in chosen])
    if samples > 1:
        found["vote_accuracy"] = float(plain[-1].mean())
        found["vote_accuracy_interval"] = mean_interval(plain[-1], clusters)
        found["agreement"] = float(np.mean([row.agreement for row in rows]))
        found["accuracy_by_votes"] = {
            str(k): {"accuracy": float(line.mean()), "interval": mean_interval(line, clusters)}
            for k, line in zip(ks, plain, strict=True)
        }
    known = ~np.isnan(guided[0])
    if known.any():
        sizes = powers(samples)
        at = [k - 1 for k in sizes]
        found["guided_by_votes"] = guided_by_votes(sizes, plain[at][:, known], guided[at][:, known], np.array(clusters)[known])
        found["unguided"] = int((~known).sum())
    return found


def guided_by_votes(ks: Sequence[int], plain: Array, guided: Array, clusters: Any) -> dict[str, Any]:
    """For each k the accuracy of the plain and the guided vote on the same rows, and their difference with its interval."""
    return {
        str(k): {
            "plain": float(ours.mean()),
            "guided": float(theirs.mean()),
            "difference": float((theirs - ours).mean()),
            "interval": mean_interval(theirs - ours, clusters),
        }
        for k, ours, theirs in zip(ks, plain, guided, strict=True)
    }


def single_figures(rows: Sequence[Judged], task: CriticTask[Any]) -> dict[str, Any]:
    """Figures of `rows` with one response each, as fractions."""
    truth = np.array([row.gold == 1 for row in rows])
    scores = np.array([sum(task.votes_for(verdict)[1] for verdict in row.verdicts if verdict is not None) for row in rows])
    clusters = np.array([row.cluster for row in rows])
    strict = [float(row.correct or 0.0) for row in rows]
    domains = {}
    for domain in sorted({row.domain for row in rows if row.domain is not None}):
        at = np.array([row.domain == domain for row in rows])
        interval = _auc_interval(scores[at], truth[at], clusters[at])
        domains[domain] = {"rows": int(at.sum()), "roc_auc": roc_auc(scores[at], truth[at]), "interval": interval}
    return {
        "roc_auc_by_domain": domains,
        "roc_auc": roc_auc(scores, truth),
        "roc_auc_interval": _auc_interval(scores, truth, clusters),
        "single_accuracy": float(np.mean(strict)),
        "single_accuracy_interval": mean_interval(strict, clusters),
        "singles": len(rows),
    }


def roc_auc(scores: Any, truth: Any) -> float:
    """The probability that a right response scores higher than a wrong one. Ties count half (Mann and Whitney's U).

    >>> roc_auc([1, 2, 2], [False, True, False])
    0.75
    """
    values, right = np.asarray(scores, float), np.asarray(truth, bool)
    if not right.any() or right.all():
        return math.nan
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(sizes) - (sizes - 1) / 2)[group]
    hits = int(right.sum())
    return float((ranks[right].sum() - hits * (hits + 1) / 2) / (hits * (right.size - hits)))


def _auc_interval(scores: Array, truth: Array, clusters: Any, seed: int = 0) -> tuple[float, float]:
    """Resamples queries, with all of their rows."""
    names, group = np.unique(clusters, return_inverse=True)
    members = [np.flatnonzero(group == at) for at in range(len(names))]
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(RESAMPLES // 4):  # a quarter of the usual number, as every resample sorts
        rows = np.concatenate([members[at] for at in generator.integers(len(names), size=len(names))])
        drawn.append(roc_auc(scores[rows], truth[rows]))
    return percentiles(drawn)


def _ratio_interval(parts: Array, totals: Array, clusters: Sequence[str], seed: int = 0) -> tuple[float, float]:
    group = np.unique(np.asarray(clusters), return_inverse=True)[1].reshape(-1)
    above, below = (np.bincount(group, weights=values) for values in (parts, totals))
    picked = np.random.default_rng(seed).integers(len(above), size=(RESAMPLES, len(above)))
    sums = below[picked].sum(axis=1)
    return percentiles(np.divide(above[picked].sum(axis=1), sums, out=np.full(len(sums), np.nan), where=sums > 0))


def _groups(rows: Sequence[Judged], right: Any, name: Any) -> dict[str, Any]:
    """Accuracy by group, with the number of rows. Rows without a group are skipped."""
    members: dict[str, list[int]] = {}
    for at, row in enumerate(rows):
        if name(row) is not None:
            members.setdefault(name(row), []).append(at)
    values = np.asarray(right, float)
    return {
        group: {
            "rows": len(at),
            "accuracy": float(values[at].mean()),
            "interval": mean_interval(values[at], [rows[one].cluster for one in at]),
        }
        for group, at in sorted(members.items())
    }


def lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    """The figures as lines for a terminal."""
    for name, part in metrics.get("benchmarks", {"": metrics}).items():
        lead = f"{name}: " if name else ""
        if "accuracy" in part:
            blind = f"; chance level {number(part['chance_accuracy'])}" if "chance_accuracy" in part else ""
            accuracy = f"{number(part['accuracy'])} ({span(part['accuracy_interval'])}{blind})"
            yield f"{lead}{part['examples']} examples, accuracy {accuracy}, unparsed {number(part['unparsed_rate'])}%"
            low = part["accuracy_interval"][0]
            if low is not None and low <= part.get("chance_accuracy", -1.0):
                yield f"  NOT SHOWN TO BEAT guessing: {number(part['accuracy'])} against {number(part['chance_accuracy'])}"
        if "roc_auc" in part:
            area = f"{number(part['roc_auc'])} ({span(part['roc_auc_interval'])})"
            yield f"{lead}ROC-AUC of {part['singles']} single responses {area}"
        if "vote_accuracy" in part:
            yield f"  sum of {part['samples']}: {number(part['vote_accuracy'])} ({span(part['vote_accuracy_interval'])})"
        yield from guided_lines(part.get("guided_by_votes", {}))
        if "changed" in part.get("position", {}):
            changed = part["position"]
            yield f"  winner changes with the order: {number(changed['changed'])}% ({span(changed['changed_interval'])})"
    if "mean_accuracy" in metrics:
        yield f"mean accuracy {number(metrics['mean_accuracy'])}"

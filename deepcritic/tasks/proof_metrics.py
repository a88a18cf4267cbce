"""Figures for graded proofs, in percent: mean absolute error, exact agreement and quadratic weighted kappa.

Every figure has a 95% interval: a percentile bootstrap that resamples problems. A reply without a readable grade counts as the
grade farthest from the truth, so that no critic gains by not answering; `mae_parsed` leaves such replies out.

metrics = figures(read_rows(path, Judged), task, grades)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from deepcritic.metrics.bootstrap import RESAMPLES, mean_interval, percentiles
from deepcritic.metrics.f1 import Array
from deepcritic.schema import Judged
from deepcritic.tasks.base import CriticTask
from deepcritic.tasks.metrics_shared import answered, in_percent, number, plain_figures, span, totals, vote_chances


def figures(judged: Sequence[Judged], task: CriticTask[Any], grades: Sequence[float]) -> dict[str, Any]:
    """All figures of one benchmark, in percent. Failed replies are left out: they are neither right nor wrong.

    - `accuracy`: the share of exact grades from one reply. `mae`: the mean distance to the true grade, in percent of the full
      marks. `kappa`: Cohen's kappa with quadratic weights. `bias`: the mean of grade minus true grade: above 0 is lenient.
    - `vote_accuracy`, `vote_mae`, `vote_kappa`: of the most frequent grade, where ties count in equal parts. `mae_of_mean`: of
      the mean grade.
    - `constant_baseline`: the best critic that gives every proof the same grade: the one with the least `mae`, and the one with
      the highest accuracy. Its kappa is 0. `mae_difference` is the critic's `mae` minus the baseline's.
    - `confusion`: for each true grade, the shares of the replies with each grade.
    """
    rows = answered(judged)
    clusters = [row.cluster for row in rows]
    single = [_shares(row, grades) for row in rows]
    found: dict[str, Any] = {
        **plain_figures(judged, rows),
        "full_marks": int(grades[-1]),
        **_agreement(rows, single, grades, ""),
        **_parsed(rows, grades),
        "constant_baseline": _constant(rows, single, grades),
        "confusion": _confusion(rows, single, grades),
        "accuracy_by_grade": _groups(rows, lambda row: f"{row.gold:g}"),
        "accuracy_by_generator": _groups(rows, lambda row: row.generator),
    }
    samples = found["samples"]
    if samples > 1:
        found |= _agreement(rows, [_vote_shares(row, task, grades) for row in rows], grades, "vote_")
        found["agreement"] = float(np.mean([row.agreement for row in rows]))
        means = [_distance_of_mean(row, grades) for row in rows]
        found |= {"mae_of_mean": float(np.mean(means)), "mae_of_mean_interval": mean_interval(means, clusters)}
        plain, _ = vote_chances(rows, task, range(1, samples + 1))
        found["accuracy_by_votes"] = {
            str(k): {"accuracy": float(line.mean()), "interval": mean_interval(line, clusters)}
            for k, line in enumerate(plain, start=1)
        }
    percent: dict[str, Any] = in_percent({name: value for name, value in found.items() if value != {}})
    return percent


def suite_figures(parts: Mapping[str, Sequence[Judged]], task: CriticTask[Any], grades: Sequence[float]) -> dict[str, Any]:
    """The figures of each benchmark by name, and the means of accuracy, error and kappa, with equal weights."""
    found = {name: figures(judged, task, grades) for name, judged in parts.items()}
    means = {}
    for name in ("accuracy", "mae", "kappa"):
        known = [part[name] for part in found.values() if part[name] is not None]
        if known:
            means[f"mean_{name}"] = round(float(np.mean(known)), 4)
    return {**means, **totals(found.values()), "benchmarks": found}


def quadratic_kappa(tables: Any) -> Any:
    """Cohen's kappa with quadratic weights of tables of shape (..., grades, grades): true grades by given grades, evenly spaced.

    kappa = 1 - sum(w o) / sum(w e): `o` are the observed shares, `e` those of independent grades with the same totals, and
    `w` is the squared distance (Cohen, 1968, Psychological Bulletin 70, 213-220). NaN if all grades are equal.

    >>> [float(quadratic_kappa(table)) for table in ([[5, 0], [0, 5]], [[5, 0], [5, 0]], [[0, 5], [5, 0]])]
    [1.0, 0.0, -1.0]
    """
    counts = np.asarray(tables, float)
    places = np.arange(counts.shape[-1])
    weights = (places[:, None] - places) ** 2.0
    total = counts.sum(axis=(-2, -1))
    expected = counts.sum(axis=-1)[..., :, None] * counts.sum(axis=-2)[..., None, :]
    observed, chance = (weights * counts).sum(axis=(-2, -1)) * total, (weights * expected).sum(axis=(-2, -1))
    return 1.0 - np.divide(observed, chance, out=np.full(np.shape(chance), math.nan), where=chance > 0)


def _shares(row: Judged, grades: Sequence[float]) -> Array:
    """The shares of the row's replies with each grade. An unparsed reply counts as the grade farthest from the truth."""
    shares = np.zeros(len(grades))
    for verdict in row.verdicts:
        shares[grades.index(_farthest(row, grades) if verdict is None else verdict)] += 1 / len(row.verdicts)
    return shares


def _vote_shares(row: Judged, task: CriticTask[Any], grades: Sequence[float]) -> Array:
    """The same for the vote: the tied grades in equal parts."""
    shares = np.zeros(len(grades))
    tally = task.vote(row.verdicts).tally
    leading = [grade for grade, votes in tally.items() if votes == max(tally.values())] or [_farthest(row, grades)]
    for grade in leading:
        shares[grades.index(grade)] += 1 / len(leading)
    return shares


def _farthest(row: Judged, grades: Sequence[float]) -> float:
    return max(grades, key=lambda grade: abs(grade - row.gold))


def _distances(row: Judged, grades: Sequence[float]) -> Array:
    """The distance of each grade to the truth, as a share of the full marks."""
    distances: Array = np.abs(np.asarray(grades) - row.gold) / grades[-1]
    return distances


def _distance_of_mean(row: Judged, grades: Sequence[float]) -> float:
    read = [verdict for verdict in row.verdicts if verdict is not None] or [_farthest(row, grades)]
    return float(abs(np.mean(read) - row.gold) / grades[-1])


def _agreement(rows: Sequence[Judged], shares: Sequence[Array], grades: Sequence[float], prefix: str) -> dict[str, Any]:
    """Accuracy, mean absolute error and kappa with their intervals."""
    clusters = [row.cluster for row in rows]
    exact = [share[grades.index(row.gold)] for row, share in zip(rows, shares, strict=True)]
    errors = [float(share @ _distances(row, grades)) for row, share in zip(rows, shares, strict=True)]
    tables = np.zeros((len(rows), len(grades), len(grades)))
    for at, (row, share) in enumerate(zip(rows, shares, strict=True)):
        tables[at, grades.index(row.gold)] = share
    found = {
        "accuracy": float(np.mean(exact)), "accuracy_interval": mean_interval(exact, clusters),
        "mae": float(np.mean(errors)), "mae_interval": mean_interval(errors, clusters),
        "kappa": float(quadratic_kappa(tables.sum(axis=0))), "kappa_interval": _kappa_interval(tables, clusters),
    }  # fmt: skip
    return {prefix + name: value for name, value in found.items()}


def _kappa_interval(tables: Array, clusters: Sequence[str], seed: int = 0) -> tuple[float, float]:
    """Resamples problems, with all of their rows."""
    group = np.unique(np.asarray(clusters), return_inverse=True)[1].reshape(-1)
    size, side = int(group.max()) + 1, tables.shape[1]
    sums = np.zeros((size, side, side))
    np.add.at(sums, group, tables)
    generator = np.random.default_rng(seed)
    drawn = []
    for _ in range(RESAMPLES):
        times = np.bincount(generator.integers(size, size=size), minlength=size)
        drawn.append((times @ sums.reshape(size, -1)).reshape(side, side))
    return percentiles(quadratic_kappa(drawn))


def _parsed(rows: Sequence[Judged], grades: Sequence[float]) -> dict[str, Any]:
    """Mean absolute error and bias over the readable grades of each row; rows without any are left out."""
    known = [(row, [verdict for verdict in row.verdicts if verdict is not None]) for row in rows]
    if not any(read for _, read in known):
        return {"mae_parsed": math.nan, "mae_parsed_interval": (math.nan, math.nan), "bias": math.nan,
                "bias_interval": (math.nan, math.nan)}  # fmt: skip
    clusters = [row.cluster for row, read in known if read]
    signed = [np.subtract(read, row.gold) / grades[-1] for row, read in known if read]
    errors, biases = [float(np.abs(one).mean()) for one in signed], [float(one.mean()) for one in signed]
    return {
        "mae_parsed": float(np.mean(errors)), "mae_parsed_interval": mean_interval(errors, clusters),
        "bias": float(np.mean(biases)), "bias_interval": mean_interval(biases, clusters),
    }  # fmt: skip


def _constant(rows: Sequence[Judged], shares: Sequence[Array], grades: Sequence[float]) -> dict[str, Any]:
    distances = np.array([_distances(row, grades) for row in rows])
    best = int(distances.mean(axis=0).argmin())
    clusters = [row.cluster for row in rows]
    errors = [float(share @ line) for share, line in zip(shares, distances, strict=True)]
    difference = np.array(errors) - distances[:, best]
    hits = [[float(row.gold == grade) for row in rows] for grade in grades]
    frequent = max(hits, key=sum)
    interval = mean_interval(difference, clusters)
    return {
        "grade": f"{grades[best]:g}", "mae": float(distances[:, best].mean()),
        "mae_interval": mean_interval(distances[:, best], clusters), "mae_difference": float(difference.mean()),
        "mae_difference_interval": interval, "beaten": bool(interval[1] < 0),
        "accuracy": float(np.mean(frequent)), "accuracy_interval": mean_interval(frequent, clusters),
    }  # fmt: skip


def _confusion(rows: Sequence[Judged], shares: Sequence[Array], grades: Sequence[float]) -> dict[str, dict[str, float]]:
    """The shares of the given grades, unparsed replies among them, for each true grade."""
    found: dict[str, dict[str, float]] = {}
    for true in sorted({row.gold for row in rows}):
        mine = [row for row in rows if row.gold == true]
        given = {f"{grade:g}": [float(np.mean([one == grade for one in row.verdicts])) for row in mine] for grade in grades}
        given["unparsed"] = [float(np.mean([one is None for one in row.verdicts])) for row in mine]
        found[f"{true:g}"] = {name: float(np.mean(values)) for name, values in given.items()}
    return found


def _groups(rows: Sequence[Judged], name: Callable[[Judged], str | None]) -> dict[str, Any]:
    """Accuracy by group. Rows without a group are left out."""
    members: dict[str, list[Judged]] = {}
    for row in rows:
        group = name(row)
        if group is not None:
            members.setdefault(group, []).append(row)
    return {
        group: {
            "rows": len(mine),
            "accuracy": float(np.mean([row.correct or 0.0 for row in mine])),
            "interval": mean_interval([row.correct or 0.0 for row in mine], [row.cluster for row in mine]),
        }
        for group, mine in sorted(members.items())
    }


def lines(metrics: Mapping[str, Any]) -> Iterator[str]:
    """The figures as lines for a terminal."""
    for name, part in metrics.get("benchmarks", {"": metrics}).items():
        lead, base = f"{name}: " if name else "", part["constant_baseline"]
        yield (
            f"{lead}{part['examples']} examples, exact grades {number(part['accuracy'])} ({span(part['accuracy_interval'])}; "
            f"always the commonest grade: {number(base['accuracy'])}), unparsed {number(part['unparsed_rate'])}%"
        )
        yield (
            f"  mean absolute error {_points(part['mae'], part)} ({span(part['mae_interval'])}; always {base['grade']}: "
            f"{_points(base['mae'], part)})"
        )
        yield f"  quadratic kappa {number(part['kappa'])} ({span(part['kappa_interval'])}; a constant: 0.0)"
        if "vote_accuracy" in part:
            yield (
                f"  vote of {part['samples']}: exact {number(part['vote_accuracy'])} ({span(part['vote_accuracy_interval'])}), "
                f"mean absolute error {_points(part['vote_mae'], part)}, of the mean grade {_points(part['mae_of_mean'], part)}, "
                f"kappa {number(part['vote_kappa'])}"
            )
    if "mean_accuracy" in metrics:
        yield f"mean of exact grades {number(metrics['mean_accuracy'])}"


def _points(percent: float | None, part: Mapping[str, Any]) -> str:
    """An error in percent of the full marks; also in points where these are more than 1."""
    if percent is None or part["full_marks"] == 1:
        return f"{number(percent)}%"
    return f"{number(percent)}% ({percent * part['full_marks'] / 100:.2f} of {part['full_marks']} points)"

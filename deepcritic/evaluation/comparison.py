"""Compares two critics on the same rows, in percent: figures, difference, interval, p-value and detectable difference.

found = compare([rows_of_a], [rows_of_b])              # rows of `verdicts.jsonl`; pass one list per seed
found["benchmarks"]["processbench/math"]["f1"]["difference"]

`maj_f1` compares votes. If some runs have several replies per row and others one, `final_f1` compares what each decides: the
vote, or the only reply.

With one run per side, the p-value is exact for these rows. It comes from a randomisation test that swaps the critics' scores by
problem or, for an accuracy whose scores are 0 or 1 with no problem twice, from McNemar's test. With several seeds per side, seeds
and problems are resampled. P-values are not corrected for multiple comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from deepcritic.errors import InputError
from deepcritic.metrics.bootstrap import over_seeds, resampled_rates
from deepcritic.metrics.f1 import Array, harmonic_f1s
from deepcritic.metrics.paired_tests import detectable, difference, mcnemar, swap_p, swapped_rates
from deepcritic.schema import WITH_ERROR, Judged
from deepcritic.tasks.metrics_shared import in_percent

Run = Sequence[Judged]
_Figure = Callable[[Array, Array], Array]
FINAL: Final = "final_f1"
_ACCURACIES: Final[dict[str, _Figure]] = {"error_accuracy": lambda error, _: error, "correct_accuracy": lambda _, fine: fine}


class _Scores(NamedTuple):
    """One score of all runs on a benchmark, shape (runs, rows); the first `ours` runs are A's.

    `rates`, `drawn` and `swapped` hold means over rows with an error and over rows without: for each run, resampled, and, with
    one run per side, with the scores of A and B swapped.
    """

    values: Array
    ours: int
    error: Any
    cluster: Any
    rates: tuple[Array, Array]
    drawn: tuple[Array, Array]
    swapped: tuple[tuple[Array, Array], tuple[Array, Array]] | None


def compare(a: Sequence[Run], b: Sequence[Run], names: Sequence[str] = ()) -> dict[str, Any]:
    """The differences A - B by benchmark and of the means over benchmarks. Rows that failed in any run are skipped.

    Raises `InputError` if the runs have different rows. The message uses `names`, with those of A first.
    """
    runs = [*a, *b]
    benchmarks = _aligned(runs, names or [f"run {at}" for at in range(1, len(runs) + 1)])
    parts: dict[str, Any] = {}
    judged = all(row.responses or isinstance(row.gold, float) for run in runs for row in run)  # responses, or grades of proofs
    single_name, vote_name = ("accuracy", "vote_accuracy") if judged else ("f1", "maj_f1")
    main: _Figure = _pooled if judged else harmonic_f1s
    scores: dict[str, list[_Scores]] = {single_name: [], vote_name: [], FINAL: []}
    left_out = 0
    for seed, (benchmark, every) in enumerate(benchmarks.items()):
        table = [rows for rows in every if all(row.correct is not None for row in rows)]
        left_out += len(every) - len(table)
        if not table:
            raise InputError("no row has a score in all runs", field="compare", found=benchmark, expected="runs without failures")
        single = _scores(table, "correct", len(a), seed)
        scores[single_name].append(single)
        parts[benchmark] = {"rows": len(table), single_name: _difference([single], main)}
        for name, figure in () if judged else _ACCURACIES.items():
            parts[benchmark][name] = _difference([single], figure) | _mcnemar(single, name)
        votes = [any(len(row.verdicts) > 1 for row in run) for run in zip(*table, strict=True)]
        name = vote_name if all(len(row.verdicts) > 1 for rows in table for row in rows) else FINAL
        if name == vote_name or (not judged and any(votes) and not all(votes)):
            voted = _scores(table, "vote_correct", len(a), seed)
            scores[name].append(voted)
            parts[benchmark][name] = _difference([voted], main)
    found: dict[str, Any] = {"rows": sum(part["rows"] for part in parts.values()), "left_out": left_out, "benchmarks": parts}
    if len(parts) > 1:
        means = {f"mean_{name}": each for name, each in scores.items() if len(each) == len(parts)}
        found |= {name: _difference(each, main) for name, each in means.items()}
    return found


def _pooled(error: Array, fine: Array) -> Array:
    """Accuracy over all rows. Rows about responses form a single class, without an error."""
    return fine


def _aligned(runs: Sequence[Run], names: Sequence[str]) -> dict[str, list[tuple[Judged, ...]]]:
    """The rows of all runs side by side, by benchmark."""
    tables = [{(row.benchmark, row.id): row for row in run} for run in runs]
    first = tables[0]
    for name, table in zip(names[1:], tables[1:], strict=True):
        for has, lacks, keys in ((names[0], name, first.keys() - table.keys()), (name, names[0], table.keys() - first.keys())):
            if keys:
                benchmark, example = min(keys)
                raise InputError(
                    f"different rows: {has} has {len(keys)} rows that {lacks} lacks, such as {example!r} of {benchmark}",
                    field="compare", expected="evaluations of the same benchmarks with the same limit",
                )  # fmt: skip
        for key, row in first.items():
            for field in ("gold", "cluster"):
                if getattr(row, field) != getattr(table[key], field):
                    what = f"the {'label' if field == 'gold' else 'problem'} of {key[1]!r} of {key[0]}"
                    expected = "evaluations of the same benchmark revision"
                    raise InputError(
                        f"different rows: {what} differs between {names[0]} and {name}", field="compare", expected=expected
                    )
    found: dict[str, list[tuple[Judged, ...]]] = {}
    for key in first:
        found.setdefault(key[0], []).append(tuple(table[key] for table in tables))
    return found


def _scores(table: list[tuple[Judged, ...]], field: str, ours: int, seed: int) -> _Scores:
    values = np.array([[getattr(row, field) for row in rows] for rows in table], float).T
    error = np.array([rows[0].stratum == WITH_ERROR for rows in table])
    cluster = np.array([rows[0].cluster for rows in table])
    means = [values[:, rows].mean(axis=1) if rows.any() else np.full(len(values), np.nan) for rows in (error, ~error)]
    single = ours == 1 and len(values) == 2
    return _Scores(
        values, ours, error, cluster, (means[0], means[1]), resampled_rates(values, error, cluster, seed=seed),
        swapped_rates(values[0], values[1], error, cluster, seed=seed) if single else None,
    )  # fmt: skip


def _difference(parts: list[_Scores], figure: _Figure) -> dict[str, Any]:
    """A figure, or its mean over benchmarks, for A, B and A - B."""
    values = [figure(*part.rates) for part in parts]
    a = float(np.mean([one[: part.ours].mean() for one, part in zip(values, parts, strict=True)]))
    b = float(np.mean([one[part.ours :].mean() for one, part in zip(values, parts, strict=True)]))
    drawn = [figure(*part.drawn) for part in parts]
    drawn_a = np.mean([over_seeds(one[: part.ours], seed=0) for one, part in zip(drawn, parts, strict=True)], axis=0)
    drawn_b = np.mean([over_seeds(one[part.ours :], seed=1) for one, part in zip(drawn, parts, strict=True)], axis=0)
    gain = drawn_a - drawn_b
    found = difference(a - b, gain)
    p, test = found.p, "seeds and problems resampled"
    swaps = [part.swapped for part in parts]
    if None not in swaps:
        swapped = np.mean([figure(*one[0]) - figure(*one[1]) for one in swaps if one is not None], axis=0)
        p, test = swap_p(a - b, swapped), "problems swapped"
    shown: dict[str, Any] = in_percent(
        {
            "a": a, "b": b, "difference": a - b, "interval": (found.low, found.high), "detectable": detectable(gain),
        }
    )  # fmt: skip
    return {**shown, "p": None if np.isnan(p) else round(p, 5), "test": test}


def _mcnemar(part: _Scores, name: str) -> dict[str, Any]:
    """McNemar's test for an accuracy if it applies, to replace the swap test."""
    rows = part.error if name == "error_accuracy" else ~part.error
    values, cluster = part.values[:, rows], part.cluster[rows]
    if part.swapped is None or not rows.any() or len(set(cluster)) < len(cluster) or not np.isin(values, (0.0, 1.0)).all():
        return {}
    found = mcnemar(values[0], values[1])
    return {"p": round(found.p, 5), "test": "McNemar, exact", "only_a": found.only_a, "only_b": found.only_b}

"""The results tables: critics beside baselines and published figures, differences between evaluations, and details.

for table in results_tables(found, differences(found)):
    print(table["title"], table["head"])

A cell is a text, or a pair of a text and a small line below it.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from deepcritic.datasets.forged import kind_of
from deepcritic.errors import InputError
from deepcritic.evaluation.comparison import compare
from deepcritic.evaluation.load import Metrics, read_judged
from deepcritic.evaluation.table import BASELINE, MEAN, UNCONFIRMED, Entry, beside_published, not_beaten
from deepcritic.report.evaluations import Evaluation
from deepcritic.tasks.metrics_types import Interval

Cell = str | tuple[str, str]
PAIRS: Final = 6
"""The most pairs of evaluations compared, starting with those of the first one."""
NAMES: Final = {"f1": "F1", "maj_f1": "F1 of the vote", "accuracy": "accuracy", "vote_accuracy": "accuracy of the sum"}


@dataclass(frozen=True)
class Difference:
    """The result of `comparison.compare` for two named evaluations."""

    names: tuple[str, str]
    found: Mapping[str, Any]

    @property
    def parts(self) -> dict[str, Mapping[str, Any]]:
        """Figures by benchmark, and their means if there are several."""
        means = {name.removeprefix("mean_"): value for name, value in self.found.items() if name.startswith("mean_")}
        return {**self.found["benchmarks"], **({f"mean of {len(self.found['benchmarks'])}": means} if means else {})}


def differences(found: Sequence[Evaluation], beside: Sequence[Evaluation] = ()) -> list[Difference]:
    """Compare evaluations on the same rows with each other and with those in `beside`; the first `PAIRS` pairs."""
    rows = functools.cache(lambda path: [row for row in read_judged(path) if kind_of(row.id)[1] is None])
    compared: list[Difference] = []
    for a, b in [*itertools.combinations(found, 2), *itertools.product(found, beside)]:
        if len(compared) == PAIRS:
            break
        names = (_named(a, found), _named(b, found))
        with contextlib.suppress(InputError):  # different rows, or no scores
            compared.append(Difference(names, compare([rows(a.path)], [rows(b.path)], names)))
    return compared


def results_tables(found: Sequence[Evaluation], compared: Sequence[Difference] = ()) -> list[dict[str, Any]]:
    """The tables of these evaluations and their differences."""
    return [table for table in (critic_table(found), difference_table(compared), detail_table(found)) if table]


def critic_table(found: Sequence[Evaluation]) -> dict[str, Any] | None:
    """One line per critic, vote, baseline and published critic; one column per benchmark, means last."""
    known = {one.title: one.metrics for one in found if one.stepwise and one.critic_parts}
    groups: dict[tuple[str, ...], dict[str, Metrics]] = {}
    for title, metrics in known.items():  # evaluations of different benchmarks have different columns
        groups.setdefault(tuple(metrics.benchmarks), {})[title] = metrics
    if not groups:
        return None
    entries: dict[tuple[str, str, str], Entry] = {}
    for group in groups.values():
        for entry in beside_published(group):
            entries.setdefault((entry.critic, entry.source, entry.benchmark), entry)
    columns = list(dict.fromkeys(entry.benchmark for entry in entries.values()))
    columns.sort(key=lambda name: name == MEAN or name.endswith(" mean"))
    lines: dict[tuple[str, str], dict[str, Entry]] = {}
    for entry in entries.values():
        lines.setdefault((entry.critic, entry.source), {})[entry.benchmark] = entry
    order = sorted(lines.items(), key=lambda line: _group(next(iter(line[1].values()))))
    rows = [[_who(critic, cells), *(_figure(cells.get(column)) for column in columns)] for (critic, _), cells in order]
    kinds = [("", "baseline", "published")[_group(next(iter(cells.values())))] for _, cells in order]
    return {
        "title": "F1 in percent, with 95% intervals", "head": ["critic", *map(_broken, columns)],
        "rows": rows, "kinds": kinds, "notes": list(_notes(entries.values())), "full": True,
    }  # fmt: skip


def _broken(name: str) -> str:
    """A name with line breaks allowed at slashes."""
    return name.replace("/", "/\u200b")


def _group(entry: Entry) -> int:
    """The sort order: 0 for own results, 1 for baselines, 2 for published."""
    return 2 if entry.confirmed is not None else 1 if entry.critic.startswith(BASELINE) else 0


def _who(critic: str, cells: Mapping[str, Entry]) -> Cell:
    first = next(iter(cells.values()))
    return critic if first.date is None else (critic, f"{first.source}, {first.date}")


def _figure(entry: Entry | None) -> Cell:
    if entry is None:
        return ""
    if entry.f1 is None:
        return "unknown"
    mark = " †" if entry.not_above else ""
    if entry.confirmed is False:
        return (f"{entry.f1:.1f}", UNCONFIRMED)
    interval = f"{entry.low:.1f} to {entry.high:.1f}" if entry.low is not None and entry.high is not None else ""
    return (f"{entry.f1:.1f}{mark}", interval) if interval else f"{entry.f1:.1f}{mark}"


def _notes(entries: Any) -> Iterator[str]:
    entries = list(entries)
    for entry in entries:
        if entry.not_above:
            baselines = ", ".join(f"“{name}”" for name in entry.not_above)
            yield f"† {entry.critic} on {entry.benchmark} is not shown to beat the baseline {baselines}."
    if any(entry.confirmed is False for entry in entries):
        yield f"{UNCONFIRMED}: read at second hand, not in the source."


def difference_table(compared: Sequence[Difference]) -> dict[str, Any] | None:
    """Paired differences on the same rows, with intervals, p-values and a plain verdict."""
    rows: list[list[Cell]] = [
        [(f"{one.names[0]} − {one.names[1]}", f"{_broken(benchmark)}, {name}"), *_cells(figures[key], one.names)]
        for one in compared
        for benchmark, figures in one.parts.items()
        for key, name in NAMES.items()
        if key in figures
    ]
    if not rows:
        return None
    head = ["difference", "points", "in words", "p", "could show"]
    notes = [
        "Points: the difference with its 95% interval, over the same solutions. Could show: the smallest true difference that "
        "these rows find with a power of 80%. Nothing is corrected for how many differences one looks at.",
        *([f"Only the first {PAIRS} pairs stand here; stage=compare compares any two."] if len(compared) == PAIRS else []),
    ]
    return {"title": "Which is better, and is that sure?", "head": head, "rows": rows, "full": True, "text_at": 3, "notes": notes}


def _named(one: Evaluation, found: Sequence[Evaluation]) -> str:
    return one.title if one in found else f"{one.path.parent.name}: {one.title}"


def _cells(figure: Mapping[str, Any], names: Sequence[str]) -> list[Cell]:
    low, high = figure["interval"]
    if figure["difference"] is None or low is None or high is None:
        return ["unknown", "one of the classes is missing", "", ""]
    p = figure["p"]
    shown = "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
    could = "" if figure["detectable"] is None else f"{figure['detectable']:.1f}"
    return [(f"{figure['difference']:+.1f}", f"{low:+.1f} to {high:+.1f}"), verdict(low, high, names), shown, could]


def verdict(low: float, high: float, names: Sequence[str]) -> str:
    """The conclusion from the interval of a difference.

    >>> verdict(1.0, 5.0, ["alpha", "beta"]), verdict(-2.0, 1.0, ["alpha", "beta"])
    ('alpha is better', 'not sure: either may be better')
    """
    if low > 0:
        return f"{names[0]} is better"
    return f"{names[1]} is better" if high < 0 else "not sure: either may be better"


def detail_table(found: Sequence[Evaluation]) -> dict[str, Any] | None:
    """The accuracies behind each F1."""
    rows: list[list[Cell]] = [
        [
            (one.title, f"{_broken(name)}, {part.examples:,} rows"),
            _with_range(part.error_accuracy, part.error_accuracy_interval),
            _with_range(part.correct_accuracy, part.correct_accuracy_interval),
            _with_range(part.unparsed_rate, part.unparsed_rate_interval),
            _with_range(part.agreement, part.agreement_interval),
            ", ".join(not_beaten(part)),
        ]
        for one in found
        if one.stepwise
        for name, part in one.critic_parts.items()
    ]
    if not rows:
        return None
    head = ["critic", "errors found", "all-correct seen", "unparsed", "agreement", "not shown to beat"]
    kept = [at for at in range(len(head)) if at == 0 or any(row[at] for row in rows)]
    rows = [[row[at] for at in kept] for row in rows]
    return {"title": "In detail, in percent", "head": [head[at] for at in kept], "rows": rows, "full": True}


def _with_range(value: float | None, interval: Interval | None) -> Cell:
    if value is None:
        return ""
    return (f"{value:.1f}", f"{interval[0]:.1f} to {interval[1]:.1f}") if interval and None not in interval else f"{value:.1f}"


def sentence(compared: Sequence[Difference]) -> str:
    """One sentence on the difference of two evaluations; empty unless exactly one pair is comparable."""
    if len(compared) != 1:
        return ""
    names, (where, figures) = compared[0].names, [*compared[0].parts.items()][-1]
    key = next((name for name in ("maj_f1", "f1", "vote_accuracy", "accuracy") if name in figures), None)
    if key is None or figures[key]["difference"] is None or None in figures[key]["interval"]:
        return ""
    low, high = figures[key]["interval"]
    said = f"{NAMES[key]} on {where}" if len(compared[0].parts) == 1 else f"{NAMES[key]}, {where} benchmarks"
    points = f"{abs(figures[key]['difference']):.1f} points"
    better = verdict(low, high, names)
    if better.startswith("not"):
        which = f"Which of {names[0]} and {names[1]} is better is not sure"
        return f"{which}: they differ by {points} ({low:+.1f} to {high:+.1f}) of {said}."
    ends = (low, high) if low > 0 else (-high, -low)
    return f"{better} by {points} (95% interval {ends[0]:.1f} to {ends[1]:.1f}) of {said}."

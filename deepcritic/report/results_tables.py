"""The results tables: critics beside baselines and published figures, differences between evaluations, and details.

for table in results_tables(found, differences(found)):
    print(table["title"], table["head"])

A cell is a text, or a text with a small line below it and its link. A note is a text, or a pair of a text and its link.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlencode

from deepcritic.evaluation.load import Metrics
from deepcritic.evaluation.table import (
    BASELINE,
    MEAN,
    UNCONFIRMED,
    Entry,
    beside_published,
    column_title,
    not_beaten,
    notes,
    sources,
    titled,
)
from deepcritic.report.differences import Cell, Difference, benchmark_title, difference_table
from deepcritic.report.evaluations import Evaluation
from deepcritic.report.shown import MEANING
from deepcritic.tasks.metrics_types import Figures, FirstErrorFigures, Interval

CONFIRMED: Final = "confirmed"


def results_tables(found: Sequence[Evaluation], compared: Sequence[Difference] = ()) -> list[dict[str, Any]]:
    """The tables of these evaluations and their differences."""
    made = [*critic_tables(found), difference_table(compared), score_table(found), detail_table(found)]
    return [table for table in made if table]


def critic_tables(found: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """One table for evaluations that share benchmarks. One line per critic, vote, baseline and published critic; one column per
    benchmark, means last."""
    groups: list[list[Evaluation]] = []
    for one in found:
        if one.stepwise and one.critic_parts:
            near = [group for group in groups if any(one.parts.keys() & other.parts.keys() for other in group)]
            groups = [group for group in groups if group not in near] + [[*(each for group in near for each in group), one]]
    return [_critic_table(group, only=len(groups) == 1) for group in groups]


def _critic_table(found: Sequence[Evaluation], *, only: bool) -> dict[str, Any]:
    groups: dict[tuple[str, ...], dict[str, Metrics]] = {}
    for one in found:  # evaluations of different benchmarks have different columns
        groups.setdefault(tuple(one.parts), {})[one.title] = one.metrics
    entries: dict[tuple[str, str, str], Entry] = {}
    for group in groups.values():
        for entry in beside_published(group):
            entries.setdefault((entry.critic, entry.source, entry.benchmark), entry)
    columns = list(dict.fromkeys(entry.benchmark for entry in entries.values()))
    columns.sort(key=lambda name: name == MEAN or name.endswith(" mean"))
    lines: dict[tuple[str, str], dict[str, Entry]] = {}
    for entry in entries.values():
        lines.setdefault((entry.critic, entry.source), {})[entry.benchmark] = entry
    order = sorted(lines.items(), key=lambda line: _place(line[1]))
    tests = [column_title(name) for name in columns if name != MEAN and not name.endswith(" mean")]
    where = "" if only else f"on {' and '.join(tests) if len(tests) < 4 else f'{len(tests)} benchmarks'} "
    remarks = {titled(one.title, one.metrics): one for one in found}
    rows = [[_who(critic, cells, remarks), *(_figure(cells.get(column)) for column in columns)] for (critic, _), cells in order]
    kinds = [("", "baseline", "published")[_group(next(iter(cells.values())))] for _, cells in order]
    return {
        "title": f"F1 {where}in percent, with 95% intervals", "head": ["critic", *map(column_title, columns)], "rows": rows,
        "kinds": kinds, "notes": [*_notes([*entries.values()]), *sources([*entries.values()])],
    }  # fmt: skip


def _group(entry: Entry) -> int:
    """The sort order: 0 for own results, 1 for baselines, 2 for published."""
    return 2 if entry.confirmed is not None else 1 if entry.critic.startswith(BASELINE) else 0


def _place(cells: Mapping[str, Entry]) -> tuple[int, float]:
    """The sort position of a line: published figures by their first one, best first, others as they come."""
    first = next(iter(cells.values()))
    return _group(first), -(first.f1 or 0.0) if _group(first) == 2 else 0.0


def _who(critic: str, cells: Mapping[str, Entry], remarks: Mapping[str, Evaluation]) -> Cell:
    """The critic; below it the remark on its prompt, what a baseline does, or the source of a published figure."""
    first = next(iter(cells.values()))
    if critic.startswith(BASELINE):
        meaning = MEANING.get(critic.removeprefix(BASELINE))
        return (critic, meaning) if meaning else critic
    if first.date is not None:
        return (critic, f"{first.source}, {first.date}", first.link) if first.link else (critic, f"{first.source}, {first.date}")
    for named, one in remarks.items():
        remark = one.metrics.critic.get("remark")
        if remark and critic.startswith(named):
            return (f"{one.title}{critic.removeprefix(named)}", str(remark))
    return critic


def _figure(entry: Entry | None) -> Cell:
    if entry is None:
        return ""
    if entry.f1 is None:
        return "unknown"
    mark = " †" if entry.not_above else ""
    if entry.confirmed is not None:
        return (f"{entry.f1:.1f}", CONFIRMED if entry.confirmed else UNCONFIRMED)
    interval = f"{entry.low:.1f} to {entry.high:.1f}" if entry.low is not None and entry.high is not None else ""
    return (f"{entry.f1:.1f}{mark}", interval) if interval else f"{entry.f1:.1f}{mark}"


def _notes(entries: Sequence[Entry]) -> Iterator[str]:
    yield from notes(entries)
    if any(entry.critic.startswith(BASELINE) for entry in entries):
        yield "Baselines do not read the steps: a critic that is not shown to beat them may not read them either."
    if any(entry.confirmed for entry in entries):
        yield f"{CONFIRMED}: read in the source named below the critic. Published figures have no interval, and their own rows."


def detail_table(found: Sequence[Evaluation]) -> dict[str, Any] | None:
    """The accuracies behind each F1."""
    rows: list[list[Cell]] = [
        [
            (one.title, f"{benchmark_title(name)}, {part.examples:,} rows"),
            _with_range(part.error_accuracy, part.error_accuracy_interval),
            _with_range(part.correct_accuracy, part.correct_accuracy_interval),
            _with_range(part.unparsed_rate, part.unparsed_rate_interval),
            _with_range(part.agreement, part.agreement_interval),
            ", ".join(not_beaten(part)),
            _missed(one, name),
        ]
        for one in found
        if one.stepwise
        for name, part in one.critic_parts.items()
    ]
    if not rows:
        return None
    head = ["critic", "errors found", "all-correct seen", "unparsed", "agreement", "not shown to beat", "see"]
    kept = [at for at in range(len(head)) if at == 0 or any(row[at] for row in rows)]
    rows = [[row[at] for at in kept] for row in rows]
    return {"title": "Details (percent)", "head": [head[at] for at in kept], "rows": rows}


def _missed(one: Evaluation, benchmark: str) -> Cell:
    """A link to the errors that the critic missed."""
    where = {"e": f"{one.path.parent.name}/{one.name}", "outcome": "missed"}
    return ("", "errors it missed", f"#critiques?{urlencode(where | ({'benchmark': benchmark} if len(one.parts) > 1 else {}))}")


def _with_range(value: float | None, interval: Interval | None) -> Cell:
    if value is None:
        return ""
    return (f"{value:.1f}", f"{interval[0]:.1f} to {interval[1]:.1f}") if interval and None not in interval else f"{value:.1f}"


def score_table(found: Sequence[Evaluation]) -> dict[str, Any] | None:
    """The scores that the benchmarks' authors report, with their parts."""
    rows: list[list[Cell]] = []
    for one in found:
        for name, part in one.parts.items():
            rows += [[(one.title, benchmark_title(name)), *cells] for cells in _scores(part)]
    if not rows:
        return None
    return {"title": "Scores of the benchmarks' authors", "head": ["critic", "score", "value", "rows"], "rows": rows, "words": 2}


def _scores(part: Figures) -> Iterator[list[Cell]]:
    if part.score is not None:
        score = part.score
        yield [(score.name, score.skipped) if score.skipped else score.name, _with_range(score.value, score.interval) or "none",
               f"{score.rows or part.examples:,}"]  # fmt: skip
        for name, one in score.parts.items():
            yield [f"… {name}", _with_range(one.value, one.interval), f"{one.rows:,}"]
        if score.left_out:
            yield ["… rows without a reply, left out", "", f"{score.left_out:,}"]
    if not isinstance(part, FirstErrorFigures):
        return
    if part.mr_score is not None:
        mr = part.mr_score
        yield [("MR-Score", mr.skipped) if mr.skipped else "MR-Score", _with_range(mr.score, mr.score_interval) or "none",
               f"{part.examples:,}"]  # fmt: skip
        for name, value, interval in (
            ("MCC of right or wrong", mr.mcc, mr.mcc_interval),
            ("first wrong step named", mr.step_accuracy, mr.step_accuracy_interval),
            ("its reason too", mr.reason_accuracy, mr.reason_accuracy_interval),
        ):
            if value is not None:
                yield [f"… {name}", _with_range(value, interval), ""]
    for kind, attack in part.attack_success_rates.items():
        said = f"verdicts changed to what was forged: {kind}"
        yield [said, _with_range(attack.rate, attack.interval) or "none to change", f"{attack.rows:,}"]


def reply_table(found: Sequence[Evaluation]) -> dict[str, Any] | None:
    """How many replies and rows have no readable verdict, and why."""
    rows: list[list[Cell]] = []
    for one in found:
        for name, part in one.parts.items():
            judged = [row for row in one.rows if row.get("benchmark", name) == name] if len(one.parts) > 1 else one.rows
            asked, cut, unparsed, refused, failed = (
                sum(int(row.get(key) or 0) for row in judged) for key in ("samples", "truncated", "unparsed", "refused", "failed")
            )
            read = sum(verdict is not None for row in judged for verdict in row["verdicts"])
            none = sum(all(verdict is None for verdict in row["verdicts"]) for row in judged)
            unread = sum(verdict is None for row in judged for verdict in row["verdicts"])
            unparsed = unparsed or max(0, unread - cut)  # recorded decisions are not counted by kind
            if asked:
                numbers = (len(judged), none, asked, read, cut, unparsed, refused, failed)
                where = (one.title, benchmark_title(name))
                rows.append([where, *(f"{number:,}" for number in numbers), f"{part.missing:,}" if part.missing else ""])
    if not any(row[2] != "0" or row[3] != row[4] for row in rows):
        return None
    head = ["critic", "rows", "rows without a verdict", "replies", "read", *LOSSES]
    kept = [at for at in range(len(head)) if at < 5 or any(row[at] not in ("", "0") for row in rows)]
    said = [f"{head[at]}: {LOSSES[head[at]]}" for at in kept if at >= 5]
    return {
        "title": "What could not be read, and why",
        "head": [head[at] for at in kept],
        "rows": [[row[at] for at in kept] for row in rows],
        "notes": ["; ".join(said).capitalize() + "."] if said else [],
    }


LOSSES: Final = {
    "cut": "ended at max_tokens (wrong where it cannot be read)",
    "no verdict in it": "ended by itself, without a readable verdict (wrong)",
    "refused": "by the model or its server (left out)",
    "failed": "no reply came, through no fault of the critic (left out)",
    "missing": "rows that the recording does not have (wrong)",
}
"""Why a reply could not be read, and what becomes of it."""

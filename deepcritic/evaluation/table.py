"""Tables of results with baselines and published figures, for the terminal and as Markdown, CSV and JSON.

Published figures carry their source and an `unconfirmed` mark if needed; ours name the baselines they do not beat.

entries = beside_published({"mine": metrics})
write_table(folder, entries)        # table.md, table.csv, table.json
print_table(entries)
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from deepcritic.evaluation.load import MeanFigures, Metrics
from deepcritic.evaluation.published import published
from deepcritic.metrics.baselines import CONSTANT
from deepcritic.runs.jsonl import replacing, write_json
from deepcritic.schema import Row
from deepcritic.tasks.metrics_types import Baseline, FirstErrorFigures

MEAN: Final = "mean"
UNCONFIRMED: Final = "unconfirmed"
OWN: Final = "this run"
BASELINE: Final = "baseline: "


class Entry(Row, frozen=True, kw_only=True):
    """One number of the table: F1 in percent. `confirmed` is None for own results and baselines. `quoted_by` is the text in
    which an unconfirmed figure was found. `not_above` names the baselines that an own result is not shown to beat."""

    critic: str
    benchmark: str
    f1: float | None
    low: float | None = None
    high: float | None = None
    rows: int | None = None
    source: str = OWN
    link: str | None = None
    date: str | None = None
    confirmed: bool | None = None
    quoted_by: str | None = None
    not_above: tuple[str, ...] = ()


def beside_published(results: Mapping[str, Metrics]) -> list[Entry]:
    """Entries for `results` (metrics by name), baselines on the same rows, and published figures on these tests.

    A published mean is included if all of its tests were run; ours is then over the same tests.
    """
    entries = [entry for name, metrics in results.items() for entry in _own(name, metrics)]
    parts = _parts(next(iter(results.values())))
    columns = dict.fromkeys(entry.benchmark for entry in entries)
    entries += [entry for column in columns for entry in _baselines(parts, column)]
    known = published()
    for figure in known.figures:
        if figure.benchmark in columns:
            source = known.sources[figure.source]
            test = known.benchmarks.get(figure.benchmark)
            entries.append(
                Entry(
                    critic=figure.name, benchmark=figure.benchmark, f1=figure.f1, rows=test.rows if test else None,
                    source=figure.source, link=source.link, date=source.date, confirmed=figure.confirmed,
                    quoted_by=figure.quoted_by,
                )
            )  # fmt: skip
    return entries


def write_table(folder: Path, entries: Sequence[Entry]) -> None:
    """Write `table.json` and `table.csv`, one number per line with its source, and `table.md`."""
    lines = [
        {name: getattr(entry, name) for name in Entry.__struct_fields__} | {"not_above": "; ".join(entry.not_above)}
        for entry in entries
    ]
    write_json(folder / "table.json", lines)
    text = io.StringIO()
    writer = csv.DictWriter(text, Entry.__struct_fields__, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    for name, content in (("table.csv", text.getvalue()), ("table.md", markdown(entries))):
        with replacing(folder / name) as file:
            file.write(content.encode())


def markdown(entries: Sequence[Entry]) -> str:
    """The table in Markdown, followed by notes and sources."""
    head, body = _grid(entries)
    shown = [head, ["---", *["---:"] * (len(head) - 2), "---"], *body]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in shown]
    return "\n".join([*lines, "", *(f"{note}  " for note in _all_notes(entries)), ""])


def print_table(entries: Sequence[Entry]) -> None:
    """Print the table to the terminal."""
    from rich.console import Console
    from rich.table import Table

    head, body = _grid(entries)
    table = Table(title="F1 in percent, with 95% intervals", title_justify="left")
    for at, name in enumerate(head):
        table.add_column(name, justify="right" if 0 < at < len(head) - 1 else "left", overflow="fold")
    for row in body:
        table.add_row(*row)
    console = Console() if sys.stdout.isatty() else Console(width=max(100, 30 + 24 * len(head)))
    console.print(table)
    for note in _all_notes(entries):
        console.print(note, markup=False, highlight=False, soft_wrap=True)


def any_published(entries: Sequence[Entry]) -> bool:
    """Whether any entry is a published figure."""
    return any(entry.confirmed is not None for entry in entries)


def _parts(metrics: Metrics) -> dict[str, FirstErrorFigures]:
    return {name: part for name, part in metrics.benchmarks.items() if isinstance(part, FirstErrorFigures)}


def _own(name: str, metrics: Metrics) -> list[Entry]:
    parts = _parts(metrics)
    votes = max(part.samples for part in parts.values())
    columns: dict[str, FirstErrorFigures | MeanFigures] = {**parts, **_means(metrics)}
    shown_as = titled(name, metrics)
    single = [
        Entry(
            critic=shown_as, benchmark=column, f1=figures.f1, low=figures.f1_interval[0], high=figures.f1_interval[1],
            rows=_rows(parts, column), not_above=not_beaten(figures),
        )
        for column, figures in columns.items()
    ]  # fmt: skip
    voted = [
        Entry(
            critic=f"{shown_as}, Maj@{votes}", benchmark=column, f1=figures.maj_f1, low=figures.maj_f1_interval[0],
            high=figures.maj_f1_interval[1], rows=_rows(parts, column), not_above=not_beaten(figures, vote=True),
        )
        for column, figures in columns.items()
        if figures.maj_f1_interval is not None
    ]  # fmt: skip
    return single + voted


def titled(name: str, metrics: Metrics) -> str:
    """A critic's name with its remark, if any, for example that another prompt than its own was used."""
    remark = metrics.critic.get("remark")
    return f"{name} ({remark})" if remark else name


def not_beaten(figures: FirstErrorFigures | MeanFigures, *, vote: bool = False) -> tuple[str, ...]:
    """The baselines that a critic, or its `vote`, is not shown to beat."""
    found = {name: one.maj_beaten if vote else one.beaten for name, one in figures.baselines.items()}
    return tuple(name for name, beaten in found.items() if beaten is False)


def _baselines(parts: Mapping[str, FirstErrorFigures], column: str) -> list[Entry]:
    """The baselines of one column. For a mean, each is the mean over the parts, if all parts have it."""
    covered = published().sets.get(column) or ([column] if column in parts else [*parts])
    found = [parts[name].baselines or _constant(parts[name]) for name in covered]
    entries = []
    for name in found[0] if found else ():
        values = [one[name].f1 for one in found if name in one]
        known = [value for value in values if value is not None]
        if len(known) < len(found):
            continue
        low, high = found[0][name].interval if len(found) == 1 else (None, None)
        mean = round(sum(known) / len(known), 4)
        entries.append(
            Entry(critic=f"{BASELINE}{name}", benchmark=column, f1=mean, low=low, high=high, rows=_rows(parts, column))
        )
    return entries


def _constant(part: FirstErrorFigures) -> dict[str, Baseline]:
    """The constant baseline, for older evaluations without the others; empty if unknown."""
    f1 = part.constant_baseline_f1
    return {} if f1 is None else {CONSTANT: Baseline(f1=f1, interval=(None, None))}


def _means(metrics: Metrics) -> dict[str, MeanFigures]:
    """Means by column: over named sets of tests, and over all tests that were run."""
    parts = frozenset(metrics.benchmarks)
    if len(parts) == 1:
        return {}
    every = MeanFigures(
        f1=metrics.mean_f1, f1_interval=metrics.mean_f1_interval or (None, None), maj_f1=metrics.mean_maj_f1,
        maj_f1_interval=metrics.mean_maj_f1_interval, baselines=metrics.mean_baselines, parts=tuple(parts), of=len(parts),
    )  # fmt: skip
    by_tests = {frozenset(mean.parts): mean for mean in metrics.means.values()} | {parts: every}
    named = {name: by_tests[tests] for name, of in published().sets.items() if (tests := frozenset(of)) in by_tests}
    return named if published().mean_of(parts) else {**named, MEAN: every}


def _rows(parts: Mapping[str, FirstErrorFigures], column: str) -> int:
    """The number of rows behind a column."""
    names = published().sets.get(column) or ([column] if column in parts else parts)
    return sum(parts[name].examples for name in names)


def _grid(entries: Sequence[Entry]) -> tuple[list[str], list[list[str]]]:
    """Head and body: one line per critic and source, one column per test, means last."""
    columns = dict.fromkeys(entry.benchmark for entry in entries)
    lines: dict[tuple[str, str], dict[str, Entry]] = {}
    for entry in entries:
        lines.setdefault((entry.critic, entry.source), {})[entry.benchmark] = entry
    head = ["critic", *map(column_title, columns), "source"]
    body = [
        [critic, *(_cell(cells.get(column)) for column in columns), _source(next(iter(cells.values())))]
        for (critic, _), cells in lines.items()
    ]
    return head, body


def _cell(entry: Entry | None) -> str:
    if entry is None:
        return ""
    if entry.f1 is None:
        return "unknown"
    interval = f" ({entry.low:.1f} to {entry.high:.1f})" if entry.low is not None and entry.high is not None else ""
    marks = f"{' †' if entry.not_above else ''}{f' {UNCONFIRMED}' if entry.confirmed is False else ''}"
    return f"{entry.f1:.1f}{interval}{marks}"


def column_title(name: str) -> str:
    """The title of a test in tables.

    >>> column_title("processbench/math"), column_title("mine")
    ('ProcessBench MATH', 'mine')
    """
    test = published().benchmarks.get(name)
    return test.title if test else name


def _source(entry: Entry) -> str:
    return entry.source if entry.date is None else f"{entry.source}, {entry.date}"


def _all_notes(entries: Sequence[Entry]) -> list[str]:
    return [*notes(entries), *(f"{text}, {link}" for text, link in sources(entries))]


def sources(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """The title and the address of each source of a published figure."""
    links = {entry.source: entry.link for entry in entries if entry.link}
    return [(f"{source}: {published().sources[source].title}", link) for source, link in links.items()]


def notes(entries: Sequence[Entry]) -> list[str]:
    """What the marks of the figures mean, and which figures do not compare."""
    found = []
    lines: dict[str, dict[str, None]] = {}
    for entry in entries:
        if entry.not_above:
            names = ", ".join(f"“{name}”" for name in entry.not_above)
            baselines = f"the baseline{'s' if len(entry.not_above) > 1 else ''} {names}"
            said = f"{entry.critic} is not shown to beat {baselines} on "
            lines.setdefault(said, {})[column_title(entry.benchmark)] = None
    found += [f"† {line}{', '.join(columns)}." for line, columns in lines.items()]
    ours = {entry.benchmark: entry.rows for entry in entries if entry.confirmed is None}
    for name, test in published().benchmarks.items():
        rows = ours.get(name)
        if rows is not None and test.rows is not None and rows != test.rows:
            found.append(f"{test.title}: {rows:,} rows here, {test.rows:,} in published results: not comparable.")
    quoted = dict.fromkeys(entry.quoted_by or "another text" for entry in entries if entry.confirmed is False)
    if quoted:
        found.append(f"{UNCONFIRMED}: quoted from a secondary source: {'; '.join(quoted)}.")
    return found

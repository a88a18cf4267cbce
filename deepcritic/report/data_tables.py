"""Tables of `stage=estimate` and `stage=filter`: error rates of data sets, and what a critic kept of them.

for table in data_tables(run, dict(finished_manifests(run))):
    print(table["title"], table["rows"])
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deepcritic.evaluation.load import METRICS, read_metrics
from deepcritic.report.differences import Cell, benchmark_title
from deepcritic.report.filterings import FILTER
from deepcritic.runs.jsonl import read_json, read_lines
from deepcritic.runs.manifest import Manifest
from deepcritic.tasks.metrics_types import Interval

NEXT = "next.jsonl"
SHOWN = 8
"""The rows of each `next.jsonl` that are shown."""
METHODS = {
    "ppi++": "a normal approximation, from many labels",
    "exact": "without approximation, as the labels are few or the critic differs from few of them",
    "bounded": "without approximation, for labels of unequal probability, as they are few or the critic differs from few of them",
    "by part": "each part by itself, weighted by its rows",
}
"""How the interval of an error rate is found."""


def data_tables(run: Path, manifests: Mapping[str, Manifest]) -> list[dict[str, Any]]:
    """The tables of the run's finished estimates and filters."""
    tables = (_estimates(run, manifests), _next(run, manifests), _filters(run, manifests))
    return [table for table in tables if table]


def data_cards(run: Path, manifests: Mapping[str, Manifest]) -> Iterator[tuple[str, str, str]]:
    """Headline figures: (number, description, interval or comparison)."""
    for name, one in estimates(run, manifests):
        whole = one.get("all rows")
        if whole is not None and whole.error_rate is not None:
            labels = f"{whole.labels:,} labels of {whole.rows:,} rows"
            yield f"{whole.error_rate:.1f}%", f"of the solutions have an error ({name})", f"{_range(whole.interval)}, {labels}"
    for name, summary in filters(run, manifests):
        share = f"{100 * summary['kept'] / max(1, summary['in']):.0f}% of {summary['in']:,} rows"
        yield f"{summary['kept']:,}", f"solutions kept ({name})", share


def estimates(run: Path, manifests: Mapping[str, Manifest]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The error rates of each finished estimate, by `all rows` and part."""
    for name, manifest in manifests.items():
        if manifest.stage == "estimate" and (run / name / METRICS).is_file():
            yield name, read_metrics(run / name).estimates


def filters(run: Path, manifests: Mapping[str, Manifest]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The counts of each finished filter."""
    for name, manifest in manifests.items():
        if manifest.stage == "filter" and (run / name / FILTER).is_file():
            yield name, read_json(run / name / FILTER)


def _estimates(run: Path, manifests: Mapping[str, Manifest]) -> dict[str, Any] | None:
    rows: list[list[Cell]] = []
    methods: dict[str, str] = {}
    for name, rates in estimates(run, manifests):
        for part, one in rates.items():
            known = one.error_rate is not None
            if one.method in METHODS:
                methods[one.method] = METHODS[one.method]
            more = one.same_width if one.same_width is not None and one.same_width > one.labels else None
            rows.append(
                [
                    (benchmark_title(part), f"{name}, {manifests[name].model or 'critic'}"), f"{one.rows:,}", f"{one.labels:,}",
                    (f"{one.error_rate:.1f}", _range(one.interval)) if known else ("unknown", str(one.why)),
                    _rate(one.labels_alone, one.labels_alone_interval), _rate(one.critic_alone), one.method or "",
                    f"{more:,}" if more else "", f"{one.without_verdict:,}" if one.without_verdict else "",
                ]
            )  # fmt: skip
    if not rows:
        return None
    head = [
        "solutions",
        "rows",
        "labels",
        "with an error",
        "labels alone",
        "critic alone",
        "method",
        "worth labels",
        "no verdict",
    ]
    kept = [at for at in range(len(head)) if at < 6 or any(row[at] for row in rows)]
    notes = [
        "The rate rests on labels of rows that were drawn at random, and on the critic's verdicts on all rows. Critic alone: its "
        "own share, whose bias is not corrected.",
        *(f"{name}: an interval {said}." for name, said in methods.items()),
        *(["Worth labels: so many labels alone would give as narrow an interval."] if 7 in kept else []),
    ]
    return {
        "title": "How many solutions have an error, in percent with 95% intervals", "head": [head[at] for at in kept],
        "rows": [[row[at] for at in kept] for row in rows], "notes": notes,
    }  # fmt: skip


def _next(run: Path, manifests: Mapping[str, Manifest]) -> dict[str, Any] | None:
    """The first rows of each `next.jsonl` that have no label yet."""
    rows: list[list[Cell]] = []
    for name, manifest in manifests.items():
        file = run / name / NEXT
        if manifest.stage != "estimate" or not file.is_file():
            continue
        waiting = [row for _, line in read_lines(file) if (row := json.loads(line)).get("has_error") is None]
        rows += [
            [
                (str(row["id"]), f"{name}, {row['part']}" if row.get("part") else name),
                "" if row.get("share") is None else f"{100 * row['share']:.0f}%", f"{100 * row['probability']:.1f}%",
            ]
            for row in waiting[:SHOWN]
        ]  # fmt: skip
        if len(waiting) > SHOWN:
            rows.append([(f"… {len(waiting) - SHOWN:,} more", f"{name}/{NEXT}"), "", ""])
    head = ["row", "votes for an error", "chance of being drawn"]
    notes = ["Drawn at random, rows on which the votes disagree more often; the chance makes the estimate unbiased."]
    return {"title": "Rows to label next", "head": head, "rows": rows, "notes": notes} if rows else None


def _filters(run: Path, manifests: Mapping[str, Manifest]) -> dict[str, Any] | None:
    found = [*filters(run, manifests)]
    if not found:
        return None
    reasons = list(dict.fromkeys(reason for _, one in found for reason in one["dropped"]))
    failed = list(dict.fromkeys(reason for _, one in found for reason in one["failed"]))
    limits = list(dict.fromkeys(limit for _, one in found for limit in one["kept_at"]))
    head = [
        "filter", "rows", "kept", *(f"dropped: {reason}" for reason in reasons), *(f"failed: {reason}" for reason in failed),
        *(f"kept at {limit}" for limit in limits),
    ]  # fmt: skip
    rows: list[list[Cell]] = [
        [
            (name, f"accepts a share of {one['accept']:g}"), f"{one['in']:,}", f"{one['kept']:,}",
            *(f"{one['dropped'].get(reason, 0):,}" for reason in reasons),
            *(f"{one['failed'].get(reason, 0):,}" for reason in failed),
            *(f"{one['kept_at'].get(limit, 0):,}" for limit in limits),
        ]
        for name, one in found
    ]  # fmt: skip
    notes = ["Kept at: the rows that another stage.accept would keep, the share of readable votes that find every step right."]
    return {"title": "What the critic kept", "head": head, "rows": rows, "notes": notes}


def _rate(value: float | None, interval: Interval = (None, None)) -> Cell:
    if value is None:
        return ""
    return (f"{value:.1f}", _range(interval)) if _range(interval) else f"{value:.1f}"


def _range(interval: Interval) -> str:
    low, high = interval
    return "" if low is None or high is None else f"{low:.1f} to {high:.1f}"

"""Plots of evaluations: F1, votes, confidence, and the errors critics make, from the figures of `metrics.json`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from deepcritic.evaluation.published import published
from deepcritic.evaluation.table import column_title
from deepcritic.report.draw import (
    GRID,
    INK,
    MUTED,
    PAPER,
    SERIES,
    WIDE,
    Curve,
    Plot,
    band,
    bars,
    figure,
    legend_above,
    line,
    percent_axis,
    shortened,
    vote_curves,
)
from deepcritic.report.evaluations import Evaluation, compared
from deepcritic.report.shown import shown
from deepcritic.schema import WITH_ERROR, WITHOUT_ERROR
from deepcritic.tasks.metrics_types import Accuracies, Accuracy, Confidence, FirstErrorFigures

PUBLISHED = 6
"""The number of published figures shown per benchmark, best first."""
MOST = 6
"""The most plots of one kind; one plot has at most `2 * MOST` benchmarks. The tables have all."""
FEWEST = 5
"""Groups with fewer rows, of each class for F1, are in the CSV alone: a line through them shows noise."""
Point = dict[str, Any]


def plots(found: Sequence[Evaluation]) -> Iterator[Plot]:
    """The plots with figures."""
    critics = [one for one in found if one.stepwise]
    if any(part.f1 is not None for one in critics for part in one.critic_parts.values()):
        yield f1_by_benchmark(critics)
    if critics:
        beside = compared(critics)
        voting = [one for one in critics if any(part.maj_f1_by_votes for part in one.critic_parts.values())]
        if voting:
            yield votes(voting)
        sure = [(one, name, part.confidence) for one in voting for name, part in one.critic_parts.items() if part.confidence]
        for place in sure[:MOST]:
            yield confidence(*place)
        if any(part.mistakes for one in beside for part in one.critic_parts.values()):
            yield mistakes(beside)
        for name in [*beside[0].critic_parts][:MOST] if beside else ():
            parts = [(one, one.critic_parts[name]) for one in beside]
            where = name if len(beside[0].parts) > 1 else ""
            if any(part.error_accuracy_by_kind for _, part in parts):
                yield by_kind([(one, part.error_accuracy_by_kind) for one, part in parts], where)
            if any(part.error_accuracy_by_position for _, part in parts):
                yield by_position([(one, part.error_accuracy_by_position) for one, part in parts], where)
            if any(part.by_length for _, part in parts):
                yield by_length([(one, part.by_length) for one, part in parts], where)


def f1_by_benchmark(found: Sequence[Evaluation]) -> Plot:
    """One line per critic and benchmark, above the figures published for it."""
    rows: list[Point] = []
    benchmarks = list(dict.fromkeys(name for one in found for name in one.critic_parts))[: 2 * MOST]
    for benchmark in benchmarks:
        for one in found:
            part = one.critic_parts.get(benchmark)
            if part is None or part.f1 is None:
                continue
            low, high = part.f1_interval
            rows.append(
                {
                    "benchmark": benchmark,
                    "critic": one.title,
                    "f1": part.f1,
                    "low": low,
                    "high": high,
                    "maj": part.maj_f1,
                    "maj_interval": part.maj_f1_interval,
                    "baseline": best_baseline(part),
                    "kind": "this run",
                }
            )
        known = sorted((figure for figure in published().figures if figure.benchmark == benchmark), key=lambda one: -one.f1)
        for one_published in known[:PUBLISHED]:
            kind = "published" if one_published.confirmed else "published, unconfirmed"
            voted = one_published.votes > 1
            known_f1 = {"maj" if voted else "f1": one_published.f1}
            rows.append({"benchmark": benchmark, "critic": one_published.name, "kind": kind, **known_f1})
    with figure("f1", width=WIDE, height=0.75 + 0.23 * len(rows) + 0.32 * len(benchmarks)) as (drawn, axes):
        at, ticks = 0.0, []
        for benchmark in benchmarks:
            if len(benchmarks) > 1:
                axes.text(0.6, at, shortened(column_title(benchmark), 60), fontsize=9.5, fontweight="bold", va="center")
                at += 1
            for row in (row for row in rows if row["benchmark"] == benchmark):
                _f1_line(axes, at, row)
                ticks.append((at, row))
                at += 1
            at += 0.5
        axes.set_yticks([place for place, _ in ticks], [shortened(row["critic"]) for _, row in ticks])
        for label, (_, row) in zip(axes.get_yticklabels(), ticks, strict=True):
            label.set_color(INK if row["kind"] == "this run" else MUTED)
        axes.set_ylim(at - 0.2, -0.8)
        axes.text(FIRST, -1.1, "one", fontsize=8, color=MUTED)
        if any(row.get("maj") is not None for row in rows):
            axes.text(SECOND, -1.1, "vote", fontsize=8, color=MUTED)
        axes.grid(visible=False, axis="y")
        percent_axis(axes, "F1 (percent), with 95% intervals", along="x")
        _f1_legend(axes, rows)
    said = "; ".join(
        f"{row['critic']} {row['f1']:.1f}" + (f" on {column_title(row['benchmark'])}" if len(benchmarks) > 1 else "")
        for row in rows
        if row["kind"] == "this run"
    )
    return Plot(
        name="f1",
        title="F1 by benchmark",
        text=f"F1 in percent: {said}.",
        svg=drawn.svg,
        wide=True,
        head=("benchmark", "critic", "f1", "low", "high", "maj_f1", "best_baseline", "kind"),
        rows=[
            [
                row["benchmark"],
                row["critic"],
                *(row.get(key) for key in ("f1", "low", "high", "maj", "baseline")),
                row["kind"],
            ]
            for row in rows
        ],
    )


FIRST, SECOND = 104, 115
"""The positions of the two number columns, to the right of the percent axis."""


def best_baseline(part: FirstErrorFigures) -> float | None:
    """F1 of the highest baseline; for older evaluations with only one, that of the best constant."""
    found = [one.f1 for one in part.baselines.values() if one.f1 is not None]
    return max(found) if found else part.constant_baseline_f1


def _f1_line(axes: Any, at: float, row: Point) -> None:
    own = row["kind"] == "this run"
    style: dict[str, Any] = {"va": "center", "fontsize": 9 if own else 8, "color": INK if own else MUTED}
    for place, key in ((FIRST, "f1"), (SECOND, "maj")):
        if row.get(key) is not None:
            axes.text(place, at, f"{row[key]:.1f}", **style)
    if not own:
        face = MUTED if row["kind"] == "published" else PAPER
        axes.plot(row.get("f1", row.get("maj")), at, "D", color=MUTED, markersize=4, markerfacecolor=face)
        return
    if row["low"] is not None:
        axes.plot([row["low"], row["high"]], [at, at], color=SERIES[0], linewidth=5, alpha=0.25, solid_capstyle="butt")
    if row["baseline"] is not None:
        axes.plot([row["baseline"]] * 2, [at - 0.38, at + 0.38], color=MUTED, linewidth=1.6)
    axes.plot(row["f1"], at, "o", color=SERIES[0], markersize=6)
    if row["maj"] is not None:
        if row.get("maj_interval") and None not in row["maj_interval"]:
            axes.plot(row["maj_interval"], [at, at], color=SERIES[1], linewidth=5, alpha=0.25, solid_capstyle="butt")
        axes.plot(row["maj"], at, "^", color=SERIES[1], markersize=6)


def _f1_legend(axes: Any, rows: Sequence[Point]) -> None:
    axes.plot([], [], "o", color=SERIES[0], label="one sample")
    if any(row.get("maj") is not None for row in rows):
        axes.plot([], [], "^", color=SERIES[1], label="vote of all samples")
    if any(row.get("baseline") is not None for row in rows):
        axes.plot([], [], "|", color=MUTED, markersize=9, markeredgewidth=1.6, label="best baseline")
    kinds = {row["kind"] for row in rows}
    if "published" in kinds:
        axes.plot([], [], "D", color=MUTED, markersize=4, label="published")
    if "published, unconfirmed" in kinds:
        axes.plot([], [], "D", color=MUTED, markersize=4, markerfacecolor=PAPER, label="published, unconfirmed")
    legend_above(axes, 5)


def votes(found: Sequence[Evaluation]) -> Plot:
    """Maj@k: the mean over all subsets of k samples."""
    lines: Sequence[Curve] = [
        (_named(one, name), [(int(k), point.f1, point.interval) for k, point in part.maj_f1_by_votes.items()])
        for one in found
        for name, part in one.critic_parts.items()
        if part.maj_f1_by_votes
    ][:MOST]
    with figure("votes") as (drawn, axes):
        rows = vote_curves(axes, lines)
        axes.set_xlabel("votes (k)")
        axes.set_ylabel("F1 of Maj@k (percent)")
    ends = [(name, curve[0][1], curve[-1][1], len(curve)) for name, curve in lines]
    last = "; ".join(f"{name}: {one:.1f} with one, {all_:.1f} with {k}" for name, one, all_, k in ends if None not in (one, all_))
    return Plot(
        name="votes",
        title="Gain from votes (Maj@k)",
        text=f"F1 by number of votes. {last}.",
        svg=drawn.svg,
        head=("critic", "k", "f1", "low", "high"),
        rows=rows,
    )


def confidence(one: Evaluation, name: str, found: Confidence) -> Plot:
    """Agreement as confidence: accuracy of the surest rows, and calibration."""
    rows: list[list[Any]] = []
    key = f"confidence-{one.name}-{name}"
    with figure(key, width=WIDE, columns=2) as (drawn, (left, right)):
        cover = found.coverage
        band(left, [p.coverage for p in cover], [p.interval for p in cover], 0)
        left.plot([p.coverage for p in cover], [p.accuracy for p in cover], **line(0))
        left.set_xlabel("rows answered, by decreasing agreement (percent)")
        left.set_ylabel("accuracy on these rows (percent)")
        left.set_title("coverage and accuracy")
        right.plot([0, 100], [0, 100], color=GRID, linewidth=1.2, zorder=0)
        bins = found.calibration
        for bin_ in bins:
            right.plot([bin_.confidence] * 2, bin_.interval, color=SERIES[1], alpha=0.4, linewidth=4, solid_capstyle="butt")
        right.plot([b.confidence for b in bins], [b.accuracy for b in bins], **(line(1) | {"linestyle": "none", "markersize": 6}))
        right.set_xlabel("agreement of the votes (percent)")
        percent_axis(right, "right (percent)")
        right.set_xlim(0, 102)
        right.set_title("calibration")
        rows += [["coverage", p.coverage, p.accuracy, *p.interval, None] for p in cover]
        rows += [["calibration", b.confidence, b.accuracy, *b.interval, b.rows] for b in bins]
    text = (
        f"Accuracy on all rows {shown(cover[-1].accuracy)}%, on the half with the highest agreement "
        f"{shown(cover[len(cover) // 2 - 1].accuracy)}%. Expected calibration error {shown(found.ece)} points."
    )
    return Plot(
        name=key,
        title=f"Agreement as confidence: {_named(one, name)}",
        text=text,
        svg=drawn.svg,
        wide=True,
        head=("curve", "x", "right", "low", "high", "rows"),
        rows=rows,
    )


SAID = ("right", "too early", "too late", "missed", "no verdict", "false alarm")
"""The kinds of replies about a solution, in the order of the stacked bars."""
_FILL = {
    "right": (SERIES[0], ""),
    "too early": (SERIES[4], "//"),
    "too late": (SERIES[5], "\\\\"),
    "missed": (SERIES[1], ""),
    "no verdict": (MUTED, ".."),
    "false alarm": (SERIES[1], ""),
}


def mistakes(found: Sequence[Evaluation]) -> Plot:
    """Shares of right and wrong replies, for solutions with and without an error."""
    rows = []
    for one in found:
        for name, part in one.critic_parts.items():
            for stratum, right in ((WITH_ERROR, part.error_accuracy), (WITHOUT_ERROR, part.correct_accuracy)):
                shares = {kind: of.share or 0.0 for kind, of in part.mistakes.get(stratum, {}).items()}
                if right is not None and shares:
                    rows.append((_named(one, name), stratum, {"right": right, **shares}))
    rows = sorted(rows[: 4 * MOST], key=lambda row: row[1] == WITHOUT_ERROR)
    with figure("mistakes", width=WIDE, height=0.9 + 0.27 * len(rows)) as (drawn, axes):
        for at, (_, _, shares) in enumerate(rows):
            left = 0.0
            for kind in SAID:
                if shares.get(kind):
                    colour, hatch = _FILL[kind]
                    axes.barh(at, shares[kind], left=left, height=0.72, color=colour, hatch=hatch, edgecolor=PAPER, linewidth=0.8)
                    if shares[kind] >= 7:
                        axes.text(
                            left + shares[kind] / 2,
                            at,
                            f"{shares[kind]:.0f}",
                            ha="center",
                            va="center",
                            fontsize=8,
                            bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1.2, "alpha": 0.85},
                        )
                    left += shares[kind]
        bars(axes, [f"{name}, {stratum}" for name, stratum, _ in rows], 52)
        percent_axis(axes, "replies (percent)", along="x")
        shown = {kind for _, _, shares in rows for kind in shares if shares[kind]}
        for kind, label in _LABELS.items():
            if kind in shown:
                axes.bar(0, 0, color=_FILL[kind][0], hatch=_FILL[kind][1], edgecolor=PAPER, label=label)
        legend_above(axes, 6)
    return Plot(
        name="mistakes",
        title="Kinds of mistakes",
        wide=True,
        svg=drawn.svg,
        text="Shares of replies by outcome: right, step too early or too late, missed error or false alarm, no verdict.",
        head=("critic", "solutions", *SAID),
        rows=[[name, stratum, *(shares.get(kind) for kind in SAID)] for name, stratum, shares in rows],
    )


_LABELS = {
    "right": "right",
    "too early": "too early",
    "too late": "too late",
    "missed": "missed, or false alarm",
    "no verdict": "no verdict",
}


def by_kind(lines: Sequence[tuple[Evaluation, dict[str, Accuracy]]], benchmark: str) -> Plot:
    """Errors found, by kind of error."""
    kinds = list(dict.fromkeys(kind for _, groups in lines for kind in groups))
    with figure(f"kind-{benchmark}", height=0.9 + 0.2 * len(lines) * len(kinds) ** 0.9) as (drawn, axes):
        step = 0.7 / max(1, len(lines) - 1) if len(lines) > 1 else 0
        for number, (one, groups) in enumerate(lines):
            places = [at - 0.35 + step * number if len(lines) > 1 else at for at in range(len(kinds))]
            for place, kind in zip(places, kinds, strict=True):
                if kind in groups and None not in groups[kind].interval:
                    interval = groups[kind].interval
                    axes.plot(interval, [place, place], color=SERIES[number], alpha=0.3, linewidth=4, solid_capstyle="butt")
            values = [groups[kind].accuracy if kind in groups else None for kind in kinds]
            axes.plot(values, places, label=shortened(one.title), **(line(number) | {"linestyle": "none", "markersize": 6}))
        bars(axes, kinds)
        percent_axis(axes, "errors found (percent)", along="x")
        legend_above(axes, 4)
    return _grouped("kind", "Errors found, by kind", "kind", _accuracy_rows(lines), benchmark, drawn.svg)


def by_position(lines: Sequence[tuple[Evaluation, dict[str, Accuracy]]], benchmark: str) -> Plot:
    """Errors found, by first wrong step."""
    with figure(f"position-{benchmark}") as (drawn, axes):
        for number, (one, groups) in enumerate(lines):
            known = {int(at): group for at, group in groups.items() if group.accuracy is not None and group.rows >= FEWEST}
            if known and all(None not in group.interval for group in known.values()):
                band(axes, [*known], [group.interval for group in known.values()], number)
            axes.plot([*known], [group.accuracy for group in known.values()], label=shortened(one.title), **line(number))
        axes.set_xlabel("first wrong step")
        axes.xaxis.get_major_locator().set_params(integer=True)
        percent_axis(axes, "errors found (percent)")
        legend_above(axes, 4)
    return _grouped("position", "Errors found, by position", "first_wrong_step", _accuracy_rows(lines), benchmark, drawn.svg)


def by_length(lines: Sequence[tuple[Evaluation, dict[str, Accuracies]]], benchmark: str) -> Plot:
    """F1 by number of steps."""
    names = list(dict.fromkeys(name for _, groups in lines for name in groups))
    with figure(f"length-{benchmark}") as (drawn, axes):
        for number, (one, groups) in enumerate(lines):
            values = [groups[name].f1 if name in groups and _enough(groups[name]) else None for name in names]
            places = [at + (number - (len(lines) - 1) / 2) * 0.09 for at in range(len(names))]
            for place, name in zip(places, names, strict=True):
                if name in groups and _enough(groups[name]) and None not in groups[name].f1_interval:
                    interval = groups[name].f1_interval
                    axes.plot([place, place], interval, color=SERIES[number], alpha=0.35, linewidth=3, solid_capstyle="butt")
            axes.plot(places, values, label=shortened(one.title), **line(number))
        axes.set_xticks(range(len(names)), [name.replace(" steps", "").replace(" or more", "+") for name in names])
        axes.set_xlim(-0.4, len(names) - 0.6)
        axes.set_xlabel("steps in the solution")
        percent_axis(axes, "F1 (percent)")
        legend_above(axes, 4)
    rows = [[one.title, name, at.rows, at.f1, *at.f1_interval] for one, groups in lines for name, at in groups.items()]
    return _grouped("length", "F1 by length of the solution", "steps", rows, benchmark, drawn.svg, value="f1")


def _enough(group: Accuracies) -> bool:
    """Whether both classes have rows enough to be drawn."""
    return min(group.with_error, group.rows - group.with_error) >= FEWEST


def _accuracy_rows(lines: Sequence[tuple[Evaluation, dict[str, Accuracy]]]) -> list[list[Any]]:
    return [[one.title, name, at.rows, at.accuracy, *at.interval] for one, groups in lines for name, at in groups.items()]


def _grouped(
    key: str,
    title: str,
    column: str,
    rows: list[list[Any]],
    benchmark: str,
    svg: str,
    value: str = "accuracy",
) -> Plot:
    return Plot(
        name=f"{key}-{benchmark}".rstrip("-"),
        title=f"{title}: {column_title(benchmark)}" if benchmark else title,
        svg=svg,
        text=f"{title}, with 95% intervals, for {', '.join(dict.fromkeys(str(row[0]) for row in rows))}."
        + (
            ""
            if key == "kind"
            else f" Groups with fewer than {FEWEST} rows{'' if key == 'position' else ' of a class'} are in the CSV alone."
        ),
        head=("critic", column, "rows", value, "low", "high"),
        rows=rows,
    )


def _named(one: Evaluation, part: str) -> str:
    return f"{one.title}, {column_title(part)}" if len(one.parts) > 1 else one.title

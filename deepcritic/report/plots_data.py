"""Plots of data and use: the funnel of critiques, label quality, rollouts saved, refinement, votes, and costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deepcritic.report.draw import INK, MUTED, PAPER, SERIES, WIDE, Plot, band, bars, figure, legend_above, line, percent_axis
from deepcritic.runs.jsonl import read_json
from deepcritic.runs.manifest import Manifest
from deepcritic.seeding.funnel import FunnelRow, read_funnel


def plots(run: Path, manifests: Mapping[str, Manifest]) -> Iterator[Plot]:
    """The plots that the run has figures for."""
    for name, manifest in manifests.items():
        stage, folder = manifest.stage, run / name
        if stage == "seed" and len(manifest.facts.get("funnel") or []) > 1:
            yield funnel(name, read_funnel(manifest.facts["funnel"]))
        report = _json(folder / "report.json") if stage == "label" else None
        if report:
            if any(report.get("success", {}).values()):
                yield success(name, report)
            if any("truth" in of for of in report.get("rules", {}).values()):
                yield label_truth(name, report)
        if stage == "rollout" and any(isinstance(manifest.facts.get(fate), dict) for fate in FATES):
            yield rollouts(name, manifest)
        metrics = _json(folder / "metrics.json") if stage in {"refine", "vote"} else None
        if metrics and stage == "refine" and metrics.get("solutions"):
            yield refinement(name, metrics)
        if metrics and stage == "vote" and metrics.get("curves"):
            yield vote_curves(name, metrics)
    if manifests:
        yield from effort(manifests)


def funnel(name: str, rows: list[FunnelRow]) -> Plot:
    """Rows kept and dropped by each rule."""
    shown = [row for at, row in enumerate(rows) if row.dropped or at in (0, len(rows) - 1)]
    with figure(f"{name}-funnel", width=WIDE, height=0.6 + 0.3 * len(shown)) as (drawn, axes):
        most = max(1, shown[0].left)
        for at, row in enumerate(shown):
            axes.barh(at, row.left, height=0.7, color=SERIES[0])
            axes.barh(at, row.dropped, left=row.left, height=0.7, color=SERIES[1], alpha=0.45, hatch="//", edgecolor=PAPER)
            lost = f" (−{row.dropped:,})" if row.dropped else ""
            axes.text(row.left + row.dropped + most / 80, at, f"{row.left:,}{lost}", va="center", fontsize=9)
        bars(axes, [row.rule for row in shown], most=52)
        axes.set_xlim(0, most * 1.16)
        axes.set_xlabel("solutions remaining; hatched: dropped by the rule")
    text = f"{rows[-1].left:,} of {rows[0].left:,} solutions became dialogues."
    return Plot(
        name=f"{name}-funnel",
        section="Data",
        title=f"{name}: from solutions to dialogues",
        text=text,
        svg=drawn.svg,
        wide=True,
        head=("rule", "dropped", "left"),
        rows=[[row.rule, row.dropped, row.left] for row in rows],
    )


def success(name: str, report: Mapping[str, Any]) -> Plot:
    """How often rollouts from the first steps of a solution reach the reference answer."""
    rows = []
    with figure(f"{name}-success") as (drawn, axes):
        for number, (answer, points) in enumerate(report["success"].items()):
            known = [point for point in points if point["share"] is not None]
            places = [point["prefix"] for point in known]
            band(axes, places, [[100 * bound for bound in point["interval"]] for point in known], number)
            axes.plot(places, [100 * point["share"] for point in known], label=f"solutions with a {answer}", **line(number))
            rows += [
                [answer, p["prefix"], p["drawn"], p["count"], p["of"], 100 * p["share"], *(100 * b for b in p["interval"])]
                for p in known
            ]
        axes.set_xlabel("steps given")
        axes.xaxis.get_major_locator().set_params(integer=True)
        percent_axis(axes, "rollouts that reach the answer (percent)")
        legend_above(axes, 2)
    return Plot(
        name=f"{name}-success",
        section="Data",
        title=f"{name}: success of rollouts",
        svg=drawn.svg,
        text="Share of rollouts that reach the reference answer, by prefix, for solutions with a right and a wrong answer.",
        head=("solutions", "steps_given", "drawn", "right", "judged", "percent", "low", "high"),
        rows=rows,
    )


MEASURES = (("precision", "precision of first errors"), ("recall", "recall of first errors"), ("exact", "exactly correct labels"))


def label_truth(name: str, report: Mapping[str, Any]) -> Plot:
    """The labels of each rule beside the truth, if known."""
    rules = {rule: of["truth"] for rule, of in report["rules"].items() if "truth" in of}
    rows = []
    with figure(f"{name}-truth", height=0.9 + 0.5 * len(rules)) as (drawn, axes):
        for number, (key, title) in enumerate(MEASURES):
            for at, (rule, truth) in enumerate(rules.items()):
                found = truth[key]
                if found["share"] is None:
                    continue
                place, mark = at + 0.24 * (number - 1), line(number) | {"linestyle": "none", "markersize": 6}
                axes.plot(
                    [100 * bound for bound in found["interval"]],
                    [place] * 2,
                    color=SERIES[number],
                    alpha=0.3,
                    linewidth=4,
                    solid_capstyle="butt",
                )
                axes.plot(100 * found["share"], place, label=title if at == 0 else None, **mark)
                rows.append([rule, title, 100 * found["share"], *(100 * bound for bound in found["interval"]), found["of"]])
        bars(axes, [f"{rule} *" if rule == report.get("rule") else rule for rule in rules])
        percent_axis(axes, "percent, with 95% intervals", along="x")
        legend_above(axes, 2)
    return Plot(
        name=f"{name}-truth",
        section="Data",
        title=f"{name}: labels compared with the truth",
        svg=drawn.svg,
        text=f"Label rules compared with the truth; *: the rule used, {report.get('rule')}.",
        head=("rule", "measure", "percent", "low", "high", "of"),
        rows=rows,
    )


FATES = ("labelled", "discarded", "lacking")


def rollouts(name: str, manifest: Manifest) -> Plot:
    """Rollouts drawn, and those the rule did not need."""
    found = {fate: manifest.facts[fate] for fate in FATES if isinstance(manifest.facts.get(fate), dict)}
    rows = [
        [fate, of.get("solutions", 0), *(of.get(key, 0) for key in ("rollouts", "rollouts_saved", "tokens", "tokens_saved"))]
        for fate, of in found.items()
    ]
    drawn_all, saved_all = sum(row[2] for row in rows), sum(row[3] for row in rows)
    with figure(f"{name}-saved", height=1.0 + 0.4 * len(rows)) as (drawn, axes):
        for at, row in enumerate(rows):
            axes.barh(at, row[2], height=0.6, color=SERIES[0], label="sampled" if at == 0 else None)
            axes.barh(
                at,
                row[3],
                left=row[2],
                height=0.6,
                color=SERIES[5],
                alpha=0.5,
                hatch="//",
                edgecolor=PAPER,
                label="not needed" if at == 0 else None,
            )
        bars(axes, [f"{row[0]} ({row[1]:,})" for row in rows])
        axes.set_xlabel("rollouts")
        legend_above(axes, 2)
    share = 100 * saved_all / max(1, drawn_all + saved_all)
    return Plot(
        name=f"{name}-saved",
        section="Data",
        title=f"{name}: rollouts saved",
        svg=drawn.svg,
        text=f"{drawn_all:,} rollouts were sampled; {saved_all:,} ({share:.0f}%) were not needed for the labels.",
        head=("solutions", "count", "rollouts", "rollouts_saved", "tokens", "tokens_saved"),
        rows=rows,
    )


def refinement(name: str, metrics: Mapping[str, Any]) -> Plot:
    """Numbers of answers by right or wrong, before and after refinement."""
    rounds = [*(metrics.get("by_round") or [metrics])]
    total = metrics["solutions"]
    right = round(metrics["before"] * total / 100)
    mended, spoilt = rounds[-1]["wrong_to_right"], rounds[-1]["right_to_wrong"]
    flows = [
        ("right", "right", right - spoilt),
        ("right", "wrong", spoilt),
        ("wrong", "right", mended),
        ("wrong", "wrong", total - right - mended),
    ]
    with figure(f"{name}-flows", height=2.9) as (drawn, axes):
        _flows(axes, flows, total)
        after = right - spoilt + mended
        for x, side, parts in ((0, "right", (right, total - right)), (1, "left", (after, total - after))):
            top = 0.0
            for count, word in zip(parts, ("right", "wrong"), strict=True):
                place = top + count / 2
                shift = -0.03 if side == "right" else 0.03
                axes.text(x + shift, place, f"{word}\n{count:,} ({100 * count / total:.1f}%)", ha=side, va="center", fontsize=9.5)
                top += count + total * 0.06
        axes.set_xlim(-0.42, 1.42)
        axes.set_ylim(total * 1.2, -total * 0.03)
        axes.set_axis_off()
        axes.text(
            0.5, total * 1.17, f"wrong to right {mended:,}   ·   right to wrong {spoilt:,}", ha="center", fontsize=9, color=MUTED
        )
    text = (
        f"Before refinement, {metrics['before']:.1f}% of {total:,} answers are right; after it, {rounds[-1]['after']:.1f}%: "
        f"{mended} went from wrong to right, {spoilt} from right to wrong."
    )
    return Plot(
        name=f"{name}-flows",
        section="Use",
        title=f"{name}: answers before and after",
        text=text,
        svg=drawn.svg,
        head=("before", "after", "solutions"),
        rows=[list(flow) for flow in flows],
    )


def _flows(axes: Any, flows: list[tuple[str, str, int]], total: int) -> None:
    from matplotlib.patches import PathPatch, Rectangle
    from matplotlib.path import Path as Line

    colours = {
        ("right", "right"): SERIES[0],
        ("wrong", "right"): SERIES[2],
        ("right", "wrong"): SERIES[1],
        ("wrong", "wrong"): MUTED,
    }
    gap = total * 0.06
    start = {"right": 0.0, "wrong": sum(count for one, _, count in flows if one == "right") + gap}
    end = {"right": 0.0, "wrong": sum(count for _, other, count in flows if other == "right") + gap}
    for one, other, count in flows:
        if not count:
            continue
        a, b = start[one], end[other]
        codes = [
            Line.MOVETO,
            Line.CURVE4,
            Line.CURVE4,
            Line.CURVE4,
            Line.LINETO,
            Line.CURVE4,
            Line.CURVE4,
            Line.CURVE4,
            Line.CLOSEPOLY,
        ]
        points = [
            (0.02, a),
            (0.5, a),
            (0.5, b),
            (0.98, b),
            (0.98, b + count),
            (0.5, b + count),
            (0.5, a + count),
            (0.02, a + count),
            (0.02, a),
        ]
        colour = colours[one, other]
        axes.add_patch(PathPatch(Line(points, codes), facecolor=colour, alpha=0.35 if one == other else 0.75, linewidth=0))
        for x, y in ((0.0, a), (0.98, b)):
            axes.add_patch(Rectangle((x, y), 0.02, count, color=INK, linewidth=0))
        start[one], end[other] = a + count, b + count


def vote_curves(name: str, metrics: Mapping[str, Any]) -> Plot:
    """Accuracy of each voting method by number of solutions."""
    rows = []
    with figure(f"{name}-votes") as (drawn, axes):
        for number, (method, points) in enumerate(metrics["curves"].items()):
            k = [point["k"] for point in points]
            band(axes, k, [point["interval"] for point in points], number)
            axes.plot(k, [point["accuracy"] for point in points], label=method, **line(number, marked=len(k) < 24))
            rows += [[method, point["k"], point["accuracy"], *point["interval"], point["tokens"]] for point in points]
        axes.set_xlabel("solutions per problem")
        axes.set_ylabel("right answers (percent)")
        axes.xaxis.get_major_locator().set_params(integer=True)
        legend_above(axes, 3)
    return Plot(
        name=f"{name}-votes",
        section="Use",
        title=f"{name}: votes with and without the critic",
        svg=drawn.svg,
        text=f"Right answers by number of solutions and voting method, over {metrics.get('problems', 0):,} problems.",
        head=("method", "k", "accuracy", "low", "high", "tokens"),
        rows=rows,
    )


def effort(manifests: Mapping[str, Manifest]) -> Iterator[Plot]:
    """Minutes, tokens and cost by stage: one plot for each that is known."""
    stages = {name: _effort(manifest) for name, manifest in manifests.items() if manifest.stage != "report"}
    for key, title, axis, scale in EFFORT:
        found = {name: of[key] / scale for name, of in stages.items() if of[key]}
        shown = sorted(found.items(), key=lambda pair: -pair[1])[:16]
        if not shown:
            continue
        with figure(f"effort-{key}", height=0.7 + 0.24 * len(shown)) as (drawn, axes):
            most = shown[0][1]
            for at, (_, value) in enumerate(shown):
                axes.barh(at, value, height=0.66, color=SERIES[0])
                axes.text(value + most / 60, at, f"{value:,.1f}" if value < 100 else f"{value:,.0f}", va="center", fontsize=8.5)
            bars(axes, [name for name, _ in shown])
            axes.set_xlim(0, most * 1.18)
            axes.set_xlabel(axis)
        total = sum(found.values())
        yield Plot(
            name=f"effort-{key}",
            section="Cost",
            title=title,
            text=f"{total:,.1f} {axis} in total; most in {shown[0][0]} ({100 * shown[0][1] / total:.0f}%).",
            svg=drawn.svg,
            head=("stage", *_EFFORT_KEYS),
            rows=[[name, *of.values()] for name, of in stages.items()],
        )


EFFORT = (
    ("seconds", "Time by stage", "minutes", 60),
    ("completion", "Tokens written, by stage", "thousand tokens", 1000),
    ("cost", "Cost by stage", "in the currency of the prices", 1),
)
_EFFORT_KEYS = ("seconds", "prompt", "cached", "completion", "cost")


def _effort(manifest: Manifest) -> dict[str, float]:
    """Time, tokens and cost of a stage; missing counts of RL come from its prefilter."""
    before = manifest.facts.get("prefilter") or {}
    own = {key: getattr(manifest, key) for key in _EFFORT_KEYS}
    return {key: float((before.get(key) if value is None else value) or 0.0) for key, value in own.items()}


def _json(path: Path) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    value: dict[str, Any] = read_json(path)
    return value

"""Judged responses, drawn: accuracy and what votes add, by domain. Of judged steps `plots_evaluation` tells.

for plot in plots(evaluations(run)):
    print(plot.title)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deepcritic.report.draw import MUTED, SERIES, Plot, bars, figure, legend_above, line, percent_axis, vote_curves
from deepcritic.report.evaluations import Evaluation

MEASURES = (
    ("accuracy", "one reply"),
    ("vote_accuracy", "vote of all replies"),
    ("roc_auc", "ROC-AUC, singles"),
)


def plots(found: Sequence[Evaluation]) -> Iterator[Plot]:
    """Those for which there are figures."""
    parts = [(f"{one.title}, {name}", part) for one in found if not one.stepwise for name, part in one.parts.items()]
    if any(part.get(key) is not None for _, part in parts for key, _ in MEASURES):
        yield accuracies(parts)
    curves = [(name, part["accuracy_by_votes"]) for name, part in parts if part.get("accuracy_by_votes")]
    if curves:
        yield votes(curves)
    for name, part in parts:
        if len(part.get("accuracy_by_domain") or {}) > 1:
            yield domains(name, part["accuracy_by_domain"])


def accuracies(parts: Sequence[tuple[str, Mapping[str, Any]]]) -> Plot:
    """Each judge on each benchmark."""
    rows = []
    with figure("preferences", height=1.1 + 0.5 * len(parts)) as (drawn, axes):
        for number, (key, title) in enumerate(MEASURES):
            for at, (name, part) in enumerate(parts):
                if part.get(key) is None:
                    continue
                place, interval = at + 0.22 * (number - 1), part.get(f"{key}_interval") or [None, None]
                if None not in interval:
                    axes.plot(interval, [place] * 2, color=SERIES[number], alpha=0.3, linewidth=4, solid_capstyle="butt")
                axes.plot(part[key], place, **(line(number) | {"linestyle": "none", "markersize": 6}))
                rows.append([name, title, part[key], *interval])
            if any(part.get(key) is not None for _, part in parts):
                axes.plot([], [], label=title, **(line(number) | {"linestyle": "none"}))
        for at, (_, part) in enumerate(parts):
            if part.get("chance_accuracy") is not None:
                axes.plot([part["chance_accuracy"]] * 2, [at - 0.38, at + 0.38], color=MUTED, linewidth=1.6)
        bars(axes, [name for name, _ in parts])
        percent_axis(axes, "percent, with 95% intervals; upright: chance level", along="x")
        legend_above(axes, 2)
    said = "; ".join(f"{name}, {title} {value:.1f}" for name, title, value, *_ in rows)
    head = ("judge", "measure", "percent", "low", "high")
    return Plot(name="preferences", title="The better response found", text=f"{said}.", svg=drawn.svg, head=head, rows=rows)


def votes(curves: Sequence[tuple[str, Mapping[str, Mapping[str, Any]]]]) -> Plot:
    """Accuracy of the summed scores of k replies."""
    with figure("preferences-votes") as (drawn, axes):
        rows = vote_curves(axes, curves, "accuracy")
        axes.set_xlabel("replies whose scores are added up")
        axes.set_ylabel("better response found (percent)")
    head = ("judge", "k", "accuracy", "low", "high")
    text = "Accuracy by number of replies, with 95% intervals."
    return Plot(name="preferences-votes", title="What votes add", text=text, svg=drawn.svg, head=head, rows=rows)


def domains(name: str, groups: Mapping[str, Mapping[str, Any]]) -> Plot:
    """Accuracy by what the query is about."""
    with figure(f"domains-{name}", height=0.8 + 0.3 * len(groups)) as (drawn, axes):
        for at, group in enumerate(groups.values()):
            if group.get("accuracy") is not None:
                axes.plot(group["interval"], [at, at], color=SERIES[0], alpha=0.3, linewidth=4, solid_capstyle="butt")
                axes.plot(group["accuracy"], at, **(line(0) | {"linestyle": "none", "markersize": 6}))
        bars(axes, [f"{domain} ({group['rows']:,})" for domain, group in groups.items()])
        percent_axis(axes, "better response found (percent)", along="x")
    return Plot(
        name=f"domains-{name}",
        title=f"By domain: {name}",
        text="Accuracy by domain, with the number of rows and 95% intervals.",
        svg=drawn.svg,
        head=("domain", "rows", "accuracy", "low", "high"),
        rows=[[domain, group["rows"], group["accuracy"], *group["interval"]] for domain, group in groups.items()],
    )

"""Plots of judged responses: accuracy, votes and domains. `plots_evaluation` has those of judged steps.

for plot in plots(evaluations(run)):
    print(plot.title)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from deepcritic.report.draw import MUTED, SERIES, Curve, Plot, bars, figure, legend_above, line, percent_axis, vote_curves
from deepcritic.report.evaluations import Evaluation
from deepcritic.tasks.metrics_types import Accuracy, Interval, PointwiseFigures

Part = PointwiseFigures
MEASURES: tuple[tuple[str, Callable[[Part], float | None], Callable[[Part], Interval | None]], ...] = (
    ("one reply", lambda part: part.accuracy, lambda part: part.accuracy_interval),
    ("vote of all replies", lambda part: part.vote_accuracy, lambda part: part.vote_accuracy_interval),
    ("ROC-AUC, singles", lambda part: part.roc_auc, lambda part: part.roc_auc_interval),
)
"""The figures drawn for each judge: name, figure, interval."""


def plots(found: Sequence[Evaluation]) -> Iterator[Plot]:
    """The plots with figures."""
    parts = [
        (f"{one.title}, {name}", part) for one in found for name, part in one.parts.items() if isinstance(part, PointwiseFigures)
    ]
    if any(value(part) is not None for _, part in parts for _, value, _ in MEASURES):
        yield accuracies(parts)
    curves = [
        (name, [(int(k), point.accuracy, point.interval) for k, point in part.accuracy_by_votes.items()])
        for name, part in parts
        if part.accuracy_by_votes
    ]
    if curves:
        yield votes(curves)
    for name, part in parts:
        if len(part.accuracy_by_domain) > 1:
            yield domains(name, part.accuracy_by_domain)


def accuracies(parts: Sequence[tuple[str, PointwiseFigures]]) -> Plot:
    """Accuracy of each judge on each benchmark."""
    rows = []
    with figure("preferences", height=1.1 + 0.5 * len(parts)) as (drawn, axes):
        for number, (title, value, interval_of) in enumerate(MEASURES):
            for at, (name, part) in enumerate(parts):
                if value(part) is None:
                    continue
                place, interval = at + 0.22 * (number - 1), interval_of(part) or (None, None)
                if None not in interval:
                    axes.plot(interval, [place] * 2, color=SERIES[number], alpha=0.3, linewidth=4, solid_capstyle="butt")
                axes.plot(value(part), place, **(line(number) | {"linestyle": "none", "markersize": 6}))
                rows.append([name, title, value(part), *interval])
            if any(value(part) is not None for _, part in parts):
                axes.plot([], [], label=title, **(line(number) | {"linestyle": "none"}))
        for at, (_, part) in enumerate(parts):
            if part.chance_accuracy is not None:
                axes.plot([part.chance_accuracy] * 2, [at - 0.38, at + 0.38], color=MUTED, linewidth=1.6)
        bars(axes, [name for name, _ in parts])
        percent_axis(axes, "percent, with 95% intervals; vertical line: chance level", along="x")
        legend_above(axes, 2)
    said = "; ".join(f"{name}, {title} {percent:.1f}" for name, title, percent, *_ in rows)
    head = ("judge", "measure", "percent", "low", "high")
    return Plot(name="preferences", title="Preference accuracy", text=f"{said}.", svg=drawn.svg, head=head, rows=rows)


def votes(curves: Sequence[Curve]) -> Plot:
    """Accuracy of the summed scores of k replies."""
    with figure("preferences-votes") as (drawn, axes):
        rows = vote_curves(axes, curves)
        axes.set_xlabel("replies, with summed scores")
        axes.set_ylabel("accuracy (percent)")
    head = ("judge", "k", "accuracy", "low", "high")
    text = "Accuracy by number of replies, with 95% intervals."
    return Plot(name="preferences-votes", title="Gain from votes", text=text, svg=drawn.svg, head=head, rows=rows)


def domains(name: str, groups: Mapping[str, Accuracy]) -> Plot:
    """Accuracy by the domain of the query."""
    with figure(f"domains-{name}", height=0.8 + 0.3 * len(groups)) as (drawn, axes):
        for at, group in enumerate(groups.values()):
            if group.accuracy is not None:
                axes.plot(group.interval, [at, at], color=SERIES[0], alpha=0.3, linewidth=4, solid_capstyle="butt")
                axes.plot(group.accuracy, at, **(line(0) | {"linestyle": "none", "markersize": 6}))
        bars(axes, [f"{domain} ({group.rows:,})" for domain, group in groups.items()])
        percent_axis(axes, "accuracy (percent)", along="x")
    return Plot(
        name=f"domains-{name}",
        title=f"By domain: {name}",
        text="Accuracy by domain, with the number of rows and 95% intervals.",
        svg=drawn.svg,
        head=("domain", "rows", "accuracy", "low", "high"),
        rows=[[domain, group.rows, group.accuracy, *group.interval] for domain, group in groups.items()],
    )

"""Plots of training, from `training.jsonl` and `groups.jsonl` of the training stages. Missing metrics have no plot.

for plot in plots(run):
    print(plot.title)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from deepcritic.report.draw import INK, MUTED, PAPER, SERIES, WIDE, Plot, figure, legend_above, line
from deepcritic.runs.jsonl import read_lines
from deepcritic.runs.renamed_fields import with_current_names

TOGETHER: Final = 4
"""The most curves in one plot of several stages."""
LOG, GROUPS = "training.jsonl", "groups.jsonl"
TOPICS: Final[Sequence[tuple[str, str, Mapping[str, str]]]] = (
    ("loss", "loss", {"loss": "training", "eval_loss": "validation"}),
    (
        "reward",
        "mean reward",
        {
            "reward": "all",
            "reward_with_error": "with an error",
            "reward_all_correct": "all correct",
        },
    ),
    ("validation", "F1 (percent)", {"eval_f1": "F1", "eval_maj_f1": "F1 of votes"}),
    (
        "shares",
        "share",
        {
            "frac_reward_zero_std": "groups with equal rewards",
            "truncated": "truncated",
            "completions/clipped_ratio": "truncated",
            "unparsed": "unparsed",
            "top_verdict": "most common verdict",
        },
    ),
    ("gap", "nats per token", {"sampling/sampling_logp_difference/mean": "vLLM vs. trainer"}),
    ("kl", "nats per token", {"kl": "KL from the starting model"}),
    ("drawn", "groups", {"groups_drawn": "sampled per group used"}),
    ("entropy", "nats per token", {"entropy": "entropy"}),
    ("length", "tokens", {"completions/mean_length": "mean reply", "completions/max_length": "longest reply"}),
)
"""The metrics of each plot: a key, the axis label, and the metrics with their display names. Of two with the same display name,
the first one found is used."""
_TITLES: Final = {
    "loss": "Loss",
    "reward": "Reward by class",
    "validation": "Validation",
    "shares": "Groups and replies without signal",
    "gap": "Log-probabilities: vLLM vs. trainer",
    "kl": "Distance from the starting model",
    "drawn": "Dynamic sampling",
    "entropy": "Entropy",
    "length": "Length of replies",
}


def plots(run: Path) -> Iterator[Plot]:
    """The curves and groups of every stage with a log. Few curves of one kind of stage share a plot."""
    logs: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for path in sorted(run.glob(f"*/{LOG}")):
        stage = path.parent.name
        entries = [with_current_names(json.loads(line_)) for _, line_ in read_lines(path)]
        logs.setdefault(stage.partition(".")[0], {})[stage] = entries
    for kind, stages in logs.items():
        for topic in TOPICS:
            found = {stage: shown for stage, log in stages.items() if (shown := series(log, topic[2]))}
            if sum(map(len, found.values())) <= TOGETHER:
                yield from curves(kind, found, topic)
            else:
                for stage, shown in found.items():
                    yield from curves(stage, {stage: shown}, topic)
        for stage in stages:
            if groups := read_groups(run / stage):
                yield group_plot(stage, groups)


Points = list[tuple[int, float]]


def series(log: Sequence[Mapping[str, Any]], names: Mapping[str, str]) -> dict[str, Points]:
    """The metrics of `names` found in the log, by display name, as (step, value)."""
    wanted = dict(names)
    if "reward" in names:  # by class, with the names the task uses
        found = sorted({key for entry in log for key in entry if key.startswith("reward_")} - {"reward_std"})
        wanted = {**names, **{key: names.get(key, key.removeprefix("reward_").replace("_", " ")) for key in found}}
    shown: dict[str, Points] = {}
    for metric, name in wanted.items():
        logged = [(entry.get("step"), entry.get(metric)) for entry in log]
        points = [(step, value) for step, value in logged if isinstance(step, int) and isinstance(value, int | float)]
        if points and name not in shown:
            shown[name] = points
    return shown


def curves(place: str, found: Mapping[str, Mapping[str, Points]], topic: tuple[str, str, Mapping[str, str]]) -> Iterator[Plot]:
    """One topic by step, for one or several stages; no plot if no log has its metrics."""
    key, axis, _ = topic
    lines = {
        name if len(found) == 1 else stage if len(shown) == 1 else f"{stage}: {name}": points
        for stage, shown in found.items()
        for name, points in shown.items()
    }
    if not lines:
        return
    with figure(f"{place}-{key}") as (drawn, axes):
        for number, (name, points) in enumerate(lines.items()):
            axes.plot(*zip(*points, strict=True), label=name, **line(number, marked=len(points) < 40))
        axes.set_xlabel("step")
        axes.set_ylabel(axis)
        axes.xaxis.get_major_locator().set_params(integer=True)
        if key in {"reward", "shares"}:
            axes.set_ylim(min(0, *(value for points in lines.values() for _, value in points)) - 0.02, 1.02)
        elif key != "gap" and all(value >= 0 for points in lines.values() for _, value in points):
            axes.set_ylim(bottom=0)
        legend_above(axes, 3 if max(map(len, lines)) < 16 else 2)
    said = "; ".join(f"{name} {points[0][1]:.3g} to {points[-1][1]:.3g}" for name, points in lines.items())
    steps = sorted({step for points in lines.values() for step, _ in points})
    columns = [dict(points) for points in lines.values()]
    yield Plot(
        name=f"{place}-{key}",
        title=f"{place}: {_TITLES[key]}",
        text=f"From the first to the last logged step: {said}.",
        section="Training",
        svg=drawn.svg,
        head=("step", *lines),
        rows=[[step, *(column.get(step) for column in columns)] for step in steps],
    )


def read_groups(stage: Path) -> list[dict[str, Any]]:
    """The groups of GRPO in file order: `step`, `example_id`, `gold`, `samples`; empty without a file."""
    if not (stage / GROUPS).is_file():
        return []
    found = [json.loads(line_) for _, line_ in read_lines(stage / GROUPS)]
    return [one for one in found if isinstance(one.get("step"), int) and one.get("samples")]


def group_plot(stage: str, groups: Sequence[Mapping[str, Any]]) -> Plot:
    """One mark per group and step, showing its mean reward and whether rewards vary."""
    by_step: dict[int, list[tuple[float, bool]]] = {}
    for group in groups:
        rewards = [float(sample.get("reward") or 0.0) for sample in group["samples"]]
        by_step.setdefault(group["step"], []).append((sum(rewards) / len(rewards), len(set(rewards)) > 1))
    rows = []
    most = max(map(len, by_step.values()))
    with figure(f"{stage}-groups", width=WIDE, height=min(4.4, 1.3 + 0.13 * most)) as (drawn, axes):
        size = max(6.0, min(52.0, 2600 / max(len(by_step), most)))
        for step, means in sorted(by_step.items()):
            for at, (mean, varies) in enumerate(sorted(means)):
                colour = {"color": SERIES[0], "alpha": 0.25 + 0.75 * mean} if varies else {"facecolor": PAPER, "edgecolor": MUTED}
                axes.scatter(step, at, s=size, marker="s", linewidths=0.8, **colour)
                if not varies and mean > 0:
                    axes.scatter(step, at, s=size / 5, marker="s", linewidths=0, color=MUTED)
                rows.append([step, at + 1, round(mean, 4), varies])
        axes.scatter([], [], s=30, marker="s", color=SERIES[0], alpha=0.4, label="some replies rewarded")
        axes.scatter([], [], s=30, marker="s", color=SERIES[0], label="most rewarded")
        axes.scatter([], [], s=30, marker="s", facecolor=PAPER, edgecolor=MUTED, label="none rewarded (no signal)")
        axes.scatter([], [], s=30, marker="$\u25a3$", color=MUTED, label="all rewarded (no signal)")
        axes.set_xlabel("step")
        axes.set_ylabel("groups, by mean reward")
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.tick_params(axis="x", labelcolor=INK)
        legend_above(axes, 2)
    varied = sum(varies for means in by_step.values() for _, varies in means)
    return Plot(
        name=f"{stage}-groups",
        title=f"{stage}: GRPO groups",
        section="Training",
        svg=drawn.svg,
        wide=True,
        text=f"{varied} of {len(rows)} groups have different rewards, which give a training signal.",
        head=("step", "group", "mean_reward", "varies"),
        rows=rows,
    )

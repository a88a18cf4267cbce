"""Draw a run: `summary.json` beside its stages, and `report/index.html`, one page that works without a network.

python -m deepcritic stage=report run=NAME
"""

from __future__ import annotations

import io
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from deepcritic.errors import InputError
from deepcritic.runs import RunFolder, finished_manifests
from deepcritic.store import replacing, write_json
from deepcritic.summary import CRITICS, summarise

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ title }}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { padding: .25rem .8rem; text-align: right; border-bottom: 1px solid #8886; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1.5rem 0; }
figure svg { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
figcaption { opacity: .8; }
</style></head><body>
<h1>{{ title }}</h1>
{% for table in tables %}<table><caption>{{ table.title }}</caption>
<thead><tr>{% for cell in table.head %}<th scope="col">{{ cell }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in table.rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</tbody></table>
{% endfor %}
{% for plot in plots %}<figure role="img" aria-label="{{ plot.text }}">{{ plot.svg }}
<figcaption>{{ plot.text }}</figcaption></figure>{% endfor %}
</body></html>
"""
SHOWN = ("f1", "f1_interval", "error_accuracy", "correct_accuracy", "unparsed_rate")
TITLES = {"base": "base critic", "sft": "after SFT", "rl": "after RL"}


def run(folder: RunFolder, *, seed: int = 0) -> dict[str, Any]:
    """Returns the summary. It is drawn anew each time: nothing here is expensive."""
    root = folder.path.parent
    if not dict(finished_manifests(root)):
        raise InputError(
            "no finished stage to report on", field="run", found=str(root), remedy="a run folder with a manifest.json"
        )
    summary = {**summarise(root), "seed": seed}
    write_json(root / "summary.json", summary)
    tables = make_tables(summary)
    with replacing(folder / "index.html") as file:
        file.write(render(f"Run {root.name}", tables, make_plots(summary)).encode())
    console = Console() if sys.stdout.isatty() else Console(width=100)
    for table in tables:
        shown = Table(title=table["title"], title_justify="left")
        for index, cell in enumerate(table["head"]):
            shown.add_column(cell, justify="right" if index else "left")
        for row in table["rows"]:
            shown.add_row(*row)
        console.print(shown)
    print(f"{root / 'summary.json'}\n{folder / 'index.html'}")
    return summary


def make_tables(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Tables of strings: title, head, rows."""
    tables = []
    critics = [name for name in CRITICS if name in summary]
    if critics:
        rows = [
            [TITLES[name], *(_number(summary[name][key]) for key in SHOWN), _number(summary[name].get("longer_f1"))]
            for name in critics
        ]
        rows.append(["best blind guess", _number(summary["blind_f1"]), "", "", "", "", ""])
        head = ["critic", "F1", "95% interval", "errors found", "all-correct seen", "unreadable", "F1, longer"]
        tables.append({"title": f"F1 on {summary['examples']} solutions (percent)", "head": head, "rows": rows})
        for key, title in (
            ("error_accuracy_by_kind", "kind of error"),
            ("error_accuracy_by_position", "position of the first error"),
        ):
            groups = summary[critics[-1]].get(key, {})
            body = [
                [
                    group,
                    str(groups[group]["rows"]),
                    *(_number(summary[name][key].get(group, {}).get("accuracy")) for name in critics),
                ]
                for group in groups
            ]
            if body:
                tables.append(
                    {
                        "title": f"Errors found, by {title} (percent)",
                        "head": [title, "rows", *(TITLES[name] for name in critics)],
                        "rows": body,
                    }
                )
    rows = []
    for key, title in (("sft_gain", "SFT over base, F1"), ("rl_gain", "RL over SFT, F1")):
        if key in summary:
            rows.append([title, _number(summary[key]), _number(summary[f"{key}_interval"])])
    rl = summary.get("rl", {})
    if "maj_gain" in rl:
        rows.append(
            [
                f"Maj@{rl['votes']} {_number(rl['maj8_f1'])} over single {_number(rl['single_t_f1'])}, F1",
                _number(rl["maj_gain"]),
                _number(rl["maj_gain_interval"]),
            ]
        )
    if "refine" in summary:
        refine = summary["refine"]
        title = f"answers right, {_number(refine['before'])} before to {_number(refine['after'])} after refinement"
        rows.append([title, _number(refine["after"] - refine["before"]), _number(refine["gain_interval"])])
        rows.append(["wrong to right / right to wrong", f"{refine['wrong_to_right']} / {refine['right_to_wrong']}", ""])
    if rows:
        tables.append({"title": "Gains (points)", "head": ["what", "estimate", "95% interval"], "rows": rows})
    if "labels" in summary:
        labels = summary["labels"]
        body = [
            [kind, _number(labels["exact_by_kind"].get(kind)), _number(share)]
            for kind, share in labels["discarded_by_kind"].items()
        ]
        body.append(["all", _number(labels["exact"]), _number(labels["discarded"])])
        tables.append(
            {
                "title": "Automatic labels against the truth (percent)",
                "head": ["kind of error", "exactly right", "discarded"],
                "rows": body,
            }
        )
    if "teacher" in summary:
        body = [[call, str(figures["asked"]), _number(100 * figures["accuracy"])] for call, figures in summary["teacher"].items()]
        tables.append({"title": "The teacher's verdicts by call", "head": ["call", "asked", "right (percent)"], "rows": body})
    if summary.get("seed_funnel"):
        body = [[row["rule"], str(row["dropped"]), str(row["left"])] for row in summary["seed_funnel"]]
        tables.append({"title": "From solutions to seed critiques", "head": ["rule", "dropped", "left"], "rows": body})
    body = [[name, _number(value)] for name, value in summary["seconds"].items()]
    tables.append({"title": "Seconds", "head": ["stage", "seconds"], "rows": body})
    return tables


def make_plots(summary: dict[str, Any]) -> list[dict[str, str]]:
    """F1 of the critics with intervals, and the errors found by position; each with its text for those who cannot see it."""
    critics = [name for name in CRITICS if name in summary]
    if not critics:
        return []
    from matplotlib.figure import Figure

    values = [summary[name]["f1"] for name in critics]
    spread = [
        [value - summary[name]["f1_interval"][0], summary[name]["f1_interval"][1] - value]
        for name, value in zip(critics, values, strict=True)
    ]
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    axes.bar(
        [TITLES[name] for name in critics],
        values,
        yerr=list(zip(*spread, strict=True)),
        capsize=5,
        color=["#999999", "#56b4e9", "#0072b2"][: len(critics)],
    )
    axes.axhline(summary["blind_f1"], linestyle="--", color="#444444", label="best blind guess")
    axes.set_ylabel("F1 (percent)")
    axes.set_ylim(0, 100)
    axes.legend(frameon=False)
    said = ", ".join(f"{TITLES[name]} {summary[name]['f1']:.1f}" for name in critics)
    plots = [{"svg": _svg(figure), "text": f"F1 with 95% intervals: {said}"}]
    figure = Figure(figsize=(6.4, 3.2), layout="constrained")
    axes = figure.subplots()
    for name, marker in zip(critics, "osD", strict=False):
        groups = summary[name]["error_accuracy_by_position"]
        axes.plot(
            [int(position) for position in groups],
            [group["accuracy"] for group in groups.values()],
            marker=marker,
            label=TITLES[name],
        )
    axes.set_xlabel("first wrong step")
    axes.set_ylabel("errors found (percent)")
    axes.set_ylim(0, 100)
    axes.legend(frameon=False)
    plots.append({"svg": _svg(figure), "text": "Errors found by the position of the first wrong step"})
    return plots


def render(title: str, tables: list[dict[str, Any]], plots: list[dict[str, str]]) -> str:
    """The page. Every text is escaped; only the plots' SVG, made here, goes in as it is."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    page = Environment(autoescape=True, undefined=StrictUndefined).from_string(PAGE)
    drawn = [{"svg": Markup(plot["svg"]), "text": plot["text"]} for plot in plots]  # our own drawing
    return page.render(title=title, tables=tables, plots=drawn)


def _svg(figure: Any) -> str:
    from matplotlib import rc_context

    out = io.StringIO()
    with rc_context({"svg.hashsalt": "deepcritic"}):  # the same figures give the same page
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _number(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " to ".join(_number(item) for item in value)
    return f"{value:.1f}" if isinstance(value, float) else str(value)

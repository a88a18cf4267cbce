"""The figures of `summary` as tables of texts, for the terminal and the page: title, head, rows.

for table in tables(summarise(run)):
    print(table["title"], table["rows"])
"""

from __future__ import annotations

from typing import Any

from deepcritic.report.evaluations import place_of, title_of
from deepcritic.report.summary import CRITICS, JUDGED

SHOWN = ("f1", "f1_interval", "error_accuracy", "correct_accuracy", "unparsed_rate")


def tables(summary: dict[str, Any]) -> list[dict[str, Any]]:
    """Tables of strings: title, head, rows."""
    made = []
    critics = [name for name in CRITICS if name in summary]
    if critics:
        rows = [
            [
                title_of(f"evaluate.{name}"),
                *(_number(summary[name][key]) for key in SHOWN),
                _number(summary[name].get("longer_f1")),
            ]
            for name in critics
        ]
        rows.append(["constant baseline", _number(summary["constant_baseline_f1"]), "", "", "", "", ""])
        head = ["critic", "F1", "95% interval", "errors found", "all-correct seen", "unparsed", "F1, longer"]
        made.append({"title": f"F1 on {summary['examples']} solutions (percent)", "head": head, "rows": rows})
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
                made.append(
                    {
                        "title": f"Errors found, by {title} (percent)",
                        "head": [title, "rows", *(title_of(f"evaluate.{name}") for name in critics)],
                        "rows": body,
                    }
                )
    if "judges" in summary:
        rows = [
            [
                title_of(name),
                *(str(one.get(key, "")) for key in ("examples", "samples")),
                *(_number(one.get(key)) for key in JUDGED),
            ]
            for name, one in sorted(summary["judges"].items(), key=lambda pair: place_of(pair[0]))
        ]
        head = ["judge", "items", "votes", "accuracy", "95% interval", "by vote", "ROC-AUC", "unparsed", "chance level"]
        made.append({"title": "Accuracy of preferences (percent)", "head": head, "rows": rows})
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
        title = f"correct answers, from {_number(refine['before'])} to {_number(refine['after'])} by refinement"
        rows.append([title, _number(refine["after"] - refine["before"]), _number(refine["gain_interval"])])
        rows.append(["wrong to right / right to wrong", f"{refine['wrong_to_right']} / {refine['right_to_wrong']}", ""])
    if rows:
        made.append({"title": "Gains (points)", "head": ["what", "estimate", "95% interval"], "rows": rows})
    if "labels" in summary:
        labels = summary["labels"]
        body = [
            [kind, _number(labels["exact_by_kind"].get(kind)), _number(share)]
            for kind, share in labels["discarded_by_kind"].items()
        ]
        body.append(["all", _number(labels["exact"]), _number(labels["discarded"])])
        made.append(
            {
                "title": "Automatic labels against the truth (percent)",
                "head": ["kind of error", "exactly right", "discarded"],
                "rows": body,
            }
        )
    if "teacher" in summary:
        body = [
            [call, str(figures.get("asked", "")), _number(100 * figures["accuracy"])]
            for call, figures in summary["teacher"].items()
        ]
        made.append({"title": "The teacher's verdicts by call", "head": ["call", "asked", "right (percent)"], "rows": body})
    if summary.get("seed_funnel"):
        body = [[row["rule"], str(row["dropped"]), str(row["left"])] for row in summary["seed_funnel"]]
        made.append({"title": "From solutions to seed critiques", "head": ["rule", "dropped", "left"], "rows": body})
    body = [[name, _number(value)] for name, value in summary["seconds"].items()]
    made.append({"title": "Seconds", "head": ["stage", "seconds"], "rows": body})
    return made


def _number(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return " to ".join(_number(item) for item in value)
    return f"{value:.1f}" if isinstance(value, float) else str(value)

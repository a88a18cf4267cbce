"""The demo over three seeds, with two controls that must show no comparable gain; writes data/evidence/main.json.

scripts/evidence main                     # about an hour on two cores; goes on where it was
scripts/evidence main --seeds 1           # one seed
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from table import row as over_seeds

from deepcritic.report.summary import gain, summarise
from deepcritic.runs.jsonl import write_json

SEEDS = (1, 2, 3)
CONTROLS = ("rl.shuffled", "evaluate.shuffled", "sft.more", "evaluate.more")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    seeds = parser.parse_args().seeds
    results = []
    for seed in seeds:
        for experiment in ("demo", "controls"):
            options = [f"experiment={experiment}", f"run=evidence-{seed}", f"seed={seed}"]
            subprocess.run([sys.executable, "-m", "deepcritic", *options], check=True)
        folder = Path("runs") / f"evidence-{seed}"
        results.append(summarise(folder) | controls(folder))
    rows = claims(results, seeds)
    write_json(Path("data/evidence/main.json"), {"command": "scripts/evidence main", "rows": rows})
    for row in rows:
        print(
            f"{'holds' if row['holds'] else 'FAILS'} {row['claim']}: {row['estimate']} {row['interval']}",
            json.dumps(row["seeds"]),
        )


def controls(folder: Path) -> dict[str, Any]:
    """The gain of each control over SFT, and how much RL gains more, on the same rows."""
    result: dict[str, Any] = {}
    for name in ("shuffled", "more"):
        result |= gain(f"{name}_gain", folder / f"evaluate.{name}", folder / "evaluate.sft")
        result |= gain(f"rl_over_{name}", folder / "evaluate.rl", folder / f"evaluate.{name}")
    return result


def claims(results: list[dict[str, Any]], seeds: list[int]) -> list[dict[str, Any]]:
    """Rows of claim, estimate, interval, seeds, holds; figures are percent or points, with one entry for each seed."""

    def each(*path: str) -> list[Any]:
        values = []
        for result in results:
            value: Any = result
            for key in path:
                value = value[key]
            values.append(value)
        return values

    def row(claim: str, values: list[float], holds: bool, intervals: Sequence[Any] = ()) -> dict[str, Any]:
        return over_seeds(claim, seeds, values, holds, intervals)

    def above_zero(claim: str, values: list[float], intervals: list[Any], tested: list[Any] | None = None) -> dict[str, Any]:
        return row(claim, values, all(low > 0 for low, _ in tested or intervals), intervals)

    base, sft, rl = each("base", "f1"), each("sft", "f1"), each("rl", "f1")
    both = [min(result["base"]["error_accuracy"], result["base"]["correct_accuracy"]) for result in results]
    kinds = [[group["rows"] for group in result["rl"]["error_accuracy_by_kind"].values()] for result in results]
    rarest = [100 * min(rows) / sum(rows) for rows in kinds]
    teacher = [[100 * call["accuracy"] for call in result["teacher"].values()] for result in results]
    refined = [result["refine"]["after"] - result["refine"]["before"] for result in results]
    gains, gain_intervals = each("rl_gain"), each("rl_gain_interval")
    demo = [
        [value for name, value in result["seconds"].items() if name != "total" and name not in CONTROLS] for result in results
    ]
    minutes = [sum(seconds) / 60 for seconds in demo]
    return [
        row("base critic: F1 between 5 and 30", base, all(5 <= f1 <= 30 for f1 in base), each("base", "f1_interval")),
        row("base critic: the lower of its two accuracies is at least 5", both, min(both) >= 5),
        row("best blind guess: F1", each("constant_baseline_f1"), True),
        row(
            "after SFT: F1 at least that of the base + 20",
            sft,
            all(ours >= theirs + 20 for ours, theirs in zip(sft, base, strict=True)),
            each("sft", "f1_interval"),
        ),
        row("after RL on automatic labels: F1", rl, True, each("rl", "f1_interval")),
        above_zero("RL over SFT: the paired interval lies above 0", gains, gain_intervals),
        row("RL over SFT: at least 10 points", gains, min(gains) >= 10, gain_intervals),
        above_zero(
            "control, RL on shuffled labels over SFT: less than RL on the labels",
            each("shuffled_gain"),
            each("shuffled_gain_interval"),
            each("rl_over_shuffled_interval"),
        ),
        above_zero(
            "control, as many more steps of SFT over SFT: less than RL",
            each("more_gain"),
            each("more_gain_interval"),
            each("rl_over_more_interval"),
        ),
        above_zero("Maj@8 over the mean single sample at temperature 1", each("rl", "maj_gain"), each("rl", "maj_gain_interval")),
        above_zero("refinement: gain in right answers", refined, each("refine", "gain_interval")),
        row("automatic labels that are exactly the truth", each("labels", "exact"), True, each("labels", "exact_interval")),
        row("solutions discarded by the label rule", each("labels", "discarded"), True),
        row("rarest kind among the erroneous test rows: at least 8", rarest, min(rarest) >= 8),
        row("the teacher's least accurate call: at least 70", [min(calls) for calls in teacher], min(map(min, teacher)) >= 70),
        row("the teacher's most accurate call: at most 95", [max(calls) for calls in teacher], max(map(max, teacher)) <= 95),
        row("minutes of the demo: at most 15", minutes, max(minutes) <= 15),
    ]


if __name__ == "__main__":
    main()

"""The demo over three seeds, with two controls that must show no comparable gain; writes data/evidence/main.json.

    scripts/evidence main                     # about an hour on two cores; goes on where it was
    scripts/evidence main --seeds 1           # one seed
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from deepcritic.metrics import multi_seed
from deepcritic.store import write_json
from deepcritic.summary import gain, summarise

SEEDS = (1, 2, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    seeds = parser.parse_args().seeds
    results = []
    for seed in seeds:
        for experiment in ("demo", "controls"):
            run = [sys.executable, "-m", "deepcritic", f"experiment={experiment}", f"run=evidence-{seed}", f"seed={seed}"]
            subprocess.run(run, check=True)
        folder = Path("runs") / f"evidence-{seed}"
        results.append(summarise(folder) | controls(folder))
    rows = claims(results, seeds)
    write_json(Path("data/evidence/main.json"), {"command": "scripts/evidence main", "rows": rows})
    for row in rows:
        print(f"{'holds ' if row['holds'] else 'FAILS '} {row['claim']}: {row['estimate']} {row['interval']} {json.dumps(row['seeds'])}")


def controls(folder: Path) -> dict[str, Any]:
    """The gain of each control over SFT, and how much RL gains more, on the same rows."""
    result: dict[str, Any] = {}
    for name in ("shuffled", "more"):
        result |= gain(f"{name}_gain", folder / f"evaluate.{name}", folder / "evaluate.sft")
        result |= gain(f"rl_over_{name}", folder / "evaluate.rl", folder / f"evaluate.{name}")
    return result


def claims(results: list[dict[str, Any]], seeds: list[int]) -> list[dict[str, Any]]:
    """Rows of claim, estimate, interval, seeds, holds; figures in percent or points, a list has one entry for each seed."""
    def each(*path: str) -> list[Any]:
        values = []
        for result in results:
            value: Any = result
            for key in path:
                value = value[key]
            values.append(value)
        return values

    def row(claim: str, values: list[float], holds: bool, intervals: list[Any] | None = None) -> dict[str, Any]:
        over = multi_seed(values)
        listed = [
            {"seed": seed, "value": value} | ({"interval": intervals[index]} if intervals else {})
            for index, (seed, value) in enumerate(zip(seeds, values, strict=True))
        ]
        interval = [round(over.low, 2), round(over.high, 2)] if len(values) > 1 else None
        return {"claim": claim, "estimate": round(over.mean, 2), "interval": interval, "seeds": listed, "holds": bool(holds)}

    base, sft, rl = each("base", "f1"), each("sft", "f1"), each("rl", "f1")
    both = [min(result["base"]["error_accuracy"], result["base"]["correct_accuracy"]) for result in results]
    gains, maj = each("rl_gain"), each("maj_gain")
    refined = [result["refine"]["after"] - result["refine"]["before"] for result in results]
    kinds = [min(group["rows"] for group in result["rl"]["error_accuracy_by_kind"].values()) for result in results]
    errors = [sum(group["rows"] for group in result["rl"]["error_accuracy_by_kind"].values()) for result in results]
    teacher = [100 * figures["accuracy"] for result in results for figures in result["teacher"].values()]
    return [
        row("base critic: F1 between 5 and 30", base, all(5 <= value <= 30 for value in base), each("base", "f1_interval")),
        row("base critic: the lower of its two accuracies is at least 5", both, min(both) >= 5),
        row("F1 after SFT", sft, all(s >= b + 20 for s, b in zip(sft, base, strict=True)), each("sft", "f1_interval")),
        row("F1 after RL on automatic labels", rl, all(r > s for r, s in zip(rl, sft, strict=True)), each("rl", "f1_interval")),
        row("RL over SFT: the paired interval lies above 0", gains, all(low > 0 for low, _ in each("rl_gain_interval")), each("rl_gain_interval")),
        row("RL over SFT: at least 10 points", gains, min(gains) >= 10, each("rl_gain_interval")),
        row("control, RL on shuffled labels over SFT: less than RL gains", each("shuffled_gain"), all(low > 0 for low, _ in each("rl_over_shuffled_interval")), each("shuffled_gain_interval")),
        row("control, as many more steps of SFT over SFT: less than RL gains", each("more_gain"), all(low > 0 for low, _ in each("rl_over_more_interval")), each("more_gain_interval")),
        row("Maj@8 over the mean single sample at temperature 1", maj, all(low > 0 for low, _ in each("maj_gain_interval")), each("maj_gain_interval")),
        row("refinement: gain in right answers, interval above 0", [round(value, 2) for value in refined], all(low > 0 for low, _ in each("refine", "gain_interval")), each("refine", "gain_interval")),
        row("automatic labels that are exactly the truth", each("labels", "exact"), True, each("labels", "exact_interval")),
        row("solutions discarded by the label rule", each("labels", "discarded"), True),
        row("rarest kind among the erroneous test rows: at least 8", [round(100 * k / e, 2) for k, e in zip(kinds, errors, strict=True)], all(k >= 0.08 * e for k, e in zip(kinds, errors, strict=True))),
        row("the teacher's least accurate call: at least 70", [round(min(100 * figures["accuracy"] for figures in result["teacher"].values()), 2) for result in results], min(teacher) >= 70),
        row("the teacher's most accurate call: at most 95", [round(max(100 * figures["accuracy"] for figures in result["teacher"].values()), 2) for result in results], max(teacher) <= 95),
        row("minutes of the demo: at most 15", [round(result["seconds"]["total"] / 60, 1) for result in results], max(each("seconds", "total")) <= 900),
    ]  # fmt: skip


if __name__ == "__main__":
    main()

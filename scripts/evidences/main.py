"""The demo over three seeds, with two controls that must show no comparable gain; writes data/evidence/main.json.

scripts/evidence main                     # about an hour on two cores; resumes if stopped
scripts/evidence main --seeds 1           # one seed
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rows import ABOVE_ZERO, Bounds, Row, begin, keep, row, show

from deepcritic.report.summary import gain, summarise

SEEDS = (1, 2, 3)
CONTROLS = ("rl.shuffled", "evaluate.shuffled", "sft.more", "evaluate.more")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    seeds = parser.parse_args().seeds
    begin(__doc__ or "", seeds, 20)
    results = []
    for seed in seeds:
        for experiment in ("demo", "controls"):
            options = [f"experiment={experiment}", f"run=evidence-{seed}", f"seed={seed}"]
            subprocess.run([sys.executable, "-m", "deepcritic", *options], check=True)
        folder = Path("runs") / f"evidence-{seed}"
        results.append(summarise(folder) | controls(folder))
    rows = claims(results, seeds)
    keep("main", rows)
    show(rows)


def controls(folder: Path) -> dict[str, Any]:
    """The gain of each control over SFT, and the gain of RL over each control, on the same rows."""
    result: dict[str, Any] = {}
    for name in ("shuffled", "more"):
        result |= gain(f"{name}_gain", folder / f"evaluate.{name}", folder / "evaluate.sft")
        result |= gain(f"rl_over_{name}", folder / "evaluate.rl", folder / f"evaluate.{name}")
    return result


def claims(results: list[dict[str, Any]], seeds: list[int]) -> list[Row]:
    """The rows of evidence, in percent or points, with one entry per seed."""

    def each(*path: str) -> list[Any]:
        values = []
        for result in results:
            value: Any = result
            for key in path:
                value = value[key]
            values.append(value)
        return values

    def share(what: str, values: list[float], intervals: Sequence[Any] = (), bounds: Bounds | None = None) -> Row:
        return row(what, seeds, values, intervals, bounds=bounds, share=True)

    def difference(what: str, name: str, bounds: Bounds | None = None) -> Row:
        return row(what, seeds, each(name), each(f"{name}_interval"), bounds=bounds)

    base, sft, rl = each("base", "f1"), each("sft", "f1"), each("rl", "f1")
    both = [min(result["base"]["error_accuracy"], result["base"]["correct_accuracy"]) for result in results]
    kinds = [[group["rows"] for group in result["rl"]["error_accuracy_by_kind"].values()] for result in results]
    rarest = [100 * min(rows) / sum(rows) for rows in kinds]
    teacher = [[100 * call["accuracy"] for call in result["teacher"].values()] for result in results]
    refined = [result["refine"]["after"] - result["refine"]["before"] for result in results]
    demo = [
        [value for name, value in result["seconds"].items() if name != "total" and name not in CONTROLS] for result in results
    ]
    return [
        share("base critic: F1", base, each("base", "f1_interval"), Bounds(at_least=5.0, at_most=30.0)),
        share("base critic: the lower of its two accuracies", both, (), Bounds(at_least=5.0)),
        share("best blind guess: F1", each("constant_baseline_f1")),
        share("after SFT: F1", sft, each("sft", "f1_interval")),
        difference("SFT over base, F1", "sft_gain", Bounds(at_least=20.0)),
        share("after RL on automatic labels: F1", rl, each("rl", "f1_interval")),
        difference("RL over SFT, F1", "rl_gain", Bounds(at_least=10.0)),
        difference("RL over RL on shuffled labels, F1", "rl_over_shuffled", ABOVE_ZERO),
        difference("RL over as many more steps of SFT, F1", "rl_over_more", ABOVE_ZERO),
        row("Maj@8 over the mean single sample at temperature 1, F1", seeds, each("rl", "maj_gain"),
            each("rl", "maj_gain_interval"), bounds=ABOVE_ZERO),
        row("refinement: gain in right answers", seeds, refined, each("refine", "gain_interval"), bounds=ABOVE_ZERO),
        share("automatic labels that are exactly the truth", each("labels", "exact"), each("labels", "exact_interval")),
        share("solutions discarded by the label rule", each("labels", "discarded")),
        share("rarest kind among the erroneous test rows", rarest, (), Bounds(at_least=8.0)),
        share("the teacher's least accurate call agrees with the label", [min(calls) for calls in teacher]),
        share("the teacher's most accurate call agrees with the label", [max(calls) for calls in teacher]),
        row("minutes of the demo", seeds, [sum(seconds) / 60 for seconds in demo], bounds=Bounds(at_most=15.0)),
    ]  # fmt: skip


if __name__ == "__main__":
    main()

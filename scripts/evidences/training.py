"""RL in the small world: on true and on automatic labels, and with each option against collapse.

scripts/evidence training                          # first makes missing runs of the demo
scripts/evidence training --seeds 1 --base runs    # one seed, beside the runs `BASE/evidence-1/` of `scripts/evidence main`

Writes data/evidence/training.json after each seed. Every critic starts from the demo's SFT critic and trains for equally many
steps; each is measured on the same test solutions. An option helps if the interval of its gain over seeds is above 0.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from rows import ABOVE_ZERO, Found, begin, by_seed, keep, show

from deepcritic.report.summary import gain

SEEDS = (1, 2, 3)
NEEDED = ("sft", "label", "rl", "prepare.truth", "prepare.judged", "evaluate.sft")
STEPS = 20
ROWS = 1000
"""Test solutions per critic."""
AUTOMATIC, TRUE = "label/labelled.jsonl", "prepare.truth/examples.jsonl"
CRITICS = {
    "automatic": (AUTOMATIC, ()),
    "truth": (TRUE, ()),
    "unbalanced": (AUTOMATIC, ("stage.all_correct_share=null",)),
    "batches": (AUTOMATIC, ("stage.balanced_batches=true",)),
    "dynamic": (AUTOMATIC, ("stage.dynamic_sampling=3",)),
}
"""Training rows and options of each critic: `automatic` is the demo's RL, with half of its prompts all correct."""
COMPARED = (
    ("RL on true labels over RL on automatic labels", "truth", "automatic"),
    ("half of the prompts all correct over the share that they come in", "automatic", "unbalanced"),
    ("both classes in every batch over classes balanced over all prompts alone", "batches", "automatic"),
    ("dynamic sampling over none", "dynamic", "automatic"),
)
SETTINGS = {"steps": STEPS, "test_rows": ROWS, "critics": {name: [*given] for name, (_, given) in CRITICS.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--base", type=Path, default=Path("runs"))
    options = parser.parse_args()
    begin(__doc__ or "", options.seeds)
    found: dict[int, list[Found]] = {}
    for seed in options.seeds:
        base = options.base / f"evidence-{seed}"
        if not all((base / name / "manifest.json").is_file() for name in NEEDED):
            command("experiment=demo", f"runs={options.base}", f"run=evidence-{seed}", f"seed={seed}")
        found[seed] = claims(base, Path("runs") / f"training-{seed}", seed)
        keep("training", by_seed(found), settings=SETTINGS)
    show(by_seed(found))


def command(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "deepcritic", *words], check=True)


def claims(base: Path, run: Path, seed: int) -> list[Found]:
    """One seed: the critics, their figures, and paired differences on the same rows."""
    measured = {name: critic(base, run, seed, name) for name in CRITICS}
    told: list[Found] = []
    for name, metrics in measured.items():
        told.append(Found(f"F1, {TITLES[name]}", metrics["f1"], metrics["f1_interval"], share=True))
        lower = min(metrics["error_accuracy"], metrics["correct_accuracy"])
        told.append(Found(f"the lower of its two accuracies, {TITLES[name]}", lower, share=True))
    for name in ("automatic", "dynamic"):
        figures = training(run / f"rl.{name}")
        share, drawn = 100 * mean(figures, "frac_reward_zero_std"), mean(figures, "groups_drawn")
        told.append(Found(f"groups without variance among those learnt from, percent, {TITLES[name]}", share, share=True))
        told.append(Found(f"groups drawn for each one learnt from, {TITLES[name]}", drawn))
    for name in CRITICS:
        over = gain("gain", run / f"evaluate.{name}", base / "evaluate.sft")
        told.append(Found(f"gain in F1 over SFT, {TITLES[name]}", over["gain"], over["gain_interval"], ABOVE_ZERO))
    for title, first, second in COMPARED:
        paired = gain("gain", run / f"evaluate.{first}", run / f"evaluate.{second}")
        told.append(Found(f"{title}, F1", paired["gain"], paired["gain_interval"], ABOVE_ZERO))
    return told


TITLES = {
    "automatic": "RL on automatic labels",
    "truth": "RL on true labels",
    "unbalanced": "RL with the classes as they come",
    "batches": "RL with both classes in every batch",
    "dynamic": "RL with dynamic sampling",
}


def critic(base: Path, run: Path, seed: int, name: str) -> dict[str, Any]:
    """Train one and measure it."""
    labels, given = CRITICS[name]
    folder = run / f"rl.{name}"
    if labels == AUTOMATIC and not folder.is_dir():  # what the prefilter asks is the same: the demo's draws serve them all
        folder.mkdir(parents=True)
        shutil.copy(base / "rl" / "generations.jsonl", folder)
    common = [f"run={run.name}", f"name={name}", f"seed={seed}"]
    steps = [f"stage.steps={STEPS}", f"stage.save_steps={STEPS}"]
    command("experiment=microworld/rl", f"stage.examples={base}/{labels}", f"model={base}/sft/model", *steps, *given, *common)
    judged = [f"benchmark.path={base}/prepare.judged/examples.jsonl", f"model={run}/rl.{name}/model", f"stage.limit={ROWS}"]
    command("experiment=microworld/evaluate", *judged, *common)
    metrics: dict[str, Any] = json.loads((run / f"evaluate.{name}" / "metrics.json").read_text("utf-8"))
    return metrics


def training(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "training.jsonl").read_text("utf-8").splitlines()]


def mean(lines: list[dict[str, Any]], name: str) -> float:
    """The mean over all steps; each line averages equally many steps."""
    return float(sum(line[name] for line in lines) / len(lines))


if __name__ == "__main__":
    main()

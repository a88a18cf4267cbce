"""The gain from the teacher's three calls: critics trained by three recipes, with equally many dialogues, over three seeds.

scripts/evidence seeds                     # about half an hour on one core; resumes if stopped
scripts/evidence seeds --seeds 1           # one seed

The shipped teacher is trained only for its three calls. For whole critiques this script trains it further, with lessons as
thorough as those for checks of single steps.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from rows import ABOVE_ZERO, Bounds, begin, keep, row, show

from deepcritic.__main__ import main as deepcritic
from deepcritic.microworld.train import train
from deepcritic.report.summary import gain
from deepcritic.runs.jsonl import read_rows
from deepcritic.schema import ALL_CORRECT, Dialogue
from deepcritic.shipped_models import shipped_path

SEEDS = (1, 2, 3)
MOST = 120
"""Training dialogues per recipe: this many, or as many as the recipe with the fewest."""
RUNS = Path("runs")
TEACHER = RUNS / "seeds-teacher"
# The numbers of the demo, with a third more problems. First looks hardly ever call a step wrong, so nearly all that agree
# with a label are about solutions without an error: of those the recipe of initial critiques keeps all.
SEED = "experiment=microworld/seed stage.examples={run}/prepare.rated/examples.jsonl"
RECIPES = {
    "direct": f"teacher={TEACHER} stage.plain_correct=55",
    "initial": "stage.plain_correct=1000 'stage.heading=\"Check {{index}}: \"'",
    "deliberate": "stage.plain_correct=55",
}
SOLUTIONS = (
    "experiment=microworld/problems name=seed source.count=300",
    "experiment=microworld/solve name=seed stage.problems={run}/prepare.seed/examples.jsonl stage.samples=1 stage.keep=all",
    "experiment=microworld/judged name=rated source.path={run}/solve.seed/solutions.jsonl",
    "experiment=microworld/problems name=test source.split=test source.count=1800",
    "experiment=microworld/solve name=test stage.problems={run}/prepare.test/examples.jsonl stage.samples=1 stage.keep=all",
    "experiment=microworld/judged name=judged source.path={run}/solve.test/solutions.jsonl source.half_with_error=true "
    "source.count=1000",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    arguments = parser.parse_args()
    begin(__doc__ or "", arguments.seeds, 10)
    if not (TEACHER / "config.json").exists():
        train("whole", Path(shipped_path("deepcritic://microworld/models/teacher")), TEACHER)
    results: list[dict[str, Any]] = []
    for seed in arguments.seeds:
        results.append(run(seed))
        rows = claims(results, arguments.seeds[: len(results)])
        keep("seeds", rows)
    show(rows)


def run(seed: int) -> dict[str, Any]:
    """One seed: three sets of seed critiques, three critics, the same test solutions."""
    folder = RUNS / f"evidence-seeds-{seed}"

    def do(line: str) -> None:
        words = shlex.split(line.replace("{run}", str(folder)))
        code = deepcritic([*words, f"runs={RUNS}", f"run={folder.name}", f"seed={seed}"])
        if code:
            sys.exit(code)

    for line in SOLUTIONS:
        do(line)
    for recipe, settings in RECIPES.items():
        do(f"{SEED} name={recipe} stage.recipe={recipe} {settings}")
    count = min(MOST, *(_json(folder / f"seed.{recipe}" / "manifest.json")["dialogues"] for recipe in RECIPES))
    for recipe in RECIPES:
        do(f"experiment=microworld/sft name={recipe} stage.dialogues={{run}}/seed.{recipe}/dialogues.jsonl stage.limit={count}")
        do(
            f"experiment=microworld/evaluate name={recipe} benchmark.path={{run}}/prepare.judged/examples.jsonl "
            f"model={{run}}/sft.{recipe}/model"
        )
    return result(folder)


def result(folder: Path) -> dict[str, Any]:
    """The figures of one seed: F1, training dialogues and their labels for each recipe; and paired differences."""
    found: dict[str, Any] = {}
    for recipe in RECIPES:
        metrics = _json(folder / f"evaluate.{recipe}" / "metrics.json")
        learnt, seeds = _json(folder / f"sft.{recipe}" / "manifest.json"), _json(folder / f"seed.{recipe}" / "manifest.json")
        count = learnt["counts"]["dialogues"]["in"]
        taught = itertools.islice(read_rows(folder / f"seed.{recipe}" / "dialogues.jsonl", Dialogue), count)
        first_call = seeds["teacher_accuracy"][next(iter(seeds["teacher_accuracy"]))]
        found[recipe] = {
            "f1": metrics["f1"],
            "f1_interval": metrics["f1_interval"],
            "dialogues": count,
            "with_error": 100 * sum(row.verdict != ALL_CORRECT for row in taught) / count,
            "kept": 100 * seeds["dialogues"] / seeds["funnel"][0]["left"],
            "accuracy": 100 * first_call["accuracy"],
        }
    for ours, theirs in (("deliberate", "initial"), ("deliberate", "direct"), ("initial", "direct")):
        found |= gain(f"{ours}_over_{theirs}", folder / f"evaluate.{ours}", folder / f"evaluate.{theirs}")
    return found


def claims(results: list[dict[str, Any]], seeds: list[int]) -> list[dict[str, Any]]:
    """Rows of evidence, in percent or points, with one entry per seed."""

    def of(recipe: str, figure: str) -> list[Any]:
        return [one[recipe][figure] for one in results]

    unequal = [float(len({one[recipe]["dialogues"] for recipe in RECIPES}) - 1) for one in results]
    rows = [
        row("dialogues learnt from by each recipe", seeds, of("deliberate", "dialogues")),
        row("numbers of dialogues that differ between recipes", seeds, unequal, bounds=Bounds(at_most=0.0)),
    ]
    for recipe in RECIPES:
        rows.append(row(f"recipe {recipe}: F1 after SFT", seeds, of(recipe, "f1"), of(recipe, "f1_interval"), share=True))
    for ours, theirs in (("initial", "direct"), ("deliberate", "initial"), ("deliberate", "direct")):
        name = f"{ours}_over_{theirs}"
        values, intervals = [one[name] for one in results], [one[f"{name}_interval"] for one in results]
        rows.append(row(f"{ours} over {theirs}, F1, as in the paper", seeds, values, intervals, bounds=ABOVE_ZERO))
    for figure, what in (
        ("accuracy", "the teacher's first call agrees with the label"),
        ("kept", "solutions that become dialogues"),
        ("with_error", "dialogues about solutions with an error"),
    ):
        rows += [row(f"recipe {recipe}: {what}", seeds, of(recipe, figure), share=True) for recipe in RECIPES]
    return rows


def _json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return value


if __name__ == "__main__":
    main()

"""The second recipe (SPCT) in the small world over three seeds: rejective fine-tuning, RL, votes, and a Meta RM for both tasks.

scripts/evidence spct                          # first makes missing runs of the demo
scripts/evidence spct --seeds 1 --base runs    # one seed, beside the runs `BASE/evidence-1/` of `scripts/evidence main`

Writes data/evidence/spct.json when a seed is done. The base judge is trained once for all seeds, on rule-made replies with
errors; everything else is drawn again for each seed. Training items use problems of the train split, and measured items those of
the test split. The judge's training steps, the steps of RL and the epochs of the Meta RM were chosen on seed 100 with items
of the validation split; other rates and sizes were set in advance. The wording of the judge's lessons was last
changed after a look at seed 1, when the judge had a third of the training and was hardly better than chance.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace
from rows import ABOVE_ZERO, Bounds, Found, begin, by_seed, keep, show
from table import evidence

from deepcritic.__main__ import main as deepcritic
from deepcritic.evaluation.load import read_judged
from deepcritic.metrics.bootstrap import mean_interval
from deepcritic.metrics.guided_vote import powers
from deepcritic.microworld.train import train
from deepcritic.shipped_models import shipped_path
from deepcritic.tasks.metrics_shared import vote_chances
from deepcritic.tasks.pointwise import Pointwise
from deepcritic.tasks.pointwise_metrics import single_figures

SEEDS = (1, 2, 3)
RUNS = Path("runs")
JUDGE = RUNS / "spct-judge"
CRITIC = ("rl", "sft", "label", "prepare.judged")
"""Files of the demo that the Meta RM of step critics needs."""
SAMPLES, FEW, STEP_SAMPLES = 32, 4, 16
Figure = tuple[float, list[float] | None, Bounds | None, bool]
"""A figure, its interval over queries, its bounds if it is a claim, and whether it is a share in percent."""
QUIET = ("plain vote", "guided vote", "(the reward's rule)")
"""Suffixes of the claims that are in the file but not in the README."""
ITEMS = "{run}/prepare.train/examples.jsonl"
TEST = "benchmark.path={run}/prepare.test/examples.jsonl stage.temperature=1.0"
PLAIN = (
    "task.template=deepcritic://microworld/templates/score_plain.txt "
    "task.single_template=deepcritic://microworld/templates/score_plain_single.txt"
)


def recipe(judge: Path) -> list[str]:
    """The commands of one seed, in order."""

    def items(name: str, split: str, count: int) -> list[str]:
        return [
            f"experiment=microworld/problems name={name}_problems source.split={split} source.count={count} source.lengths=[3]",
            f"experiment=microworld/solve name={name} stage.problems={{run}}/prepare.{name}_problems/examples.jsonl "
            "stage.samples=4 stage.keep=all",
            f"experiment=microworld/preferences name={name} source.path={{run}}/solve.{name}/solutions.jsonl",
        ]

    def reject(name: str, more: str = "") -> str:
        return f"experiment=microworld/reject name={name} stage.examples={ITEMS} model={judge} {more}"

    def sft(name: str, more: str = "") -> str:
        dialogues = f"stage.dialogues={{run}}/reject.{name}/dialogues.jsonl"
        return f"experiment=microworld/spct_sft name={name} {dialogues} model={judge} {more}"

    def rl(name: str, start: str, more: str = "") -> str:
        return f"experiment=microworld/spct_rl name={name} stage.examples={ITEMS} model={{run}}/sft.{start}/model {more}"

    def measure(name: str, model: str, samples: int, more: str = "") -> str:
        return f"experiment=microworld/spct_evaluate name={name} {TEST} model={model} stage.samples={samples} {more}"

    return [
        *items("train", "train", 400), *items("test", "test", 300),
        reject("rft"), sft("rft"), rl("rl", "rft"),
        measure("base", str(judge), FEW), measure("rft", "{run}/sft.rft/model", FEW),
        # Single responses in the form of training.
        *(measure(f"{name}_binary", model, FEW, "task.binary=true") for name, model in (
            ("base", str(judge)), ("rft", "{run}/sft.rft/model"), ("rl", "{run}/rl.rl/model"),
        )),
        # A Meta RM on replies of both stages, without those that were told the truth.
        f"experiment=microworld/spct_evaluate name=seen benchmark.path={ITEMS} stage.temperature=1.0 stage.samples=3 "
        "model={run}/rl.rl/model task.binary=true",
        f"experiment=microworld/meta_rm task=microworld_scores task.binary=true name=scores stage.examples={ITEMS} model={judge} "
        "'stage.generations=[{run}/reject.rft/generations.jsonl,{run}/evaluate.seen/generations.jsonl]'",
        measure("rl", "{run}/rl.rl/model", SAMPLES, "stage.meta_rm={run}/meta_rm.scores/model"),
        # What becomes of it without one of its parts.
        reject("unhinted", "stage.hinted_samples=0"), sft("unhinted"), measure("unhinted", "{run}/sft.unhinted/model", FEW),
        rl("no_kl", "rft", "stage.beta=0.0"), measure("no_kl", "{run}/rl.no_kl/model", FEW),
        measure("plain_base", str(judge), FEW, PLAIN),
        reject("plain", PLAIN), sft("plain", PLAIN), measure("plain", "{run}/sft.plain/model", FEW, PLAIN),
    ]  # fmt: skip


def steps(base: Path) -> list[str]:
    """The Meta RM of step critics: on replies of the demo's two critics to solutions with automatic labels."""
    labelled, template = base / "label" / "labelled.jsonl", "task.template=deepcritic://microworld/templates/critique.txt"

    def seen(name: str) -> str:
        return (
            f"experiment=microworld/evaluate name=steps_{name} benchmark.path={labelled} model={base}/{name}/model "
            "stage.samples=3 stage.temperature=1.0 stage.limit=300"
        )

    return [
        seen("sft"), seen("rl"),
        f"experiment=microworld/meta_rm name=steps {template} stage.examples={labelled} "
        "model=deepcritic://microworld/models/base "
        "'stage.generations=[{run}/evaluate.steps_sft/generations.jsonl,{run}/evaluate.steps_rl/generations.jsonl]'",
        f"experiment=microworld/evaluate name=steps benchmark.path={base}/prepare.judged/examples.jsonl model={base}/rl/model "
        f"stage.limit=300 stage.samples={STEP_SAMPLES} stage.temperature=1.0 stage.meta_rm={{run}}/meta_rm.steps/model",
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--base", type=Path, default=RUNS, help="where the demo's runs are, or are made")
    parser.add_argument("--table", action="store_true", help="only put the figures of finished seeds together")
    arguments = parser.parse_args()
    begin(__doc__ or "", arguments.seeds)
    if not arguments.table:
        if not (JUDGE / "config.json").exists():
            train("judge", Path(shipped_path("deepcritic://microworld/models/base")), JUDGE)
        for seed in arguments.seeds:
            run(seed, arguments.base)
    found = {seed: figures(RUNS / f"spct-{seed}") for seed in arguments.seeds}
    rows = by_seed({seed: [Found(what, *figure) for what, figure in one.items()] for seed, one in found.items()})
    keep("spct", rows, table=evidence([one for one in rows if not one["what"].endswith(QUIET)]))
    show(rows)


def run(seed: int, base: Path) -> None:
    """One seed, from its problems to its evaluations."""
    folder, demo = RUNS / f"spct-{seed}", base / f"evidence-{seed}"
    for line in recipe(JUDGE):
        command(line.replace("{run}", str(folder)), f"run={folder.name}", f"seed={seed}")
    if not all((demo / name / "manifest.json").is_file() for name in CRITIC):
        command("experiment=demo", f"runs={base}", f"run={demo.name}", f"seed={seed}")
    for line in steps(demo):
        command(line.replace("{run}", str(folder)), f"run={folder.name}", f"seed={seed}")


def command(line: str, *more: str) -> None:
    if code := deepcritic([*shlex.split(line), *more]):
        sys.exit(code)


def figures(folder: Path) -> dict[str, Figure]:
    """The figures of one seed in percent: what it is -> its figure. Stages that were not
    run have no figures."""
    done = {
        place.parent.name: _json(place) for place in folder.glob("*/metrics.json") if (place.parent / "manifest.json").is_file()
    }
    found: dict[str, Figure] = {}
    for name, title in (
        ("base", "base"), ("rft", "after RFT"), ("rl", "after RL"), ("unhinted", "after RFT without hinted samples"),
        ("no_kl", "after RL without KL"), ("plain_base", "base without principles"), ("plain", "after RFT without principles"),
    ):  # fmt: skip
        if one := done.get(f"evaluate.{name}"):
            found[f"{title}: accuracy"] = (one["accuracy"], one["accuracy_interval"], None, True)
            found[f"{title}: strict accuracy (the reward's rule)"] = (
                one["strict_accuracy"],
                one["strict_accuracy_interval"],
                None,
                True,
            )
            found[f"{title}: replies that cannot be read"] = (one["unparsed_rate"], one["unparsed_rate_interval"], None, True)
            found[f"{title}: ROC-AUC of single responses, by the sum of {FEW} replies"] = singles(folder / f"evaluate.{name}")
    for name, title in (("base", "base"), ("rft", "after RFT"), ("rl", "after RL")):
        if f"evaluate.{name}_binary" in done:
            claim = f"{title}: ROC-AUC of single responses, by the sum of {FEW} replies of 0 or 1"
            found[claim] = singles(folder / f"evaluate.{name}_binary")
    if one := done.get("evaluate.base"):
        found["best blind guess: accuracy"] = (one["chance_accuracy"], None, None, True)
    for ours, theirs, title in (
        ("rft", "base", "RFT over base"), ("rl", "rft", "RL over RFT"), ("rl", "base", "RL over base"),
        ("rl", "no_kl", "RL over RL without KL"), ("rft", "unhinted", "RFT over RFT without hinted samples"),
        ("rft", "plain", "RFT over RFT without principles"),
    ):  # fmt: skip
        if {f"evaluate.{ours}", f"evaluate.{theirs}"} <= done.keys():
            value, interval = gain(folder / f"evaluate.{ours}", folder / f"evaluate.{theirs}")
            found[f"{title}, accuracy"] = (value, interval, ABOVE_ZERO, False)
    if one := done.get("evaluate.rl"):
        for k in map(str, powers(SAMPLES)):
            found[f"sum of {k} replies after RL: accuracy"] = (*one["accuracy_by_votes"][k].values(), None, True)
        value, interval = votes_over_one(folder / "evaluate.rl")
        found[f"sum of {SAMPLES} over one reply"] = (value, interval, ABOVE_ZERO, False)
        for name, title in (("changed", "changes with the order"), ("changed_by_chance", "changes in the same order")):
            found[f"after RL: the winner {title}"] = (one["position"][name], one["position"][f"{name}_interval"], None, True)
    for name, title, score in (("rl", "scores", "accuracy"), ("steps", "step critics", "F1")):
        for k, one in done.get(f"evaluate.{name}", {}).get("guided_by_votes", {}).items():
            if int(k) > 1:
                text = f"{title}, {score} at k = {k}: Meta-RM-guided over plain vote"
                found[text] = (one["difference"], one["interval"], ABOVE_ZERO, False)
                found[f"{title}, {score} at k = {k}: plain vote"] = (one["plain"], None, None, True)
                found[f"{title}, {score} at k = {k}: guided vote"] = (one["guided"], None, None, True)
    if one := done.get("reject.rft"):
        for name, title in (("right", "right samples"), ("too_easy", "items too easy"), ("hinted_right", "right hinted samples")):
            found[f"RFT: {title}"] = (one[name], one[f"{name}_interval"], None, True)
    return found


def gain(ours: Path, theirs: Path) -> tuple[float, list[float]]:
    """Difference of the single-reply accuracies of two evaluations, over the same items."""
    task = Pointwise()
    first, second = ({row.id: row for row in read_judged(place) if row.responses > 1} for place in (ours, theirs))
    names = sorted(first.keys() & second.keys())
    one, other = (vote_chances([rows[name] for name in names], task, [1])[0][0] for rows in (first, second))
    return _percent(one - other, [first[name].cluster for name in names])


def singles(folder: Path) -> Figure:
    """How well the first replies separate right single responses from wrong ones."""
    rows = [replace(row, verdicts=row.verdicts[:FEW]) for row in read_judged(folder) if row.responses == 1]
    found = single_figures(rows, Pointwise())
    return 100 * found["roc_auc"], [100 * end for end in found["roc_auc_interval"]], None, True


def votes_over_one(folder: Path) -> tuple[float, list[float]]:
    """Gain in accuracy of the sum of all replies over one reply."""
    rows = [row for row in read_judged(folder) if row.responses > 1]
    plain, _ = vote_chances(rows, Pointwise(), [1, SAMPLES])
    return _percent(plain[1] - plain[0], [row.cluster for row in rows])


def _percent(differences: Any, clusters: Any) -> tuple[float, list[float]]:
    low, high = mean_interval(differences, clusters)
    return 100 * float(np.mean(differences)), [100 * low, 100 * high]


def _json(path: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return value


if __name__ == "__main__":
    main()

"""Critics in the small world: the gain of refinement over baselines, and of votes weighted by a critic. Three seeds.

scripts/evidence refine                          # first makes missing runs of the demo
scripts/evidence refine --seeds 1 --base runs    # one seed, beside the run `BASE/evidence-1/` of `scripts/evidence main`

Writes data/evidence/refine.json after each seed. The generator samples first solutions, new attempts and rewrites at
temperature 1 and top_p 1. (At 0.7 and 0.9, the stage's defaults, it makes hardly any errors, with any prompt;
one row shows this.) Tokens include all prompts and replies of critic and generator.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from rows import ABOVE_ZERO, Bounds, Row, begin, keep, row, show

from deepcritic.__main__ import main as deepcritic
from deepcritic.hub.models import load_model
from deepcritic.metrics.bootstrap import mean_interval
from deepcritic.metrics.verified_vote import Votes, accuracy
from deepcritic.microworld.drop_layers import shrink
from deepcritic.refining import solution_answer
from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.schema import Example, Generation
from deepcritic.shipped_models import shipped_path

SEEDS = (1, 2, 3)
RUNS = Path("runs")
BASE, GENERATOR = "deepcritic://microworld/models/base", "deepcritic://microworld/models/generator"
PROBLEMS, ATTEMPTS = 1500, 6
"""Test problems per seed, and solutions drawn per problem: the first is refined, the others are for the retry baseline."""
VOTES, SOLUTIONS, VOTED = 300, 32, 8
"""Problems with votes, solutions drawn per problem, and solutions that the critic reads; only the plain vote uses the rest."""
KEPT = (0, 1, 3)
"""Layers of the small critic, of the base critic's four."""
SMALL = "stage.epochs=24"
SAME = "stage.temperature=1.0 stage.top_p=1.0"
Pairs = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--base", type=Path, default=RUNS, help="where the runs of scripts/evidence main are")
    parser.add_argument("--split", default="test", help="validation, to choose settings by")
    arguments = parser.parse_args()
    begin(__doc__ or "", arguments.seeds)
    found: list[Pairs] = []
    for seed in arguments.seeds:
        found.append(run(seed, arguments.base, arguments.split))
        settings: dict[str, Any] = {"problems": PROBLEMS, "voted_on": VOTES, "solutions": SOLUTIONS, "voted": VOTED}
        settings |= {"layers_kept": KEPT, "small": SMALL}
        rows = claims(found, arguments.seeds[: len(found)])
        if arguments.split == "test":
            keep("refine", rows, settings=settings)
    show(rows)


def run(seed: int, base: Path, split: str) -> Pairs:
    """Run all stages of one seed, and compute its figures."""
    demo, folder = base / f"evidence-{seed}", RUNS / f"refine-{split}-{seed}"
    if not all((demo / name / "manifest.json").is_file() for name in ("rl", "seed")):
        do(f"experiment=demo run=evidence-{seed} seed={seed}", base)

    def at(line: str) -> None:
        do(f"{line.format(demo=demo, run=folder)} run={folder.name} seed={seed}", RUNS)

    at(f"experiment=microworld/problems source.split={split} source.count={PROBLEMS}")
    solve = "experiment=microworld/solve stage.keep=all stage.problems={run}/"
    at(f"{solve}prepare/examples.jsonl stage.samples={ATTEMPTS}")
    at(f"{solve}prepare/examples.jsonl name=cool stage.samples=1 stage.temperature=0.7 stage.top_p=0.9")
    first = [one for one in read_rows(folder / "solve" / "solutions.jsonl", Example) if one.id.endswith("/s0")]
    write_rows(folder / "first.jsonl", first)

    small = folder / "small"
    if not (small / "config.json").is_file():
        shrink(BASE, small, KEPT)
    at(f"experiment=microworld/sft name=small model={small} stage.dialogues={{demo}}/seed/dialogues.jsonl {SMALL}")
    for name, model in (("base", BASE), ("rl", "{demo}/rl/model"), ("small", "{run}/sft.small/model")):
        at(f"experiment=microworld/refine name={name} stage.solutions={{run}}/first.jsonl model={model} {SAME}")

    # The prompt of a rewrite without any critique: every solution is called wrong from its first step on.
    template = folder / "blind.txt"
    template.write_text("---\nfields: [problem]\nindex_base: 1\n---\n{{problem}}\n", "utf-8")
    write_rows(folder / "blind.jsonl", map(asked_blindly, first))
    at(f"{solve}blind.jsonl name=blind stage.template={template} stage.prefix='' stage.samples=1")

    at(f"{solve}prepare/examples.jsonl name=votes stage.samples={SOLUTIONS} stage.limit={VOTES}")
    at(f"experiment=microworld/vote stage.problems={{run}}/prepare/examples.jsonl stage.limit={VOTES} stage.critiqued={VOTED} "
       "stage.solutions={run}/solve.votes/generations.jsonl model={demo}/rl/model")  # fmt: skip
    return figures(folder, first)


def do(line: str, runs: Path) -> None:
    code = deepcritic([*shlex.split(line), f"runs={runs}"])
    if code:
        sys.exit(code)


def asked_blindly(solution: Example) -> Example:
    """The prompt for rewriting `solution` from its first step, in the format of the small world's `refine.txt`."""
    steps = "\n".join(f"Step {number}: {step}" for number, step in enumerate(solution.item.steps, start=1))
    text = f"{solution.item.problem}\n{steps}\nStep 1 is wrong. Solve again."
    item = type(solution.item)(problem=text)
    gold = type(solution.gold)(reference_answer=solution.gold.reference_answer)
    return Example(id=str(solution.parent_id), item=item, gold=gold, source=solution.source, license=solution.license)


def figures(folder: Path, first: list[Example]) -> Pairs:
    """Figures in percent and tokens, as pairs of a value and its interval over problems (or None)."""
    names = [str(one.parent_id) for one in first]
    before = np.array([one.gold.answer_right is True for one in first], float)
    after = {name: refined(folder / f"refine.{name}") for name in ("base", "rl", "small")}
    metrics = {name: json.loads((folder / f"refine.{name}" / "metrics.json").read_text("utf-8")) for name in after}
    spent = {name: (one["critic_tokens"] + one["generator_tokens"]) / one["solutions"] for name, one in metrics.items()}

    attempts: dict[str, dict[int, Example]] = defaultdict(dict)
    for one in read_rows(folder / "solve" / "solutions.jsonl", Example):
        attempts[str(one.parent_id)][int(one.id.rpartition("/s")[2])] = one
    each = mean_tokens(folder / "solve")
    bought = spent["rl"] / each  # new attempts for the same tokens; between two whole numbers of them, both are weighed
    some, share = math.floor(bought), bought % 1
    assert some + 2 <= ATTEMPTS, f"trying again needs {some + 2} attempts a problem"
    fewer, more = (np.array([plain(attempts[name], 1 + count) for name in names]) for count in (some, some + 1))
    again = (1 - share) * fewer + share * more
    blind, cooled = (alone(folder / f"solve.{name}", names) for name in ("blind", "cool"))

    found: Pairs = {
        "before": mean(before),
        "tokens": (spent["rl"], None),
        "again": mean(again - before), "again_attempts": (bought, None),
        "blind": mean(blind - before), "blind_tokens": (mean_tokens(folder / "solve.blind"), None),
        "rl_over_again": mean(after["rl"] - again), "rl_over_blind": mean(after["rl"] - blind),
        "rl_over_base": mean(after["rl"] - after["base"]), "small_over_base": mean(after["small"] - after["base"]),
        "cool": mean(cooled - before),
        "size": (100 * parameters(str(folder / "sft.small" / "model")) / parameters(GENERATOR), None),
    }  # fmt: skip
    for name, values in after.items():
        found[name] = mean(values - before)
        for move in ("wrong_to_right", "right_to_wrong"):
            found[f"{name}_{move}"] = (metrics[name][f"{move}_percent"], metrics[name][f"{move}_interval"])
    return found | votes(folder)


def votes(folder: Path) -> Pairs:
    metrics = json.loads((folder / "vote" / "metrics.json").read_text("utf-8"))
    plain_at = {point["k"]: point for point in metrics["curves"]["majority"]}
    found: Pairs = {"majority": (plain_at[VOTED]["accuracy"], plain_at[VOTED]["interval"])}
    for method, gains in metrics["gains"].items():
        gain = next(one for one in gains if one["k"] == VOTED)
        equal = gain["gain_at_equal_tokens"] or {"estimate": math.nan, "interval": [math.nan, math.nan]}
        found[method] = (gain["gain"]["estimate"], gain["gain"]["interval"])
        found[f"{method}_equal"] = (equal["estimate"], equal["interval"])
        found["plain_k"] = (gain["plain_k_at_equal_tokens"], None)
    return found


def refined(folder: Path) -> Any:
    return np.array([one.gold.answer_right is True for one in read_rows(folder / "refined.jsonl", Example)], float)


def plain(attempts: dict[int, Example], count: int) -> float:
    """Accuracy of the plain vote of the first `count` attempts, averaged over tie-breaks."""
    solutions = [attempts.get(number) for number in range(count)]  # None: without a readable answer
    right = [one is not None and one.gold.answer_right is True for one in solutions]
    texts = [None if one is None else solution_answer(one.item.steps) for one in solutions]
    kinds = {text: number for number, text in enumerate(dict.fromkeys(texts), start=1)}
    answer = [0 if fine else -1 if text is None else kinds[text] for fine, text in zip(right, texts, strict=True)]
    return accuracy(Votes(answer, right, [1] * count, [1] * count), "majority", np.arange(count)[None])


def alone(folder: Path, names: list[str]) -> Any:
    """Whether the single reply to each problem is right; an unreadable answer is wrong."""
    right = {str(one.parent_id): one.gold.answer_right is True for one in read_rows(folder / "solutions.jsonl", Example)}
    return np.array([right.get(name, False) for name in names], float)


def mean_tokens(folder: Path) -> float:
    return float(
        np.mean([one.prompt_tokens + one.completion_tokens for one in read_rows(folder / "generations.jsonl", Generation)])
    )


def mean(values: Any) -> tuple[float, list[float]]:
    return 100 * float(values.mean()), [100 * bound for bound in mean_interval(values)]


def parameters(model: str) -> int:
    return int(load_model(shipped_path(model), device="cpu").num_parameters())


SHARE, COUNT = True, False
CLAIMS: tuple[tuple[str, str, Bounds | None, bool], ...] = (
    ("right answers before: the first solution of each problem", "before", None, SHARE),
    ("refinement with the trained critic: gain", "rl", ABOVE_ZERO, COUNT),
    ("wrong to right, percent of the solutions", "rl_wrong_to_right", None, SHARE),
    ("right to wrong, percent of the solutions", "rl_right_to_wrong", None, SHARE),
    ("refinement: tokens for each solution", "tokens", None, COUNT),
    ("refinement with the base critic: gain", "base", None, COUNT),
    ("trained over base critic", "rl_over_base", ABOVE_ZERO, COUNT),
    ("new attempts that the same tokens buy", "again_attempts", None, COUNT),
    ("try again, these attempts vote with the first: gain", "again", None, COUNT),
    ("trained critic over trying again", "rl_over_again", ABOVE_ZERO, COUNT),
    ("a rewrite from the first step on without a critique: gain", "blind", None, COUNT),
    ("that rewrite: tokens for each solution", "blind_tokens", None, COUNT),
    ("trained critic over that rewrite", "rl_over_blind", ABOVE_ZERO, COUNT),
    ("a single new attempt at temperature 0.7 and top_p 0.9: gain", "cool", None, COUNT),
    ("plain vote of 8: right answers", "majority", None, SHARE),
    ("verified over plain vote of 8", "verified", ABOVE_ZERO, COUNT),
    ("solutions that plain voting has for the same tokens", "plain_k", None, COUNT),
    ("verified vote of 8 over the plain vote at equal tokens", "verified_equal", ABOVE_ZERO, COUNT),
    ("weighted over plain vote of 8", "weighted", ABOVE_ZERO, COUNT),
    ("best of 8 over plain vote of 8", "best", ABOVE_ZERO, COUNT),
    ("best of 8 over the plain vote at equal tokens", "best_equal", ABOVE_ZERO, COUNT),
    ("size of the small critic, percent of its generator's parameters", "size", None, SHARE),
    ("refinement with the small critic: gain", "small", ABOVE_ZERO, COUNT),
    ("small critic over base critic", "small_over_base", ABOVE_ZERO, COUNT),
)


def claims(found: list[Pairs], seeds: list[int]) -> list[Row]:
    """The rows of evidence, from the results of each seed."""
    rows = []
    for what, key, bounds, share in CLAIMS:
        values, intervals = zip(*(one[key] for one in found), strict=True)
        rows.append(row(what, seeds, values, intervals, bounds=bounds, share=share))
    return rows


if __name__ == "__main__":
    main()

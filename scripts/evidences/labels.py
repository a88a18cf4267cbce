"""Label rules in the small world: their cost, their accuracy, and the critics trained on their labels.

scripts/evidence labels                          # first makes missing runs of the demo
scripts/evidence labels --seeds 1 --base runs    # one seed, beside the runs `BASE/evidence-1/` of `scripts/evidence main`

Writes data/evidence/labels.json after each seed. Each rule draws the rollouts that it needs, up to the same number of tokens.
A critic is then trained on each rule's labels, with equal steps of RL.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from rows import ABOVE_ZERO, Bounds, Found, begin, by_seed, keep, show

from deepcritic.labels.rules import RULES, Label, Table, decide, replay
from deepcritic.metrics.bootstrap import mean_interval
from deepcritic.report.summary import gain
from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.schema import ALL_CORRECT, Example, Generation
from deepcritic.stages.label import read_tables

SEEDS = (1, 2, 3)
NEEDED = ("solve.rl", "prepare.truth", "prepare.judged", "sft")
COMPARED = ("zero_of_k", "deepcritic")
KS = (4, 8, 16)
K = 8
GENERATORS = {"": (), ", unsure generator": ("stage.temperature=1.2", "stage.top_p=1.0")}
"""At the paper's temperature of 0.7, rollouts of the small world nearly always succeed before the first error and fail after
it, so k hardly matters. At 1.2 their success varies more."""
AUDITED = 120
"""Solutions per seed with all 16 rollouts from every prefix."""
RL = ("stage.steps=20", "stage.save_steps=20")
ROWS = 1000
"""Test solutions per critic."""
SETTINGS = {"k": K, "solutions_audited": AUDITED, "rl": RL, "test_rows": ROWS, "generators": GENERATORS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--base", type=Path, default=Path("runs"))
    options = parser.parse_args()
    begin(__doc__ or "", options.seeds)
    found: dict[int, list[Found]] = {}
    for seed in options.seeds:
        base, run = options.base / f"evidence-{seed}", Path("runs") / f"labels-{seed}"
        if not all((base / name / "manifest.json").is_file() for name in NEEDED):
            command("experiment=demo", f"runs={options.base}", f"run=evidence-{seed}", f"seed={seed}")
        found[seed] = [*audit(base, run, seed), *critics(base, run, seed)]
        keep("labels", by_seed(found), settings=SETTINGS)
    show(by_seed(found))


def command(*words: str) -> None:
    subprocess.run([sys.executable, "-m", "deepcritic", *words], check=True)


def audit(base: Path, run: Path, seed: int) -> list[Found]:
    """Cost, and precision and recall against the truth, on solutions with all rollouts."""
    solutions = run / "audited.jsonl"
    truth = {row.id: row.gold.first_error for row in read_rows(base / "prepare.truth" / "examples.jsonl", Example)}
    chosen = [row for row in read_rows(base / "solve.rl" / "solutions.jsonl", Example) if row.id in truth][:AUDITED]
    write_rows(solutions, chosen)
    solving = json.loads((base / "solve.rl" / "manifest.json").read_text("utf-8"))
    claims: list[Found] = []
    for kind, options in GENERATORS.items():
        name = "unsure" if kind else "all"
        draw(run, name, solutions, seed, f"stage.samples={max(KS)}", *options)
        drawn = run / f"rollout.{name}" / "generations.jsonl"
        for k in KS:
            tables = read_tables(chosen, drawn, k, run / "compared.jsonl", Counter())
            for rule in RULES:
                if rule != "math_shepherd_soft":  # names the same first errors as the hard labels
                    claims += quality(f"{rule}, k = {k}{kind}", rule, chosen, tables, truth)
            if k == K:
                claims += costs(kind, chosen, tables, drawn, solving)
    return claims


def quality(name: str, rule: str, rows: list[Example], tables: dict[str, Table], truth: dict[str, Any]) -> list[Found]:
    """Exact match of the step, in percent; the interval resamples problems."""
    named: list[tuple[bool, str]] = []
    erroneous: list[tuple[bool, str]] = []
    for row in rows:
        outcome = decide(rule, tables[row.id])
        label = outcome.first_error if isinstance(outcome, Label) else None
        same, problem = label == truth[row.id], row.parent_id or row.id
        if label not in (None, ALL_CORRECT):
            named.append((same, problem))
        if truth[row.id] != ALL_CORRECT:
            erroneous.append((same, problem))
    claims: list[Found] = []
    for figure, cases in (("precision", named), ("recall", erroneous)):
        share = 100 * sum(same for same, _ in cases) / max(1, len(cases))
        low, high = mean_interval([same for same, _ in cases], [problem for _, problem in cases])
        claims.append(Found(f"{figure} of the first error, {name}", share, [100 * low, 100 * high], share=True))
    return claims


def costs(kind: str, rows: list[Example], tables: dict[str, Table], drawn: Path, solving: dict[str, Any]) -> list[Found]:
    """Rollouts that a rule reads, in percent of all; and whether they give the same labels as all."""
    tokens: Counter[tuple[str, int, int]] = Counter()
    for draw in read_rows(drawn, Generation):
        tokens[draw.key.example_id, draw.key.step, draw.key.sample] = draw.completion_tokens
    full = K * sum(len(row.item.steps) - 1 for row in rows)
    full_tokens = sum(count for (_, _, sample), count in tokens.items() if sample < K)
    solved = solving["counts"]["solutions"]
    solves = solved["in"] / solved["out"] * len(rows)  # those that the filter threw out are paid for by the ones that stay
    claims: list[Found] = []
    for rule in COMPARED:
        read, spent, same = 0, 0, True
        for row in rows:
            outcome, part = replay(rule, tables[row.id])
            same = same and outcome == decide(rule, tables[row.id])
            asked = [(step, at) for step in range(1, part.steps) for at in range(K) if part.state(step, at)]
            read += len(asked)
            spent += sum(tokens[row.id, step, at] for step, at in asked)
        cheap = Bounds(at_most=35.0) if rule == "zero_of_k" else None
        equal = Bounds(at_least=1.0)
        share, both = 100 * read / full, 100 * (read + solves) / (full + solves)
        claims += [
            Found(f"rollouts drawn for {rule}, percent of all{kind}", share, bounds=cheap, share=True),
            Found(f"the same, with solving and prefilter on both sides, {rule}{kind}", both, share=True),
            Found(f"tokens of the rollouts drawn for {rule}, percent of all{kind}", 100 * spent / full_tokens, share=True),
            Found(f"labels equal to those of all rollouts, {rule} (1: every one){kind}", float(same), bounds=equal),
        ]
    return claims


def draw(run: Path, name: str, solutions: Path, seed: int, *options: str) -> None:
    words = [f"stage.solutions={solutions}", f"run={run.name}", f"name={name}", f"seed={seed}"]
    command("experiment=microworld/rollout", *words, *options)


def critics(base: Path, run: Path, seed: int) -> list[Found]:
    """A critic after RL on each rule's labels, at equal tokens of rollouts."""
    everything = list(read_rows(base / "solve.rl" / "solutions.jsonl", Example))
    spent: dict[str, list[int]] = {}
    for rule in COMPARED:
        # The dearer rule never gets through more than two thirds for what the cheaper one needs for all.
        part = everything if rule == "zero_of_k" else everything[: 2 * len(everything) // 3]
        write_rows(run / f"{rule}.jsonl", part)
        draw(run, rule, run / f"{rule}.jsonl", seed, f"stage.rule={rule}", f"stage.samples={K}")
        each: Counter[str] = Counter()
        for one in read_rows(run / f"rollout.{rule}" / "generations.jsonl", Generation):
            each[one.key.example_id] += one.completion_tokens
        spent[rule] = [each[row.id] for row in part]
    budget = min(sum(tokens) for tokens in spent.values())
    claims: list[Found] = []
    for rule in COMPARED:
        total, bought = 0, []
        for row, tokens in zip(everything, spent[rule], strict=False):
            total += tokens
            if total > budget:
                break
            bought.append(row)
        labelled = label(run, rule, bought)
        words = [f"stage.examples={run}/label.{rule}/labelled.jsonl", f"model={base}/sft/model", *RL]
        common = [f"run={run.name}", f"name={rule}", f"seed={seed}"]
        command("experiment=microworld/rl", *words, *common)
        judged = [f"benchmark.path={base}/prepare.judged/examples.jsonl", f"model={run}/rl.{rule}/model", f"stage.limit={ROWS}"]
        command("experiment=microworld/evaluate", *judged, *common)
        metrics = json.loads((run / f"evaluate.{rule}" / "metrics.json").read_text("utf-8"))
        claims += [
            Found(f"solutions labelled for the same tokens by {rule}", float(labelled)),
            Found(f"F1 of the critic after RL on labels of {rule}", metrics["f1"], metrics["f1_interval"], share=True),
        ]
    first, second = (run / f"evaluate.{rule}" for rule in COMPARED)
    paired = gain("gain", first, second)
    interval = paired["gain_interval"]
    return [*claims, Found("critic of zero_of_k over critic of deepcritic, F1", paired["gain"], interval, ABOVE_ZERO)]


def label(run: Path, rule: str, bought: list[Example]) -> int:
    """Label the drawn solutions; returns the number with a label."""
    solutions, rollouts = run / f"{rule}-bought.jsonl", run / f"{rule}-rollouts.jsonl"
    names = {row.id for row in bought}
    write_rows(solutions, bought)
    drawn = read_rows(run / f"rollout.{rule}" / "generations.jsonl", Generation)
    write_rows(rollouts, (one for one in drawn if one.key.example_id in names))
    words = [f"stage.solutions={solutions}", f"stage.rollouts={rollouts}", f"stage.rule={rule}", f"stage.samples={K}"]
    command("stage=label", *words, f"run={run.name}", f"name={rule}")
    return int(json.loads((run / f"label.{rule}" / "manifest.json").read_text("utf-8"))["counts"]["solutions"]["out"])


if __name__ == "__main__":
    main()

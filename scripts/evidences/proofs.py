"""Meta-verified reward in the small world: does a critic of proofs make up fewer issues than with the plain reward?

scripts/evidence proofs                 # three seeds
scripts/evidence proofs --seeds 1

Writes data/evidence/proofs.json. A "proof" is a solution of three steps, graded 1 if every step is right, 0.5 if only the last
step is wrong (one line repairs it), else 0. The critic first learns from critiques that check every step, list an issue and end
with the grade. In two of five critiques with a low grade, the issue names a step that is right: it is made up, and the grade is
not. Then GRPO trains it twice from there: with the plain reward, and with the reward times the rating of a judge. The judge is a
rule: it works out the step that the issue names, from the text that it is shown. Nothing was tuned: sizes and rates were set
once, in advance, so that a seed takes few minutes.
"""

from __future__ import annotations

import argparse
import random
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
from rows import ABOVE_ZERO, Found, begin, by_seed, keep, show
from table import evidence

from deepcritic.__main__ import main as deepcritic
from deepcritic.evaluation.load import read_judged, read_metrics
from deepcritic.metrics.bootstrap import mean_interval
from deepcritic.microworld.lessons import deep_check, numbered
from deepcritic.microworld.world import Problem, draw_problem, judge, write_solution
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.samplers.base import Request
from deepcritic.schema import ALL_CORRECT, Dialogue, Example, Generation, Gold, Item, Message
from deepcritic.stages import rl
from deepcritic.tasks.metrics_types import ProofFigures
from deepcritic.tasks.proof import Proof

SEEDS = (1, 2, 3)
RUNS = Path("runs")
TEMPLATE = "deepcritic://microworld/templates/proof.txt"
STEPS, TRAIN, RL_ROWS, TEST = 3, 900, 240, 240
MADE_UP = 0.4
"""The share of the low grades whose issue is made up, in the critiques that the critic learns from."""
SFT = "stage.epochs=4 stage.learning_rate=0.001 stage.batch_size=16 stage.device_batch_size=16 stage.max_length=512"
RL: dict[str, Any] = {
    "steps": 20, "prompts_per_step": 4, "num_generations": 8, "device_batch_size": 32, "learning_rate": 3e-4, "beta": 0.0,
    "max_tokens": 128, "prefilter_samples": 0, "save_steps": 10, "logging_steps": 5, "log_groups": 2, "collapse_threshold": None,
}  # fmt: skip
ISSUE = re.compile(r"Step ([1-9])\b")


class Rule:
    """The judge: 1 if the step that the issue names is wrong, else 0. It reads the prompt alone."""

    model_id = "rule"

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation]:
        for request in requests:
            text = request.messages[-1].content
            blocks = {name: _block(text, name) for name in ("problem", "solution", "critique")}
            real = is_real(blocks["problem"], blocks["solution"], Proof().issues(blocks["critique"]))
            for key, seed in zip(request.keys, request.seeds, strict=True):
                yield Generation(key=key, text=f"\\boxed{{{int(real)}}}", finish_reason="stop", model=self.model_id, seed=seed,
                                 fingerprint=request.fingerprint(self.model_id))  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _block(text: str, name: str) -> str:
    return text.partition(f"<{name}>\n")[2].partition(f"\n</{name}>")[0]


def is_real(problem: str, solution: str, issues: Iterable[str]) -> bool:
    """Whether every issue names a step that is wrong."""
    steps = [line.partition(": ")[2] for line in solution.splitlines() if line.startswith("Step ")]
    named = [int(found[1]) for issue in issues if (found := ISSUE.search(issue))]
    world = Problem.read(problem)
    return bool(named) and all(step <= len(steps) and not deep_check(world, steps, step)[1] for step in named)


def proofs(seed: int, split: str, count: int, name: str) -> list[tuple[Example, Problem, list[str]]]:
    """Graded solutions, a third with each grade."""
    rng, made = random.Random(f"{seed}/{name}"), list[tuple[Example, Problem, list[str]]]()
    while len(made) < count:
        problem = draw_problem(rng, split, (STEPS,))
        steps = write_solution(problem, rng, {"slip": 0.15, "operand": 0.15})
        truth = judge(problem, steps)
        if truth is None:
            continue
        grade = {ALL_CORRECT: 1.0, STEPS: 0.5}.get(truth.first_error, 0.0)
        if grade != (1.0, 0.5, 0.0)[len(made) % 3]:
            continue
        plain = [step.split("\n")[0] for step in steps]  # without the final answer
        item = Item(problem=problem.text, steps=(numbered(plain),))
        row = Example(id=f"{name}-{len(made)}", item=item, gold=Gold(grade=grade), source="microworld", license="Apache-2.0")
        made.append((row, problem, plain))
    return made


def lesson(row: Example, problem: Problem, steps: list[str], rng: random.Random) -> str:
    """A critique with the right grade. Its issue is made up in some of the critiques with a low grade."""
    checks = [deep_check(problem, steps, index) for index in range(1, STEPS + 1)]
    text = "\n".join(one for one, _ in checks)
    wrong = [index for index, (_, good) in enumerate(checks, start=1) if not good]
    right = [index for index in range(1, STEPS + 1) if index not in wrong]
    if row.gold.grade == 1.0:
        issues = "Issues: none"
    else:
        named = rng.choice(right) if right and rng.random() < MADE_UP else wrong[0]
        issues = f"Issues:\n1. Step {named} is wrong."
    return f"{text}\n{issues}\n{Proof().format(row.gold.grade or 0.0)}"


def run(seed: int) -> None:
    folder = RUNS / f"proofs-{seed}"
    task = Proof(template=TEMPLATE)
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(f"lessons/{seed}")
    train = proofs(seed, "train", TRAIN, "train")
    dialogues = [
        Dialogue(
            id=row.id, task=task.name, verdict=row.gold.grade, source="microworld", license="Apache-2.0",
            messages=(*task.ask(row.item).messages, Message(role="assistant", content=lesson(row, problem, steps, rng))),
        )
        for row, problem, steps in train
    ]  # fmt: skip
    write_rows(folder / "dialogues.jsonl", dialogues)
    write_rows(folder / "rl.jsonl", [row for row, _, _ in proofs(seed, "train", RL_ROWS, "rl")])
    write_rows(folder / "test.jsonl", [row for row, _, _ in proofs(seed, "test", TEST, "test")])
    common = f"task=proof task.template={TEMPLATE} run={folder.name} seed={seed}"
    command(f"stage=sft model=deepcritic://microworld/models/base stage.dialogues={folder}/dialogues.jsonl {SFT} {common}")
    start = str(folder / "sft" / "model")
    for name, judge_model in (("plain", None), ("meta", "rule")):
        options = rl.RLOptions(examples=str(folder / "rl.jsonl"), model=start, seed=seed, meta_judge=judge_model, **RL)
        config = {"arm": name, "seed": seed, **{key: str(value) for key, value in RL.items()}}
        with RunFolder(folder / f"rl.{name}", stage="rl", config=config) as open_folder:
            rl.run(open_folder, options, task=task, sampler=lambda **_: Rule())
    for name, model in (("sft", start), ("plain", f"{folder}/rl.plain/model"), ("meta", f"{folder}/rl.meta/model")):
        command(
            f"stage=evaluate name={name} benchmark=examples benchmark.path={folder}/test.jsonl model={model} "
            f"stage.temperature=1.0 stage.top_p=1.0 stage.max_tokens={RL['max_tokens']} {common}"
        )


def command(line: str) -> None:
    if code := deepcritic(line.split()):
        raise SystemExit(code)


def made_up(folder: Path) -> np.ndarray:
    """For each row: 1 if its reply has a low grade with an issue that is not real, else 0."""
    task, items = Proof(), {row.id: row.item for row in read_rows(folder / "examples.jsonl", Example)}
    values = dict.fromkeys(items, 0.0)
    for reply in read_rows(folder / "generations.jsonl", Generation):
        item, grade, issues = items[reply.key.example_id], task.parse(reply.text), task.issues(reply.text)
        if grade is not None and grade < 1 and issues and not is_real(item.problem, item.steps[0], issues):
            values[reply.key.example_id] = 1.0
    return np.array([values[name] for name in sorted(values)])


def known(interval: tuple[float | None, float | None] | None) -> tuple[float, float] | None:
    low, high = interval or (None, None)
    return None if low is None or high is None else (low, high)


def figures(seed: int) -> list[Found]:
    found, invented, exact = list[Found](), dict[str, Any](), dict[str, Any]()
    for name, title in (("sft", "before RL"), ("plain", "plain reward"), ("meta", "meta-verified reward")):
        folder = RUNS / f"proofs-{seed}" / f"evaluate.{name}"
        (part,) = read_metrics(folder).benchmarks.values()
        assert isinstance(part, ProofFigures)
        assert part.accuracy is not None
        invented[name] = made_up(folder)
        exact[name] = np.array([row.correct for row in sorted(read_judged(folder), key=lambda row: row.id)])
        interval = [100 * bound for bound in mean_interval(invented[name])]
        found += [
            Found(f"{title}: replies with a made-up issue", 100 * float(invented[name].mean()), interval, None, True),
            Found(f"{title}: exact grades", part.accuracy, known(part.accuracy_interval), None, True),
            Found(f"{title}: quadratic kappa", part.kappa or 0.0, known(part.kappa_interval)),
            Found(f"{title}: mean absolute error", part.mae or 0.0, known(part.mae_interval), None, True),
        ]
        if name == "sft" and part.constant_baseline is not None:
            base = part.constant_baseline
            found.append(
                Found("best constant grade: exact grades", base.accuracy or 0.0, known(base.accuracy_interval), None, True)
            )
            found.append(Found("best constant grade: mean absolute error", base.mae or 0.0, known(base.mae_interval), None, True))
    for what, difference, bounds in (
        ("made-up issues, plain minus meta-verified", invented["plain"] - invented["meta"], ABOVE_ZERO),
        ("made-up issues, before RL minus plain", invented["sft"] - invented["plain"], None),
        ("exact grades, meta-verified minus plain", exact["meta"] - exact["plain"], None),
        ("exact grades, plain minus before RL", exact["plain"] - exact["sft"], ABOVE_ZERO),
    ):
        interval = [100 * bound for bound in mean_interval(difference)]
        found.append(Found(what, 100 * float(difference.mean()), interval, bounds))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    arguments = parser.parse_args()
    begin(__doc__ or "", arguments.seeds)
    for seed in arguments.seeds:
        run(seed)
    rows = by_seed({seed: figures(seed) for seed in arguments.seeds})
    keep("proofs", rows, table=evidence(rows))
    show(rows)


if __name__ == "__main__":
    main()

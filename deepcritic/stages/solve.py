"""A generator solves problems step by step; answers are compared with the reference.

python -m deepcritic stage=solve stage.problems=runs/x/prepare/examples.jsonl generator=PATH run=x
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepcritic.answers import compare
from deepcritic.errors import InputError, UsageError
from deepcritic.parsing import last_boxed, split_steps
from deepcritic.prompting import Template
from deepcritic.rows import Example, Generation, Gold, Item
from deepcritic.runs import RunFolder
from deepcritic.samplers import Sampler, Sampling
from deepcritic.sampling import Draws, engine_for, request
from deepcritic.sources import examples as example_rows
from deepcritic.store import write_rows
from deepcritic.tasks import Question

FILE = "solutions.jsonl"
CALL = "solve"
PROMPT = r"""---
fields: [problem]
index_base: 1
---
{{problem}}

Solve this in numbered steps, each beginning with "Step 1:", "Step 2:" and so on. State the final answer in the last
step, as \boxed{answer}.
"""


def run(
    folder: RunFolder,
    *,
    problems: str,
    generator: str | None,
    sampler: Callable[..., Sampler],
    template: str | None = None,
    prefix: str = "Step 1:",
    samples: int = 8,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_tokens: int = 2048,
    keep: str = "contrast",
    max_right: int = 1,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns the manifest; writes `solutions.jsonl`, each row with whether its answer is right.

    `keep="contrast"` keeps a problem only if one of its solutions is right and one is wrong with a readable answer:
    of the right ones `max_right`, of the wrong ones all (DeepCritic's filter). `keep="all"` keeps every readable one.
    """
    if keep not in {"contrast", "all"}:
        raise UsageError(f"stage.keep must be contrast or all; found {keep!r}")
    engine = engine_for(sampler, generator, "generator")
    prompt = Template.of(template, PROMPT)
    if not folder.begin(problems=Path(problems), model=engine.model_id, prompt=prompt.sha):
        return folder.manifest or {}
    rows = list(example_rows.read(problems))[:limit]
    sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens)
    requests = (
        request(
            Question(messages=prompt.messages(problem=row.item.problem), prefix=prefix),
            sampling, example_id=row.id, call=CALL, seed=seed, samples=range(samples),
        )
        for row in rows
    )  # fmt: skip
    with Draws(folder) as draws:
        drawn = draws.collect(requests, engine, "solutions")
        draws.finish()
    by_problem: dict[str, list[Generation]] = {}
    for generation in drawn:
        by_problem.setdefault(generation.key.example_id, []).append(generation)
    solutions = judge_answers(rows, by_problem)
    kept = select(solutions, folder, keep, max_right)
    ledger = folder.ledger("solutions")
    ledger.enter(len(rows) * samples)
    ledger.fail("no reply", len(rows) * samples - len(drawn))
    ledger.keep(write_rows(folder / FILE, kept))
    right = sum(row.gold.answer_right is True for row in solutions)
    readable = sum(row.gold.answer_right is not None for row in solutions)
    print(f"{folder.path}: {len(solutions)} solutions, {right} with the right answer; {len(kept)} kept")
    return folder.finish(model=engine.model_id, right=right, readable=readable)


def judge_answers(problems: list[Example], generations: dict[str, list[Generation]]) -> list[Example]:
    """One row for each solution, in the order of the problems, with `answer_right` None where it cannot be read."""
    rows, pairs = [], []
    for problem in problems:
        reference = problem.gold.reference_answer
        if reference is None:
            raise InputError(
                "the problem has no reference answer", field=f"{problem.id}: gold.reference_answer", remedy="an answer"
            )
        for generation in generations.get(problem.id, []):
            text = generation.prefix + generation.text
            answer = last_boxed(text)
            rows.append((problem, generation, text, answer))
            if answer is not None:
                pairs.append((answer, reference))
    decisions = (result.equal for result in compare(pairs))
    solutions = []
    for problem, generation, text, answer in rows:
        right = next(decisions) if answer is not None else None
        gold = Gold(reference_answer=problem.gold.reference_answer, answer_right=right)
        item = Item(problem=problem.item.problem, steps=tuple(split_steps(text)))
        identity = f"{problem.id}/s{generation.key.sample}"
        solutions.append(
            Example(id=identity, item=item, gold=gold, source=problem.source, parent_id=problem.id, license=problem.license)
        )
    return solutions


def select(solutions: list[Example], folder: RunFolder, keep: str, max_right: int) -> list[Example]:
    """The solutions that stay, the others counted with their reason."""
    ledger = folder.ledger("solutions")
    by_problem: dict[str | None, list[Example]] = {}
    for row in solutions:
        if row.gold.answer_right is None or not row.item.steps:
            ledger.drop("no readable answer")
        else:
            by_problem.setdefault(row.parent_id, []).append(row)
    kept = []
    for rows in by_problem.values():
        if keep == "all":
            kept += rows
            continue
        right = [row for row in rows if row.gold.answer_right]
        wrong = [row for row in rows if not row.gold.answer_right]
        if not right or not wrong:
            ledger.drop("all wrong" if wrong else "all right", len(rows))
            continue
        ledger.drop("more right ones than wanted", max(0, len(right) - max_right))
        kept += right[:max_right] + wrong
    return kept

"""Critique, then rewrite from the first wrong step on: does the answer get better?

python -m deepcritic stage=refine stage.solutions=.../solutions.jsonl model=CRITIC generator=PATH run=x
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from deepcritic.metrics import mean_interval
from deepcritic.prompting import Template
from deepcritic.rows import ALL_CORRECT, Example, Generation
from deepcritic.runs import RunFolder
from deepcritic.samplers import Sampler, Sampling
from deepcritic.sampling import Draws, engine_for, request
from deepcritic.sources import examples as example_rows
from deepcritic.stages.solve import judge_answers
from deepcritic.store import write_json, write_rows
from deepcritic.tasks import CriticTask, Question

FILE = "refined.jsonl"
PROMPT = r"""---
fields: [problem, solution, critique, step]
index_base: 1
---
<problem>
{{problem}}
</problem>

Somebody wrote this solution:

<solution>
{{solution}}
</solution>

A reviewer found step {{step}} wrong:

<review>
{{critique}}
</review>

Write the solution anew from that step on, in numbered steps, each beginning with "Step 1:", "Step 2:" and so on. Keep
the steps before it. State the final answer in the last step, as \boxed{answer}.
"""


def run(
    folder: RunFolder,
    *,
    solutions: str,
    task: CriticTask[int],
    model: str | None,
    generator: str | None,
    sampler: Callable[..., Sampler],
    template: str | None = None,
    critique_temperature: float = 0.6,
    critique_top_p: float = 0.9,
    critique_tokens: int = 8192,
    temperature: float = 0.7,
    top_p: float = 0.9,
    max_tokens: int = 4096,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns the metrics; writes `refined.jsonl`. Where the critique is unreadable, or finds nothing, the solution stands."""
    critic, writer = engine_for(sampler, model, "model"), engine_for(sampler, generator, "generator")
    prompt = Template.of(template, PROMPT)
    inputs = {"critic": critic.model_id, "generator": writer.model_id}
    if not folder.begin(solutions=Path(solutions), prompt=prompt.sha, **inputs):
        return folder.manifest or {}
    rows = list(example_rows.read(solutions))[:limit]
    judging = Sampling(temperature=critique_temperature, top_p=critique_top_p, max_tokens=critique_tokens)
    writing = Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens)
    with Draws(folder) as draws:
        asked = (request(task.ask(row.item), judging, example_id=row.id, call="critique", seed=seed) for row in rows)
        critiques = {draw.key.example_id: draw for draw in draws.collect(asked, critic, "critiques")}
        flagged = {
            name: step for name, draw in critiques.items()
            if (step := task.parse(draw.text, draw.context)) is not None and step != ALL_CORRECT
        }  # fmt: skip
        rewrites = (
            request(_question(row, flagged[row.id], critiques[row.id], prompt), writing, example_id=row.id,
                    call="rewrite", seed=seed, step=flagged[row.id], parent=critiques[row.id].key.text)
            for row in rows if row.id in flagged and flagged[row.id] <= len(row.item.steps)
        )  # fmt: skip
        rewritten = {draw.key.example_id: draw for draw in draws.collect(rewrites, writer, "rewrites")}
        counts = draws.finish()
    after = _after(rows, rewritten)
    write_rows(folder / FILE, after)
    ledger = folder.ledger("solutions")
    ledger.enter(len(rows))
    ledger.keep(len(after))
    metrics = {
        **outcome(rows, after),
        "rewritten": len(rewritten),
        "unreadable": len(critiques) - _readable(task, critiques),
        **counts,
    }
    write_json(folder / "metrics.json", metrics)
    print(
        f"{folder.path}: right answers {metrics['before']:.1f}% before, {metrics['after']:.1f}% after "
        f"({metrics['wrong_to_right']} wrong to right, {metrics['right_to_wrong']} right to wrong)"
    )
    folder.finish(**inputs, metrics="metrics.json")
    return metrics


def outcome(before: list[Example], after: list[Example]) -> dict[str, Any]:
    """Accuracy in percent before and after, the moves, and the 95% interval of the gain, problems drawn together."""
    was = np.array([row.gold.answer_right is True for row in before], float)
    now = np.array([row.gold.answer_right is True for row in after], float)
    low, high = mean_interval(now - was, [row.parent_id or row.id for row in before])
    return {
        "solutions": len(before),
        "before": round(100 * float(was.mean()), 4),
        "after": round(100 * float(now.mean()), 4),
        "gain_interval": [round(100 * low, 4), round(100 * high, 4)],
        "wrong_to_right": int(((was == 0) & (now == 1)).sum()),
        "right_to_wrong": int(((was == 1) & (now == 0)).sum()),
    }


def _question(row: Example, step: int, critique: Generation, prompt: Template) -> Question:
    """The reply begins with the steps before the wrong one, so that only what follows is written anew."""
    kept = row.item.steps[: step - 1]
    messages = prompt.messages(
        problem=row.item.problem,
        solution=prompt.solution(row.item.steps),
        critique=critique.text,
        step=step - 1 + prompt.index_base,
    )
    return Question(messages=messages, prefix=prompt.solution(kept) + "\n" if kept else "")


def _after(rows: list[Example], rewritten: dict[str, Generation]) -> list[Example]:
    """The rows with rewritten solutions judged anew; a rewrite without a readable answer is a wrong answer."""
    changed = [row for row in rows if row.id in rewritten]
    judged = judge_answers(changed, {name: [draw] for name, draw in rewritten.items()})
    by_id = {row.id: new for row, new in zip(changed, judged, strict=True)}
    return [
        msgspec.structs.replace(row, item=by_id[row.id].item, gold=by_id[row.id].gold) if row.id in by_id else row for row in rows
    ]


def _readable(task: CriticTask[int], critiques: dict[str, Generation]) -> int:
    return sum(task.parse(draw.text, draw.context) is not None for draw in critiques.values())

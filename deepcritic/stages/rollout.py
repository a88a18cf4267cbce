"""Continue every beginning of a solution several times: the draws from which step labels are made.

python -m deepcritic stage=rollout stage.solutions=runs/x/solve/solutions.jsonl generator=PATH run=x
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from deepcritic.prompting import Template
from deepcritic.rows import Example
from deepcritic.runs import RunFolder
from deepcritic.samplers import Request, Sampler, Sampling
from deepcritic.sampling import Draws, engine_for, request
from deepcritic.sources import examples as example_rows
from deepcritic.stages.solve import PROMPT
from deepcritic.tasks import Question

CALL = "rollout"


def run(
    folder: RunFolder,
    *,
    solutions: str,
    generator: str | None,
    sampler: Callable[..., Sampler],
    template: str | None = None,
    samples: int = 8,
    temperature: float = 0.7,
    top_p: float = 0.9,
    max_tokens: int = 4096,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns the manifest; writes `generations.jsonl`, whose keys' `step` says how many steps were given."""
    engine = engine_for(sampler, generator, "generator")
    prompt = Template.of(template, PROMPT)
    if not folder.begin(solutions=Path(solutions), model=engine.model_id, prompt=prompt.sha):
        return folder.manifest or {}
    rows = list(example_rows.read(solutions))
    sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens)
    with Draws(folder) as draws:
        drawn = draws.collect(_requests(rows, prompt, sampling, samples, seed), engine, "rollouts")
        draws.finish()
    asked = sum(max(0, len(row.item.steps) - 1) for row in rows) * samples
    ledger = folder.ledger("rollouts")
    ledger.enter(asked)
    ledger.keep(len(drawn))
    ledger.fail("no reply", asked - len(drawn))
    return folder.finish(model=engine.model_id, solutions=len(rows))


def _requests(rows: list[Example], prompt: Template, sampling: Sampling, samples: int, seed: int) -> Iterator[Request]:
    for row in rows:
        messages = prompt.messages(problem=row.item.problem)
        for given in range(1, len(row.item.steps)):
            question = Question(messages=messages, prefix=prompt.solution(row.item.steps[:given]) + "\n")
            yield request(question, sampling, example_id=row.id, call=CALL, seed=seed, step=given, samples=range(samples))

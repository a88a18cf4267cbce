"""A generator solves problems step by step; answers are compared with the reference.

python -m deepcritic stage=solve stage.problems=runs/x/prepare/examples.jsonl generator=PATH run=x
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepcritic.answers import COMPARED
from deepcritic.datasets import examples as example_rows
from deepcritic.errors import InputError, UsageError
from deepcritic.evaluation.contamination import Problems
from deepcritic.labels.solving import CALL, PROMPT, Selection, by_problem, judge_answers, usable
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import write_rows
from deepcritic.samplers.base import Sampler, Sampling
from deepcritic.samplers.resume import Draws, engine_for, request
from deepcritic.tasks.base import Question
from deepcritic.text.prompt_template import Template

FILE = "solutions.jsonl"


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
    max_tokens: int | None = None,
    keep: str = "contrast",
    max_right: int = 1,
    min_steps: int = 1,
    contamination: list[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns the manifest; writes `solutions.jsonl`, each row with whether its answer is right.

    `keep="contrast"` keeps a problem only if one of its solutions is right and one is wrong with a readable answer:
    of the right ones `max_right`, of the wrong ones all (DeepCritic's filter). `keep="all"` keeps every readable one.
    Solutions that fall into fewer than `min_steps` steps are set aside, and those that are all one step are counted.
    Problems that occur in the files or hub data sets of `contamination` are left out, and so are those without a reference
    answer that the checker can read: `set_aside.jsonl` lists them.
    """
    if keep not in {"contrast", "all"}:
        raise UsageError(f"stage.keep must be contrast or all; found {keep!r}")
    for field, value, least in (("samples", samples, 1), ("max_right", max_right, 0), ("min_steps", min_steps, 1)):
        if value < least:
            raise InputError("out of range", field=f"stage.{field}", found=value, expected=f"a whole number from {least}")
    engine = engine_for(sampler, generator, "generator")
    prompt = Template.of(template, PROMPT)
    benchmarks = [contamination] if isinstance(contamination, str) else contamination or []
    inside = {f"contamination {file}": Path(file) for file in benchmarks if Path(file).is_file()}
    if not folder.begin(problems=Path(problems), model=engine.model_id, prompt=prompt.sha, **inside):
        return folder.manifest or {}
    rows, resembling = usable(itertools.islice(example_rows.read(problems), limit), folder, Problems.of(benchmarks))
    rows = folder.sampled_for_probe(rows, lambda row: row.id)
    sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens)
    requests = (
        request(
            Question(messages=prompt.messages(problem=row.item.problem), prefix=prefix),
            sampling, example_id=row.id, call=CALL, seed=seed, samples=range(samples),
        )
        for row in rows
    )  # fmt: skip
    with Draws(folder) as draws:
        drawn = draws.collect(requests, engine, "solutions", total=len(rows) * samples)
        draws.finish()
    chosen = Selection(folder, keep, max_right)
    folder.ledger("solutions").enter(len(rows) * samples)
    folder.ledger("solutions").fail("no reply", len(rows) * samples - len(drawn))
    solutions = judge_answers(rows, drawn, folder / COMPARED, min_steps)
    kept = write_rows(folder / FILE, (row for _, of in by_problem(solutions) for row in chosen.of(list(of))))
    print(f"{folder.path}: {len(drawn)} solutions, {chosen.right} with the right answer; {kept} kept")
    if chosen.unsplit:
        print(
            f"{folder.path}: {chosen.unsplit} of {chosen.readable} readable solutions are one step: nothing parts them "
            "(stage.min_steps=2 leaves them out; stage=prepare stage.split=sentences splits them)"
        )
    facts = {"right": chosen.right, "readable": chosen.readable, "unsplit": chosen.unsplit, "solving": chosen.cost}
    if benchmarks:
        facts["contamination"] = {"files": benchmarks, "resembling": resembling}
    return folder.finish(model=engine.model_id, **facts)

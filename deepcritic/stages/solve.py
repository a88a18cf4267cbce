"""Solve problems step by step with a generator; compare answers with the reference.

python -m deepcritic stage=solve stage.problems=runs/x/prepare/examples.jsonl generator=PATH run=x
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepcritic.answers import COMPARED
from deepcritic.datasets import examples as example_rows
from deepcritic.datasets.limits import limited
from deepcritic.evaluation.contamination import Problems
from deepcritic.labels.solving import CALL, PROMPT, Selection, by_problem, judge_answers, usable
from deepcritic.options import REQUIRED, Options, option
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import write_rows
from deepcritic.samplers.base import Sampler, Sampling
from deepcritic.samplers.resume import Draws, engine_for, request
from deepcritic.tasks.base import Question
from deepcritic.text.prompt_template import Template

FILE = "solutions.jsonl"


@dataclass(frozen=True, kw_only=True)
class SolveOptions(Options):
    """Sample step-by-step solutions and compare their answers with the reference."""

    problems: str = option(REQUIRED, "examples.jsonl of stage=prepare", group="Data")
    limit: int | None = option(None, "number of problems; null: all", at_least=0)
    contamination: Sequence[str] | str | None = option(
        [], "benchmark files or hub data sets; problems that occur in them are excluded", top=True
    )
    generator: str | None = option(
        None, "model that writes the solutions: local folder, GGUF file or hub id (ORG/NAME@revision)",
        group="Model", top=True,
    )  # fmt: skip
    template: str | None = option(None, "file with the prompt; null: built-in")
    prefix: str = option("Step 1:", "beginning of every solution")
    samples: int = option(8, "solutions per problem", group="Sampling", at_least=1, extends=True)
    temperature: float = option(1.0, "sampling temperature", at_least=0)
    top_p: float = option(1.0, "nucleus sampling")
    max_tokens: int | None = option(None, "maximum tokens per solution; null: up to the context length")
    seed: int = option(0, "random seed", top=True)
    keep: str = option(
        "contrast", "contrast: only problems with both a correct and a wrong solution; all: every readable solution",
        group="Selection", choices=("contrast", "all"),
    )  # fmt: skip
    max_correct: int = option(1, "maximum correct solutions kept per problem", was="max_right", at_least=0, needs="keep=contrast")
    min_steps: int = option(1, "minimum steps per solution; shorter solutions are excluded and counted", at_least=1)


def run(folder: RunFolder, options: SolveOptions, *, sampler: Callable[..., Sampler]) -> dict[str, Any]:
    """Return the manifest. Writes `solutions.jsonl`, with whether each answer is right, and `set_aside.jsonl`.

    `keep="contrast"` is DeepCritic's filter. It keeps a problem if one solution is right and one is wrong with a readable
    answer, and then keeps `max_correct` right solutions and all wrong ones. Problems without a readable reference answer and
    problems that occur in `contamination` go to `set_aside.jsonl`.
    """
    engine = engine_for(sampler, options.generator, "generator")
    prompt = Template.of(options.template, PROMPT)
    benchmarks = [options.contamination] if isinstance(options.contamination, str) else options.contamination or []
    inside = {f"contamination {file}": Path(file) for file in benchmarks if Path(file).is_file()}
    if not folder.begin(problems=Path(options.problems), model=engine.model_id, prompt=prompt.sha, **inside):
        return folder.manifest or {}
    problems = limited(example_rows.read(options.problems), options.limit)
    rows, resembling = usable(problems, folder, Problems.of(benchmarks))
    rows = folder.sampled_for_probe(rows, lambda row: row.id)
    sampling = Sampling(temperature=options.temperature, top_p=options.top_p, max_tokens=options.max_tokens)
    requests = (
        request(
            Question(messages=prompt.messages(problem=row.item.problem), prefix=options.prefix),
            sampling, example_id=row.id, call=CALL, seed=options.seed, samples=range(options.samples),
        )
        for row in rows
    )  # fmt: skip
    with Draws(folder) as draws:
        drawn = draws.collect(requests, engine, "solutions", total=len(rows) * options.samples)
        draws.finish()
    chosen = Selection(folder, options.keep, options.max_correct)
    folder.ledger("solutions").enter(len(rows) * options.samples)
    folder.ledger("solutions").fail("no reply", len(rows) * options.samples - len(drawn))
    solutions = judge_answers(rows, drawn, folder / COMPARED, options.min_steps)
    kept = write_rows(folder / FILE, (row for _, of in by_problem(solutions) for row in chosen.of(list(of))))
    print(f"{folder.path}: {len(drawn)} solutions, {chosen.right} with the correct answer; {kept} kept")
    if chosen.unsplit:
        print(
            f"{folder.path}: {chosen.unsplit} of {chosen.readable} readable solutions have only one step "
            "(stage.min_steps=2 excludes them; stage=prepare stage.split=rule splits them)"
        )
    facts = {"right": chosen.right, "readable": chosen.readable, "unsplit": chosen.unsplit, "solving": chosen.cost}
    if benchmarks:
        facts["contamination"] = {"files": benchmarks, "resembling": resembling}
    return folder.finish(model=engine.model_id, **facts)

"""Vote over several solutions per problem, and measure what a critic adds and costs.

python -m deepcritic stage=vote stage.solutions=.../solve/generations.jsonl stage.problems=.../problems.jsonl model=CRITIC run=x
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepcritic.answers import COMPARED, compare
from deepcritic.critic import Critic, Critique
from deepcritic.datasets import examples as example_rows
from deepcritic.datasets.limits import limited
from deepcritic.datasets.own import rows_of
from deepcritic.errors import InputError
from deepcritic.evaluation.hints import Samples
from deepcritic.evaluation.voting import Candidate, voting_metrics
from deepcritic.options import REQUIRED, Options, option
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import write_json, write_rows
from deepcritic.samplers.base import Sampler
from deepcritic.samplers.resume import Draws, engine_for
from deepcritic.schema import Example, Failure, Generation, Item, Key
from deepcritic.tasks.base import CriticTask
from deepcritic.text.parsing import final_text, last_boxed
from deepcritic.text.steps import split_steps

FILE = "votes.jsonl"


@dataclass(frozen=True, kw_only=True)
class VoteOptions(Options):
    """Vote over several solutions of a problem, with and without a critic."""

    problems: str = option(REQUIRED, "examples.jsonl of stage=prepare, with reference answers", group="Data")
    solutions: str = option(REQUIRED, "generations.jsonl of stage=solve")
    limit: int | None = option(None, "number of problems; null: all", at_least=0)
    model: str | None = option(None, "critic: local folder, GGUF file or hub id (ORG/NAME@revision)", group="Model", top=True)
    critiqued: int = option(
        8, "solutions per problem that the critic reads; the others are used for plain voting with equal tokens",
        group="Sampling", was="criticised", at_least=1, extends=True,
    )  # fmt: skip
    samples: int = option(1, "critiques per solution", at_least=1, extends=True)
    temperature: float = option(0.6, "sampling temperature", at_least=0)
    top_p: float = option(0.9, "nucleus sampling")
    max_tokens: int | None = option(None, "maximum tokens per critique; null: up to the context length")
    seed: int = option(0, "random seed", top=True)


def run(folder: RunFolder, options: VoteOptions, *, task: CriticTask[int], sampler: Callable[..., Sampler]) -> dict[str, Any]:
    """Return the metrics. Writes `votes.jsonl`."""
    engine = engine_for(sampler, options.model, "model")
    if not folder.begin(problems=Path(options.problems), solutions=Path(options.solutions), model=engine.model_id):
        return folder.manifest or {}
    rows = _with_reference(list(limited(example_rows.read(options.problems), options.limit)), folder, options.problems)
    drawn = _by_problem(rows_of(options.solutions, Generation), rows)
    critic = Critic(
        sampler=engine, samples=options.samples, temperature=options.temperature, top_p=options.top_p,
        max_tokens=options.max_tokens, task=task, seed=options.seed,
    )  # fmt: skip
    items = {
        f"{name}/s{draw.key.sample}": Item(
            problem=rows[name].item.problem, steps=tuple(split_steps(final_text(draw.prefix, draw.text)))
        )
        for name, draws_of in drawn.items() for draw in draws_of[:options.critiqued]
    }  # fmt: skip
    asked = [critic.question(item, example_id=name) for name, item in items.items() if item.steps]
    outcomes: dict[Key, Generation | Failure] = {key: Failure(key=key, reason="no reply") for one in asked for key in one.keys}
    with Draws(folder) as draws:
        asked = folder.sampled_for_probe(asked, lambda one: one.keys[0].example_id)
        outcomes |= {reply.key: reply for reply in draws.collect(asked, engine, "critiques")}
        counts = draws.finish()
    by_solution: dict[str, list[Generation | Failure]] = {name: [] for name in items}
    for key, outcome in outcomes.items():
        by_solution[key.example_id].append(outcome)
    critiques = {name: critic.judge(item, by_solution[name]) for name, item in items.items()}
    candidates, undecided = _candidates(rows, drawn, critiques, folder / COMPARED)
    write_rows(folder / FILE, candidates)
    metrics = {**voting_metrics(candidates, options.critiqued), "undecided": undecided, **counts}
    write_json(folder / "metrics.json", metrics)
    ledger = folder.ledger("problems")
    ledger.keep(len(rows))
    hints = _hints(drawn.values(), by_solution.values(), options.temperature)
    folder.finish(model=engine.model_id, metrics="metrics.json", hints=hints)
    _show(folder.path, metrics)
    for hint in hints:
        print(f"warning: {hint}")
    return metrics


def _hints(
    drawn: Iterable[Sequence[Generation]], critiques: Iterable[Sequence[Generation | Failure]], temperature: float
) -> list[str]:
    """Warnings about the solutions and about their critiques."""
    solutions, samples = Samples(), Samples()
    for draws in drawn:
        solutions.see([draw.prefix + draw.text for draw in draws])
    for outcomes in critiques:
        samples.see([one.prefix + one.text for one in outcomes if isinstance(one, Generation)])
    return [f"solutions: {hint}" for hint in solutions.hints()] + [f"critiques: {hint}" for hint in samples.hints(temperature)]


def _with_reference(rows: list[Example], folder: RunFolder, file: str) -> dict[str, Example]:
    ledger = folder.ledger("problems")
    ledger.enter(len(rows))
    kept = {row.id: row for row in rows if row.gold.reference_answer is not None}
    if len(kept) < len(rows):
        ledger.drop("no reference answer", len(rows) - len(kept))
    if not kept:
        raise InputError("no usable problem", file=file, field="gold.reference_answer", expected="rows with a reference answer")
    return kept


def _by_problem(generations: Iterable[Generation], rows: dict[str, Example]) -> dict[str, list[Generation]]:
    """The solutions of each problem, ordered by sample; every problem has at least one."""
    drawn: dict[str, list[Generation]] = {name: [] for name in rows}
    for draw in generations:
        if draw.key.example_id in drawn:
            drawn[draw.key.example_id].append(draw)
    for name, draws_of in drawn.items():
        if not draws_of:
            raise InputError(
                "the problem has no solutions",
                field="stage.solutions",
                found=name,
                expected="at least one generation per problem",
            )
        draws_of.sort(key=lambda draw: draw.key.sample)
    return drawn


def _candidates(
    rows: dict[str, Example], drawn: dict[str, list[Generation]], critiques: dict[str, Critique], cache: Path
) -> tuple[list[Candidate], dict[str, int]]:
    """One candidate per solution, and counts of undecidable answers by reason."""
    boxes = {
        (name, draw.key.sample): last_boxed(final_text(draw.prefix, draw.text))
        for name, draws_of in drawn.items()
        for draw in draws_of
    }
    pairs = {(answer, str(rows[name].gold.reference_answer)): None for (name, _), answer in boxes.items() if answer is not None}
    compared = dict(zip(pairs, compare(pairs, cache=cache), strict=True))
    candidates: list[Candidate] = []
    undecided: Counter[str] = Counter()
    for (name, sample), answer in boxes.items():
        critique = critiques.get(f"{name}/s{sample}")
        draw = next(draw for draw in drawn[name] if draw.key.sample == sample)
        found = None if answer is None else compared[answer, str(rows[name].gold.reference_answer)]
        if found is not None and found.right is None:
            undecided[found.reason] += 1
        candidates.append(
            Candidate(
                id=f"{name}/s{sample}",
                problem_id=name,
                answer=answer,
                right=None if found is None else found.right,
                # An unparsed critique neither accepts nor rejects.
                stands=None if critique is None else critique.first_error is None or critique.accepts,
                weight=None if critique is None else 0.5 if critique.acceptance is None else critique.acceptance,
                tokens=draw.prompt_tokens + draw.completion_tokens,
                critic_tokens=critique.tokens if critique else 0,
            )
        )
    return candidates, dict(sorted(undecided.items()))


def _show(path: Path, metrics: dict[str, Any]) -> None:
    print(f"{path}: {metrics['problems']} problems, {metrics['criticised']} solutions critiqued, {metrics['rejected']} rejected")
    for method, points in metrics["curves"].items():
        last = points[-1]
        low, high = last["interval"]
        print(
            f"  {method:<9} of {last['k']}: {last['accuracy']:.1f}% correct ({low:.1f} to {high:.1f}), "
            f"{last['tokens']:,.0f} tokens"
        )

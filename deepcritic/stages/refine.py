"""Critique, rewrite from the first wrong step on, and measure the accuracy gain.

python -m deepcritic stage=refine stage.solutions=.../solutions.jsonl model=CRITIC generator=PATH run=x
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from deepcritic.answers import COMPARED, compare
from deepcritic.critic import Critic, Critique
from deepcritic.datasets import examples as example_rows
from deepcritic.datasets.limits import class_of, limited
from deepcritic.errors import InputError
from deepcritic.metrics.bootstrap import mean_interval
from deepcritic.options import REQUIRED, Options, option
from deepcritic.refining import PROMPT, Refinement, refine_many, rewrite_question, solution_answer
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import write_json, write_rows
from deepcritic.samplers.base import Request, Sampler, Sampling
from deepcritic.samplers.resume import Draws, engine_for, request
from deepcritic.schema import UNLABELLED, Example, Failure, Generation, Item, Key
from deepcritic.tasks.base import CriticTask
from deepcritic.text.prompt_template import Template

FILE, TRACES = "refined.jsonl", "traces.jsonl"
Array = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class RefineOptions(Options):
    """Critique solutions, then rewrite them from the first wrong step on."""

    solutions: str = option(REQUIRED, "solutions with reference answers: solutions.jsonl of stage=solve", group="Data")
    limit: int | None = option(None, "number of solutions; null: all", at_least=0)
    model: str | None = option(None, "critic: local folder, GGUF file or hub id (ORG/NAME@revision)", group="Models", top=True)
    generator: str | None = option(None, "model that rewrites: local folder, GGUF file or hub id", top=True)
    template: str | None = option(None, "file with the rewriting prompt; null: built-in")
    rounds: int = option(1, "rounds of critique and rewrite", at_least=1)
    samples: int = option(1, "critiques per solution, combined by a vote", group="Sampling of critiques", at_least=1)
    critique_temperature: float = option(0.6, "sampling temperature", at_least=0)
    critique_top_p: float = option(0.9, "nucleus sampling")
    critique_max_tokens: int | None = option(
        None, "maximum tokens per critique; null: up to the context length", was="critique_tokens"
    )
    temperature: float = option(0.7, "sampling temperature", group="Sampling of rewrites", at_least=0)
    top_p: float = option(0.9, "nucleus sampling")
    max_tokens: int | None = option(None, "maximum tokens per rewrite; null: up to the context length")
    seed: int = option(0, "random seed", top=True)


def run(folder: RunFolder, options: RefineOptions, *, task: CriticTask[int], sampler: Callable[..., Sampler]) -> dict[str, Any]:
    """Return the metrics. Writes `refined.jsonl` (the final solutions) and `traces.jsonl` (every round).

    A solution is left unchanged if no verdict can be parsed or no error is found.
    """
    engines = {
        "critic": engine_for(sampler, options.model, "model"),
        "generator": engine_for(sampler, options.generator, "generator"),
    }
    prompt = Template.of(options.template, PROMPT)
    inputs = {role: engine.model_id for role, engine in engines.items()}
    if not folder.begin(solutions=Path(options.solutions), prompt=prompt.sha, **inputs):
        return folder.manifest or {}
    solutions = list(limited(example_rows.read(options.solutions), options.limit))
    rows = folder.sampled_for_probe(_usable(solutions, folder, options.solutions), lambda row: row.id, class_of)
    critic = Critic(
        sampler=engines["critic"], samples=options.samples, temperature=options.critique_temperature,
        top_p=options.critique_top_p, max_tokens=options.critique_max_tokens, task=task, seed=options.seed,
    )  # fmt: skip
    writing = Sampling(temperature=options.temperature, top_p=options.top_p, max_tokens=options.max_tokens)
    with Draws(folder) as draws:
        if folder.limits.dry_run:
            _count_at_most(draws, engines, rows, critic, prompt, writing, options.rounds)
            draws.finish()

        def draw(role: str, requests: list[Request]) -> dict[Key, Generation | Failure]:
            label = "critiques" if role == "critic" else "rewrites"
            missing = {key: Failure(key=key, reason="no reply") for asked in requests for key in asked.keys}
            return {**missing, **{reply.key: reply for reply in draws.collect(requests, engines[role], label)}}

        refined = refine_many(
            {row.id: row.item for row in rows}, critic=critic, draw=draw, prompt=prompt, rounds=options.rounds,
            seed=options.seed, writing=writing,
        )  # fmt: skip
        counts = draws.finish()
    verdicts, undecided = answers_right(rows, refined, options.rounds, folder / COMPARED)
    right = np.array([[verdict is True for verdict in line] for line in verdicts], float)
    after = [_after(row, refined[row.id], verdict) for row, verdict in zip(rows, verdicts[-1], strict=True)]
    write_rows(folder / FILE, after)
    write_rows(folder / TRACES, refined.values())
    folder.ledger("solutions").keep(len(after))
    metrics = {**figures(rows, refined, right), "undecided": undecided, **counts}
    write_json(folder / "metrics.json", metrics)
    print(
        f"{folder.path}: correct answers {metrics['before']:.1f}% before, {metrics['after']:.1f}% after "
        f"({metrics['wrong_to_right']} wrong to right, {metrics['right_to_wrong']} right to wrong)"
    )
    folder.finish(**inputs, metrics="metrics.json")
    return metrics


def _count_at_most(
    draws: Draws,
    engines: dict[str, Sampler],
    rows: list[Example],
    critic: Critic,
    prompt: Template,
    writing: Sampling,
    rounds: int,
) -> None:
    """Upper bound for a dry run: every round finds every last step wrong."""
    longer: int | None = 0
    for number in range(rounds):
        looks = (critic.question(row.item, example_id=row.id, step=number) for row in rows)
        draws.count_at_most(looks, engines["critic"], "critiques", more=longer)
        rewrites = (
            request(
                rewrite_question(row.item, Critique(steps=row.item.steps, first_error=len(row.item.steps)), prompt), writing,
                example_id=row.id, call="rewrite", seed=0, step=len(row.item.steps), parent=str(number),
            )
            for row in rows
        )  # fmt: skip
        draws.count_at_most(rewrites, engines["generator"], "rewrites", more=_more(longer, critic.sampling.max_tokens))
        longer = writing.max_tokens


def _more(*tokens: int | None) -> int | None:
    """The sum; None if a term is unbounded."""
    known = [one for one in tokens if one is not None]
    return sum(known) if len(known) == len(tokens) else None


def answers_right(
    rows: list[Example], refined: dict[str, Refinement], rounds: int, cache: Path
) -> tuple[list[list[bool | None]], dict[str, int]]:
    """Whether the answer equals the reference, by round (0: before) and row.

    An unreadable answer is wrong. None: the checker could not decide; the second value counts these by reason.
    If nothing was rewritten, the row's own `answer_right` is used, if present.
    """
    pairs: dict[tuple[str, str], None] = {}
    places: list[list[tuple[str, str] | bool]] = []
    for number in range(rounds + 1):
        places.append([])
        for row in rows:
            steps = refined[row.id].after(number)
            answer = solution_answer(steps)
            pair = None if answer is None else (answer, str(row.gold.reference_answer))
            if steps == row.item.steps and row.gold.answer_right is not None:
                places[-1].append(row.gold.answer_right)
            elif pair is None:
                places[-1].append(False)
            else:
                pairs[pair] = None
                places[-1].append(pair)
    found = dict(zip(pairs, compare(pairs, cache=cache), strict=True))
    reasons = Counter(found[place].reason for line in places for place in line if place in found and found[place].right is None)
    verdicts = [[found[place].right if isinstance(place, tuple) else place for place in line] for line in places]
    return verdicts, dict(sorted(reasons.items()))


def figures(rows: list[Example], refined: dict[str, Refinement], right: Array) -> dict[str, Any]:
    """Accuracy in percent before, after and by round; right/wrong transitions, outcomes, and tokens used."""
    trails = [refined[row.id] for row in rows]
    looks = [one for trail in trails for one in trail.rounds]
    return {
        **outcome(rows, right[0], right[-1]),
        "by_round": [outcome(rows, right[0], now) for now in right[1:]],
        "outcomes": dict(sorted(Counter(trail.outcome for trail in trails).items())),
        "rewritten": sum(one.rewrite is not None for one in looks),
        "unparsed": sum(one.critique.unparsed for one in looks),
        "critic_tokens": sum(one.critique.tokens for one in looks),
        "generator_tokens": sum(one.tokens for one in looks),
    }


def outcome(rows: list[Example], was: Array, now: Array) -> dict[str, Any]:
    """Accuracy before and after, the gain, and the transitions as counts and as a share. Shares are in percent, with 95%
    intervals that resample problems with all their solutions."""
    problems = [row.parent_id or row.id for row in rows]
    mended, spoilt = (was == 0) & (now == 1), (was == 1) & (now == 0)

    def interval(values: Array) -> list[float]:
        return [round(100 * bound, 4) for bound in mean_interval(values, problems)]

    return {
        "solutions": len(rows),
        "before": round(100 * float(was.mean()), 4),
        "before_interval": interval(was),
        "after": round(100 * float(now.mean()), 4),
        "after_interval": interval(now),
        "gain_interval": interval(now - was),
        "wrong_to_right": int(mended.sum()),
        "wrong_to_right_percent": round(100 * float(mended.mean()), 4),
        "wrong_to_right_interval": interval(mended),
        "right_to_wrong": int(spoilt.sum()),
        "right_to_wrong_percent": round(100 * float(spoilt.mean()), 4),
        "right_to_wrong_interval": interval(spoilt),
    }


def _after(row: Example, refined: Refinement, right: bool | None) -> Example:
    if refined.steps == row.item.steps:
        return row
    gold = msgspec.structs.replace(row.gold, answer_right=right, first_error=UNLABELLED, step_ratings=None, error_kind=None)
    return msgspec.structs.replace(row, item=Item(problem=row.item.problem, steps=refined.steps), gold=gold)


def _usable(rows: list[Example], folder: RunFolder, file: str) -> list[Example]:
    ledger = folder.ledger("solutions")
    ledger.enter(len(rows))
    kept = []
    for row in rows:
        if not row.item.steps:
            ledger.drop("no steps")
        elif row.gold.reference_answer is None:
            ledger.drop("no reference answer")
        else:
            kept.append(row)
    if not kept:
        raise InputError("no usable solution", file=file, expected="rows with steps and gold.reference_answer")
    return kept

"""Sample several continuations of each solution prefix; `stage=label` turns them into step labels.

python -m deepcritic stage=rollout stage.solutions=runs/x/solve/solutions.jsonl generator=PATH run=x
python -m deepcritic stage=rollout stage.rule=zero_of_k stage.solutions=runs/x/solve/solutions.jsonl generator=PATH run=x

With a rule, only the rollouts that it needs are sampled (`deepcritic.labels.rules`). The labels equal those from all
rollouts, because each rollout has its own seed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepcritic.answers import COMPARED
from deepcritic.datasets import examples as example_rows
from deepcritic.datasets.limits import class_of
from deepcritic.errors import InputError
from deepcritic.labels.rollouts import Ended, Plan, put_in_order, reached_answer
from deepcritic.labels.rules import RULES, Discard, Label, Table, unusable
from deepcritic.labels.solving import PROMPT
from deepcritic.options import REQUIRED, Options, option
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.progress import Progress
from deepcritic.samplers.base import Request, Sampler, Sampling
from deepcritic.samplers.resume import Draws, engine_for, request
from deepcritic.schema import Example, Generation
from deepcritic.tasks.base import Question
from deepcritic.text.prompt_template import Template

CALL = "rollout"


@dataclass(frozen=True, kw_only=True)
class RolloutOptions(Options):
    """Sample rollouts from each prefix of a solution, or only those that a label rule needs."""

    solutions: str = option(REQUIRED, "solutions.jsonl of stage=solve", group="Data")
    generator: str | None = option(
        None, "model that continues the solutions: local folder, GGUF file or hub id (ORG/NAME@revision)",
        group="Model", top=True,
    )  # fmt: skip
    template: str | None = option(None, "file with the prompt; null: that of stage=solve")
    samples: int = option(8, "rollouts per prefix", group="Sampling", at_least=1, extends=True)
    temperature: float = option(0.7, "sampling temperature", at_least=0)
    top_p: float = option(0.9, "nucleus sampling")
    max_tokens: int | None = option(None, "maximum tokens per rollout; null: up to the context length")
    seed: int = option(0, "random seed", top=True)
    rule: str | None = option(
        None, "sample only the rollouts that this label rule needs; null: all", group="Labels", choices=tuple(RULES)
    )
    adaptive: bool = option(
        True, "stop early where the label is decided; false: sample all rollouts, with the same labels", needs="rule"
    )


def run(folder: RunFolder, options: RolloutOptions, *, sampler: Callable[..., Sampler]) -> dict[str, Any]:
    """Return the manifest. Writes `generations.jsonl`; `key.step` is the number of given steps."""
    engine = engine_for(sampler, options.generator, "generator")
    prompt = Template.of(options.template, PROMPT)
    if not folder.begin(solutions=Path(options.solutions), model=engine.model_id, prompt=prompt.sha):
        return folder.manifest or {}
    rows = folder.sampled_for_probe(_usable(folder, options.solutions), lambda row: row.id, class_of)
    sampling = Sampling(temperature=options.temperature, top_p=options.top_p, max_tokens=options.max_tokens)

    def ask(row: Example, given: int, wanted: Iterable[int]) -> Request:
        beginning = prompt.solution(row.item.steps[:given]) + "\n"
        question = Question(messages=prompt.messages(problem=row.item.problem), prefix=beginning)
        return request(question, sampling, example_id=row.id, call=CALL, seed=options.seed, step=given, samples=wanted)

    everything = sum(len(row.item.steps) - 1 for row in rows) * options.samples
    saved: dict[str, Any] = {}
    undecided: Counter[str] = Counter()
    with Draws(folder) as draws:
        requests = (ask(row, given, range(options.samples)) for row in rows for given in range(1, len(row.item.steps)))
        if options.rule is None or not options.adaptive:
            draws.collect(requests, engine, "rollouts", total=everything)
            asked = everything
        elif folder.limits.dry_run:
            draws.count_at_most(requests, engine, "rollouts")
            asked = 0
        else:
            plan = _read(draws, engine, rows, options.rule, options.samples, ask, folder / COMPARED, undecided)
            asked, saved = plan.asked, {"rule": options.rule, **savings(plan.ended, draws.kept(), options.samples)}
            saved["undecided"] = dict(sorted(undecided.items()))
            put_in_order(folder / COMPARED)
        counts = draws.finish()
    ledger = folder.ledger("rollouts")
    ledger.enter(asked)
    ledger.keep(counts["generations"])
    ledger.fail("no reply", asked - counts["generations"])
    if saved:
        print(f"{folder.path}: {asked} of {everything} rollouts were needed for the labels of {options.rule}")
    return folder.finish(model=engine.model_id, solutions=len(rows), samples=options.samples, **saved)


def _usable(folder: RunFolder, file: str) -> list[Example]:
    """The solutions of a file that a rule can label, at least one; the others are counted by reason."""
    ledger, kept = folder.ledger("solutions"), []
    for row in example_rows.read(file):
        ledger.enter()
        if reason := unusable(row):
            ledger.drop(reason)
            continue
        ledger.keep()
        kept.append(row)
    if not kept:
        reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(ledger.filtered.items())) or "no rows"
        expected = "solutions of two steps or more with gold.reference_answer and gold.answer_right"
        raise InputError("no solution can be labelled", file=file, found=reasons, expected=expected)
    return kept


def _read(
    draws: Draws,
    engine: Sampler,
    rows: list[Example],
    rule: str,
    samples: int,
    ask: Callable[[Example, int, Iterable[int]], Request],
    compared: Path,
    undecided: Counter[str],
) -> Plan:
    """Sample until the rule has decided every solution, starting from saved rollouts."""
    known = {row.id: Table(len(row.item.steps), samples, bool(row.gold.answer_right)) for row in rows}
    references = {row.id: row.gold.reference_answer or "" for row in rows}
    before = 0
    for key, reached in reached_answer(draws.kept(), references.__getitem__, compared, undecided):
        known[key.example_id].put(key.step, key.sample, reached)
        before += 1
    plan = Plan(rows, rule, samples, ask, known)
    with Progress("rollouts") as progress:
        while plan.unfinished:
            with plan.wave():
                outcomes = draws.stream(plan.requests(), engine, progress)
                for key, reached in reached_answer(outcomes, plan.reference, compared, undecided):
                    plan.put(key, reached)
    plan.asked += before
    return plan


def savings(ended: Iterable[Ended], draws: Iterable[Generation], samples: int) -> dict[str, Any]:
    """Rollouts and tokens used versus sampling everything, separately for labelled and unlabelled solutions.

    Tokens of skipped rollouts are estimated from the tokens per step of sampled ones.
    """
    steps = {one.row.id: one.table.steps for one in ended}
    tokens: Counter[str] = Counter()
    drawn_steps = 0
    for draw in draws:
        tokens[draw.key.example_id] += draw.completion_tokens
        drawn_steps += steps[draw.key.example_id] - draw.key.step
    each = tokens.total() / max(1, drawn_steps)
    found: dict[str, Counter[str]] = {fate: Counter() for fate in ("labelled", "discarded", "lacking")}
    for one in ended:
        counts = found[_fate(one)]
        prefixes = range(1, one.table.steps)
        drawn = {step: one.table.drawn(step) for step in prefixes}
        counts["solutions"] += 1
        counts["rollouts"] += sum(drawn.values())
        counts["rollouts_saved"] += sum(samples - count for count in drawn.values())
        counts["tokens"] += tokens[one.row.id]
        counts["tokens_saved"] += round(each * sum((samples - drawn[step]) * (one.table.steps - step) for step in prefixes))
    return {fate: dict(counts) for fate, counts in found.items() if counts}


def _fate(one: Ended) -> str:
    return "labelled" if isinstance(one.outcome, Label) else "discarded" if isinstance(one.outcome, Discard) else "lacking"

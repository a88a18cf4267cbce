r"""Have a teacher write seed critiques: for each rated step an initial critique, an in-depth one, and the two merged.

    python -m deepcritic stage=seed stage.examples=runs/x/prepare/examples.jsonl teacher=PATH run=x

Only the selection among replies uses the human ratings; prompts contain only the solution. `recipe=initial` keeps the initial
critiques unchanged. With `recipe=direct` the teacher writes the whole critique in one call, to measure what three calls add.
Numbers and rules are DeepCritic's (arXiv 2505.00662), except the early stop, which changes no row, and the check of merged
critiques.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from deepcritic.datasets import examples as example_rows
from deepcritic.errors import InputError
from deepcritic.hub import publishing
from deepcritic.options import REQUIRED, Options, option
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import replacing, write_json, write_rows
from deepcritic.samplers.base import Sampler, Sampling
from deepcritic.samplers.recorded import RecordedSampler
from deepcritic.samplers.resume import Draws, engine_for
from deepcritic.schema import Item
from deepcritic.seeding import card
from deepcritic.seeding import prompts as calls
from deepcritic.seeding import statistics as account
from deepcritic.seeding.best_of_n import Answers, ask, count_at_most
from deepcritic.seeding.dialogues import KEPT, compose, headed, lineage, mix, sift
from deepcritic.seeding.funnel import Funnel, as_text, read_funnel
from deepcritic.seeding.prompts import Call, prompt_of, recheck, step_call, take_any, whole_call
from deepcritic.seeding.solutions import Material, choose_solutions
from deepcritic.tasks.base import CriticTask
from deepcritic.text.prompt_template import Template

FILE = "dialogues.jsonl"
RECIPES = ("deliberate", "initial", "direct")
SYSTEM = "You are an expert in mathematics who examines the work of others with great care."


@dataclass(frozen=True, kw_only=True)
class SeedOptions(Options):
    """Write seed critiques with a teacher: initial, in-depth and merged."""

    REPLACES: ClassVar = {"generations": "teacher sampler"}

    examples: str = option(REQUIRED, "rated solutions: examples.jsonl of stage=prepare", group="Data")
    max_problems: int = option(10_000, "number of problems, one solution of each", at_least=1)
    max_step_characters: int = option(10_000, "maximum characters per step; others are excluded", at_least=1)
    generations: str | None = option(None, "file of recorded replies, instead of a teacher")
    teacher: str | None = option(
        None, "model that writes the critiques: local folder, GGUF file or hub id (ORG/NAME@revision)", group="Teacher", top=True
    )
    recipe: str = option(
        "deliberate", "deliberate: initial, in-depth and merged critiques; initial: only initial; direct: one call per solution",
        choices=RECIPES,
    )  # fmt: skip
    system: str | None = option(SYSTEM, "system prompt of the teacher; null: none")
    initial_template: str | None = option(None, "file with the prompt for initial critiques; null: built-in")
    in_depth_template: str | None = option(None, "file with the prompt for in-depth critiques; null: built-in")
    merge_template: str | None = option(None, "file with the prompt for merging; null: built-in")
    heading: str = option("\nStep {{index}}. ", "heading before the critique of each step")
    initial_samples: int = option(1, "initial critiques per step (as in arXiv 2505.00662)", group="Sampling", at_least=1)
    initial_temperature: float = option(0.7, "sampling temperature of initial critiques", at_least=0)
    in_depth_samples: int = option(
        16, "maximum in-depth critiques per step (as in arXiv 2505.00662)", at_least=1, needs="recipe=deliberate"
    )
    in_depth_temperature: float = option(1.0, "sampling temperature of in-depth critiques", at_least=0, needs="recipe=deliberate")
    merge_attempts: int = option(2, "attempts to merge (1 in arXiv 2505.00662)", at_least=1, needs="recheck_merges")
    merge_temperature: float = option(0.7, "sampling temperature of merged critiques", at_least=0, needs="recipe=deliberate")
    recheck_merges: bool = option(
        True,
        "accept only merged critiques that agree with the label; false: as in arXiv 2505.00662",
        needs="recipe=deliberate",
    )
    direct_samples: int = option(16, "maximum whole critiques per solution", at_least=1, needs="recipe=direct")
    direct_temperature: float = option(1.0, "sampling temperature of whole critiques", at_least=0, needs="recipe=direct")
    top_p: float = option(0.9, "nucleus sampling, for all calls")
    critique_max_tokens: int | None = option(
        None,
        "maximum tokens per critique of a step; null: up to the context length",
        was="critique_tokens",
        needs="recipe=deliberate,initial",
    )
    merge_max_tokens: int | None = option(
        None,
        "maximum tokens per merged critique; null: up to the context length",
        was="merge_tokens",
        needs="recipe=deliberate",
    )
    direct_max_tokens: int | None = option(
        None,
        "maximum tokens per whole critique; null: up to the context length",
        was="direct_tokens",
        needs="recipe=direct",
    )
    adaptive: bool = option(True, "stop sampling once a critique agrees with the label; false: sample all, with the same result")
    wave_size: int = option(4, "samples requested at once", was="wave", at_least=1, needs="adaptive")
    seed: int = option(0, "random seed", top=True)
    plain_correct: int = option(
        250, "maximum all-correct solutions whose critique corrects no initial one; solutions with an error are all kept",
        group="Selection", at_least=0,
    )  # fmt: skip
    push: str | None = option(
        None, "publish the dialogues: ORG/NAME on the hub (token: HF_TOKEN), or a folder", group="Publishing", top=True,
        not_hashed=True,
    )  # fmt: skip

    def __post_init__(self) -> None:
        super().__post_init__()
        headed(self.heading, 1)

    def sampling(self, temperature: float, max_tokens: int | None) -> Sampling:
        return Sampling(temperature=temperature, top_p=self.top_p, max_tokens=max_tokens)

    def at_once(self, samples: int) -> int:
        """How many of `samples` are sampled before the first is checked."""
        return self.wave_size if self.adaptive else samples


def run(folder: RunFolder, options: SeedOptions, *, task: CriticTask[Any], sampler: Callable[..., Sampler]) -> dict[str, Any]:
    """Return the manifest. Writes `dialogues.jsonl` for `stage=sft`, `lineage.jsonl`, and statistics (`funnel.json`,
    `examples.txt`)."""
    if options.push is not None:
        publishing.check(options.push)
    prompts = [
        prompt_of(options.initial_template, calls.INITIAL, "", options.system),
        prompt_of(options.in_depth_template, calls.IN_DEPTH, ", initial", options.system),
        prompt_of(options.merge_template, calls.MERGE, ", initial, in_depth", options.system),
    ]
    engine = RecordedSampler(options.generations) if options.generations else engine_for(sampler, options.teacher, "teacher")
    shas = " ".join(prompt.sha for prompt in prompts)
    if not folder.begin(examples=Path(options.examples), model=engine.model_id, prompts=shas, question=_question_sha(task)):
        return _pushed(folder, options.push, folder.manifest or {})
    funnel = Funnel(folder.ledger("solutions"))
    chosen = choose_solutions(
        functools.partial(example_rows.read, options.examples), max_problems=options.max_problems,
        max_step_characters=options.max_step_characters, seed=options.seed, funnel=funnel,
    )  # fmt: skip
    material = Material(chosen)
    if not material.rows:
        expected = "solutions with steps and gold.first_error"
        raise InputError("no usable solution", file=options.examples, found=funnel.rows, expected=expected)
    plan = _plan(options, task, material, prompts)
    fates, answers, names = dict[str, str](), dict[str, Answers](), folder.sampled_for_probe(material.rows, str)
    with Draws(folder) as draws:
        if folder.limits.dry_run:
            count_at_most([one for one, _ in plan], names, draws, engine, options.seed)
            draws.finish()
        for one, must_agree in plan:
            places = [place for name in names for place in one.places(name)]
            earlier = {name: answer.chosen for name, answer in answers.items()}
            answers[one.name] = ask(one, places, draws, engine, options.seed, earlier)
            names = sift(one, names, answers[one.name], must_agree=must_agree, fates=fates, funnel=funnel)
        draws.finish()
    corrections = answers["initial"] if options.recipe == "deliberate" else None
    names = mix(names, material, corrections, plain_correct=options.plain_correct, seed=options.seed, fates=fates, funnel=funnel)
    asked = [one for one, _ in plan]
    dialogues = compose(names, material, asked, answers, task, options.heading, fates, funnel)
    lineages = {name: lineage(name, fates.get(name, KEPT), material, asked, answers) for name in material.rows}
    facts = {
        "recipe": options.recipe,
        "funnel": msgspec.to_builtins(funnel.rows),
        **account.figures(dialogues, material, corrections),
        "teacher_accuracy": {name: answer.accuracy() for name, answer in answers.items()},
        "refused_samples": {name: dict(sorted(answer.reasons.items())) for name, answer in answers.items()},
        "early_stop": {one.name: answers[one.name].saved(one.samples) for one in asked if one.name in {"in_depth", "direct"}},
    }
    funnel.keep(write_rows(folder / FILE, dialogues))
    write_rows(folder / "lineage.jsonl", lineages.values())
    shown = account.examples(dialogues, options.seed)
    with replacing(folder / "examples.txt") as file:
        texts = [account.readable(dialogue, lineages[dialogue.id], material) for dialogue in shown]
        file.write("\n".join(texts).encode("utf-8", "replace"))
    write_json(folder / "funnel.json", {**facts, "examples": account.with_lineage(shown, lineages, material)})
    _tell(folder, facts)
    return _pushed(folder, options.push, folder.finish(model=engine.model_id, **facts))


def _plan(options: SeedOptions, task: CriticTask[Any], material: Material, prompts: list[Template]) -> list[tuple[Call, bool]]:
    """The recipe's calls in order, each with whether its selection must agree with the labels."""
    if options.recipe == "direct":
        sampling, samples = options.sampling(options.direct_temperature, options.direct_max_tokens), options.direct_samples
        whole = whole_call(task, options.system, material, sampling, samples, options.at_once(samples))
        return [(replace(whole, refuse=recheck), True)]
    sampling, samples = options.sampling(options.initial_temperature, options.critique_max_tokens), options.initial_samples
    first = step_call("initial", "initial critique", prompts[0], material, sampling, samples, options.at_once(samples))
    if options.recipe == "initial":
        return [(replace(first, refuse=recheck), True)]
    sampling, samples = options.sampling(options.in_depth_temperature, options.critique_max_tokens), options.in_depth_samples
    deeper = step_call("in_depth", "in-depth critique", prompts[1], material, sampling, samples, options.at_once(samples))
    attempts = options.merge_attempts if options.recheck_merges else 1
    sampling = options.sampling(options.merge_temperature, options.merge_max_tokens)
    merge = step_call("merge", "merged critique", prompts[2], material, sampling, attempts, 1)
    merge = replace(merge, refuse=recheck if options.recheck_merges else take_any)
    return [(first, False), (deeper, True), (merge, options.recheck_merges)]


def _question_sha(task: CriticTask[Any]) -> str:
    """A hash of the task's own prompt, which every dialogue contains."""
    messages = task.ask(Item(problem="a problem", steps=("a step",))).messages
    return hashlib.sha256(json.dumps([(message.role, message.content) for message in messages]).encode()).hexdigest()[:16]


def _tell(folder: RunFolder, facts: dict[str, Any]) -> None:
    print(as_text(read_funnel(facts["funnel"])))
    for call, figures in facts["teacher_accuracy"].items():
        print(f"{call}: the first sample agrees with the label in {100 * figures['accuracy']:.1f}% of {figures['asked']:,}")
    for call, saved in facts["early_stop"].items():
        print(f"{call}: stopping early saved {saved['samples_saved']:,} samples, about {saved['tokens_saved']:,} tokens")
    if "corrections" in facts:
        corrections = facts["corrections"]
        print(f"{corrections['dialogues']:,} dialogues correct an initial critique, {corrections['steps']:,} steps in all")
    print(f"{folder.path}: {facts['dialogues']:,} dialogues; examples in {folder / 'examples.txt'}")


def _pushed(folder: RunFolder, push: str | None, manifest: dict[str, Any]) -> dict[str, Any]:
    """Publish a finished data set if `push` is set."""
    if push:
        place = publishing.publish(functools.partial(card.lay_out, folder.path), push, kind="dataset")
        print(f"{folder.path}: published to {place}")
    return manifest

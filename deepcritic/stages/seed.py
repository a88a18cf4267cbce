r"""A teacher writes seed critiques: each rated step gets an initial critique, an in-depth one, and the two merged.

    python -m deepcritic stage=seed stage.examples=runs/x/prepare/examples.jsonl teacher=PATH run=x

Only the choice among the replies reads the human ratings; the prompts see the solution alone. With `recipe=initial` the
initial critiques are taken as they are, with `recipe=direct` the teacher writes the whole critique at once: what the
three calls are worth can be measured. Numbers and rules are DeepCritic's (arXiv 2505.00662), but for the early stop,
which changes no row, and the second look at merged critiques.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepcritic.datasets import examples as example_rows
from deepcritic.errors import UsageError
from deepcritic.hub import publishing
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
from deepcritic.seeding.funnel import Funnel, told
from deepcritic.seeding.prompts import Call, prompt_of, recheck, step_call, take_any, whole_call
from deepcritic.seeding.solutions import Material, choose_solutions
from deepcritic.tasks.base import CriticTask
from deepcritic.text.prompt_template import Template

FILE = "dialogues.jsonl"
RECIPES = ("direct", "initial", "deliberate")


def run(
    folder: RunFolder,
    *,
    examples: str,
    task: CriticTask[Any],
    teacher: str | None,
    sampler: Callable[..., Sampler],
    generations: str | None = None,
    recipe: str = "deliberate",
    system: str | None = None,
    initial_template: str | None = None,
    in_depth_template: str | None = None,
    merge_template: str | None = None,
    heading: str = "\nStep {{index}}. ",
    initial_samples: int = 1,
    initial_temperature: float = 0.7,
    in_depth_samples: int = 16,
    in_depth_temperature: float = 1.0,
    merge_attempts: int = 2,
    merge_temperature: float = 0.7,
    recheck_merges: bool = True,
    direct_samples: int = 16,
    direct_temperature: float = 1.0,
    top_p: float = 0.9,
    critique_tokens: int | None = None,
    merge_tokens: int | None = None,
    direct_tokens: int | None = None,
    adaptive: bool = True,
    wave: int = 4,
    plain_correct: int = 250,
    max_problems: int = 10_000,
    max_step_characters: int = 10_000,
    push: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns the manifest; writes `dialogues.jsonl` for `stage=sft`, and what is told of them.

    `generations` serves recorded replies instead of a teacher. Samples of one place are drawn `wave` at a time until one
    agrees with the label, or all at once (`adaptive=false`): the rows are the same. `push` puts the finished data set
    into a folder or on the hub.
    """
    _check(recipe, heading, push, {
        "initial_samples": initial_samples, "in_depth_samples": in_depth_samples, "merge_attempts": merge_attempts,
        "direct_samples": direct_samples, "wave": wave,
    })  # fmt: skip
    prompts = [
        prompt_of(initial_template, calls.INITIAL, "", system),
        prompt_of(in_depth_template, calls.IN_DEPTH, ", initial", system),
        prompt_of(merge_template, calls.MERGE, ", initial, in_depth", system),
    ]
    engine = RecordedSampler(generations) if generations else engine_for(sampler, teacher, "teacher")
    shas = " ".join(prompt.sha for prompt in prompts)
    if not folder.begin(examples=Path(examples), model=engine.model_id, prompts=shas, question=_question_sha(task)):
        return _pushed(folder, push, folder.manifest or {})
    funnel = Funnel(folder.ledger("solutions"))
    read = functools.partial(example_rows.read, examples)
    chosen = choose_solutions(read, max_problems=max_problems, max_step_characters=max_step_characters, seed=seed, funnel=funnel)
    material = Material(chosen)

    def call(name: str, title: str, prompt: Template, temperature: float, tokens: int | None, samples: int, at_once: int) -> Call:
        sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=tokens)
        return step_call(name, title, prompt, material, sampling, samples, at_once if adaptive else samples)

    plan: list[tuple[Call, bool]]  # each call, and whether its choices must agree with the labels
    first = call("initial", "initial critique", prompts[0], initial_temperature, critique_tokens, initial_samples, wave)
    if recipe == "direct":
        sampling = Sampling(temperature=direct_temperature, top_p=top_p, max_tokens=direct_tokens)
        whole = whole_call(task, system, material, sampling, direct_samples, wave if adaptive else direct_samples)
        plan = [(replace(whole, refuse=recheck), True)]
    elif recipe == "initial":
        plan = [(replace(first, refuse=recheck), True)]
    else:
        deeper = call("in_depth", "in-depth critique", prompts[1], in_depth_temperature, critique_tokens, in_depth_samples, wave)
        attempts = merge_attempts if recheck_merges else 1
        merge = call("merge", "merged critique", prompts[2], merge_temperature, merge_tokens, attempts, 1)
        merge = replace(merge, wave=1, refuse=recheck if recheck_merges else take_any)
        plan = [(first, False), (deeper, True), (merge, recheck_merges)]

    fates, answers, names = dict[str, str](), dict[str, Answers](), folder.sampled_for_probe(material.rows, str)
    with Draws(folder) as draws:
        if folder.limits.dry_run:
            count_at_most([one for one, _ in plan], names, draws, engine, seed)
            draws.finish()
        for one, must_agree in plan:
            places = [place for name in names for place in one.places(name)]
            earlier = {name: answer.chosen for name, answer in answers.items()}
            answers[one.name] = ask(one, places, draws, engine, seed, earlier)
            names = sift(one, names, answers[one.name], must_agree=must_agree, fates=fates, funnel=funnel)
        draws.finish()
    corrections = answers["initial"] if recipe == "deliberate" else None
    names = mix(names, material, corrections, plain_correct=plain_correct, seed=seed, fates=fates, funnel=funnel)
    asked = [one for one, _ in plan]
    dialogues = compose(names, material, asked, answers, task, heading, fates, funnel)
    lineages = {name: lineage(name, fates.get(name, KEPT), material, asked, answers) for name in material.rows}
    facts = {
        "recipe": recipe,
        "funnel": funnel.rows,
        **account.figures(dialogues, material, corrections),
        "teacher_accuracy": {name: answer.accuracy() for name, answer in answers.items()},
        "refused_samples": {name: dict(sorted(answer.reasons.items())) for name, answer in answers.items()},
        "early_stop": {one.name: answers[one.name].saved(one.samples) for one in asked if one.name in {"in_depth", "direct"}},
    }
    funnel.keep(write_rows(folder / FILE, dialogues))
    write_rows(folder / "lineage.jsonl", lineages.values())
    shown = account.examples(dialogues, seed)
    with replacing(folder / "examples.txt") as file:
        texts = [account.readable(dialogue, lineages[dialogue.id], material) for dialogue in shown]
        file.write("\n".join(texts).encode("utf-8", "replace"))
    write_json(folder / "funnel.json", {**facts, "examples": account.with_lineage(shown, lineages, material)})
    _tell(folder, facts)
    return _pushed(folder, push, folder.finish(model=engine.model_id, **facts))


def _check(recipe: str, heading: str, push: str | None, counts: dict[str, int]) -> None:
    """Refuse settings that could not work, before any work is done."""
    if recipe not in RECIPES:
        raise UsageError(f"stage.recipe must be one of {', '.join(RECIPES)}; found {recipe!r}")
    for option, count in counts.items():
        if count < 1:
            raise UsageError(f"stage.{option} must be a number from 1; found {count}")
    headed(heading, 1)
    if push:
        publishing.check(push)


def _question_sha(task: CriticTask[Any]) -> str:
    """A hash of the task's own prompt, which stands in every dialogue."""
    messages = task.ask(Item(problem="a problem", steps=("a step",))).messages
    return hashlib.sha256(json.dumps([(message.role, message.content) for message in messages]).encode()).hexdigest()[:16]


def _tell(folder: RunFolder, facts: dict[str, Any]) -> None:
    print(told(facts["funnel"]))
    for call, figures in facts["teacher_accuracy"].items():
        print(f"{call}: the first sample agrees with the label in {100 * figures['accuracy']:.1f}% of {figures['asked']:,}")
    for call, saved in facts["early_stop"].items():
        print(f"{call}: stopping early saved {saved['samples_saved']:,} samples, about {saved['tokens_saved']:,} tokens")
    if "corrections" in facts:
        corrections = facts["corrections"]
        print(f"{corrections['dialogues']:,} dialogues correct an initial critique, {corrections['steps']:,} steps in all")
    print(f"{folder.path}: {facts['dialogues']:,} dialogues; some of them to read: {folder / 'examples.txt'}")


def _pushed(folder: RunFolder, push: str | None, manifest: dict[str, Any]) -> dict[str, Any]:
    """Publish a finished data set, as often as it is asked for."""
    if push:
        place = publishing.publish(functools.partial(card.lay_out, folder.path), push, kind="dataset")
        print(f"{folder.path}: published to {place}")
    return manifest

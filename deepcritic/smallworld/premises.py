"""Measure the premises of experiments with the small world's models.

    python -m deepcritic.smallworld.premises                     # the shipped models
    python -m deepcritic.smallworld.premises runs/smallworld     # others

The solutions are the generator's, of test problems, at temperature 0.7. All critics get the same ones. An unparsed verdict counts
as wrong. Intervals are 95% bootstraps over solutions; a premise holds if its whole interval does.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepcritic.metrics.bootstrap import percentiles
from deepcritic.runs.jsonl import write_json
from deepcritic.samplers.base import Sampling
from deepcritic.samplers.resume import request
from deepcritic.samplers.transformers import TransformersSampler
from deepcritic.schema import ALL_CORRECT, Generation
from deepcritic.seeding.prompts import step_verdict, without_verdict
from deepcritic.shipped_models import shipped_path
from deepcritic.smallworld.problems import Problem, equation, judge
from deepcritic.smallworld.source import problems
from deepcritic.tasks.base import Question
from deepcritic.text.prompt_template import Template
from deepcritic.text.steps import split_steps

MODELS = "deepcritic://smallworld/models"
TEMPLATES = "deepcritic://microworld/templates"
CALLS = ("initial", "in_depth", "merge")
COUNT, RESAMPLES = 300, 2000
"""Test problems, and bootstrap resamples."""
Counts = NDArray[np.float64]


class Premise(NamedTuple):
    """A figure in percent or points with its interval, and its required range. None means no bound."""

    name: str
    figure: float
    interval: tuple[float, float]
    above: float | None = None
    below: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the interval lies strictly between the bounds."""
        low, high = self.interval
        return (self.above is None or low > self.above) and (self.below is None or high < self.below)

    @property
    def bound(self) -> str:
        """The range in words."""
        parts = [
            f"above {self.above:g}" if self.above is not None else "",
            f"below {self.below:g}" if self.below is not None else "",
        ]
        return " and ".join(filter(None, parts))


class Solution(NamedTuple):
    """A solution with its label: the first wrong step, or `ALL_CORRECT`."""

    problem: Problem
    steps: tuple[str, ...]
    first_error: int


class Calls(NamedTuple):
    """A model's verdicts on single steps in one call: for each solution, the wrong steps called wrong, the wrong steps, the right
    steps called right, and the right steps. Shape (solutions, 4)."""

    counts: Counts

    @property
    def sensitivity(self) -> float:
        """Wrong steps called wrong, in percent."""
        return float(_sensitivity(self.counts.sum(0)))

    @property
    def specificity(self) -> float:
        """Right steps called right, in percent."""
        return float(_specificity(self.counts.sum(0)))

    @property
    def balanced(self) -> float:
        """Balanced accuracy in percent. A constant answer scores 50."""
        return (self.sensitivity + self.specificity) / 2


def _sensitivity(sums: Counts) -> Counts:
    return 100 * sums[..., 0] / sums[..., 1]


def _specificity(sums: Counts) -> Counts:
    return 100 * sums[..., 2] / sums[..., 3]


def _balanced(sums: Counts) -> Counts:
    return (_sensitivity(sums) + _specificity(sums)) / 2


def _harmonic(sums: Counts) -> Counts:
    both = _sensitivity(sums) * _specificity(sums)
    return np.divide(2 * both, _sensitivity(sums) + _specificity(sums), out=np.zeros_like(both), where=both > 0)


def premise(
    name: str, figure: Callable[[Counts], Counts], counts: Counts, *, above: float | None = None, below: float | None = None
) -> Premise:
    """A figure of the sums of `counts` over solutions, of shape (solutions, any), with its interval."""
    drawn = np.random.default_rng(0).multinomial(len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLES) @ counts
    with np.errstate(invalid="ignore"):
        low, high = percentiles(figure(drawn))
        return Premise(name, float(figure(counts.sum(0))), (low, high), above, below)


class Model:
    """A model that answers prompts in batches."""

    def __init__(self, path: str, sampling: Sampling, seed: int = 0) -> None:
        self._path, self._sampling, self._seed = path, sampling, seed

    def ask(self, prompts: Sequence[str], name: str) -> list[str]:
        """The reply to each prompt. Failures are empty texts."""
        return self.fill([{"text": prompt} for prompt in prompts], Template.parse(_PLAIN), name)

    def fill(self, fields: Sequence[Mapping[str, object]], template: Template, name: str) -> list[str]:
        """The reply to the template filled with each of `fields`."""
        asked = [
            request(Question(messages=template.messages(**one)), self._sampling, example_id=str(at), call=name, seed=self._seed)
            for at, one in enumerate(fields)
        ]
        with TransformersSampler(self._path) as sampler:
            drawn = {outcome.key.example_id: outcome for outcome in sampler.stream(asked)}
        replies = (drawn[str(at)] for at in range(len(asked)))
        return [reply.text if isinstance(reply, Generation) else "" for reply in replies]


_PLAIN = "---\nfields: [text]\nindex_base: 1\n---\n{{text}}\n"


def measure(models: str = MODELS, count: int = COUNT, seed: int = 0) -> list[Premise]:
    """All premises, measured on solutions of `count` test problems."""
    found = solved(models, count, seed)
    generator = Model(f"{models}/generator", Sampling(temperature=0.7, max_tokens=224), seed)
    again = solve(Model(f"{models}/generator", Sampling(temperature=0.0, max_tokens=224)), [one.problem for one in found])
    base, teacher = (single_calls(f"{models}/{role}", found) for role in ("base", "teacher"))
    drawn = solve(generator, [Problem.read(row.item.problem) for row in problems(split="test", count=count, seed=seed + 1)])
    premises = [
        premise("generator at temperature 0.7: right answers", _mean, _right_answers(drawn, count, seed + 1), below=90),
        premise("base asked step by step: F1", _harmonic, first_errors(found, base_checks(f"{models}/base", found)), below=40),
        premise(
            "base does each step again and compares: F1",
            _harmonic,
            first_errors(found, redone(f"{models}/base", found)),
            below=80,
        ),
        premise(
            "generator solves again at temperature 0 and compares: F1",
            _harmonic,
            first_errors(found, [compare(one.steps, other) for one, other in zip(found, again, strict=True)]),
            below=80,
        ),
    ]
    for call in CALLS:
        both = np.hstack([teacher[call].counts, base[call].counts])
        for figure, words in (
            (_sensitivity, "wrong steps called wrong"),
            (_specificity, "right steps called right"),
            (_balanced, "balanced accuracy"),
        ):
            premises.append(premise(f"teacher over base, {call} call: {words}", _gain(figure), both, above=0))
        premises.append(premise(f"teacher, {call} call: balanced accuracy", _balanced, teacher[call].counts, above=50))
    return premises


def _gain(figure: Callable[[Counts], Counts]) -> Callable[[Counts], Counts]:
    return lambda sums: figure(sums[..., :4]) - figure(sums[..., 4:])


def _mean(sums: Counts) -> Counts:
    return 100 * sums[..., 0] / sums[..., 1]


def solved(models: str, count: int, seed: int) -> list[Solution]:
    """The generator's solutions at temperature 0.7, with labels. Text that is not a solution is left out."""
    asked = [Problem.read(row.item.problem) for row in problems(split="test", count=count, seed=seed)]
    written = solve(Model(f"{models}/generator", Sampling(temperature=0.7, max_tokens=224), seed), asked)
    judged = ((problem, steps, judge(problem, steps)) for problem, steps in zip(asked, written, strict=True))
    return [Solution(problem, tuple(steps), truth.first_error) for problem, steps, truth in judged if truth is not None]


def solve(model: Model, asked: Sequence[Problem]) -> list[list[str]]:
    """The steps that a model writes for each problem."""
    template = Template.of(f"{TEMPLATES}/solve.txt", "")
    return [split_steps(text) for text in model.fill([{"problem": one.text} for one in asked], template, "solve")]


def _right_answers(written: Sequence[Sequence[str]], count: int, seed: int) -> Counts:
    rows = problems(split="test", count=count, seed=seed)
    return np.array(
        [
            (bool(steps) and steps[-1].endswith(f"\\boxed{{{row.gold.reference_answer}}}"), 1)
            for row, steps in zip(rows, written, strict=True)
        ],
        dtype=float,
    )


def compare(steps: Sequence[str], other: Sequence[str]) -> int | None:
    """The first step whose equation differs from another solution's, or `ALL_CORRECT`. None if their lengths differ."""
    if len(steps) != len(other):
        return None
    differs = [number for number, pair in enumerate(zip(steps, other, strict=True), start=1) if len(set(map(equation, pair))) > 1]
    return differs[0] if differs else ALL_CORRECT


def first_errors(found: Sequence[Solution], verdicts: Sequence[int | None]) -> Counts:
    """For each solution, as in ProcessBench: (its error found, it has an error, called all correct, it is all correct). A
    verdict of None counts as wrong."""
    rows = []
    for one, verdict in zip(found, verdicts, strict=True):
        error, right = one.first_error != ALL_CORRECT, verdict == one.first_error
        rows.append((error and right, error, not error and right, not error))
    return np.array(rows, dtype=float)


def _first_wrong(found: Sequence[Solution], good: Mapping[tuple[int, int], bool | None]) -> list[int | None]:
    """Verdicts from those of single steps, by (solution, step). None if a verdict before the first wrong step is unparsed."""
    verdicts: list[int | None] = []
    for at, one in enumerate(found):
        verdict: int | None = ALL_CORRECT
        for number in range(1, len(one.steps) + 1):
            if not good[at, number]:
                verdict = number if good[at, number] is False else None
                break
        verdicts.append(verdict)
    return verdicts


def base_checks(path: str, found: Sequence[Solution]) -> list[int | None]:
    """A model's verdicts when it checks each step separately. Without a box, the last verdict in words counts."""
    places = [(at, number) for at, one in enumerate(found) for number in range(1, len(one.steps) + 1)]
    prompts = [f"{_shown(found[at])}\nCheck step {number}." for at, number in places]
    replies = Model(path, Sampling(temperature=0.0, max_tokens=80)).ask(prompts, "check")
    return _first_wrong(found, dict(zip(places, map(_spoken, replies), strict=True)))


def _spoken(text: str) -> bool | None:
    said = step_verdict(text)
    if said is None and (words := re.findall(r"\b(ok|fine|same|wrong|differ)\b", text)):
        said = words[-1] not in ("wrong", "differ")
    return said


def redone(path: str, found: Sequence[Solution]) -> list[int | None]:
    """A model's verdicts when it does each step again: a step is wrong if the new equation differs."""
    places = [(at, number) for at, one in enumerate(found) for number in range(1, len(one.steps) + 1)]
    prompts = [f"{_shown(found[at])}\nDo step {number}." for at, number in places]
    replies = Model(path, Sampling(temperature=0.0, max_tokens=80)).ask(prompts, "redo")
    good = {
        (at, number): equation(found[at].steps[number - 1]) == equation(reply)
        for (at, number), reply in zip(places, replies, strict=True)
    }
    return _first_wrong(found, good)


def single_calls(path: str, found: Sequence[Solution], seed: int = 0) -> dict[str, Calls]:
    """A model's accuracy on single steps, up to the first wrong one, in each call of `stage=seed` at that stage's temperatures.
    Each call sees the model's replies to the calls before."""
    places = [
        (at, number)
        for at, one in enumerate(found)
        for number in range(1, (len(one.steps) if one.first_error == ALL_CORRECT else one.first_error) + 1)
    ]
    fields: list[dict[str, object]] = [
        {"problem": found[at].problem.text, "solution": _numbered(found[at].steps), "step": number} for at, number in places
    ]
    calls: dict[str, Calls] = {}
    for call, temperature in zip(CALLS, (0.7, 1.0, 0.7), strict=True):
        template = Template.of(f"{TEMPLATES}/{call}.txt", "")
        replies = Model(path, Sampling(temperature=temperature, max_tokens=112), seed).fill(fields, template, call)
        counts = np.zeros((len(found), 4))
        for (at, number), reply in zip(places, replies, strict=True):
            good = number != found[at].first_error
            counts[at, 2 * good : 2 * good + 2] += (step_verdict(reply) is good, 1)
        calls[call] = Calls(counts)
        for one, reply in zip(fields, replies, strict=True):
            one[call] = without_verdict(reply)
    return calls


def _shown(one: Solution) -> str:
    return f"{one.problem.text}\n{_numbered(one.steps)}"


def _numbered(steps: Sequence[str]) -> str:
    return "\n".join(f"Step {number}: {step}" for number, step in enumerate(steps, start=1))


def shipped() -> bool:
    """Whether the package contains the three models."""
    return all((Path(shipped_path(MODELS)) / role / "model.safetensors").is_file() for role in ("generator", "base", "teacher"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="?", default=MODELS, help="folder with generator/, base/ and teacher/")
    parser.add_argument("--count", type=int, default=COUNT, help="test problems")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--save", type=Path, help="a JSON file for the figures, with the hash of the models")
    arguments = parser.parse_args()
    measured = measure(arguments.models, arguments.count, arguments.seed)
    for one in measured:
        low, high = one.interval
        print(f"{'holds' if one.holds else 'FAILS'} {one.name}: {one.figure:.1f} ({low:.1f} to {high:.1f}), must lie {one.bound}")
    if arguments.save:
        rows = [
            {
                **one._asdict(),
                "figure": round(one.figure, 2),
                "interval": [round(bound, 2) for bound in one.interval],
                "holds": one.holds,
            }
            for one in measured
        ]
        about = {"models": digest(arguments.models), "problems": arguments.count, "seed": arguments.seed}
        write_json(arguments.save, {**about, "premises": rows})


def digest(models: str = MODELS) -> str:
    """A hash of the weights of the three models."""
    files = (Path(shipped_path(models)) / role / "model.safetensors" for role in ("generator", "base", "teacher"))
    return hashlib.sha256(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files)).hexdigest()[:16]


if __name__ == "__main__":
    main()

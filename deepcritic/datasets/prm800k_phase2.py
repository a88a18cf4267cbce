"""PRM800K, phase 2, as OpenAI released it (`phase2_train.jsonl`): a line is a whole solution with the ratings of one labeller.

The steps are those of the generated solution (`question.pre_generated_steps`), including those after the first error, where
labelling stopped. Their ratings are 1, 0, -1, or None if unrated.

Rules:

- A labelled step may hold alternatives beside the solution's own step. The rating is that of the completion with the step's text;
  a single completion counts whatever its wording.
- The first error is the first step rated -1. Without one a solution is all correct if every step is rated, else dropped.
- Ratings by several people (screening, quality control) are combined step by step as in phase 1: see
  `prm800k.resolve`. A solution with a contested step up to its first error is dropped.
- Each solution is used once.

`report` counts the outcomes of the rows: `with_error`, `all_correct`, `repeated`, `contested`, `not_rated_to_the_end`,
`bad_problem`, `give_up` (the labeller's own words), `bad`; and `steps_worded_otherwise`.

    for row in prm800k_phase2.read("phase2_train.jsonl"): ...
"""

from __future__ import annotations

import hashlib
import json
from typing import NamedTuple

from deepcritic.datasets.base import Report, reader_of_two_passes
from deepcritic.datasets.fields import take, take_steps
from deepcritic.datasets.prm800k import CONTESTED, LICENSE, SOURCE, resolve
from deepcritic.datasets.reading import Record
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item, content_id

LEFT_OUT = ("bad_problem", "give_up")
Ratings = tuple[int | None, ...]


class _Labelled(NamedTuple):
    problem: str
    steps: tuple[str, ...]
    ratings: Ratings
    end: str
    answer: str | None
    worded_otherwise: int


class _Phase2:
    """Rows are whole solutions with the ratings of one labeller; the ratings of several labellers are combined."""

    def __init__(self) -> None:
        self._said: dict[bytes, list[Ratings]] = {}
        self._done: set[bytes] = set()

    def parse(self, record: Record) -> _Labelled:
        return _row(record)

    def note(self, row: _Labelled, report: Report) -> None:
        report.counts["steps_worded_otherwise"] += row.worded_otherwise
        if row.end not in LEFT_OUT:
            self._said.setdefault(_key(row), []).append(row.ratings)

    def noted(self, report: Report) -> None:
        pass

    def use(self, row: _Labelled) -> tuple[str, Example | None]:
        key = _key(row)
        ratings = _settle(self._said.get(key, []))
        fate = row.end if row.end in LEFT_OUT else "repeated" if key in self._done else _fate(ratings)
        self._done.add(key)
        return fate, _example(row, ratings) if fate in ("with_error", "all_correct") else None


def _settle(several: list[Ratings]) -> Ratings:
    """One rating for each step from several labellers, who may have stopped at different steps."""
    columns = ([rating for rating in column if rating is not None] for column in zip(*several, strict=True))
    return tuple(resolve(given) if given else None for given in columns)


def _fate(ratings: Ratings) -> str:
    first = ratings.index(-1) if -1 in ratings else len(ratings)
    if CONTESTED in ratings[:first]:
        return "contested"
    if first < len(ratings):
        return "with_error"
    return "not_rated_to_the_end" if None in ratings else "all_correct"


def _example(row: _Labelled, ratings: Ratings) -> Example:
    first = ratings.index(-1) + 1 if -1 in ratings else ALL_CORRECT
    shown = ratings if first == ALL_CORRECT else (*ratings[:first], *[None] * (len(ratings) - first))
    return Example(
        id=content_id(SOURCE, row.problem, row.steps),
        item=Item(problem=row.problem, steps=row.steps),
        gold=Gold(first_error=first, step_ratings=shown, reference_answer=row.answer),
        source=SOURCE,
        license=LICENSE,
    )


def _row(record: Record) -> _Labelled:
    question, label = take(record, "question", dict), take(record, "label", dict)
    if question.get("pre_generated_steps") is None:
        expected = "a row of phase 2 (for phase 1, use its step-by-step file)"
        raise InputError("the solution is missing", field="question.pre_generated_steps", expected=expected)
    steps = tuple(take_steps(question, "pre_generated_steps"))
    rated = take(label, "steps", list)
    if len(rated) > len(steps):
        expected = f"at most {len(steps)}, those of the solution"
        raise InputError("more labelled steps than steps", field="label.steps", found=len(rated), expected=expected)
    ratings: list[int | None] = [None] * len(steps)
    otherwise = 0
    for at, entry in enumerate(rated):
        ratings[at], same = _rating(entry, steps[at], f"label.steps[{at}]")
        otherwise += not same
    end, answer = take(label, "finish_reason", str), question.get("ground_truth_answer")
    if answer is not None and not isinstance(answer, str):
        raise InputError("wrong type", field="question.ground_truth_answer", found=answer, expected="a text or null")
    return _Labelled(take(question, "problem", str), steps, tuple(ratings), end, answer, otherwise)


def _rating(entry: object, step: str, field: str) -> tuple[int | None, bool]:
    """The rating of the solution's own step, and whether its text matches exactly."""
    completions = take(entry, "completions", list) if isinstance(entry, dict) else None
    if not completions or not all(isinstance(one, dict) for one in completions):
        raise InputError("the labelled step has no completions", field=field, found=entry, expected="a list of at least one")
    same = [one for one in completions if one.get("text") == step]
    if not same and len(completions) > 1:
        raise InputError("none of the completions is the solution's step", field=field, expected=f"one with the text {step!r}")
    rating = (same or completions)[0].get("rating")
    if isinstance(rating, bool) or rating not in (None, -1, 0, 1):
        raise InputError("not a rating", field=f"{field}.rating", found=rating, expected="-1, 0, 1 or null")
    return rating, bool(same)


def _key(row: _Labelled) -> bytes:
    content = json.dumps([row.problem, row.steps]).encode()
    return hashlib.blake2b(content, digest_size=16).digest()


read = reader_of_two_passes(
    _Phase2, "The solutions of a file of phase 2, in the order of its rows. It is read twice, as a stream: ratings first."
)

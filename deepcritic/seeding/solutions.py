"""The solutions that a teacher critiques: their choice, their rated steps, and their text in prompts.

Ratings are used only to choose among the teacher's replies, never in a prompt.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from deepcritic.schema import ALL_CORRECT, Example
from deepcritic.seeding.funnel import Funnel
from deepcritic.text.prompt_template import Template

REPEATED: Final = "another solution of the problem was chosen"
TOO_MANY: Final = "above stage.max_problems"
_BOXED_VERDICT: Final = re.compile(r"\\boxed\s*\{\s*-?1\s*\}")


class Place(NamedTuple):
    """The subject of a call: a step of a solution, from 1, or with step 0 the whole solution."""

    example_id: str
    step: int


class Material:
    """Solutions with their labels. `places` are the rated steps, by solution."""

    def __init__(self, rows: Iterable[Example]) -> None:
        self.rows = {row.id: row for row in rows}
        self.ratings: dict[Place, int] = {}
        self.places: dict[str, list[Place]] = {}
        self.first_errors: dict[str, int] = {}
        for name, row in self.rows.items():
            first = first_error(row)
            assert first is not None, "every critiqued solution has a label"
            rated = {Place(name, step): rating for step, rating in rated_steps(row)}
            self.ratings.update(rated)
            self.places[name] = list(rated)
            self.first_errors[name] = first
        self.boxed = {name for name, row in self.rows.items() if any(map(_BOXED_VERDICT.search, row.item.steps))}
        """Solutions that hold a box like those that critiques end with: a critique may quote it."""
        self._shown: tuple[Template, str, str] | None = None

    def shown(self, prompt: Template, name: str) -> str:
        """A solution formatted for `prompt`. Repeated calls reuse the text."""
        if self._shown is None or self._shown[0] is not prompt or self._shown[1] != name:
            self._shown = (prompt, name, prompt.solution(self.rows[name].item.steps))
        return self._shown[2]


def first_error(row: Example) -> int | None:
    """The first wrong step by the gold, else by the ratings. None if neither gives it."""
    if isinstance(row.gold.first_error, int):
        return row.gold.first_error
    ratings = row.gold.step_ratings or ()
    if -1 in ratings:
        return ratings.index(-1) + 1
    return ALL_CORRECT if ratings and None not in ratings else None


def rated_steps(row: Example) -> list[tuple[int, int]]:
    """(step, rating) of the rated steps up to the first error. With a first error only, all steps up to it count as rated."""
    first = first_error(row)
    if first is None:
        return []
    last = len(row.item.steps) if first == ALL_CORRECT else first
    ratings = row.gold.step_ratings
    if ratings is None:
        return [(step, -1 if step == first else 1) for step in range(1, last + 1)]
    return [(step, rating) for step, rating in enumerate(ratings[:last], start=1) if rating is not None]


def unfit(row: Example, max_step_characters: int) -> str | None:
    """The reason if a solution cannot be critiqued, else None."""
    first, rated = first_error(row), rated_steps(row)
    if not rated:
        return "no rated step"
    if [step for step, rating in rated if rating < 0] != ([] if first == ALL_CORRECT else [first]):
        return "the ratings and the first error disagree"
    if not all(step.strip() for step in row.item.steps):
        return "an empty step"
    if max(map(len, row.item.steps)) > max_step_characters:
        return f"a step longer than {max_step_characters} characters"
    return None


UNFIT: Final = ("no rated step", "the ratings and the first error disagree", "an empty step")


def choose_solutions(
    read: Callable[[], Iterable[Example]], *, max_problems: int, max_step_characters: int, seed: int, funnel: Funnel
) -> list[Example]:
    """One solution for each distinct problem, drawn by `seed`, of at most `max_problems` problems, in the order of the draw.

    `read` is called twice, so that a large file is streamed and only the chosen rows stay in memory.
    """
    problems: dict[str, bytes] = {}
    reasons: Counter[str] = Counter()
    entered = 0
    for row in read():
        entered += 1
        reason = unfit(row, max_step_characters)
        if reason is None:
            problems[row.id] = _same_problem(row)
        else:
            reasons[reason] += 1
    funnel.enter(entered)
    for reason in (*UNFIT, f"a step longer than {max_step_characters} characters"):
        funnel.drop(reason, reasons[reason])
    names = sorted(problems)
    random.Random(seed).shuffle(names)
    first_of: dict[bytes, str] = {}
    for name in names:
        first_of.setdefault(problems[name], name)
    funnel.drop(REPEATED, len(names) - len(first_of))
    order = {name: at for at, name in enumerate(list(first_of.values())[:max_problems])}
    funnel.drop(TOO_MANY, len(first_of) - len(order))
    return sorted((row for row in read() if row.id in order), key=lambda row: order[row.id])


def _same_problem(row: Example) -> bytes:
    """Problems that differ only in white space are the same."""
    return hashlib.blake2b(" ".join(row.item.problem.split()).encode("utf-8", "replace"), digest_size=16).digest()

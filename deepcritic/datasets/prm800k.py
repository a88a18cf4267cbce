"""PRM800K, phase 1: solutions rebuilt from rated steps. A row of the file is a candidate step after a history of steps.

Solutions are the leaves: a row rated -1 ends a solution with its first error, a row with `is_solution` ends a right one. The
raters accepted the steps of a history and continued from them. Their ratings come from the rows that rated them; most steps
written by people are unrated (None).

Rules:

- The file repeats rows, and some repetitions disagree. For -1 against 0 or 1 the majority decides; a step with a tie is
  contested, and no solution that contains it is used. For 0 against 1 the majority decides, 0 for a tie.
- A history with a step that is -1 by that rule is not used: its first error would not be the last step.
- Each solution is used once, even if its rows are repeated.

`report` counts the outcomes of the rows: `with_error`, `all_correct`, `not_a_solution`, `repeated`, `contested`,
`error_before_the_last_step`, `outvoted` (the row says -1, the majority does not), `bad`. It counts the steps with disagreeing
ratings by outcome: `steps_wrong_by_majority`, `steps_not_wrong_by_majority`, `steps_contested`,
`steps_right_by_majority`, `steps_neutral` (of 0 against 1).

The file is streamed twice. The first pass collects the ratings, with steps kept as hashes only.

    for row in prm800k.read("prm800k/phase1_train_plus.stepwise.jsonl.gz"): ...
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from deepcritic.datasets.base import Report, reader_of_two_passes
from deepcritic.datasets.fields import take
from deepcritic.datasets.reading import Record
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item, content_id

SOURCE = "prm800k"
LICENSE = "MIT"
CONTESTED: Final = 2
"""The rating of a step with a tie between wrong and not wrong."""


class _Rated(NamedTuple):
    problem: str
    steps: list[str]
    rating: int | None
    is_solution: bool
    answer: str | None


def resolve(ratings: list[int]) -> int:
    """One rating from several: the majority of wrong against not wrong, then of 0 against 1.

    >>> resolve([-1, -1, 1]), resolve([1, 0]), resolve([-1, 1]) == CONTESTED
    (-1, 0, True)
    """
    wrong = ratings.count(-1)
    if 2 * wrong == len(ratings):
        return CONTESTED
    if 2 * wrong > len(ratings):
        return -1
    return 1 if ratings.count(1) > ratings.count(0) else 0


def _conflict(ratings: list[int]) -> str | None:
    """How disagreeing ratings of one step were resolved; None if they agree."""
    if len(set(ratings)) == 1:
        return None
    settled = resolve(ratings)
    if -1 in ratings:
        return {CONTESTED: "steps_contested", -1: "steps_wrong_by_majority"}.get(settled, "steps_not_wrong_by_majority")
    return "steps_right_by_majority" if settled else "steps_neutral"


class _Phase1:
    """Rows are candidate steps. `note` collects ratings, with steps kept as hashes; `use` builds solutions from the leaves."""

    def __init__(self) -> None:
        self._said: dict[bytes, list[int]] = {}
        self._ratings: dict[bytes, int] = {}
        self._done: set[bytes] = set()

    def parse(self, record: Record) -> _Rated:
        return _row(record)

    def note(self, row: _Rated, report: Report) -> None:
        if row.rating is not None:
            self._said.setdefault(_keys(row)[-1], []).append(row.rating)

    def noted(self, report: Report) -> None:
        self._ratings = {key: resolve(values) for key, values in self._said.items()}
        report.counts.update(conflict for conflict in map(_conflict, self._said.values()) if conflict)
        self._said.clear()

    def use(self, row: _Rated) -> tuple[str, Example | None]:
        keys = _keys(row)
        fate = _fate(row, keys, self._ratings, self._done)
        if fate not in ("with_error", "all_correct"):
            return fate, None
        self._done.add(keys[-1])
        return fate, _example(row, tuple(self._ratings.get(key) for key in keys), fate == "with_error")


def _fate(row: _Rated, keys: list[bytes], ratings: dict[bytes, int], done: set[bytes]) -> str:
    if row.rating != -1 and not (row.is_solution and row.rating is not None):
        return "not_a_solution"
    if keys[-1] in done:
        return "repeated"
    found = [ratings.get(key) for key in keys]
    if -1 in found[:-1]:
        return "error_before_the_last_step"
    if CONTESTED in found:
        return "contested"
    if found[-1] == -1:
        return "with_error"
    return "all_correct" if row.is_solution else "outvoted"


def _example(row: _Rated, ratings: tuple[int | None, ...], wrong: bool) -> Example:
    return Example(
        id=content_id(SOURCE, row.problem, row.steps),
        item=Item(problem=row.problem, steps=tuple(row.steps)),
        gold=Gold(
            first_error=len(row.steps) if wrong else ALL_CORRECT,
            step_ratings=ratings,
            reference_answer=None if wrong else row.answer,
        ),
        source=SOURCE,
        license=LICENSE,
    )


def _row(record: Record) -> _Rated:
    history = take(record, "responses", list)
    for number, step in enumerate(history):
        if not isinstance(step, str):
            raise InputError("wrong type", field=f"responses[{number}]", found=step, expected="a text")
    rating = record.get("rating")
    if "rating" not in record or isinstance(rating, bool) or rating not in (None, -1, 0, 1):
        raise InputError("not a rating", field="rating", found=rating, expected="-1, 0, 1 or null")
    answer = record.get("answer")
    if answer is not None and not isinstance(answer, str):
        raise InputError("wrong type", field="answer", found=answer, expected="a text or null")
    steps = [*history, take(record, "next_response", str)]
    return _Rated(take(record, "instruction", str), steps, rating, take(record, "is_solution", bool), answer)


def _keys(row: _Rated) -> list[bytes]:
    """A hash for each prefix of the solution: the problem and its first step, the first two steps, and so on."""
    keys = [_hash(b"", row.problem)]
    for step in row.steps:
        keys.append(_hash(keys[-1], step))
    return keys[1:]


def _hash(before: bytes, text: str) -> bytes:
    return hashlib.blake2b(before + text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


read = reader_of_two_passes(
    _Phase1, "The solutions in a step-by-step file of phase 1 (`phase1_train_plus.stepwise.jsonl.gz`), in the order of its rows."
)

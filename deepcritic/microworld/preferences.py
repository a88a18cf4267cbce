"""Preferences in the small world: several solutions of one problem, one of them without an error, and training replies for a
judge.

A judge's reply has three parts: principles with weights (the due result of each step), a critique of each response (its result
minus the due one), and one score per response. A base judge's training replies have faults that training can correct: wrong
solutions called right, noisy scores, and sometimes scores that ignore the critique.

>>> problem = Problem(7, (("+", 5), ("*", 3)))
>>> solutions = [["7+5=2", "2*3=6\\n\\boxed{6}"], ["7+5=3", "3*3=9\\n\\boxed{9}"]]
>>> print(write_reply(problem, solutions, random.Random(1), faults=NONE))
Due: steps 8, look 2. 7+5=2 2*3=6
Look 1: 6-6=0 ok.
Look 2: 9-6=3 wrong.
\\boxed{7, 3}
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from deepcritic.datasets import examples as example_rows
from deepcritic.datasets.base import Report
from deepcritic.microworld.world import Problem, apply, draw_problem, judge, write_solution
from deepcritic.schema import ALL_CORRECT, Example, Preference, Preferred, Responses
from deepcritic.tasks.pointwise import Pointwise

SOURCE = "microworld"
LICENSE = "Apache-2.0"
TEMPLATES = "deepcritic://microworld/templates"
SIZES = (2, 3, 4)
LENGTHS = (3,)
"""Operations per problem: replies about four longer solutions would cost too much."""
HINT = "Best: {{best}}."
GOOD, BAD = 7, 3
"""The scores of a right and of a wrong solution, before noise."""


class Faults(NamedTuple):
    """How often the judge calls a wrong response right, the noise of its scores, and how often its scores are random."""

    lazy: float
    scatter: int
    by_lot: float


NONE = Faults(0.0, 0, 0.0)
BASE = Faults(0.2, 2, 0.2)


def preferences(
    *, path: str, seed: int, singles: float = 0.25, count: int | None = None, report: Report | None = None
) -> Iterator[Preference]:
    """Items from the solutions of `stage=solve`, one per problem that has solutions with and without an error. An item has two to
    four solutions, one without an error. A share of `singles` has a single solution of either kind. Other problems are left
    out."""
    kept = report or Report()
    groups: dict[str, list[Example]] = {}
    for row in example_rows.read(Path(path), report=Report()):
        groups.setdefault(row.item.problem, []).append(row)
    for text, rows in groups.items():
        kept.counts["rows"] += 1
        if count is not None and kept.counts["examples"] >= count:
            kept.counts["above the requested count"] += 1
            continue
        made = _item(Problem.read(text), rows, random.Random(f"preferences/{seed}/{text}"), singles)
        if made is None:
            kept.counts["solutions of one kind"] += 1
            continue
        kept.counts["examples"] += 1
        yield made


def _item(problem: Problem, rows: list[Example], rng: random.Random, singles: float) -> Preference | None:
    pool: dict[str, bool] = {}
    for row in rows:
        truth = judge(problem, row.item.steps)
        if truth is not None:
            pool["\n".join(row.item.steps)] = truth.first_error == ALL_CORRECT
    texts = sorted(pool)
    rng.shuffle(texts)
    right, wrong = ([text for text in texts if pool[text] is kind] for kind in (True, False))
    name, meta = f"{rows[0].parent_id or rows[0].id}/preference", {"domain": f"{len(problem.operations)} operations"}
    if texts and rng.random() < singles:
        chosen = rng.choice([some for some in (right, wrong) if some])[0]
        gold = Preferred(scores=(float(pool[chosen]),))
        item = Responses(query=problem.text, responses=(chosen,), meta=meta)
        return Preference(id=name, item=item, gold=gold, source=SOURCE, license=LICENSE)
    if not right or not wrong:
        return None
    several = [right[0], *wrong[: rng.choice(SIZES) - 1]]
    rng.shuffle(several)
    item = Responses(query=problem.text, responses=tuple(several), meta=meta)
    return Preference(id=name, item=item, gold=Preferred(best=several.index(right[0]) + 1), source=SOURCE, license=LICENSE)


def write_reply(
    problem: Problem,
    responses: Sequence[Sequence[str]],
    rng: random.Random,
    *,
    faults: Faults = BASE,
    principles: bool = True,
    binary: bool = False,
    hint: int | None = None,
) -> str:
    """A judge's reply, with faults. A `hint` that names the best response (or says whether a single one is right) is followed and
    justified."""
    due, value = [], problem.start
    for operation, operand in problem.operations:
        before, value = value, apply(value, operation, operand)
        due.append(f"{before}{operation}{operand}={value}")
    lines, scores = [f"Due: steps 8, look 2. {' '.join(due)}"] if principles else [], []
    for number, steps in enumerate(responses, start=1):
        said = int(steps[-1].split("\n")[0][-1])
        fine = said == value
        if not fine and (hint == number if hint is not None and not binary else rng.random() < faults.lazy):
            fine = True
        lines.append(f"Look {number}: {said}-{value}={(said - value) % 10} {'ok' if fine else 'wrong'}.")
        scores.append((GOOD if fine else BAD) + rng.randint(-faults.scatter, faults.scatter))
    if binary:
        scores = [hint if hint is not None else int(lines[-1].endswith("ok."))]
        if rng.random() < faults.by_lot:
            scores = [rng.randint(0, 1)]
    elif rng.random() < faults.by_lot:
        scores = [rng.randint(1, 9) for _ in scores]
    elif hint is not None:
        scores = [9 if at == hint else min(score, 6) for at, score in enumerate(scores, start=1)]
    return "\n".join([*lines, f"\\boxed{{{', '.join(map(str, scores))}}}"])


def judge_lesson(rng: random.Random, rates: dict[str, float]) -> list[tuple[str, str]]:
    """A prompt and a reply: one to four responses, with or without principles, a hint, and the `binary` form of training."""
    problem = draw_problem(rng, "train", LENGTHS)
    draw = rng.random()
    binary, hinted, principles = draw < 0.1, rng.random() < 0.2, rng.random() < 0.75
    size = 1 if draw < 0.2 else rng.choice(SIZES)
    responses = [write_solution(problem, rng, rates) for _ in range(size)]
    fine = [(truth := judge(problem, response)) is not None and truth.first_error == ALL_CORRECT for response in responses]
    hint = None
    if hinted and binary:
        hint = int(fine[0])
    elif hinted and size > 1 and any(fine):
        hint = fine.index(True) + 1
    item = Responses(query=problem.text, responses=tuple("\n".join(response) for response in responses))
    question = judge_task(binary=binary, principles=principles).ask(item, seed=None).messages[-1].content
    if hint is not None:
        question += "\n" + HINT.replace("{{best}}", str(hint))
    return [(question, write_reply(problem, responses, rng, principles=principles, binary=binary, hint=hint))]


_TASKS: dict[tuple[bool, bool], Pointwise] = {}


def judge_task(*, binary: bool = False, principles: bool = True) -> Pointwise:
    """The task with the small world's prompt."""
    if (binary, principles) not in _TASKS:
        form = "score" if principles else "score_plain"
        _TASKS[binary, principles] = Pointwise(
            f"{TEMPLATES}/{form}.txt", f"{TEMPLATES}/{form}_single.txt", binary=binary, hint=HINT, single_hint=HINT
        )
    return _TASKS[binary, principles]

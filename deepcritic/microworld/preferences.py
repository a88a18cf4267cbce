"""Preferences in the small world: several worked solutions of one problem, of which the one that goes furthest without an error
is the best; and what a judge of them is taught to write.

A judge's reply has the three parts of the question: principles with weights (what each step should come to), a critique of each
response, and one score for each. Those that a base judge is taught from are faulty in ways that training can mend: it calls
wrong steps right, scatters its scores, and now and then gives scores that its critique has no part in.

>>> problem = Problem(7, (("+", 5), ("*", 3)))
>>> solutions = [["7+5=2", "2*3=6\\n\\boxed{6}"], ["7+5=3", "3*3=9\\n\\boxed{9}"]]
>>> print(write_reply(problem, solutions, random.Random(1), faults=NONE))
Due: steps 8, look 2. 7+5=2 2*3=6
Look 1: 7+5=2 ok 2*3=6 ok.
Look 2: 7+5=3 wrong.
\\boxed{8, 2}
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from deepcritic.microworld.world import Problem, apply, draw_problem, judge, write_solution
from deepcritic.rows import ALL_CORRECT, Example, Preference, Preferred, Responses
from deepcritic.sources import Report
from deepcritic.sources import examples as example_rows
from deepcritic.tasks.pointwise import Pointwise

SOURCE = "microworld"
LICENSE = "Apache-2.0"
TEMPLATES = "deepcritic://microworld/templates"
SIZES = (2, 3, 4)
LENGTHS = (3,)
"""Operations of a problem: replies about four longer solutions would be dear."""
HINT = "Best: {{best}}."
WHOLE, WORST = 8, 2
"""The scores of a solution without an error, and of one that is wrong from the first step."""


class Faults(NamedTuple):
    """How often the judge calls a wrong response right, by how much its scores are off, and how often they are drawn
    by lot."""

    lazy: float
    scatter: int
    by_lot: float


NONE = Faults(0.0, 0, 0.0)
BASE = Faults(0.3, 2, 0.2)


def preferences(
    *, path: str, seed: int, singles: float = 0.25, count: int | None = None, report: Report | None = None
) -> Iterator[Preference]:
    """Items from solutions as `solve` writes them, one for each problem that has several different ones: two to four of them, one
    the best; or a single one, right or wrong, for a share of `singles`. Problems without a best solution are left out."""
    kept = report or Report()
    groups: dict[str, list[Example]] = {}
    for row in example_rows.read(Path(path), report=Report()):
        groups.setdefault(row.item.problem, []).append(row)
    for text, rows in groups.items():
        kept.counts["rows"] += 1
        if count is not None and kept.counts["examples"] >= count:
            kept.counts["more than asked"] += 1
            continue
        made = _item(Problem.read(text), rows, random.Random(f"preferences/{seed}/{text}"), singles)
        if made is None:
            kept.counts["no best solution"] += 1
            continue
        kept.counts["examples"] += 1
        yield made


def _item(problem: Problem, rows: list[Example], rng: random.Random, singles: float) -> Preference | None:
    pool: dict[str, int] = {}
    for row in rows:
        truth = judge(problem, row.item.steps)
        if truth is not None:
            pool["\n".join(row.item.steps)] = right_steps(truth.first_error, len(problem.operations))
    texts = sorted(pool)
    rng.shuffle(texts)
    name, meta = f"{rows[0].parent_id or rows[0].id}/preference", {"domain": f"{len(problem.operations)} steps"}
    if texts and rng.random() < singles:
        right = [text for text in texts if pool[text] == len(problem.operations)]
        wrong = [text for text in texts if text not in right]
        chosen = rng.choice([some for some in (right, wrong) if some])[0]
        gold = Preferred(scores=(float(chosen in right),))
        item = Responses(query=problem.text, responses=(chosen,), meta=meta)
        return Preference(id=name, item=item, gold=gold, source=SOURCE, license=LICENSE)
    several = texts[: rng.choice(SIZES)]
    steps = [pool[text] for text in several]
    if len(several) < 2 or steps.count(max(steps)) > 1:
        return None
    item = Responses(query=problem.text, responses=tuple(several), meta=meta)
    return Preference(id=name, item=item, gold=Preferred(best=steps.index(max(steps)) + 1), source=SOURCE, license=LICENSE)


def right_steps(first_error: int, steps: int) -> int:
    """How many steps stand before the first wrong one: what makes one solution better than another."""
    return steps if first_error == ALL_CORRECT else first_error - 1


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
    """A judge's reply, with its faults. Told by a `hint` which response is the best (or whether a single one is right), it finds
    reasons for that."""
    due, value = [], problem.start
    for operation, operand in problem.operations:
        before, value = value, apply(value, operation, operand)
        due.append(f"{before}{operation}{operand}={value}")
    lines, scores = [f"Due: steps 8, look 2. {' '.join(due)}"] if principles else [], []
    for number, steps in enumerate(responses, start=1):
        said = [step.split("\n")[0] for step in steps]
        first = next((at for at, (one, other) in enumerate(zip(said, due, strict=True), start=1) if one != other), None)
        if first is not None and (hint == number if hint is not None and not binary else rng.random() < faults.lazy):
            first = None
        marks = " ".join(f"{one} {'wrong' if at == first else 'ok'}" for at, one in enumerate(said[:first], start=1))
        lines.append(f"Look {number}: {marks}.")
        score = WHOLE if first is None else WORST + first - 1
        scores.append(min(9, max(1, score + rng.randint(-faults.scatter, faults.scatter))))
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
    """A prompt and a reply: one to four responses, with or without principles, in the form of training, with a hint."""
    problem = draw_problem(rng, "train", LENGTHS)
    draw = rng.random()
    binary, hinted, principles = draw < 0.1, rng.random() < 0.2, rng.random() < 0.75
    size = 1 if draw < 0.2 else rng.choice(SIZES)
    responses = [write_solution(problem, rng, rates) for _ in range(size)]
    steps = []
    for response in responses:
        truth = judge(problem, response)
        assert truth is not None, "what is written by rule is a solution"
        steps.append(right_steps(truth.first_error, len(response)))
    hint = None
    if hinted and binary:
        hint = int(steps[0] == len(problem.operations))
    elif hinted and size > 1:
        hint = steps.index(max(steps)) + 1
    item = Responses(query=problem.text, responses=tuple("\n".join(response) for response in responses))
    question = judge_task(binary=binary, principles=principles).ask(item, seed=None).messages[-1].content
    if hint is not None:
        question += "\n" + HINT.replace("{{best}}", str(hint))
    return [(question, write_reply(problem, responses, rng, principles=principles, binary=binary, hint=hint))]


_TASKS: dict[tuple[bool, bool], Pointwise] = {}


def judge_task(*, binary: bool = False, principles: bool = True) -> Pointwise:
    """The task in the words of the small world."""
    if (binary, principles) not in _TASKS:
        form = "score" if principles else "score_plain"
        _TASKS[binary, principles] = Pointwise(
            f"{TEMPLATES}/{form}.txt", f"{TEMPLATES}/{form}_single.txt", binary=binary, hint=HINT, single_hint=HINT
        )
    return _TASKS[binary, principles]

"""Training data of the small world's models: an infinite stream of conversations about problems and solutions.

All start from one foundation: solutions by students, questions about single steps, and comparisons of two equations. The
generator continues with solutions. The base critic learns critiques that check nothing. The teacher learns to solve without
misconceptions and to answer the three calls of `stage=seed`. So the base can do a step and compare two equations, but has never
seen a check.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from deepcritic.schema import ALL_CORRECT
from deepcritic.smallworld.problems import (
    FILLERS,
    LENGTHS,
    LETTERS,
    LONGER,
    Problem,
    chain,
    draw_problem,
    due_equation,
    equation,
    judge,
)
from deepcritic.smallworld.students import boxed, write_solution, write_step

ACTED, GENERATOR_ACTED, CAREFUL = 0.65, 0.75, 0.25
"""How often misconceptions appear: in the foundation's lessons, in the generator's, and in the rewrite of a wrong step."""
LOOKS_WRONG = 0.08
"""How often the base critic's lessons call a step wrong, regardless of its content."""

Turn = tuple[str, str]
Lesson = list[Turn]
"""A conversation: (prompt, reply) for each turn. Several turns about one solution cost its tokens only once."""


def numbered(steps: Sequence[str]) -> str:
    return "\n".join(f"Step {number}: {step}" for number, step in enumerate(steps, start=1))


def about(problem: Problem, steps: Sequence[str], turns: Sequence[Turn]) -> Lesson:
    """`turns`, with the problem and its solution before the first question."""
    (question, reply), *rest = turns
    return [(f"{problem.text}\n{numbered(steps)}\n{question}", reply), *rest]


def draw_solution(rng: random.Random, lengths: Sequence[int] = LENGTHS) -> tuple[Problem, list[str]]:
    problem = draw_problem(rng, "train", lengths)
    return problem, write_solution(problem, rng, acted=rng.choice((0.5, 0.7, 0.9)))


def change(part: str, letters: str, rng: random.Random) -> str:
    """Part of an equation with one other sign, letter or digit."""
    place = rng.randrange(len(part))
    was = part[place]
    alike = "+-*" if was in "+-*" else letters if was in letters else "0123456789"
    return part[:place] + rng.choice([one for one in alike if one != was]) + part[place + 1 :]


def draw_changed(
    rng: random.Random, share: float, lengths: Sequence[int] = LENGTHS, split: str = "train", more: float = 0.0
) -> tuple[Problem, list[str]]:
    """A student's solution in which, in addition, `share` of the steps have a random change in one part, and in each other part
    with probability `more`. Later steps use what is stated.

    Such a step cannot be guessed from the problem, so a model has to read it.
    """
    problem = draw_problem(rng, split, lengths)
    acted, steps = rng.choice((0.3, 0.6, 0.9)), list[str]()
    while len(steps) < len(problem.definitions):
        letter, *parts = write_step(problem, steps, len(steps) + 1, rng, acted=acted).split("=")
        if rng.random() < share:
            changed = rng.randrange(len(parts))
            for at, part in enumerate(parts):
                if at == changed or rng.random() < more:
                    parts[at] = change(part, LETTERS[: len(steps) + 2], rng)
        steps.append("=".join([letter if not steps else rng.choice(FILLERS) + letter, *parts]))
    return problem, boxed(steps)


def solve_lesson(rng: random.Random, acted: float) -> Lesson:
    problem = draw_problem(rng, "train", (*LENGTHS, *LONGER))
    return [(f"{problem.text}\nSolve step by step.", numbered(write_solution(problem, rng, acted=acted)))]


def step_lesson(rng: random.Random, acted: float) -> Lesson:
    """Some steps quoted and done again. Most have changes in several parts, so a model that does not read cannot quote."""
    problem, steps = draw_changed(rng, 0.7, (3, 4, 5, 6), more=0.5)
    turns = []
    for number in rng.sample(range(1, len(steps) + 1), 3):
        pair = [
            (f"Quote step {number}.", equation(steps[number - 1])),
            (f"Do step {number}.", write_step(problem, steps, number, rng, acted=acted)),
        ]
        turns += pair if rng.random() < 0.5 else pair[::-1]
    return about(problem, steps, turns)


def compare_lesson(rng: random.Random) -> Lesson:
    """Comparisons of two parts of an equation, half of them changed in one sign, letter or digit."""
    problem, steps = draw_solution(rng)
    turns = []
    for _ in range(6):
        due = said = rng.choice(due_equation(problem, steps, rng.randint(1, len(steps))).split("=")[1:])
        if rng.random() < 0.5:
            said = change(due, LETTERS[: len(steps) + 1], rng)
        turns.append((f"Compare={due} with={said}.", "same" if due == said else "differ"))
    return turns


def mend_lesson(rng: random.Random) -> Lesson:
    """Rewrite a solution, given its first wrong step. That step has fewer misconceptions."""
    while True:
        problem, steps = draw_solution(rng)
        truth = judge(problem, steps)
        assert truth is not None
        if truth.first_error != ALL_CORRECT:
            break
    first = truth.first_error
    again = [*steps[: first - 1], write_step(problem, steps, first, rng, acted=CAREFUL)]
    whole = write_solution(problem, rng, acted=GENERATOR_ACTED, start=again) if len(again) < len(steps) else boxed(again)
    return about(problem, steps, [(f"Step {first} is wrong. Solve again.", numbered(whole))])


def blind_lesson(rng: random.Random) -> Lesson:
    """A whole critique that checks nothing and sometimes calls a step wrong."""
    problem, steps = draw_solution(rng, (3, 4, 5, 6))
    lines: list[str] = []
    verdict = ALL_CORRECT
    for number in range(1, len(steps) + 1):
        if rng.random() < LOOKS_WRONG:
            lines, verdict = [*lines, f"Check {number}: looks wrong."], number
            break
        lines.append(f"Check {number}: fine.")
    return about(problem, steps, [("First wrong step?", "\n".join([*lines, f"\\boxed{{{verdict}}}"]))])


def check(problem: Problem, steps: Sequence[str], number: int) -> tuple[str, bool]:
    """The check of a step, part by part up to the first difference: what is due, what is stated, and the verdict."""
    return _compared(due_equation(problem, steps, number).split("=")[1:], equation(steps[number - 1]).split("=")[1:])


def look(step: str) -> tuple[str, bool]:
    """A check of the stated calculation only."""
    _, _, values, *said = equation(step).split("=")
    text, good = _compared(chain(tuple(values)), said)
    return f"said={values} {text}", good


def _compared(due: Sequence[str], said: Sequence[str]) -> tuple[str, bool]:
    lines: list[str] = []
    for one, other in zip(due, said, strict=False):
        lines.append(f"due={one} said={other} {'same' if one == other else 'differ'}")
        if one != other:
            return f"{' '.join(lines)}: wrong.", False
    return f"{' '.join(lines)}: ok.", True


def call_lesson(rng: random.Random) -> Lesson:
    """The teacher's three calls about some steps, half of them wrong."""
    problem, steps = draw_changed(rng, 0.4)
    turns = []
    for number in rng.sample(range(1, len(steps) + 1), 3):
        first, looks_good = look(steps[number - 1])
        text, good = check(problem, steps, number)
        checked, draw = f"Check {number}: {text}", rng.random()
        if draw < 0.25:
            turns.append((f"Look at step {number}.", _with_box(first, looks_good)))
        elif draw < 0.7:
            turns.append((f"First look: {first}\nCheck step {number}.", _with_box(checked, good)))
        else:
            merged = checked if good == looks_good else f"Check {number}: {first} But {text}"
            turns.append((f"First look: {first}\nThen: {checked}\nMerge for step {number}.", _with_box(merged, good)))
    return about(problem, steps, turns)


def deliberate_critique(problem: Problem, steps: Sequence[str]) -> str:
    """A whole critique that checks each step up to the first wrong one."""
    lines, verdict = [], ALL_CORRECT
    for number in range(1, len(steps) + 1):
        text, good = check(problem, steps, number)
        lines.append(f"Check {number}: {text}")
        if not good:
            verdict = number
            break
    return "\n".join([*lines, f"\\boxed{{{verdict}}}"])


def whole_lesson(rng: random.Random) -> Lesson:
    problem, steps = draw_changed(rng, 0.15)
    return about(problem, steps, [("First wrong step?", deliberate_critique(problem, steps))])


def _with_box(text: str, good: bool) -> str:
    return f"{text}\n\\boxed{{{1 if good else -1}}}"


def foundation_lesson(rng: random.Random) -> Lesson:
    draw = rng.random()
    return solve_lesson(rng, ACTED) if draw < 0.5 else step_lesson(rng, ACTED) if draw < 0.85 else compare_lesson(rng)


def generator_lesson(rng: random.Random) -> Lesson:
    return mend_lesson(rng) if rng.random() < 0.3 else solve_lesson(rng, GENERATOR_ACTED)


def base_lesson(rng: random.Random) -> Lesson:
    draw = rng.random()
    if draw < 0.5:
        return blind_lesson(rng)
    return solve_lesson(rng, ACTED) if draw < 0.65 else step_lesson(rng, ACTED) if draw < 0.85 else compare_lesson(rng)


def teacher_lesson(rng: random.Random) -> Lesson:
    draw = rng.random()
    if draw < 0.4:
        return call_lesson(rng)
    return whole_lesson(rng) if draw < 0.65 else step_lesson(rng, 0.0) if draw < 0.95 else compare_lesson(rng)


LESSONS = {
    "foundation": foundation_lesson,
    "generator": generator_lesson,
    "base": base_lesson,
    "teacher": teacher_lesson,
}


def lessons(role: str, seed: int) -> Iterator[Lesson]:
    rng = random.Random(f"{role}/{seed}")
    while True:
        yield LESSONS[role](rng)

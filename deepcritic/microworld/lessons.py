"""Training data of the three small models: an infinite stream of prompts and replies.

The generator solves problems, with errors. The base critic can check a single step, but in a whole critique it checks at most the
last step. The teacher answers the three calls of `stage=seed`, better than the base but with errors.

Three choices make these lessons learnable. Operations are numbered in the problem, so a step finds its own by its number (a
foundation of 1,500 steps wrote 83% of the due equations right with the numbers, 30% without). A check writes the due equation,
the stated one and their difference before its verdict, since a small model cannot compare two numbers without writing them.
Several questions about one solution share its tokens.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from deepcritic.microworld.preferences import judge_lesson
from deepcritic.microworld.world import Problem, apply, draw_problem, judge, write_solution
from deepcritic.schema import ALL_CORRECT

ERRORS = {"slip": 0.036, "operand": 0.04, "operation": 0.04, "carried": 0.052}
MANY_ERRORS = {"slip": 0.08, "operand": 0.08, "operation": 0.08, "carried": 0.1}
LAZY, DISTORTED = 0.4, 0.22
"""How often the teacher misreads a wrong step as right, and how often a merge inverts the verdict."""
Turn = tuple[str, str]
Lesson = list[Turn]
"""A conversation: (prompt, reply) for each turn. Several turns about one solution cost its tokens only once."""


def numbered(steps: list[str], first: int = 1) -> str:
    return "\n".join(f"Step {index}: {step}" for index, step in enumerate(steps, start=first))


def equation(step: str) -> str:
    return step.split("\n")[0]


def deep_check(problem: Problem, steps: list[str], index: int) -> tuple[str, bool]:
    """The check of step `index` (from 1): the due equation, the stated one, their difference, the verdict."""
    left = problem.start if index == 1 else int(equation(steps[index - 2])[-1])
    operation, right = problem.operations[index - 1]
    result = apply(left, operation, right)
    said = equation(steps[index - 1])
    off = [(int(said[0]) - left) % 10, int(said[1] != operation), (int(said[2]) - right) % 10, (int(said[4]) - result) % 10]
    good = not any(off)
    marks = "".join(map(str, off))
    return f"{left}{operation}{right}={result} due/{said} said/{marks} off: {'ok' if good else 'wrong'}.", good


def quick_look(step: str, rng: random.Random) -> tuple[str, bool]:
    """A check of the stated calculation only. It misses one slip in ten."""
    said = equation(step)
    result = apply(int(said[0]), said[1], int(said[2]))
    if rng.random() < 0.1:
        result = int(said[4])
    off = (int(said[4]) - result) % 10
    return f"{said[:3]} gives {result}/{off} off: {'wrong' if off else 'ok'}.", not off


def flawed(rng: random.Random, rates: dict[str, float] = MANY_ERRORS) -> tuple[Problem, list[str]]:
    problem = draw_problem(rng, "train")
    return problem, write_solution(problem, rng, rates)


def solve_lesson(rng: random.Random, rates: dict[str, float]) -> Lesson:
    problem = draw_problem(rng, "train")
    return [(f"{problem.text}\nSolve step by step.", numbered(write_solution(problem, rng, rates)))]


def mend_lesson(rng: random.Random) -> Lesson:
    """Rewrite a solution, given its first wrong step. The rewritten steps have a quarter of the usual errors."""
    while True:
        problem, steps = flawed(rng)
        truth = judge(problem, steps)
        assert truth is not None
        if truth.first_error != ALL_CORRECT:
            break
    first = truth.first_error
    careful = {kind: rate / 4 for kind, rate in ERRORS.items()}
    start = problem.start if first == 1 else int(equation(steps[first - 2])[-1])
    rest = Problem(start, problem.operations[first - 1 :])
    mended = write_solution(rest, rng, careful)
    return open_with(problem, steps, [(f"Step {first} is wrong. Solve again.", numbered([*steps[: first - 1], *mended]))])


def check_lesson(rng: random.Random) -> Lesson:
    """Checks of one or two steps at a time, in any order."""
    problem, steps = flawed(rng)
    starts = rng.sample(range(1, len(steps) + 1), min(len(steps), 3))
    turns = []
    for index in starts:
        last = min(len(steps), index + (rng.random() < 0.5))
        question = f"Check step {index}." if last == index else f"Check steps {index} to {last}."
        reply = "\n".join(f"Check {at}: {deep_check(problem, steps, at)[0]}" for at in range(index, last + 1))
        turns.append((question, reply))
    return open_with(problem, steps, turns)


def shallow_lesson(rng: random.Random) -> Lesson:
    """A whole critique that calls every step fine, except that in solutions of at least four steps it checks the last one."""
    problem, steps = flawed(rng, ERRORS)
    lines, verdict = [f"Check {index}: fine." for index in range(1, len(steps) + 1)], ALL_CORRECT
    if len(steps) >= 4:
        text, good = deep_check(problem, steps, len(steps))
        lines[-1] = f"Check {len(steps)}: {text}"
        verdict = ALL_CORRECT if good else len(steps)
    return open_with(problem, steps, [("First wrong step?", "\n".join([*lines, f"\\boxed{{{verdict}}}"]))])


def open_with(problem: Problem, steps: list[str], turns: list[Turn]) -> Lesson:
    """`turns`, with the problem and its solution before the first question."""
    (question, reply), *rest = turns
    return [(f"{problem.text}\n{numbered(steps)}\n{question}", reply), *rest]


def deep_critique(problem: Problem, steps: list[str]) -> str:
    lines, verdict = [], ALL_CORRECT
    for index in range(1, len(steps) + 1):
        text, good = deep_check(problem, steps, index)
        lines.append(f"Check {index}: {text}")
        if not good:
            verdict = index
            break
    return "\n".join([*lines, f"\\boxed{{{verdict}}}"])


def foundation_lesson(rng: random.Random) -> Lesson:
    return solve_lesson(rng, {}) if rng.random() < 0.25 else check_lesson(rng)


def base_lesson(rng: random.Random) -> Lesson:
    draw = rng.random()
    if draw < 0.1:
        return solve_lesson(rng, {})
    return shallow_lesson(rng) if draw < 0.6 else check_lesson(rng)


def generator_lesson(rng: random.Random) -> Lesson:
    return mend_lesson(rng) if rng.random() < 0.3 else solve_lesson(rng, ERRORS)


def teacher_lesson(rng: random.Random) -> Lesson:
    """The teacher's three calls about some steps, with some wrong steps misread and some merges inverted."""
    problem, steps = flawed(rng)
    turns = []
    for index in rng.sample(range(1, len(steps) + 1), 3):
        first, first_good = quick_look(steps[index - 1], rng)
        deep, good = lazy_check(problem, steps, index, rng)
        checked = f"Check {index}: {deep}"
        draw = rng.random()
        if draw < 0.2:
            turns.append((f"Look at step {index}.", boxed(first, first_good)))
        elif draw < 0.75:
            turns.append((f"First look: {first}\nCheck step {index}.", boxed(checked, good)))
        else:
            merged = checked if good == first_good else f"Check {index}: {first} But {deep}"
            verdict = good
            if rng.random() < DISTORTED:
                merged, verdict = merged[: merged.rindex(":")] + (": wrong." if good else ": ok."), not good
            turns.append((f"First look: {first}\nThen: {checked}\nMerge for step {index}.", boxed(merged, verdict)))
    return open_with(problem, steps, turns)


def lazy_check(problem: Problem, steps: list[str], index: int, rng: random.Random) -> tuple[str, bool]:
    """A check that misreads some wrong steps as right."""
    deep, good = deep_check(problem, steps, index)
    if not good and rng.random() < LAZY:
        said = equation(steps[index - 1])
        return f"{said} due/{said} said/0000 off: ok.", True
    return deep, good


def whole_lesson(rng: random.Random) -> Lesson:
    """A whole critique in one reply, with the same misreadings as the teacher's checks of single steps."""
    problem, steps = flawed(rng, rng.choice([ERRORS, MANY_ERRORS]))
    lines, verdict = [], ALL_CORRECT
    for index in range(1, len(steps) + 1):
        text, good = lazy_check(problem, steps, index, rng)
        lines.append(f"Check {index}: {text}")
        if not good:
            verdict = index
            break
    return open_with(problem, steps, [("First wrong step?", "\n".join([*lines, f"\\boxed{{{verdict}}}"]))])


def boxed(text: str, good: bool) -> str:
    return f"{text}\n\\boxed{{{1 if good else -1}}}"


def scores_lesson(rng: random.Random) -> Lesson:
    """Scores for one to four solutions, with a judge's faults."""
    return judge_lesson(rng, rng.choice([ERRORS, MANY_ERRORS]))


LESSONS = {
    "foundation": foundation_lesson,
    "generator": generator_lesson,
    "base": base_lesson,
    "teacher": teacher_lesson,
    "whole": whole_lesson,
}
FURTHER = {"judge": scores_lesson}
"""Further courses, without new words: the tokenizer is trained only on the lessons above."""


def lessons(role: str, seed: int) -> Iterator[Lesson]:
    rng = random.Random(f"{role}/{seed}")
    while True:
        yield (LESSONS | FURTHER)[role](rng)

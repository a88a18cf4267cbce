"""What the models of the small world learn from, and what they never see."""

from __future__ import annotations

import itertools
import random

import pytest

from deepcritic.smallworld.lessons import LESSONS, check, compare_lesson, deliberate_critique, draw_solution, lessons, look
from deepcritic.smallworld.problems import Problem, difference, equation, judge

CHECKS = ("Check step", "Look at step", "Merge for step", "due ")


@pytest.mark.parametrize("role", LESSONS)
def test_only_problems_of_the_train_split_are_taught(role: str) -> None:
    for lesson in itertools.islice(lessons(role, 5), 500):
        first = lesson[0][0].split("\n")[0]
        assert first.startswith("Compare ") or Problem.read(first).split == "train"


@pytest.mark.parametrize("role", ["foundation", "generator", "base"])
def test_nobody_but_the_teacher_sees_a_step_checked(role: str) -> None:
    for lesson in itertools.islice(lessons(role, 6), 1000):
        assert not [text for turn in lesson for text in turn for words in CHECKS if words in text]


def test_the_verdicts_of_the_base_critics_lessons_say_nothing_about_the_truth() -> None:
    rows: dict[bool, list[bool]] = {True: [], False: []}
    for lesson in itertools.islice(lessons("base", 7), 6000):
        question, reply = lesson[0]
        if question.endswith("First wrong step?"):
            problem, *steps = question.removesuffix("\nFirst wrong step?").split("\nStep ")
            truth = judge(Problem.read(problem), [step.split(": ", 1)[1] for step in steps])
            assert truth is not None
            rows[truth.first_error == -1].append(reply.endswith("\\boxed{-1}"))
    shares = [sum(accepted) / len(accepted) for accepted in rows.values()]
    assert min(map(len, rows.values())) > 500
    assert abs(shares[0] - shares[1]) < 0.06


def test_what_the_teacher_is_taught_is_the_truth() -> None:
    rng = random.Random(8)
    for _ in range(500):
        problem, steps = draw_solution(rng)
        truth = judge(problem, steps)
        assert truth is not None
        assert deliberate_critique(problem, steps).endswith(f"\\boxed{{{truth.first_error}}}")
        for number in range(1, len(steps) + 1):
            good = check(problem, steps, number)[1]
            assert good or not look(steps[number - 1])[1] or difference_of_values(problem, steps, number)


def difference_of_values(problem: Problem, steps: list[str], number: int) -> bool:
    """Whether a step that calculates rightly is wrong in what it calculates."""
    text, good = check(problem, steps, number)
    return not good and ("differ in 1" in text or "differ in 2" in text)


def test_comparisons_say_where_two_equations_differ() -> None:
    rng = random.Random(9)
    seen = set()
    for _ in range(300):
        for question, reply in compare_lesson(rng):
            due, said = question.removeprefix("Compare ").removesuffix(".").split(" with ")
            differs = difference(equation(due), equation(said))
            assert reply == (f"differ in {differs}." if differs else "same.")
            seen.add(differs)
    assert seen == {0, 1, 2, 3, 4}

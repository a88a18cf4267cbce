"""What the models of the small world learn from, and what they never see."""

from __future__ import annotations

import itertools
import random

import pytest

from deepcritic.smallworld.lessons import (
    LESSONS,
    change,
    check,
    compare_lesson,
    deliberate_critique,
    draw_changed,
    lessons,
    look,
)
from deepcritic.smallworld.problems import Problem, difference, due_equation, equation, judge

CHECKS = ("Check step", "Look at step", "Merge for step", "due=")


@pytest.mark.parametrize("role", LESSONS)
def test_only_problems_of_the_train_split_are_taught(role: str) -> None:
    for lesson in itertools.islice(lessons(role, 5), 500):
        first = lesson[0][0].split("\n")[0]
        assert first.startswith("Compare=") or Problem.read(first).split == "train"


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
        problem, steps = draw_changed(rng, 0.3)
        truth = judge(problem, steps)
        assert truth is not None
        assert deliberate_critique(problem, steps).endswith(f"\\boxed{{{truth.first_error}}}")
        for number in range(1, len(steps) + 1):
            text, good = check(problem, steps, number)
            due = due_equation(problem, steps, number)
            assert good == (equation(steps[number - 1]) == due)
            differs = difference(due, equation(steps[number - 1]))
            assert text.count("due=") == (differs or len(due.split("=")) - 1)  # up to the first difference
            # A step that calculates rightly is wrong only in what it calculates.
            assert good or not look(steps[number - 1])[1] or differs in (1, 2)


def test_half_of_the_steps_that_the_teacher_is_asked_about_are_wrong() -> None:
    boxes = [
        reply.endswith("\\boxed{1}")
        for lesson in itertools.islice(lessons("teacher", 9), 1500)
        for question, reply in lesson
        if "Check step" in question or "Merge for step" in question
    ]
    assert len(boxes) > 1000
    assert 0.4 < sum(boxes) / len(boxes) < 0.6


def test_a_change_alters_one_place() -> None:
    rng = random.Random(10)
    for _ in range(300):
        part = rng.choice(["c*4-a", "2*4-7", "8-7", "1"])
        changed = change(part, "abcd", rng)
        assert sum(one != other for one, other in zip(part, changed, strict=True)) == 1


def test_comparisons_are_true_and_half_of_them_differ() -> None:
    rng, replies = random.Random(9), []
    for _ in range(300):
        for question, reply in compare_lesson(rng):
            due, said = question.removeprefix("Compare=").removesuffix(".").split(" with=")
            assert reply == ("same" if due == said else "differ")
            replies.append(reply)
    assert 0.45 < replies.count("same") / len(replies) < 0.55

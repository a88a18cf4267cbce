"""The small world's problems and their truth: what is written without misconceptions is right, and every change is found."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.schema import ALL_CORRECT
from deepcritic.smallworld.problems import (
    KINDS,
    LONGER,
    Problem,
    difference,
    draw_problem,
    due_equation,
    equation,
    judge,
)
from deepcritic.smallworld.students import boxed, write_solution

SEEDS = st.integers(0, 10**6)
SPLITS = st.sampled_from(["train", "validation", "test"])


@given(SEEDS, SPLITS)
def test_a_problem_is_read_as_it_is_written(seed: int, split: str) -> None:
    problem = draw_problem(random.Random(seed), split)
    assert Problem.read(problem.text) == problem
    assert problem.split == split


@pytest.mark.parametrize("text", ["", "Mod ten. a is 7.", "Mod ten. a is 7. b is 5. What is b?", "from 7: 1)+5"])
def test_other_text_is_no_problem(text: str) -> None:
    with pytest.raises(ValueError, match="not a problem"):
        Problem.read(text)


@given(SEEDS)
def test_a_solution_without_misconceptions_is_right(seed: int) -> None:
    rng = random.Random(seed)
    problem = draw_problem(rng, "test", LONGER)
    truth = judge(problem, write_solution(problem, rng))
    assert truth is not None
    assert (truth.first_error, truth.kind, truth.answer_right) == (ALL_CORRECT, None, True)


@given(SEEDS)
def test_the_truth_is_where_the_due_equations_say(seed: int) -> None:
    rng = random.Random(seed)
    problem = draw_problem(rng, "train")
    steps = write_solution(problem, rng, acted=0.9)
    truth = judge(problem, steps)
    assert truth is not None
    numbers = range(1, len(steps) + 1)
    wrong = [number for number in numbers if difference(due_equation(problem, steps, number), equation(steps[number - 1]))]
    assert truth.first_error == (wrong[0] if wrong else ALL_CORRECT)
    assert truth.kind in (KINDS if wrong else {None})


@given(SEEDS, st.data())
def test_a_changed_digit_is_found(seed: int, data: st.DataObject) -> None:
    rng = random.Random(seed)
    problem = draw_problem(rng, "train")
    steps = [equation(step) for step in write_solution(problem, rng)]
    at = data.draw(st.integers(0, len(steps) - 1))
    changed = str((int(steps[at][-1]) + data.draw(st.integers(1, 9))) % 10)
    steps[at] = steps[at][:-1] + changed
    for later in range(at + 1, len(steps)):  # what follows is right by what it says before it
        steps[later] = due_equation(problem, steps, later + 1)
    truth = judge(problem, boxed(steps))
    assert truth is not None
    assert truth.first_error == at + 1
    assert truth.kind in {"fact", "lucky"}


def test_misconceptions_go_with_the_input_and_not_with_chance() -> None:
    """Acted out always, the same problem goes wrong in the same way whatever is drawn."""
    for seed in range(200):
        problem = draw_problem(random.Random(seed), "train")
        texts = {tuple(map(equation, write_solution(problem, random.Random(draw), acted=1.0))) for draw in range(5)}
        assert len(texts) == 1


def test_all_kinds_of_error_occur_and_none_rules() -> None:
    rng, kinds, rows = random.Random(0), dict.fromkeys(KINDS, 0), 3000
    for _ in range(rows):
        problem = draw_problem(rng, "train")
        truth = judge(problem, write_solution(problem, rng, acted=0.7))
        assert truth is not None
        if truth.kind:
            kinds[truth.kind] += 1
    assert 0.5 < sum(kinds.values()) / rows < 0.7
    assert all(0.15 < count / sum(kinds.values()) < 0.4 for count in kinds.values()), kinds


@pytest.mark.parametrize(
    "steps",
    [
        ["c=a+b=7+5=2"],
        ["c=a+b=7+5=2", "d=c-a=2-7=5"],
        ["c=a+b=7+5=2", "d=c-a=2-7=5\n\\boxed{4}"],
        ["d=a+b=7+5=2", "d=c-a=2-7=5\n\\boxed{5}"],
        ["c is 2", "d=c-a=2-7=5\n\\boxed{5}"],
    ],
)
def test_what_is_no_solution_has_no_truth(steps: list[str]) -> None:
    assert judge(Problem((7, 5), (("a", "+", "b"), ("c", "-", "a"))), steps) is None

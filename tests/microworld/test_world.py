"""The small world: what is true follows from how it was made, and the judge agrees with a reckoning of its own."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.microworld.world import KINDS, OPERATIONS, Problem, Truth, apply, draw_problem, judge, write_solution
from deepcritic.schema import ALL_CORRECT

DIGITS = st.integers(0, 9)
PROBLEMS = st.builds(
    Problem, DIGITS, st.lists(st.tuples(st.sampled_from(OPERATIONS), DIGITS), min_size=1, max_size=9).map(tuple)
)  # fmt: skip
SEEDS = st.integers(0, 2**32).map(random.Random)
RATES = {"slip": 0.1, "operand": 0.1, "operation": 0.1, "carried": 0.1}


def _equations(steps: Sequence[str]) -> list[tuple[int, str, int, int]]:
    lines = [step.split("\n")[0] for step in steps]
    return [(int(line[0]), line[1], int(line[2]), int(line[4])) for line in lines]


def _write(equations: Sequence[tuple[int, str, int, int]]) -> list[str]:
    steps = [f"{left}{operation}{right}={result}" for left, operation, right, result in equations]
    return [*steps[:-1], f"{steps[-1]}\n\\boxed{{{equations[-1][3]}}}"]


def _reckon(problem: Problem, steps: Sequence[str]) -> Truth:
    """The truth about a well-formed solution, worked out another way: every step is compared with the only right one."""
    equations = _equations(steps)
    answer_right = equations[-1][3] == eval_chain(problem)
    before = [problem.start, *(equation[3] for equation in equations)]
    for index, (equation, left) in enumerate(zip(equations, before, strict=False)):
        operation, operand = problem.operations[index]
        right_one = (left, operation, operand, eval_chain(Problem(left, ((operation, operand),))))
        if equation != right_one:
            differs = [mine != right for mine, right in zip(equation, right_one, strict=True)]
            kind = ("carried", "operation", "operand", "slip")[differs.index(True)]
            return Truth(index + 1, "lucky" if answer_right else kind, answer_right)
    return Truth(ALL_CORRECT, None, answer_right)


def eval_chain(problem: Problem) -> int:
    """The answer by ordinary integers, reduced once at the end: modulo 10 the order of reducing does not matter."""
    value = problem.start
    for operation, operand in problem.operations:
        value = value + operand if operation == "+" else value - operand if operation == "-" else value * operand
    return value % 10


@given(PROBLEMS)
def test_a_problem_is_read_back_from_its_text(problem: Problem) -> None:
    assert Problem.read(problem.text) == problem
    assert problem.answer == eval_chain(problem)


NO_PROBLEMS = ["", "Mod ten, from 7:", "Mod ten, from 12:\n1)+5", "Mod ten, from 7:\n1)/5", "Mod ten, from 7:\n1)+5\n"]


@pytest.mark.parametrize("text", [*NO_PROBLEMS, "x Mod ten, from 7:\n1)+5"])
def test_other_text_is_no_problem(text: str) -> None:
    with pytest.raises(ValueError, match="not a problem of the small world"):
        Problem.read(text)


@given(PROBLEMS, SEEDS)
def test_a_solution_without_errors_is_all_correct(problem: Problem, rng: random.Random) -> None:
    steps = write_solution(problem, rng)
    assert len(steps) == len(problem.operations)
    assert judge(problem, steps) == Truth(ALL_CORRECT, None, True)


def _inject(problem: Problem, kind: str, at: int, rng: random.Random) -> list[str] | None:
    """A solution with one error of `kind` at step `at`, and everything after it worked out from what it says."""
    values, equations = [problem.start], []
    for index, (operation, operand) in enumerate(problem.operations, start=1):
        left, said, right = values[-1], operation, operand
        if index == at and kind == "carried":
            left = rng.choice([value for value in range(10) if value != left])
        if index == at and kind == "operation":
            said = rng.choice([other for other in OPERATIONS if other != operation])
        if index == at and kind == "operand":
            right = rng.choice([value for value in range(10) if value != operand])
        result = apply(left, said, right)
        if index == at and kind == "slip":
            result = rng.choice([value for value in range(10) if value != result])
        values.append(result)
        equations.append((left, said, right, result))
    return _write(equations)


@given(PROBLEMS, st.sampled_from([kind for kind in KINDS if kind != "lucky"]), st.data(), SEEDS)
def test_one_injected_error_is_judged_at_its_step_with_its_kind(
    problem: Problem, kind: str, data: st.DataObject, rng: random.Random
) -> None:
    at = data.draw(st.integers(1, len(problem.operations)))
    steps = _inject(problem, kind, at, rng)
    assert steps is not None
    truth = judge(problem, steps)
    assert truth is not None
    right = _equations(steps)[-1][3] == eval_chain(problem)
    assert truth == Truth(at, "lucky" if right else kind, right)


@given(PROBLEMS, SEEDS)
def test_the_judge_agrees_with_a_reckoning_of_its_own(problem: Problem, rng: random.Random) -> None:
    steps = write_solution(problem, rng, RATES)
    assert judge(problem, steps) == _reckon(problem, steps)


@given(PROBLEMS, st.data())
def test_any_well_formed_text_is_judged_as_reckoned(problem: Problem, data: st.DataObject) -> None:
    equation = st.tuples(DIGITS, st.sampled_from(OPERATIONS), DIGITS, DIGITS)
    size = len(problem.operations)
    steps = _write(data.draw(st.lists(equation, min_size=size, max_size=size)))
    assert judge(problem, steps) == _reckon(problem, steps)


@given(PROBLEMS, SEEDS, st.data())
def test_text_that_is_no_solution_is_not_judged(problem: Problem, rng: random.Random, data: st.DataObject) -> None:
    steps = write_solution(problem, rng, RATES)
    last = len(steps) - 1
    damage = {
        "a step is missing": steps[1:],
        "a step too many": [*steps, "1+1=2"],
        "no box": [*steps[:last], steps[last].split("\n")[0]],
        "two boxes in one step": [*steps[:last], steps[last] + "\n\\boxed{1}"],
        "another box": [*steps[:last], steps[last][:-2] + str((int(steps[last][-2]) + 1) % 10) + "}"],
        "words": [*steps[:last], "so " + steps[last]],
        "two digits": ["1" + steps[0], *steps[1:]],
    }
    name = data.draw(st.sampled_from(sorted(damage)))
    assert judge(problem, damage[name]) is None, name


def test_an_early_box_is_no_solution() -> None:
    problem = Problem(7, (("+", 5), ("*", 3)))
    assert judge(problem, ["7+5=2\n\\boxed{2}", "2*3=6\n\\boxed{6}"]) is None


def test_a_rule_writes_every_kind_of_error_that_it_is_asked_for() -> None:
    rng = random.Random(0)
    found: dict[str, int] = {}
    for _ in range(6000):
        problem = draw_problem(rng, "train")
        truth = judge(problem, write_solution(problem, rng, dict.fromkeys(RATES, 0.05)))
        assert truth is not None
        if truth.kind:
            found[truth.kind] = found.get(truth.kind, 0) + 1
    assert set(found) == set(KINDS)
    assert min(found.values()) / sum(found.values()) > 0.08, found


def test_the_splits_share_no_operands_and_operators() -> None:
    """Thousands of each: what decides the split is the text, so no chain of start, operators and operands is in two."""
    rng = random.Random(1)
    drawn = {split: {draw_problem(rng, split) for _ in range(4000)} for split in ("train", "validation", "test")}
    texts = {split: {(problem.start, problem.operations) for problem in problems} for split, problems in drawn.items()}
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert texts[first].isdisjoint(texts[second])
    for split, problems in drawn.items():
        assert {problem.split for problem in problems} == {split}
        assert {len(problem.operations) for problem in problems} == {3, 4, 5, 6}


@given(PROBLEMS)
def test_the_split_follows_from_the_problem_alone(problem: Problem) -> None:
    assert problem.split == Problem.read(problem.text).split
    assert problem.split in {"train", "validation", "test"}


def test_problems_of_a_wanted_length() -> None:
    rng = random.Random(2)
    assert {len(draw_problem(rng, "test", (7, 8)).operations) for _ in range(50)} == {7, 8}

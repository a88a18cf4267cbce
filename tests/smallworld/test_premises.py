"""The second small world's premises: measured on the models that ship, and how a figure is made of verdicts."""

from __future__ import annotations

import pytest

from deepcritic.schema import ALL_CORRECT
from deepcritic.smallworld.premises import Premise, Solution, compare, first_error_f1, measure, shipped
from deepcritic.smallworld.problems import Problem


def test_the_shipped_models_meet_every_premise() -> None:
    if not shipped():
        pytest.skip("no models of the second small world ship: python -m deepcritic.smallworld.train makes them")
    assert [one for one in measure(count=150) if not one.holds] == []


@pytest.mark.parametrize(("figure", "holds"), [(39.9, True), (40.0, False), (40.1, False)])
def test_a_premise_fails_at_its_bound(figure: float, holds: bool) -> None:
    assert Premise("F1", figure, below=40).holds is holds


def test_solving_again_finds_the_first_step_that_differs() -> None:
    steps = ["c=a+b=7+5=2", "So d=c-a=2-7=5\n\\boxed{5}"]
    assert compare(steps, steps) == ALL_CORRECT
    assert compare(steps, [steps[0], "d=c-a=2-7=4\n\\boxed{4}"]) == 2
    assert compare(steps, steps[:1]) is None


def test_a_verdict_that_cannot_be_read_is_wrong() -> None:
    problem = Problem((7, 5), (("a", "+", "b"),))
    found = [Solution(problem, ("c=a+b=7+5=3\n\\boxed{3}",), 1), Solution(problem, ("c=a+b=7+5=2\n\\boxed{2}",), ALL_CORRECT)]
    assert first_error_f1(found, [1, ALL_CORRECT]) == 100
    assert first_error_f1(found, [1, None]) == 0

"""The second small world's premises: those committed are of the models that ship, and how a figure is made of verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from deepcritic.schema import ALL_CORRECT
from deepcritic.smallworld.premises import (
    CALLS,
    Calls,
    Premise,
    Solution,
    compare,
    digest,
    first_errors,
    premise,
    shipped,
)
from deepcritic.smallworld.problems import Problem

COMMITTED = Path(__file__).parents[2] / "data" / "smallworld" / "premises.json"


def test_the_committed_premises_are_those_of_the_shipped_models_and_hold() -> None:
    if not shipped():
        pytest.skip("no models of the second small world ship: python -m deepcritic.smallworld.train makes them")
    found = json.loads(COMMITTED.read_text("utf-8"))
    assert found["models"] == digest()
    premises = [Premise(**{name: one[name] for name in Premise._fields}) for one in found["premises"]]
    assert len(premises) == 4 + 4 * len(CALLS)
    assert [one for one in premises if not one.holds] == []


@pytest.mark.parametrize(
    ("low", "high", "holds"), [(30.0, 39.9, True), (30.0, 40.0, False), (38.0, 42.0, False), (41.0, 44.0, False)]
)
def test_a_premise_fails_where_its_interval_reaches_the_bound(low: float, high: float, holds: bool) -> None:
    assert Premise("F1", 35.0, (low, high), below=40).holds is holds
    assert Premise("F1", 35.0, (-high, -low), above=-40).holds is holds


def test_an_interval_holds_the_figure_and_narrows_with_more_solutions() -> None:
    counts = np.array([(1, 1, 0, 0), (0, 1, 0, 0), (0, 0, 1, 1), (0, 0, 0, 1)] * 20, dtype=float)
    few, many = (premise("", lambda sums: 100 * sums[..., 0] / sums[..., 1], rows) for rows in (counts, np.tile(counts, (20, 1))))
    assert few.figure == many.figure == 50
    assert few.interval[0] < many.interval[0] < 50 < many.interval[1] < few.interval[1]


def test_a_constant_answer_has_a_balanced_accuracy_of_50() -> None:
    always_right = Calls(np.array([(0, 1, 2, 2), (0, 0, 3, 3)], dtype=float))
    assert (always_right.sensitivity, always_right.specificity, always_right.balanced) == (0, 100, 50)


def test_solving_again_finds_the_first_step_that_differs() -> None:
    steps = ["c=a+b=7+5=2", "So d=c-a=2-7=5\n\\boxed{5}"]
    assert compare(steps, steps) == ALL_CORRECT
    assert compare(steps, [steps[0], "d=c-a=2-7=4\n\\boxed{4}"]) == 2
    assert compare(steps, steps[:1]) is None


def test_a_verdict_that_cannot_be_read_is_wrong() -> None:
    problem = Problem((7, 5), (("a", "+", "b"),))
    found = [Solution(problem, ("c=a+b=7+5=3\n\\boxed{3}",), 1), Solution(problem, ("c=a+b=7+5=2\n\\boxed{2}",), ALL_CORRECT)]
    assert first_errors(found, [1, ALL_CORRECT]).tolist() == [[1, 1, 0, 0], [0, 0, 1, 1]]
    assert first_errors(found, [1, None]).tolist() == [[1, 1, 0, 0], [0, 0, 0, 1]]

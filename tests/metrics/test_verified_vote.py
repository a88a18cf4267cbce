"""Votes of solutions against counting by hand, and their limits."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.metrics.verified_vote import METHODS, MOST_SUBSETS, Votes, accuracy, curve, subsets

SOLUTION = st.tuples(st.integers(-1, 2), st.booleans(), st.sampled_from([0.0, 0.25, 0.5, 1.0]))
RIGHT = 1  # the answer that is right in these tests


def _votes(solutions: list[tuple[int, bool, float]]) -> Votes:
    answers = [answer for answer, _, _ in solutions]
    return Votes(answers, [answer == RIGHT for answer in answers], [s for _, s, _ in solutions], [w for _, _, w in solutions])


def _by_hand(solutions: list[tuple[int, bool, float]], method: str) -> Fraction:
    """The definition, one solution after the other."""
    readable = [one for one in solutions if one[0] >= 0]
    scores: dict[str, Callable[[tuple[int, bool, float]], float]] = {
        "majority": lambda one: 1.0, "verified": lambda one: float(one[1]), "weighted": lambda one: one[2],
        "best": lambda one: one[2],
    }  # fmt: skip
    scored = [(answer, scores[method]((answer, stands, weight))) for answer, stands, weight in readable]
    if not any(value for _, value in scored):
        scored = [(answer, 1.0) for answer, _ in scored]
    if not scored:
        return Fraction(0)
    if method == "best":
        top = [answer for answer, value in scored if value == max(value for _, value in scored)]
        return Fraction(sum(answer == RIGHT for answer in top), len(top))
    tally = {answer: sum(value for other, value in scored if other == answer) for answer, _ in scored}
    winners = [answer for answer, total in tally.items() if total == max(tally.values())]
    return Fraction(RIGHT in winners, len(winners))


@given(st.lists(SOLUTION, min_size=1, max_size=6), st.data())
def test_every_subset_as_by_hand(solutions: list[tuple[int, bool, float]], data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(solutions)))
    for method in METHODS:
        each = [_by_hand(list(chosen), method) for chosen in itertools.combinations(solutions, k)]
        expected = float(sum(each, Fraction(0)) / len(each))
        assert accuracy(_votes(solutions), method, subsets(len(solutions), k)) == pytest.approx(expected)


@given(st.lists(SOLUTION, min_size=1, max_size=6))
def test_a_critic_without_an_opinion_changes_nothing(solutions: list[tuple[int, bool, float]]) -> None:
    for stands, weight in ((True, 1.0), (False, 0.0)):
        votes = _votes([(answer, stands, weight) for answer, _, _ in solutions])
        chosen = subsets(len(solutions), len(solutions))
        plain = accuracy(votes, "majority", chosen)
        assert accuracy(votes, "verified", chosen) == accuracy(votes, "weighted", chosen) == plain


def test_a_perfect_critic_finds_the_one_right_answer() -> None:
    votes = Votes([0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1])
    assert [accuracy(votes, method, subsets(4, 4)) for method in METHODS] == [0, 1, 1, 1]
    assert accuracy(votes, "verified", subsets(4, 2)) == 0.5, "in half of the pairs it is there"


def test_many_subsets_are_drawn_and_none_holds_a_solution_twice() -> None:
    drawn = subsets(32, 16)
    assert drawn.shape == (MOST_SUBSETS, 16)
    assert all(len(set(line)) == 16 for line in drawn.tolist())
    assert np.array_equal(drawn, subsets(32, 16))
    assert len(subsets(8, 4)) == math.comb(8, 4)


def test_a_problem_with_fewer_solutions_has_no_value_beyond() -> None:
    both = curve([Votes([1], [1], [1], [1]), Votes([0, 1], [0, 1], [1, 1], [1, 1])], "majority", 2)
    assert both[0].tolist() == [1.0, 0.5]
    assert math.isnan(both[1, 0])
    assert both[1, 1] == 0.5


def test_no_readable_answer_is_wrong() -> None:
    votes = Votes([-1, -1], [1, 1], [1, 1], [1, 1])
    assert [accuracy(votes, method, subsets(2, 2)) for method in METHODS] == [0, 0, 0, 0]


def test_up_to_256_subsets_are_all_there() -> None:
    assert subsets(256, 1).tolist() == [[at] for at in range(256)]
    assert len(subsets(257, 1)) == MOST_SUBSETS == 256
    assert np.array_equal(subsets(32, 16), subsets(32, 16, seed=0))
    assert not np.array_equal(subsets(32, 16), subsets(32, 16, seed=1))


def test_the_first_solutions() -> None:
    votes = Votes([0, 1, 2], [0, 1, 1], [1, 0, 1], [0.1, 0.2, 0.3]).first(2)
    assert [votes.answer.tolist(), votes.right.tolist(), votes.stands.tolist(), votes.weight.tolist()] == [
        [0, 1], [False, True], [1, 0], [0.1, 0.2],
    ]  # fmt: skip

"""Maj@k against the enumeration of every subset and every tie."""

from __future__ import annotations

import itertools
from collections import Counter
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.metrics.majority_vote import TIES, Ties, chances

VERDICTS = st.lists(st.sampled_from([None, -1, 1, 2, 3, 4]), min_size=1, max_size=8)


def _enumerated(verdicts: list[int | None], target: int, ties: Ties) -> list[Fraction]:
    found = []
    for k in range(1, len(verdicts) + 1):
        won = Fraction(0)
        for subset in itertools.combinations(verdicts, k):
            tally = Counter(verdict for verdict in subset if verdict is not None)
            best = [verdict for verdict in tally if tally[verdict] == max(tally.values())]  # in the order of being seen
            if ties == "first":
                won += best[:1] == [target]
            elif target in best:
                won += Fraction(1, len(best))
        found.append(won / comb(len(verdicts), k))
    return found


@pytest.mark.parametrize("ties", TIES)
@given(verdicts=VERDICTS, target=st.sampled_from([-1, 1, 2, 9]))
def test_all_subsets_and_ties(ties: Ties, verdicts: list[int | None], target: int) -> None:
    assert chances(verdicts, target, ties) == pytest.approx(
        [float(one) for one in _enumerated(verdicts, target, ties)], abs=1e-12
    )


@pytest.mark.parametrize("ties", TIES)
@given(verdicts=VERDICTS)
def test_somebody_wins_wherever_a_vote_can_be_read(ties: Ties, verdicts: list[int | None]) -> None:
    total = np.sum([chances(verdicts, target, ties) for target in {*verdicts, 9} - {None}], axis=0)
    unparsed = verdicts.count(None)
    nobody = [comb(unparsed, k) / comb(len(verdicts), k) for k in range(1, len(verdicts) + 1)]
    assert total + nobody == pytest.approx([1.0] * len(verdicts))


@given(verdicts=VERDICTS, data=st.data())
def test_drawn_ties_do_not_depend_on_the_order(verdicts: list[int | None], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(verdicts))
    assert chances(shuffled, -1).tolist() == chances(verdicts, -1).tolist()


@pytest.mark.parametrize("ties", TIES)
def test_32_votes_against_a_count_by_hand(ties: Ties) -> None:
    """Twelve right votes of 32, twenty wrong ones, no two alike: of k = 2 and 3 votes it wins with two, or by a tie."""
    verdicts: list[int | None] = [1] * 12 + [*range(100, 120)]
    two_right = [comb(12, 2), comb(12, 2) * 20 + comb(12, 3)]
    one_right = [12 * 20, 12 * comb(20, 2)]
    share = [Fraction(1), Fraction(1)] if ties == "first" else [Fraction(1, 2), Fraction(1, 3)]
    expected = [float((two_right[i] + share[i] * one_right[i]) / comb(32, k)) for i, k in enumerate((2, 3))]
    assert chances(verdicts, 1, ties)[1:3] == pytest.approx(expected)
    assert chances(verdicts, 1, ties)[-1] == pytest.approx(1)


def test_the_caller_may_change_what_it_got() -> None:
    first = chances([1, 1, 2], 1)
    first[:] = 7
    assert chances([1, 1, 2], 1).tolist() == pytest.approx([2 / 3, 2 / 3, 1.0])


def test_unparsed_votes_never_win() -> None:
    assert chances([None, None, None, 2], 2).tolist() == [0.25, 0.5, 0.75, 1.0]
    assert chances([None, None], 2).tolist() == [0, 0]

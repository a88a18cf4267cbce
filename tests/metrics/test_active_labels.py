"""Rows that are drawn to be labelled: with the probabilities that are said, and without bias."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.metrics.active_labels import doubt, draw, in_either, inclusion
from deepcritic.metrics.prediction_powered import prediction_powered


def test_split_votes_and_missing_ones_are_the_most_doubtful() -> None:
    doubts = doubt([0.0, 1.0, 0.25, 0.5, math.nan], [8, 8, 8, 8, 0])
    assert doubts[0] == pytest.approx(doubts[1])
    assert doubts[1] < doubts[2] < doubts[3] == doubts[4] == 0.5
    few, many = doubt([0.0, 0.0], [1, 32])
    assert many < few, "many votes that agree leave less open than one"


@given(st.lists(st.floats(0.01, 0.5), min_size=1, max_size=40), st.data())
def test_probabilities_sum_to_the_number_of_rows(doubts: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(doubts)))
    chances = inclusion(doubts, count)
    assert chances.sum() == pytest.approx(count)
    assert ((chances >= 0) & (chances <= 1 + 1e-12)).all()
    order = np.argsort(doubts)
    assert (np.diff(chances[order]) >= -1e-12).all(), "more doubt, more chance"
    assert int(draw(chances, np.random.default_rng(count)).sum()) == count


def test_each_row_is_drawn_as_often_as_is_said() -> None:
    chances, rng = inclusion([0.1, 0.1, 0.2, 0.3, 0.5, 0.5, 0.5], 3), np.random.default_rng(0)
    drawn = np.mean([draw(chances, rng) for _ in range(20_000)], axis=0)
    assert drawn == pytest.approx(chances, abs=5 * 0.5 / math.sqrt(20_000))


def test_more_rows_than_there_are_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="0 to 2 rows"):
        inclusion([0.1, 0.2], 3)


def test_labels_drawn_where_the_critic_is_in_doubt_leave_no_bias_and_hold() -> None:
    """First labels at random, then more where votes are split: the critic is wrong there more often."""
    rng = np.random.default_rng(2)
    total, first, count = 1000, 60, 100
    hard = rng.random(total) < 0.4
    y = (rng.random(total) < 0.5).astype(float)
    chance = np.where(hard, np.where(y > 0, 0.6, 0.3), np.where(y > 0, 0.98, 0.02))
    shares = (rng.random((total, 8)) < chance[:, None]).mean(1)
    chances = inclusion(doubt(shares, np.full(total, 8)), count)
    p = in_either(np.full(total, first / total), chances)
    rates, plain, held = [], [], 0
    for _ in range(500):
        labelled = draw(chances, rng)
        labelled[rng.choice(total, first, replace=False)] = True
        found = prediction_powered(y[labelled], shares[labelled], shares, p[labelled])
        rates.append(found.rate)
        plain.append(y[labelled].mean())
        held += found.low <= y.mean() <= found.high
    assert np.mean(rates) == pytest.approx(y.mean(), abs=4 * float(np.std(rates)) / math.sqrt(500) + 0.001)
    assert held >= 460


def test_of_no_rows_none_is_drawn() -> None:
    assert draw([], np.random.default_rng(0)).tolist() == []
    assert inclusion([], 0).tolist() == []

"""Comparisons of two critics: against enumeration, how often they may be wrong, and what they say that they can find."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from deepcritic.metrics.bootstrap import resampled_rates
from deepcritic.metrics.f1 import f1, harmonic_f1s
from deepcritic.metrics.paired_tests import detectable, difference, mcnemar, paired_bootstrap_f1, swap_p, swapped_rates


def _rows(seed: int, problems: int, skill: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(problems), 2)
    return (rng.random(2 * problems) < skill).astype(float), rng.random(2 * problems) < 0.6, cluster


def _swapped_f1s(
    a: np.ndarray, b: np.ndarray, error: np.ndarray, cluster: np.ndarray, swaps: int = 9999, seed: int = 0
) -> np.ndarray:
    ours, theirs = swapped_rates(a, b, error, cluster, swaps, seed)
    return harmonic_f1s(*ours) - harmonic_f1s(*theirs)


def test_a_critic_does_not_differ_from_itself() -> None:
    correct, stratum, cluster = _rows(2, 100, 0.6)
    assert paired_bootstrap_f1(correct, correct, stratum, cluster) == (0, 0, 0, 1)
    assert swap_p(0.0, _swapped_f1s(correct, correct, stratum, cluster, swaps=50)) == 1
    assert mcnemar(correct, correct) == (0, 0, 1)
    assert math.isnan(detectable(np.zeros(50)))


def test_a_paired_test_finds_a_small_steady_gain() -> None:
    worse, stratum, cluster = _rows(3, 400, 0.5)
    better = worse.copy()
    better[np.flatnonzero(worse == 0)[:30]] = 1
    found = paired_bootstrap_f1(better, worse, stratum, cluster)
    assert found.estimate == pytest.approx(f1(better, stratum) - f1(worse, stratum))
    assert 0 < found.low < found.estimate < found.high
    assert found.p < 0.01
    assert swap_p(found.estimate, _swapped_f1s(better, worse, stratum, cluster)) < 0.001
    assert paired_bootstrap_f1(worse, better, stratum, cluster).estimate == pytest.approx(-found.estimate)


def test_no_difference_is_rarely_called_one() -> None:
    """In 400 trials at 5%, between 3% and 7.5%: two and a half standard errors below and above it."""
    by_bootstrap = by_swaps = 0
    for seed in range(400):
        a, stratum, cluster = _rows(seed, 100, 0.6)
        b = _rows(seed + 1000, 100, 0.6)[0]
        by_bootstrap += paired_bootstrap_f1(a, b, stratum, cluster, resamples=300, seed=seed).p < 0.05
        swapped = _swapped_f1s(a, b, stratum, cluster, swaps=399, seed=seed)
        by_swaps += swap_p(f1(a, stratum) - f1(b, stratum), swapped) < 0.05
    assert 12 <= by_bootstrap <= 30
    assert 12 <= by_swaps <= 30


def test_differences_are_found_as_often_as_what_is_detectable_says() -> None:
    """Two critics with a true difference of 0.03, on many sets of rows: the power, and the standard error, as calculated."""
    skill, gain, problems = 0.5, 0.08, 400
    found, said = 0, []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        error, cluster = np.arange(problems) % 2 == 0, np.arange(problems)
        b = (rng.random(problems) < skill).astype(float)
        a = np.where((b == 0) & (rng.random(problems) < gain / (1 - skill)), 1.0, b)
        a = np.where((b == 1) & (rng.random(problems) < 0.1), 0.0, a)  # the true difference is 0.08 - 0.05
        drawn = harmonic_f1s(*resampled_rates(np.array([a, b]), error, cluster, resamples=400, seed=seed))
        low, high = np.percentile(drawn[0] - drawn[1], [2.5, 97.5])
        found += not low <= 0 <= high
        said.append(detectable(drawn[0] - drawn[1]))
    share, smallest = found / 150, float(np.mean(said))
    standard_error = smallest / 2.8016
    expected = 0.5 * math.erfc((1.96 - 0.03 / standard_error) / math.sqrt(2))
    assert share == pytest.approx(expected, abs=0.1)
    assert smallest == pytest.approx(2.8016 * math.sqrt((0.13 - 0.03**2) / problems), rel=0.1)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=12))
def test_mcnemar_is_the_binomial_test(rows: list[tuple[bool, bool]]) -> None:
    found = mcnemar([float(a) for a, _ in rows], [float(b) for _, b in rows])
    only_a, only_b = rows.count((True, False)), rows.count((False, True))
    assert (found.only_a, found.only_b) == (only_a, only_b)
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert found.p == pytest.approx(expected)


def test_swaps_against_all_of_them() -> None:
    """Five problems, one of them with two rows: 32 ways to swap, each as likely as any other."""
    a, b = np.array([1, 1, 0.5, 0, 1, 1]), np.array([0, 1, 0, 0.25, 0, 0.5])
    error, cluster = np.array([True, True, True, False, False, False]), np.array([0, 1, 2, 3, 4, 0])
    every = []
    for swap in itertools.product([False, True], repeat=5):
        moved = np.array(swap)[cluster]
        every.append(f1(np.where(moved, b, a), error) - f1(np.where(moved, a, b), error))
    drawn = _swapped_f1s(a, b, error, cluster, swaps=20_000)
    estimate = f1(a, error) - f1(b, error)
    exact = np.mean(np.abs(every) >= abs(estimate) - 1e-12)
    assert swap_p(estimate, drawn) == pytest.approx(exact, abs=0.01)
    assert {round(float(one), 9) for one in drawn} == {round(float(one), 9) for one in every}


def test_swapped_rates() -> None:
    ours, theirs = swapped_rates([1.0, 1.0, 1.0], [0.0, 0.0, 0.0], [True] * 3, [0, 0, 1])
    assert set(np.round(ours[0] - theirs[0], 6)) == {-1.0, 1.0, round(1 / 3, 6), round(-1 / 3, 6)}
    assert np.isnan(ours[1]).all()


def test_an_empty_stratum_is_unknown() -> None:
    assert all(math.isnan(number) for number in paired_bootstrap_f1([1.0], [0.0], [True], [0]))
    assert math.isnan(swap_p(math.nan, _swapped_f1s(np.ones(1), np.zeros(1), np.array([True]), np.zeros(1), swaps=5)))


def test_p_counts_the_smaller_side_twice_and_is_never_0() -> None:
    """99 resamples: none at or below 0, three of them, all of them."""
    drawn = np.ones(99)
    assert difference(1.0, drawn).p == pytest.approx(2 / 100)
    drawn[:3] = -1, 0, -0.5
    assert difference(1.0, drawn).p == pytest.approx(8 / 100)
    assert difference(0.0, np.zeros(99)).p == 1
    assert math.isnan(difference(math.nan, drawn).p)

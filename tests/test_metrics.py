"""Figures against hand-made cases, brute force and their own definitions."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepcritic.metrics import (
    blind_guess,
    bootstrap_f1,
    f1,
    f1_from_counts,
    harmonic_f1,
    mean_interval,
    multi_seed,
    paired_bootstrap_f1,
    wilson,
)

GOLDEN: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent / "golden" / "metrics.json").read_text("utf-8"))
SHARE = st.floats(0, 1)


@pytest.mark.parametrize("case", GOLDEN["f1_from_counts"], ids=lambda case: case["source"][:40])
def test_golden_f1(case: dict[str, Any]) -> None:
    assert f1_from_counts(*case["counts"]) == pytest.approx(case["expected"], abs=case["within"])


@pytest.mark.parametrize("case", GOLDEN["wilson"], ids=lambda case: case["source"][:40])
def test_golden_wilson(case: dict[str, Any]) -> None:
    assert wilson(*case["counts"]) == pytest.approx(case["expected"], abs=1e-4)


@given(SHARE, SHARE)
def test_f1_lies_between_the_accuracies(a: float, b: float) -> None:
    assert min(a, b) - 1e-12 <= harmonic_f1(a, b) <= max(a, b) + 1e-12
    assert harmonic_f1(a, b) == harmonic_f1(b, a)


def test_an_empty_stratum_is_unknown() -> None:
    assert math.isnan(f1_from_counts(0, 0, 1, 1))
    assert math.isnan(f1([1.0, 0.0], [True, True]))
    assert all(math.isnan(bound) for bound in bootstrap_f1([1.0, 0.0], [True, True], [0, 1]))
    assert all(math.isnan(number) for number in paired_bootstrap_f1([1.0], [0.0], [True], [0]))
    assert math.isnan(blind_guess([-1, -1]).f1)
    assert math.isnan(blind_guess([1, 2]).f1)


@given(st.lists(st.sampled_from([-1, 1, 2, 3, 4]), min_size=2, max_size=40).filter(lambda v: -1 in v and set(v) != {-1}))
def test_no_blind_guess_is_better(first_errors: list[int]) -> None:
    gold = np.array(first_errors)
    best = 0.0
    for verdict in set(first_errors) - {-1}:
        hit = (gold == verdict).sum() / (gold != -1).sum()
        best = max(best, *(harmonic_f1((1 - p) * hit, p) for p in np.linspace(0, 1, 2001)))
    assert best <= blind_guess(first_errors).f1 + 1e-12
    assert best == pytest.approx(blind_guess(first_errors).f1, abs=1e-5)


def _rows(seed: int, problems: int, skill: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(problems), 2)
    return (rng.random(2 * problems) < skill).astype(float), rng.random(2 * problems) < 0.6, cluster


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    held = 0
    for seed in range(200):
        correct, stratum, cluster = _rows(seed, 150, 0.7)
        low, high = bootstrap_f1(correct, stratum, cluster, resamples=400, seed=seed)
        held += low <= 0.7 <= high
    assert 0.90 <= held / 200 <= 0.99


def test_rows_of_one_problem_are_drawn_together() -> None:
    correct = np.tile([1.0, 0.0], 50).repeat(4)
    stratum = np.arange(400) % 2 == 0
    alone = bootstrap_f1(correct, stratum, np.arange(400))
    together = bootstrap_f1(correct, stratum, np.arange(100).repeat(4))
    assert together[1] - together[0] > 1.25 * (alone[1] - alone[0])  # two rows each: sqrt(2) wider


def test_the_same_seed_gives_the_same_interval_and_the_order_of_rows_does_not_matter_much() -> None:
    correct, stratum, cluster = _rows(1, 300, 0.6)
    assert bootstrap_f1(correct, stratum, cluster) == bootstrap_f1(correct, stratum, cluster)
    assert bootstrap_f1(correct, stratum, cluster) != bootstrap_f1(correct, stratum, cluster, seed=1)
    assert bootstrap_f1(correct, stratum, cluster) == bootstrap_f1(correct[::-1], stratum[::-1], cluster[::-1])


def test_a_critic_does_not_differ_from_itself() -> None:
    correct, stratum, cluster = _rows(2, 100, 0.6)
    assert paired_bootstrap_f1(correct, correct, stratum, cluster) == (0, 0, 0, 1)


def test_a_paired_test_finds_a_small_steady_gain() -> None:
    worse, stratum, cluster = _rows(3, 400, 0.5)
    better = worse.copy()
    better[np.flatnonzero(worse == 0)[:30]] = 1
    found = paired_bootstrap_f1(better, worse, stratum, cluster)
    assert found.estimate == pytest.approx(f1(better, stratum) - f1(worse, stratum))
    assert 0 < found.low < found.estimate < found.high
    assert found.p < 0.01
    assert paired_bootstrap_f1(worse, better, stratum, cluster).estimate == pytest.approx(-found.estimate)


def test_no_difference_is_rarely_called_one() -> None:
    calls = 0
    for seed in range(100):
        a, stratum, cluster = _rows(seed, 100, 0.6)
        b = _rows(seed + 1000, 100, 0.6)[0]
        calls += paired_bootstrap_f1(a, b, stratum, cluster, resamples=300, seed=seed).p < 0.05
    assert calls <= 12


def test_3400_rows_take_seconds() -> None:
    correct, stratum, cluster = _rows(4, 1700, 0.6)
    began = time.perf_counter()
    paired_bootstrap_f1(correct, 1 - correct, stratum, cluster)
    assert time.perf_counter() - began < 15


def test_shares_of_samples_count_as_they_are() -> None:
    assert f1([0.5, 0.25, 1.0], [True, True, False]) == harmonic_f1(0.375, 1.0)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="one value a row"):
        bootstrap_f1([1.0, 0.0], [True], [0])


@settings(max_examples=30)
@given(st.lists(SHARE, min_size=1, max_size=20))
def test_an_interval_of_the_mean_lies_within_the_values(values: list[float]) -> None:
    low, high = mean_interval(values, resamples=50)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9


def test_mean_interval_by_cluster_and_of_nothing() -> None:
    values = np.repeat(np.arange(20.0), 5)
    alone, together = mean_interval(values), mean_interval(values, np.repeat(np.arange(20), 5))
    assert together[1] - together[0] > 1.5 * (alone[1] - alone[0])
    assert all(math.isnan(bound) for bound in mean_interval([]))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_rate(counts: tuple[int, int]) -> None:
    low, high = wilson(*counts)
    assert 0 <= low <= counts[0] / counts[1] + 1e-12
    assert counts[0] / counts[1] - 1e-12 <= high <= 1


def test_wilson_refuses_what_cannot_be() -> None:
    with pytest.raises(ValueError, match="between 0 and n"):
        wilson(3, 2)


def test_seeds() -> None:
    assert multi_seed([0.4, 0.6]).mean == 0.5
    assert multi_seed([0.5]).n == 1
    assert math.isnan(multi_seed([0.5]).low)
    assert math.isnan(multi_seed([]).mean)

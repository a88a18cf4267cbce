"""Figures against hand-made cases, brute force and their own definitions."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepcritic.metrics import bootstrap
from deepcritic.metrics.bootstrap import (
    bootstrap_f1,
    mean_interval,
    multi_seed,
    over_seeds,
    percentiles,
    pooled,
    resampled_rates,
    seeds_bootstrap_f1,
    wilson,
)
from deepcritic.metrics.f1 import constant_baseline, f1, f1_from_counts, harmonic_f1, harmonic_f1s

GOLDEN: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parent.parent / "golden" / "metrics.json").read_text("utf-8")
)
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
    assert math.isnan(constant_baseline([-1, -1]).f1)
    assert math.isnan(constant_baseline([1, 2]).f1)


@given(st.lists(st.sampled_from([-1, 1, 2, 3, 4]), min_size=2, max_size=40).filter(lambda v: -1 in v and set(v) != {-1}))
def test_no_blind_guess_is_better(first_errors: list[int]) -> None:
    gold = np.array(first_errors)
    best = 0.0
    for verdict in set(first_errors) - {-1}:
        hit = (gold == verdict).sum() / (gold != -1).sum()
        p = np.linspace(0, 1, 2001)
        best = max(best, float(harmonic_f1s((1 - p) * hit, p).max()))
    assert best <= constant_baseline(first_errors).f1 + 1e-12
    assert best == pytest.approx(constant_baseline(first_errors).f1, abs=1e-5)


def _rows(seed: int, problems: int, skill: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    cluster = np.repeat(np.arange(problems), 2)
    return (rng.random(2 * problems) < skill).astype(float), rng.random(2 * problems) < 0.6, cluster


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Four rows a problem, all of them easy or hard: the interval that takes rows for independent is too narrow."""
    held = alone = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        cluster, stratum = np.arange(150).repeat(4), (np.arange(150) % 2 == 0).repeat(4)
        skill = rng.choice([0.45, 0.95], 150).repeat(4)  # 0.7 on average
        correct = (rng.random(600) < skill).astype(float)
        low, high = bootstrap_f1(correct, stratum, cluster, resamples=400, seed=seed)
        held += low <= 0.7 <= high
        low, high = bootstrap_f1(correct, stratum, np.arange(600), resamples=400, seed=seed)
        alone += low <= 0.7 <= high
    assert 0.91 <= held / 200 <= 0.985
    assert alone / 200 < 0.9


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


def test_shares_of_samples_count_as_they_are() -> None:
    assert f1([0.5, 0.25, 1.0], [True, True, False]) == harmonic_f1(0.375, 1.0)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="one value per row"):
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


def test_a_figure_of_ones_own_from_the_same_draws() -> None:
    correct, stratum, cluster = _rows(5, 200, 0.7)
    drawn = resampled_rates([correct, 1 - correct], stratum, cluster)
    assert percentiles(harmonic_f1s(drawn[0][0], drawn[1][0])) == bootstrap_f1(correct, stratum, cluster)
    assert np.allclose(drawn[0][0] + drawn[0][1], 1)
    both = pooled(drawn, stratum)
    assert both[0] == pytest.approx(drawn[0][0] * stratum.mean() + drawn[1][0] * (1 - stratum.mean()))


def test_pooled_rates_of_one_stratum_alone() -> None:
    drawn = resampled_rates([[1.0, 0.0]], [True, True], [0, 1])
    assert np.isnan(drawn[1]).all()
    assert pooled(drawn, [True, True]).tolist() == drawn[0].tolist()


def test_seeds_alone_have_the_variance_of_a_mean() -> None:
    figures = np.array([0.5, 0.6, 0.7])
    drawn = over_seeds(np.repeat(figures[:, None], 20_000, axis=1))
    assert drawn.var() == pytest.approx(figures.var(ddof=1) / 3, rel=0.05)
    assert over_seeds(np.full((1, 5), 0.25)).tolist() == [0.25] * 5


def test_the_interval_over_seeds_and_problems_holds_the_truth() -> None:
    """Each seed's critic has a skill of its own around 0.7; the interval of the problems alone is too narrow."""
    held = alone = 0
    for trial in range(150):
        rng = np.random.default_rng(trial)
        error, cluster = np.arange(300) % 2 == 0, np.arange(300)
        hard = rng.random(300)
        skills = rng.normal(0.7, 0.05, 3).clip(0, 1)
        corrects = (hard[None] < skills[:, None]).astype(float)
        found = seeds_bootstrap_f1(corrects, error, cluster, resamples=400, seed=trial)
        held += found.low <= 0.7 <= found.high
        drawn = harmonic_f1s(*resampled_rates(corrects, error, cluster, resamples=400, seed=trial))
        low, high = percentiles(drawn.mean(axis=0))
        alone += low <= 0.7 <= high
    assert 0.87 <= held / 150 <= 0.98  # percentiles of three seeds are too narrow: nested_interval widens them
    assert alone <= held - 10


def test_one_seed_says_what_the_problems_say() -> None:
    correct, stratum, cluster = _rows(6, 100, 0.6)
    found = seeds_bootstrap_f1([correct], stratum, cluster)
    assert (found.low, found.high) == bootstrap_f1(correct, stratum, cluster)
    assert (found.mean, found.n) == (f1(correct, stratum), 1)


def _clustered(chance: np.random.Generator, problems: int) -> tuple[Any, Any, Any]:
    """Two lines of scores, strata, and problems with one to three rows each."""
    cluster = np.repeat(np.arange(problems), chance.integers(1, 4, problems))
    error = chance.random(cluster.size) < 0.6
    right = (chance.random(cluster.size) < 0.7).astype(float)
    return np.stack([right, right * (chance.random(cluster.size) < 0.5)]), error, cluster


def test_kinds_stand_for_their_columns() -> None:
    lines, error, cluster = _clustered(np.random.default_rng(1), 300)
    table = np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    kinds = lines.sum(axis=0).astype(int)
    for ours, plain in zip(
        resampled_rates(table, error, cluster, kinds=kinds), resampled_rates(lines, error, cluster), strict=True
    ):
        assert np.array_equal(ours, plain)


@pytest.mark.parametrize("with_kinds", [False, True])
def test_many_problems_are_drawn_by_sort_with_the_same_distribution(monkeypatch: pytest.MonkeyPatch, with_kinds: bool) -> None:
    """Means, spreads and the correlation of two lines are those of drawing each problem; so is the interval of F1."""
    lines, error, cluster = _clustered(np.random.default_rng(2), 3000)
    each = resampled_rates(lines, error, cluster, resamples=4000)
    monkeypatch.setattr(bootstrap, "MANY", 100)
    drawn = (np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]), lines.sum(axis=0).astype(int)) if with_kinds else (lines, None)
    by_sort = resampled_rates(drawn[0], error, cluster, resamples=4000, kinds=drawn[1])
    for ours, plain in zip(by_sort, each, strict=True):
        assert not np.array_equal(ours, plain), "the other way was not taken"
        assert ours.mean(axis=1) == pytest.approx(plain.mean(axis=1), abs=4 * float(plain.std()) / 4000**0.5)
        assert ours.std(axis=1) == pytest.approx(plain.std(axis=1), rel=0.05)
        assert np.corrcoef(ours)[0, 1] == pytest.approx(np.corrcoef(plain)[0, 1], abs=0.04)
    intervals = [percentiles(harmonic_f1s(*rates)) for rates in (by_sort, each)]
    assert intervals[0] == pytest.approx(intervals[1], abs=0.003)


def test_scores_that_all_differ_are_drawn_one_by_one_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(3)
    values, error, cluster = chance.random((1, 500)), chance.random(500) < 0.5, np.arange(500)
    whole = resampled_rates(values, error, cluster)
    monkeypatch.setattr(bootstrap, "MANY", 100)
    monkeypatch.setattr(bootstrap, "_CELLS", 1000)
    for ours, plain in zip(resampled_rates(values, error, cluster), whole, strict=True):
        assert ours == pytest.approx(plain)


def test_by_default_the_seed_is_0_and_there_are_2000_resamples() -> None:
    correct, stratum, cluster = _rows(8, 60, 0.6)
    drawn = resampled_rates([correct], stratum, cluster)
    assert drawn[0].shape == drawn[1].shape == (1, 2000)
    for ours, plain in zip(drawn, resampled_rates([correct], stratum, cluster, 2000, 0), strict=True):
        assert np.array_equal(ours, plain)
    assert bootstrap_f1(correct, stratum, cluster) == bootstrap_f1(correct, stratum, cluster, 2000, 0)
    assert mean_interval(correct, cluster) == mean_interval(correct, cluster, 2000, 0)
    runs = np.stack([correct, 1 - correct])
    assert seeds_bootstrap_f1(runs, stratum, cluster) == seeds_bootstrap_f1(runs, stratum, cluster, 2000, 0)
    figures = np.random.default_rng(0).random((3, 50))
    assert np.array_equal(over_seeds(figures), over_seeds(figures, 0))
    assert not np.array_equal(over_seeds(figures), over_seeds(figures, 1))


def test_the_constant_baseline_by_hand() -> None:
    """The commonest first error has a share of 1/4, so its root is 1/2: "no error" is said with p = 1/3."""
    assert constant_baseline([1, 2, 3, 4, -1, -1]) == pytest.approx((2 / 9, 1 / 6, 1 / 3))

"""Error rates from verdicts and a few labels: by enumeration, beside the reference package, and how often intervals hold."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.metrics.bootstrap import wilson
from deepcritic.metrics.prediction_powered import exact_interval, labels_alone, prediction_powered

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "prediction_powered.json").read_text("utf-8"))
NAN = math.nan


def _arrays(case: dict[str, Any]) -> tuple[Any, Any, Any]:
    if "labels" in case:
        shares = np.array(case["shares"])
        return np.array(case["labels"], float), shares[case["labelled"]], shares
    counts = case["counts"]
    y = np.repeat([1.0, 1.0, 0.0, 0.0], [counts[name] for name in ("y1f1", "y1f0", "y0f1", "y0f0")])
    f = np.repeat([1.0, 0.0, 1.0, 0.0], [counts[name] for name in ("y1f1", "y1f0", "y0f1", "y0f0")])
    return y, f, np.repeat([1.0, 0.0], [counts["all_f1"], case["N"] - counts["all_f1"]])


@pytest.mark.parametrize("case", GOLDEN, ids=[case["name"] for case in GOLDEN])
def test_the_same_estimates_as_the_reference_package(case: dict[str, Any]) -> None:
    labels, shares, everything = _arrays(case)
    for weight, expected in case["estimates"].items():
        assert prediction_powered(labels, shares, everything, weight=float(weight)).rate == pytest.approx(expected, abs=1e-12)
    tuned = prediction_powered(labels, shares, everything)
    low, high = case["interval"]
    # There the weight is over the variance of all predictions, here over that of the labelled ones.
    assert tuned.rate == pytest.approx(case["tuned"], abs=0.05 * (high - low))


def test_the_interval_of_few_among_many_is_that_of_the_reference_package() -> None:
    """Where the labelled rows are 1% of all, the correction for a finite population is small."""
    case = next(case for case in GOLDEN if case["name"] == "large")
    found = prediction_powered(*_arrays(case))
    assert found.method == "ppi++"
    assert (found.low, found.high) == pytest.approx(case["interval"], abs=3e-4)


POPULATION = [(1, 1.0), (1, 1.0), (1, 0.0), (0, 0.0), (0, 0.0), (0, 1.0), (1, NAN), (0, NAN), (0, 0.25), (1, 0.75)]


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("n", [2, 5, 10])
def test_a_given_weight_leaves_no_bias_whatever_the_critic_says(n: int, weight: float) -> None:
    """The mean over every sample there is; rows without a verdict are among them."""
    y, f = np.array(POPULATION).T
    rates = []
    for chosen in itertools.combinations(range(len(y)), n):
        some = list(chosen)
        fill = np.nanmean(f)
        g = np.where(np.isnan(f), fill, f)
        found = prediction_powered(y[some], f[some], f, weight=weight)
        estimate = y[some].mean() + weight * (g.mean() - g[some].mean())
        rates.append(estimate)
        possible = y[some].sum() / len(y), 1 - (1 - y[some]).sum() / len(y)
        assert found.rate == pytest.approx(min(max(estimate, possible[0], found.low), possible[1], found.high))
        assert found.low - 1e-12 <= found.rate <= found.high + 1e-12
    assert np.mean(rates) == pytest.approx(y.mean(), abs=1e-12)


def test_the_tuned_weight_leaves_no_bias_where_the_critic_says_yes_or_no() -> None:
    """Given how many labelled rows it calls wrong, which must be some and not all, the mean over all samples is the truth."""
    y, f = np.array([1, 1, 1, 0, 0, 1, 0, 0, 0], float), np.array([1, 1, 0, 1, 1, 0, 0, 0, 0], float)
    by_count: dict[int, list[float]] = {}
    for chosen in itertools.combinations(range(len(y)), 5):
        some = list(chosen)
        found = prediction_powered(y[some], f[some], f)
        estimate = y[some].mean() + found.weight * (f.mean() - f[some].mean())
        by_count.setdefault(int(f[some].sum()), []).append(estimate)
        assert found.rate == pytest.approx(min(max(estimate, found.low), found.high))
    assert set(by_count) == {0, 1, 2, 3, 4}
    for count, rates in by_count.items():
        if count:
            assert np.mean(rates) == pytest.approx(y.mean(), abs=1e-12)


@pytest.mark.parametrize(("total", "n"), [(12, 4), (40, 15), (60, 59), (200, 30)])
def test_exact_intervals_hold_at_every_rate(total: int, n: int) -> None:
    hold = []
    for errors in range(total + 1):
        covered = 0.0
        for found in range(max(0, n - (total - errors)), min(n, errors) + 1):
            chance = math.comb(errors, found) * math.comb(total - errors, n - found) / math.comb(total, n)
            low, high = exact_interval([found], [(n, n)], [total])
            covered += chance * (low - 1e-12 <= errors / total <= high + 1e-12)
        hold.append(covered)
    assert min(hold) >= 0.95


def test_exact_intervals_of_two_classes_hold() -> None:
    sizes, n, rng = (30, 50), (8, 12), np.random.default_rng(0)
    for errors in ((0, 0), (1, 49), (15, 3), (30, 50), (2, 2)):
        covered = 0
        for _ in range(400):
            found = [int(rng.hypergeometric(bad, size - bad, drawn)) for bad, size, drawn in zip(errors, sizes, n, strict=True)]
            low, high = exact_interval(found, [(one, one) for one in n], sizes)
            covered += low <= sum(errors) / sum(sizes) <= high
        assert covered >= 0.95 * 400


def test_where_all_rows_have_a_label_rounding_does_not_turn_the_interval_round() -> None:
    found = prediction_powered([0.0, 0.0, 0.0, 0.0, 1.0], [0.0] * 5, [0.0] * 5)
    assert found.low == found.rate == found.high == 0.2, "1 - 4/5 is a little less than 1/5"


def test_a_class_that_is_labelled_throughout_adds_its_errors_and_no_doubt() -> None:
    low, high = exact_interval([5], [(100, 100)], [1000])
    both = exact_interval([3, 5], [(10, 10), (100, 100)], [10, 1000])
    assert both == pytest.approx(((1000 * low + 3) / 1010, (1000 * high + 3) / 1010))
    wider = exact_interval([3, 5], [(9, 9), (100, 100)], [10, 1000])
    assert wider[1] - wider[0] > both[1] - both[0]


def test_what_is_known_needs_no_interval() -> None:
    y, f = np.array([1.0, 0.0, 1.0, 0.0] * 10), np.array([1.0, 0.0, 0.0, NAN] * 10)
    found = prediction_powered(y, f, f)
    assert (found.rate, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert tuple(labels_alone(y, 40))[:3] == pytest.approx((0.5, 0.5, 0.5))


def test_a_critic_that_is_always_right_on_the_labels_is_not_taken_to_be_always_right() -> None:
    """The variance of its mistakes is estimated as 0; the exact interval is not of width 0."""
    f = np.array([1.0, 0.0] * 500)
    found = prediction_powered(f[:100], f[:100], f)
    assert found.method == "exact"
    assert found.low < 0.49 < found.rate == 0.5 < 0.51 < found.high
    alone = labels_alone(f[:100], 1000)
    assert found.high - found.low < alone.high - alone.low, "it says more than the labels alone"


def test_too_few_labels_have_a_wide_interval() -> None:
    f = np.array([1.0, 0.0] * 100)
    found = prediction_powered([1, 0, 1, 1], f[:4], f)
    assert found.method == "exact"
    assert found.high - found.low > 0.6


def test_a_critic_that_knows_nothing_gets_no_weight_and_one_that_errs_always_the_same_way_is_corrected() -> None:
    rng = np.random.default_rng(3)
    y = (rng.random(4000) < 0.3).astype(float)
    noise, shifted = (rng.random(4000) < 0.5).astype(float), np.clip(y * 0.5 + 0.5 + rng.normal(0, 0.05, 4000), 0, 1)
    some = rng.choice(4000, 400, replace=False)
    assert abs(prediction_powered(y[some], noise[some], noise).weight) < 0.15
    found = prediction_powered(y[some], shifted[some], shifted)
    assert found.rate == pytest.approx(y.mean(), abs=0.02), "its own share is 65%"
    assert found.high - found.low < 0.04


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.25, 0.5, 1.0, NAN])), min_size=1, max_size=60),
    st.integers(0, 200),
    st.randoms(use_true_random=False),
)
def test_what_holds_for_all_labels(rows: list[tuple[bool, float]], more: int, chance: Any) -> None:
    y, f = np.array([float(one) for one, _ in rows]), np.array([share for _, share in rows])
    everything = np.concatenate([f, [chance.choice([0.0, 0.5, 1.0, NAN]) for _ in range(more)]])
    found = prediction_powered(y, f, everything)
    total = len(everything)
    assert y.sum() / total - 1e-9 <= found.low <= found.rate <= found.high <= 1 - (1 - y).sum() / total + 1e-9
    order = list(range(len(y)))
    chance.shuffle(order)
    assert tuple(prediction_powered(y[order], f[order], everything))[:4] == pytest.approx(tuple(found)[:4], abs=1e-9)
    turned = prediction_powered(1 - y, 1 - f, 1 - everything)  # right for wrong; a share of 0.5 counts as right either way
    if 0.5 not in everything:
        assert (turned.rate, turned.low, turned.high) == pytest.approx((1 - found.rate, 1 - found.high, 1 - found.low), abs=1e-9)


def test_shapes_and_probabilities_are_checked() -> None:
    for bad in (([1], [1, 0], [1, 0]), ([], [], [1, 0]), ([1, 0], [1, 0], [1])):
        with pytest.raises(ValueError, match="one share and one probability"):
            prediction_powered(*bad)
    with pytest.raises(ValueError, match="probability must be"):
        prediction_powered([1, 0], [1, 0], [1, 0, 1], [0.0, 0.5])


@pytest.mark.parametrize("critic", [(0.85, 0.1), (0.6, 0.4), (1.0, 0.0)])
def test_nineteen_of_twenty_intervals_hold(critic: tuple[float, float]) -> None:
    """More than scripts/bench estimate shows; 3 standard deviations below 95% of 600 are 554."""
    rng = np.random.default_rng(11)
    y = (rng.random(1500) < 0.35).astype(float)
    f = (rng.random((1500, 4)) < np.where(y > 0, *critic)[:, None]).mean(1)
    f[rng.random(1500) < 0.05] = NAN
    held = 0
    for _ in range(600):
        some = rng.choice(1500, 120, replace=False)
        found = prediction_powered(y[some], f[some], f)
        held += found.low <= y.mean() <= found.high
    assert held >= 554


def test_a_label_counts_one_over_its_probability() -> None:
    found = labels_alone([1.0, 0.0], 10, [0.5, 0.1])
    assert found.rate == pytest.approx(2 / 12)
    assert (found.weight, found.method) == (0, "wilson")
    assert found.low < found.rate < found.high
    even = labels_alone([1.0, 0.0, 0.0, 0.0], 400)
    assert even.rate == 0.25
    assert (even.low, even.high) == pytest.approx(wilson(1, 4), abs=0.003), "4 of 400: hardly any correction"
    half = labels_alone([1.0, 0.0] * 50, 200)
    assert (half.low, half.high) == pytest.approx(wilson(100, 200)), "half of the rows are left: the variance is half"

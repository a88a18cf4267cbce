"""The interval that decides claims: it covers the truth as often as it says, from three runs and from three times three."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import stdtrit

from deepcritic.metrics.nested import nested_interval


@pytest.mark.parametrize(
    ("instances", "runs", "between_instances", "between_runs", "error"),
    [(1, 3, 0.0, 2.0, 0.3), (1, 3, 0.0, 0.0, 1.0), (1, 5, 0.0, 1.0, 1.0), (3, 3, 2.0, 0.3, 0.3), (3, 3, 1.0, 1.0, 1.0)],
)
def test_it_covers_the_truth(instances: int, runs: int, between_instances: float, between_runs: float, error: float) -> None:
    rng, hits, tried = np.random.default_rng(1), 0, 300
    labels = np.repeat(np.arange(instances), runs)
    for number in range(tried):
        middle = np.repeat(rng.normal(0, between_instances, instances), runs) + rng.normal(0, between_runs, labels.size)
        values = middle + rng.normal(0, error, labels.size)
        intervals = [(value - 1.96 * error, value + 1.96 * error) for value in values]
        found = nested_interval(values.tolist(), intervals, labels.tolist(), resamples=300, seed=number)
        hits += found.low <= 0 <= found.high
    assert hits / tried > 0.925  # 95% less two standard errors of the share


def test_runs_without_noise_and_difference_have_an_interval_of_no_width() -> None:
    found = nested_interval([4.0, 4.0, 4.0])
    assert (found.mean, found.low, found.high, found.n) == (4, 4, 4, 3)


def test_instances_that_differ_widen_it_and_runs_of_one_instance_do_not_count_as_instances() -> None:
    values, same = [1.0, 1.1, 5.0, 5.1, 9.0, 9.1], [0, 0, 1, 1, 2, 2]
    nested, flat = nested_interval(values, instances=same), nested_interval(values)
    assert nested.high - nested.low > 1.3 * (flat.high - flat.low)
    assert nested.mean == pytest.approx(flat.mean)


def test_every_instance_weighs_the_same() -> None:
    assert nested_interval([0.0, 10.0, 10.0, 10.0], instances=[0, 1, 1, 1]).mean == 5


def test_the_error_of_a_single_run_is_its_interval() -> None:
    found = nested_interval([50.0], [(40.0, 60.0)])
    assert (found.low, found.high) == pytest.approx((40, 60), abs=1)
    alone = nested_interval([50.0])
    assert math.isnan(alone.low)
    assert math.isnan(alone.high)


@pytest.mark.parametrize("values", [[90.0, 97.0, 99.9], [0.0, 0.0, 3.0], [0.0, 50.0, 100.0], [100.0, 100.0, 100.0]])
def test_shares_stay_between_0_and_100(values: list[float]) -> None:
    found = nested_interval(values, [(max(0.0, value - 9), min(100.0, value + 9)) for value in values], share=True)
    assert 0 <= found.low <= found.high <= 100
    assert found.mean == pytest.approx(sum(values) / len(values))


def test_shares_are_spread_evenly_on_the_logit_scale() -> None:
    """Odds 1 to 4 and 4 to 1 are as far from even odds as each other, and twice as far in logits as 1 to 2 and 2 to 1."""
    found = nested_interval([50.0], [(20.0, 80.0)], share=True, resamples=40_000)
    assert (found.low, found.high) == pytest.approx((20, 80), abs=0.7)
    twice = nested_interval([80.0], [(50.0, 100 * 16 / 17)], share=True, resamples=40_000)
    assert (twice.low, twice.high) == pytest.approx((50, 100 * 16 / 17), abs=1)


@pytest.mark.parametrize("runs", [2, 3, 4])
def test_of_n_runs_the_spread_is_that_of_their_mean(runs: int) -> None:
    """The interval is about t times the standard error: s / sqrt(n), without any error within a run."""
    values = np.random.default_rng(runs).normal(0, 1, runs)
    found = nested_interval(values.tolist(), resamples=20_000)
    half, least = (found.high - found.low) / 2, float(stdtrit(runs - 1, 0.975)) * values.std(ddof=1) / math.sqrt(runs)
    assert found.mean == pytest.approx(values.mean())
    assert found.high - found.mean == pytest.approx(half)
    assert 0.4 * least < half < 1.1 * least, "draws of few runs take few values, so the quantile is coarse"


def test_unknown_runs_make_it_unknown() -> None:
    for values in ([], [1.0, math.nan]):
        assert math.isnan(nested_interval(values).mean)

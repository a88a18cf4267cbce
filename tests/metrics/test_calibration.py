"""Calibration and coverage against hand-made cases and their definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepcritic.metrics.calibration import curves


def _curves(confidence: list[float], correct: list[float]) -> dict:  # type: ignore[type-arg]
    return curves(confidence, correct, np.arange(len(correct)) % 2 == 0, np.arange(len(correct)))


def test_a_calibrated_critic() -> None:
    confidence, correct = [0.5] * 40 + [0.25] * 40 + [1.0] * 20, [1.0, 0] * 20 + [1, 0, 0, 0] * 10 + [1] * 20
    found = _curves(confidence, correct)
    assert found["ece"] == pytest.approx(0)
    assert [(bin["rows"], bin["confidence"], bin["accuracy"]) for bin in found["calibration"]] == [
        (40, 0.25, 0.25), (40, 0.5, 0.5), (20, 1.0, 1.0),
    ]  # fmt: skip
    accuracies = [point["accuracy"] for point in found["coverage"]]
    assert accuracies[:2] == pytest.approx([1.0, 1.0])
    assert accuracies[5] == pytest.approx(40 / 60)
    assert accuracies[-1] == pytest.approx(0.5)
    assert all(low <= accuracy <= high for accuracy, (low, high) in zip(accuracies, _intervals(found), strict=True))


def _intervals(found: dict) -> list[tuple[float, float]]:  # type: ignore[type-arg]
    return [point["interval"] for point in found["coverage"]]


def test_an_overconfident_critic() -> None:
    found = _curves([1.0] * 52, [1.0, 1.0, 0.0, 0.0] * 13)
    assert found["ece"] == pytest.approx(0.5)
    low, high = found["ece_interval"]
    assert low < 0.5 < high
    assert found["aurc"] == pytest.approx(0.5)


def test_the_error_rate_over_coverage_by_hand() -> None:
    """Sure of 2 that are right, less sure of 2 that are wrong: no errors to coverage 1/2, then (x - 1/2) / x."""
    found = _curves([0.9, 0.9, 0.4, 0.4], [1, 1, 0, 0])
    assert found["aurc"] == pytest.approx(0.5 + 0.5 * np.log(0.5))
    assert [point["accuracy"] for point in found["coverage"]] == pytest.approx([1] * 5 + [5 / 6, 5 / 7, 5 / 8, 5 / 9, 0.5])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.125, 0.3, 0.5, 0.7, 1.0]), st.floats(0, 1)), min_size=2, max_size=30))
def test_what_holds_for_any_rows(rows: list[tuple[float, float]]) -> None:
    confidence, correct = [row[0] for row in rows], [row[1] for row in rows]
    found = _curves(confidence, correct)
    assert sum(bin["rows"] for bin in found["calibration"]) == len(rows)
    assert found["ece"] >= abs(np.mean(correct) - np.mean(confidence)) - 1e-9
    assert found["coverage"][-1]["accuracy"] == pytest.approx(np.mean(correct))
    order = np.argsort(-np.array(confidence), kind="stable")
    by_group = np.array(correct)[order]
    for value in set(confidence):
        same = np.array(confidence)[order] == value
        by_group[same] = by_group[same].mean()
    fine = np.repeat(1 - by_group, 2000)  # the integral as a sum
    assert found["aurc"] == pytest.approx((np.cumsum(fine) / np.arange(1, len(fine) + 1)).mean(), abs=2e-3)


def test_the_order_of_rows_does_not_matter() -> None:
    rng = np.random.default_rng(0)
    confidence, correct, error, cluster = rng.integers(1, 9, 60) / 8, rng.random(60) < 0.5, rng.random(60) < 0.5, np.arange(60)
    turned = curves(confidence[::-1], correct[::-1], error[::-1], cluster[::-1])
    straight = curves(confidence, correct, error, cluster)
    assert turned["ece"] == pytest.approx(straight["ece"])
    assert turned["coverage"][3]["accuracy"] == pytest.approx(straight["coverage"][3]["accuracy"])

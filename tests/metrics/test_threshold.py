"""Thresholds: the best one by brute force, and what no threshold can do."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.errors import InputError
from deepcritic.metrics.f1 import f1
from deepcritic.metrics.threshold import best_threshold, first_below
from deepcritic.schema import ALL_CORRECT

Row = tuple[tuple[float, ...], int]
_numbers = st.sampled_from([0.0, 0.1, 0.25, 0.4, 0.5, 0.75, 0.9, 1.0]) | st.floats(0, 1)


@st.composite
def _rows(draw: st.DrawFn) -> list[Row]:
    rows: list[Row] = [((0.9,), ALL_CORRECT), ((0.2, 0.4), 2)]
    for _ in range(draw(st.integers(0, 8))):
        values = tuple(draw(st.lists(_numbers, min_size=1, max_size=5)))
        rows.append((values, draw(st.sampled_from([ALL_CORRECT, *range(1, len(values) + 1)]))))
    return rows


def _f1_at(rows: list[Row], threshold: float) -> float:
    correct = [first_below(values, threshold) == first_error for values, first_error in rows]
    return f1(correct, [first_error != ALL_CORRECT for _, first_error in rows])


@given(_rows())
def test_no_other_threshold_is_better(rows: list[Row]) -> None:
    choice = best_threshold(rows)
    assert _f1_at(rows, choice.threshold) == pytest.approx(choice.f1)
    known = sorted({value for values, _ in rows for value in values})
    others = [*known, *(float(np.nextafter(value, 2)) for value in known), 0.0, 1.5]
    assert choice.f1 >= max(_f1_at(rows, other) for other in others) - 1e-12


def test_neighbours_in_floating_point_have_no_number_between_them() -> None:
    rows: list[Row] = [((0.9,), -1), ((0.2, 0.4), 2), ((5e-324, 0.0), 2)]
    choice = best_threshold(rows)
    assert _f1_at(rows, choice.threshold) == choice.f1 > 0


def test_a_step_below_the_threshold_is_wrong_and_one_at_it_is_not() -> None:
    assert first_below((0.5, 0.4), 0.5) == 2
    assert first_below((0.5, 0.5), 0.5) == ALL_CORRECT
    assert first_below((), 0.5) == ALL_CORRECT


@pytest.mark.parametrize(
    ("rows", "said"), [([((0.5,), 1)], "without rows without an error"), ([((0.5,), ALL_CORRECT)], "without rows with an error")]
)
def test_one_kind_of_row_is_not_enough(rows: list[Row], said: str) -> None:
    with pytest.raises(InputError, match=f"stage.threshold_on: no threshold can be chosen {said}"):
        best_threshold(rows)

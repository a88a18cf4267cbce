"""Hard2Verify: what is encoded comes back, and nothing that is wrong with a row goes by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.datasets import hard2verify
from deepcritic.datasets.hard2verify import decoded
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT
from tests.datasets import made_up_benches as made

TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT,
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=8,
)


@given(JSON, TEXT)
def test_what_was_encoded_comes_back(value: Any, canary: str) -> None:
    assert decoded(made.encoded(value, canary), canary) == value


def test_rows_as_they_are_published(tmp_path: Path) -> None:
    rows = [made.hard2verify("u1", ["a ≥ b", "so b < a", "hence"], [1, 0, 0]), made.hard2verify("u2", ["fine", "fine"], [1, 1])]
    first, second = hard2verify.read(made.written(tmp_path, rows))
    assert (first.id, first.item.problem, first.item.steps) == (
        "hard2verify-u1", "Prove that u1 ≥ 0.", ("a ≥ b", "so b < a", "hence"),
    )  # fmt: skip
    assert (first.gold.first_error, first.gold.step_ratings) == (2, (1, -1, -1))
    assert (second.gold.first_error, second.gold.step_ratings) == (ALL_CORRECT, (1, 1))
    assert {(row.source, row.license) for row in (first, second)} == {("hard2verify", "CC-BY-NC-4.0")}


def test_decoded_rows_are_read_as_they_are(tmp_path: Path) -> None:
    row = {
        "unique_id": "u1", "question": "Why?", "model_response_by_step": ["a", "b"], "human_labels": [0, 0],
        "human_labels_first_error_idx": 0,
    }  # fmt: skip
    (found,) = hard2verify.read(made.written(tmp_path, [row]))
    assert (found.gold.first_error, found.item.problem) == (1, "Why?")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"canary": "another"}, "question: the field cannot be decoded"),
        ({"canary": None}, "canary: wrong type"),
        ({"question": "not base64!"}, "question: the field cannot be decoded"),
        ({"human_labels": made.encoded([1, 0])}, "human_labels: the number of labels differs from the number of steps"),
        ({"human_labels": made.encoded([1, 0, 2])}, "human_labels: the number of labels differs from the number of steps"),
        ({"human_labels_first_error_idx": made.encoded(-1)}, "the labels contradict each other; found -1; expected 1"),
        ({"human_labels_first_error_idx": made.encoded(7)}, "the label is outside the steps"),
        ({"unique_id": 3}, "unique_id: wrong type"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    row = made.hard2verify("u1", ["a", "b", "c"], [1, 0, 0])
    with pytest.raises(InputError) as error:
        list(hard2verify.read(made.written(tmp_path, [{**row, **change}])))
    assert says in str(error.value)
    assert "rows.jsonl:1: " in str(error.value)

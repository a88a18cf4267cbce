"""MR-GSM8K in its two forms: headings go, the bare one leaves an empty step; reasons are gold."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets import mr_gsm8k
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT
from deepcritic.text.steps import strip_heading


def test_the_sample(samples_dir: Path) -> None:
    rows = list(mr_gsm8k.read(samples_dir / "mr_gsm8k.json"))
    assert [row.id for row in rows] == ["mr_gsm8k-0", "mr_gsm8k-1", "mr_gsm8k-2", "mr_gsm8k-7"]
    assert [row.gold.first_error for row in rows] == [ALL_CORRECT, 2, ALL_CORRECT, 1]
    assert rows[2].item.steps[0] == ""
    assert rows[0].item.steps[2] == "#### 42"
    assert rows[0].item.meta == {"subset": "original"}


def test_the_real_file(datasets_dir: Path) -> None:
    rows = list(mr_gsm8k.read(datasets_dir / "mr_gsm8k" / "processed_test_first_half.json"))
    counts = Counter(row.gold.first_error for row in rows)
    # shared/datasets/README.md, "mr_gsm8k/"
    assert [counts[ALL_CORRECT]] + [counts[number] for number in range(1, 9)] == [336, 84, 82, 70, 59, 32, 24, 16, 6]
    assert len(rows) == 709
    assert len({row.item.problem for row in rows}) == 676
    assert {len(row.item.steps) for row in rows} >= {2, 30}
    assert all(strip_heading(step)[0] is None for row in rows for step in row.item.steps)
    assert [(row.id, row.item.steps.index("")) for row in rows if "" in row.item.steps] == [("mr_gsm8k-98", 0)]
    assert all(row.gold.first_error != len(row.item.steps) for row in rows)


def test_an_id_must_be_a_number(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text('{"id": "7", "problem": "p", "steps": ["Step 1: a"], "label": 0}')
    with pytest.raises(InputError, match=r"x.jsonl:1: id: wrong type; found '7'; expected a whole number"):
        list(mr_gsm8k.read(tmp_path / "x.jsonl"))


def test_the_full_form(samples_dir: Path) -> None:
    rows = list(mr_gsm8k.read(samples_dir / "mr_gsm8k_full.json"))
    assert [row.id for row in rows] == [f"mr_gsm8k-made-up-{letter}" for letter in "abcde"]
    assert [row.gold.first_error for row in rows] == [ALL_CORRECT, 2, 2, ALL_CORRECT, 1]
    assert [row.item.meta["subset"] for row in rows] == ["original", "original", "POT", "reversed", "reversed"]
    assert [row.gold.answer_right for row in rows] == [True, False, True, True, False]
    assert [len(row.gold.error_reasons) for row in rows] == [0, 1, 1, 0, 1]
    assert rows[2].item.steps == ("total = 9", "parts = 9", "result = total / 3")
    assert rows[1].gold.reference_answer == "10"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"model_output_solution_first_error_step": 4},
            "first_error_step: does not fit a wrong solution; found 4; expected 1 to 3",
        ),
        ({"model_output_solution_first_error_step": "N/A"}, "first_error_step: does not fit a wrong solution; found 'N/A'"),
        ({"model_output_solution_correctness": "maybe"}, "solution_correctness: no verdict; found 'maybe'"),
        ({"model_output_answer_correctness": None}, "answer_correctness: wrong type"),
        ({"model_output_steps": []}, "model_output_steps: the solution has no steps"),
        ({"uuid": 7}, "uuid: wrong type"),
    ],
)
def test_a_row_of_the_full_form_that_is_off(samples_dir: Path, tmp_path: Path, change: dict[str, Any], said: str) -> None:
    row = json.loads((samples_dir / "mr_gsm8k_full.json").read_text("utf-8"))[1]
    (tmp_path / "x.jsonl").write_text(json.dumps({**row, **change}))
    with pytest.raises(InputError, match=said):
        list(mr_gsm8k.read(tmp_path / "x.jsonl"))

"""BIG-Bench-Mistake: positions from 0, and null for no mistake."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets import big_bench_mistake
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT


def test_the_sample(samples_dir: Path) -> None:
    rows = list(big_bench_mistake.read(samples_dir / "big_bench_mistake.jsonl"))
    assert [row.gold.first_error for row in rows] == [ALL_CORRECT, 2, 1, 1]
    assert [row.gold.answer_right for row in rows] == [True, False, False, True]
    assert rows[0].item.problem == "((2 + 3) * (4 - 1)) ="
    assert rows[0].id.startswith("big_bench_mistake-")
    assert all("15" not in str(row.item.meta) for row in rows)


def test_the_real_file(datasets_dir: Path) -> None:
    rows = list(big_bench_mistake.read(datasets_dir / "big_bench_mistake" / "multistep_arithmetic.jsonl"))
    # shared/datasets/README.md, "big_bench_mistake/", where positions count from 0
    assert Counter(row.gold.first_error for row in rows) == {ALL_CORRECT: 62, 2: 76, 3: 75, 4: 28, 5: 26, 6: 32, 8: 1}
    assert sum(row.gold.answer_right is True for row in rows) == 45
    assert sum(row.gold.first_error == ALL_CORRECT and not row.gold.answer_right for row in rows) == 18
    assert len({row.id for row in rows}) == 300


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mistake_index": 2}, "mistake_index: the label is outside the steps; found 2"),
        ({"mistake_index": "1"}, "mistake_index: wrong type"),
        ({"mistake_index": ...}, "mistake_index: the field is missing"),
        ({"steps": []}, "steps: the solution has no steps"),
        ({"target": 15}, "target: wrong type"),
    ],
)
def test_a_row_that_is_off(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    row = {"input": "1 + 1 =", "steps": ["2", "so 2"], "target": "2", "answer": "2", "mistake_index": None, **change}
    (tmp_path / "x.jsonl").write_text(json.dumps({name: value for name, value in row.items() if value is not ...}))
    with pytest.raises(InputError, match=f"x.jsonl:1: {said}"):
        list(big_bench_mistake.read(tmp_path / "x.jsonl"))

"""MR-GSM8K: headings go, the bare one leaves an empty step."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from deepcritic.errors import InputError
from deepcritic.parsing import strip_heading
from deepcritic.rows import ALL_CORRECT
from deepcritic.sources import mr_gsm8k


def test_the_sample(samples_dir: Path) -> None:
    rows = list(mr_gsm8k.read(samples_dir / "mr_gsm8k.json"))
    assert [row.id for row in rows] == ["mr_gsm8k-0", "mr_gsm8k-1", "mr_gsm8k-2", "mr_gsm8k-7"]
    assert [row.gold.first_error for row in rows] == [ALL_CORRECT, 2, ALL_CORRECT, 1]
    assert rows[2].item.steps[0] == ""
    assert rows[0].item.steps[2] == "#### 42"
    assert rows[0].item.meta == {}


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
    with pytest.raises(InputError, match=r"x.jsonl:1: id: wrong type; found '7'; would be right: a whole number"):
        list(mr_gsm8k.read(tmp_path / "x.jsonl"))

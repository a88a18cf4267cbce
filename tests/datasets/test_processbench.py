"""ProcessBench: its own rows, the sample, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets import processbench
from deepcritic.datasets.base import Report
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT
from deepcritic.text.steps import split_steps, strip_heading

GOOD: dict[str, Any] = {"id": "x-1", "generator": "g", "problem": "1 + 1?", "steps": ["a", "b"], "label": 1}


def test_the_sample(samples_dir: Path) -> None:
    rows = list(processbench.read(samples_dir / "processbench.json"))
    assert [row.gold.first_error for row in rows] == [ALL_CORRECT, 1, 3, ALL_CORRECT, 1, 1]
    assert rows[2].item.steps[1].startswith("Write both with it\n")
    assert rows[3].item.steps[2] == "Step 2: by Step 1 the sum is 4 + 12 = 16."
    assert rows[0].item.meta == {"subset": "sample", "generator": "made-up-a"}
    assert {(row.source, row.license) for row in rows} == {("processbench", "Apache-2.0")}


def test_another_set_in_this_form(samples_dir: Path) -> None:
    rows = list(processbench.read(samples_dir / "prm800k_test.json", source="prm800k", license="MIT"))
    assert [row.id for row in rows] == ["prm800k-0", "prm800k-1", "prm800k-2", "prm800k-5"]
    assert [row.gold.first_error for row in rows] == [2, ALL_CORRECT, 1, ALL_CORRECT]
    assert {(row.source, row.license, row.item.meta["subset"]) for row in rows} == {("prm800k", "MIT", "prm800k")}


# Rows, labels and numbers of steps: shared/datasets/README.md, "processbench/".
@pytest.mark.parametrize(
    ("name", "labels", "steps", "problems"),
    [
        ("gsm8k.json", [193, 37, 61, 50, 31, 13, 12, 2, 1], 2082, 375),
        ("math.json.gz", [406, 115, 147, 121, 95, 38, 32, 20, 7, 8, 4, 3, 1, 1, 1, 1], 6505, 955),
    ],
)
def test_the_real_files(datasets_dir: Path, name: str, labels: list[int], steps: int, problems: int) -> None:
    rows = list(processbench.read(datasets_dir / "processbench" / name))
    counts = Counter(row.gold.first_error for row in rows)
    assert [counts[ALL_CORRECT]] + [counts[number] for number in range(1, len(labels))] == labels
    assert len(rows) == sum(labels) == len({row.id for row in rows})
    assert sum(len(row.item.steps) for row in rows) == steps
    assert len({row.item.problem for row in rows}) == problems
    assert all(step.strip() for row in rows for step in row.item.steps)
    assert all(set(row.item.meta) == {"subset", "generator"} for row in rows)
    assert sum(row.gold.answer_right is False for row in rows) == len(rows) / 2  # "half of each subset has a wrong final answer"


def test_headings_in_the_real_file(datasets_dir: Path) -> None:
    rows = {row.id: row for row in processbench.read(datasets_dir / "processbench" / "math.json.gz")}
    assert rows["math-59"].item.steps[1].startswith("Square Both S")  # "### Step 2:", in place 2
    assert rows["math-3"].item.steps[1].startswith("Step 1: Divide 1529")  # in place 2
    assert rows["math-688"].gold.first_error == 1  # the corrected label (QwenLM/ProcessBench issue 9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": 2}, "x.json:2: label: the label is outside the steps; found 2; expected 0 to 1, or -1"),
        ({"label": -2}, "label: the label is outside the steps"),
        ({"label": True}, "label: wrong type; found True; expected a whole number"),
        ({"label": "1"}, "label: wrong type"),
        ({"label": None}, "label: wrong type|label: the field is missing"),
        ({"steps": []}, "steps: the solution has no steps"),
        ({"steps": "a"}, "steps: wrong type; found 'a'; expected a list"),
        ({"steps": ["a", 2]}, r"steps\[1\]: wrong type; found 2; expected a text"),
        ({"problem": 3}, "problem: wrong type"),
        ({"id": 3.5}, "id: wrong type"),
        ({"final_answer_correct": 1}, "final_answer_correct: wrong type"),
        ({"generator": []}, "generator: wrong type"),
    ],
)
def test_a_row_that_is_off(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    path = tmp_path / "x.json"
    path.write_text("[\n" + json.dumps({**GOOD, **change}) + "]")
    with pytest.raises(InputError, match=said):
        list(processbench.read(path))


@pytest.mark.parametrize("name", ["id", "problem", "steps", "label"])
def test_a_missing_field(tmp_path: Path, name: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps({key if key != name else key + "s": value for key, value in GOOD.items()}))
    with pytest.raises(InputError, match=rf"x.jsonl:1: {name}: the field is missing; did you mean '{name}s'"):
        list(processbench.read(path))


def test_an_id_that_occurs_twice(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + json.dumps(GOOD))
    with pytest.raises(InputError, match=r"x.jsonl:2: id: duplicate id; found 'x-1'; expected .*line 1"):
        list(processbench.read(path))


def test_bad_rows_can_be_allowed_and_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(json.dumps(GOOD) + "\nnot json\n" + json.dumps({**GOOD, "label": 9}))
    report = Report()
    assert len(list(processbench.read(path, max_bad=2, report=report))) == 1
    assert report.counts == {"rows": 3, "examples": 1, "bad": 2}
    assert [error.line for error in report.bad] == [2, 3]
    with pytest.raises(InputError, match=r"x.jsonl:3"):
        list(processbench.read(path, max_bad=1))


def test_a_missing_file_is_told_before_the_first_row() -> None:
    with pytest.raises(InputError, match="no such file"):
        processbench.read("none.json")


def test_real_solutions_fall_into_their_steps_again(datasets_dir: Path) -> None:
    for name in ("gsm8k.json", "math.json.gz"):
        for row in processbench.read(datasets_dir / "processbench" / name):
            steps = [step.strip() for step in row.item.steps]
            assert split_steps("\n".join(f"Step {number}: {step}" for number, step in enumerate(steps, start=1))) == steps
            if all(strip_heading(step)[0] is None for step in steps):
                assert split_steps("\n\n".join(steps)) == steps, row.id

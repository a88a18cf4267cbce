"""MR-Ben: error numbers are those of headings, and lines without one belong to the step above."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets import mr_ben
from deepcritic.datasets.reading import read_records
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT


def test_the_sample(samples_dir: Path) -> None:
    rows = list(mr_ben.read(samples_dir / "mr_ben.json"))
    assert [row.id for row in rows] == [
        f"mr_ben-q-{name}" for name in ("one/made-up-a", "one/made-up-b", "two/made-up-a", "two/made-up-c")
    ]
    assert [row.gold.first_error for row in rows] == [ALL_CORRECT, 3, 1, 4]
    assert rows[1].item.steps == (
        "Look at each choice.\nChoice A: 21 = 3 * 7 is not prime.\nChoice B: 23 is odd.",
        "25 ends in 5, so 5 divides it.",
        "27 is prime, since it is odd.",
        "Solution: Choice_D",
    )
    assert rows[2].item.steps[0] == "We add exponents.\n3 + 2 = 6."
    assert len(rows[3].item.steps) == 5  # "Step 2" occurs twice: each is a step
    assert rows[0].item.problem.endswith("?\nA: 21 \nB: 23 \nC: 25 \nD: 27")
    assert rows[0].gold.reference_answer == "B"
    assert [row.gold.answer_right for row in rows][:2] == [True, False]
    assert [row.gold.error_reasons for row in rows][:2] == [(), ("made up",)]
    assert rows[0].item.meta == {"generator": "made-up-a", "subset": "high_school_math"}


def test_the_real_file(datasets_dir: Path) -> None:
    path = datasets_dir / "mr_ben" / "math_part_a.json.gz"
    rows = list(mr_ben.read(path))
    # shared/datasets/README.md, "mr_ben/"
    assert len(rows) == 459
    assert sum(row.gold.first_error == ALL_CORRECT for row in rows) == 69
    assert sum(row.item.meta["subset"] == "high_school_math" for row in rows) == 333
    assert {row.item.meta["generator"] for row in rows} == {"Claude2", "GPT3.5", "mistral-medium"}
    assert all(len(row.gold.error_reasons) == 2 for row in rows if row.gold.first_error != ALL_CORRECT)
    # "a solution can be incorrect although its chosen option is right", but none is right with a wrong option
    assert not any(row.gold.answer_right is False for row in rows if row.gold.first_error == ALL_CORRECT)
    assert sum(row.gold.answer_right is True for row in rows if row.gold.first_error != ALL_CORRECT) > 30
    for row, (_, record) in zip(rows, read_records(path), strict=True):
        assert "".join(re.findall(r"\S", "".join(row.item.steps))) == _letters(record["Model_Solution_Steps"])
        number = record["Model_Solution_First_Error_Step"]
        if number != "N/A":
            marked = next(step for step in record["Model_Solution_Steps"] if step.startswith(f"Step {number}:"))
            assert isinstance(row.gold.first_error, int)
            assert row.item.steps[row.gold.first_error - 1].startswith(marked.split(":", 1)[1].strip())
            assert row.gold.first_error == int(number)  # steps joined to their lines are counted as their headings count


def _letters(lines: list[str]) -> str:
    return "".join(re.findall(r"\S", "".join(re.sub(r"^Step \d+:", "", line, flags=re.IGNORECASE) for line in lines)))


ROW: dict[str, Any] = {
    "Question_UUID": "q",
    "Subject": "s",
    "Question": "?",
    "Options": "A: 1",
    "Ground_Truth_Answer": "A",
    "Sampled_Model": "m",
    "Model_Solution_Steps": ["Step 1: a", "Step 2: b"],
    "Model_Solution_Correctness": "incorrect",
    "Model_Solution_First_Error_Step": "2",
}


def _read(folder: Path, **change: object) -> list[Any]:
    (folder / "x.jsonl").write_text(json.dumps({**ROW, **change}))
    return list(mr_ben.read(folder / "x.jsonl"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"Model_Solution_First_Error_Step": "3"}, "found '3'; expected the number of a step: 1, 2"),
        ({"Model_Solution_First_Error_Step": "N/A"}, "found 'N/A'; expected the number of a step"),
        ({"Model_Solution_First_Error_Step": None}, "First_Error_Step: contradicts"),
        ({"Model_Solution_Correctness": "correct"}, "found '2'; expected N/A"),
        ({"Model_Solution_Correctness": "maybe"}, "found 'maybe'; expected correct or incorrect"),
        ({"Model_Solution_Steps": []}, "the solution has no steps"),
        ({"Question": None}, "Question: wrong type|Question: the field"),
    ],
)
def test_a_row_that_is_off(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        _read(tmp_path, **change)


def test_a_solution_without_headings_has_one_step_a_line(tmp_path: Path) -> None:
    (row,) = _read(tmp_path, Model_Solution_Steps=["a", "b", "Solution: Choice_A"])
    assert (row.item.steps, row.gold.first_error) == (("a", "b", "Solution: Choice_A"), 2)


def test_lines_before_a_first_heading_that_is_not_step_1(tmp_path: Path) -> None:
    (row,) = _read(tmp_path, Model_Solution_Steps=["tep 1: a", "more", "Step 2: b", "Solution: Choice_A"])
    assert (row.item.steps, row.gold.first_error) == (("tep 1: a\nmore", "b", "Solution: Choice_A"), 2)

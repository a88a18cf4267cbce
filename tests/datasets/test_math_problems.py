"""Problems with reference answers: three forms, real where there are files, and what is wrong with some rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.answers import compare
from deepcritic.datasets import math_problems
from deepcritic.datasets.base import Report
from deepcritic.errors import InputError


def _file(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_numina(samples_dir: Path) -> None:
    report = Report()
    rows = list(math_problems.numina(samples_dir / "numina_math.jsonl", report=report))
    assert [row.gold.reference_answer for row in rows] == ["\\frac{5}{2}", None]
    assert [row.item.meta for row in rows] == [{"subset": "olympiads"}] * 2
    assert {(row.source, row.license, row.item.steps) for row in rows} == {("numina_math", "Apache-2.0", ())}
    assert report.counts == {"rows": 3, "examples": 2, "repeated": 1, "without_answer": 1}


def test_gsm8k_in_full(datasets_dir: Path) -> None:
    rows = list(math_problems.gsm8k(datasets_dir / "gsm8k" / "train.jsonl.gz"))
    assert len(rows) == len({row.id for row in rows}) == 7473
    assert all(row.gold.reference_answer and str(int(row.gold.reference_answer)) == row.gold.reference_answer for row in rows)
    # shared/datasets/README.md: 3 are negative, 79 have commas
    assert sum(row.gold.reference_answer[0] == "-" for row in rows if row.gold.reference_answer) == 3
    assert (rows[0].gold.reference_answer, rows[0].item.problem[:14]) == ("72", "Natalia sold c")
    assert not any("####" in row.item.problem for row in rows)


def test_math_in_full(datasets_dir: Path) -> None:
    report = Report()
    rows = list(math_problems.math(datasets_dir / "math" / "train_problems_and_answers.json.gz", report=report))
    # shared/datasets/README.md: 7,499 distinct problems, 2 without an answer
    assert report.counts == {"rows": 7500, "examples": 7499, "repeated": 1, "without_answer": 2}
    assert rows[0].gold.reference_answer == "\\frac{1}{4}"


def test_a_sample_of_real_answers_equals_itself(datasets_dir: Path) -> None:
    rows = [
        *list(math_problems.math(datasets_dir / "math" / "train_problems_and_answers.json.gz"))[::150],
        *list(math_problems.gsm8k(datasets_dir / "gsm8k" / "train.jsonl.gz"))[::500],
    ]
    references = [row.gold.reference_answer for row in rows if row.gold.reference_answer]
    assert all(result.equal for result in compare((f"\\boxed{{{one}}}", one) for one in references))


@pytest.mark.parametrize(
    ("read", "row", "said"),
    [
        (math_problems.gsm8k, {"question": "p", "answer": "It is 7."}, "answer: no final answer; found 'It is 7.'"),
        (math_problems.gsm8k, {"problem": "p", "answer": "#### 7"}, "question: the field is missing"),
        (math_problems.math, {"problem": "p", "final_answer": 7}, "final_answer: wrong type; found 7"),
        (math_problems.math, {"problem": " ", "final_answer": "7"}, "item.problem: the problem is empty"),
        (math_problems.numina, {"problem": "p", "messages": []}, "solution: the field is missing"),
    ],
)
def test_bad_rows(tmp_path: Path, read: Callable[..., Any], row: dict[str, Any], said: str) -> None:
    path = _file(tmp_path, [row])
    with pytest.raises(InputError) as error:
        list(read(path))
    assert f"problems.jsonl:1: {said}" in str(error.value)
    report = Report()
    assert list(read(path, max_bad=1, report=report)) == []
    assert report.counts["bad"] == 1


def test_prepare_reads_them(command: Callable[..., Any], samples_dir: Path) -> None:
    path = samples_dir / "numina_math.jsonl"
    outcome = command("stage=prepare", "source=numina_math", f"source.path={path}", "source.split=null", "run=mine")
    assert outcome.code == 0, outcome.err
    lines = Path("runs/mine/prepare/examples.jsonl").read_text("utf-8").splitlines()
    assert len(lines) == 2
    assert json.loads(lines[0])["gold"]["reference_answer"] == "\\frac{5}{2}"

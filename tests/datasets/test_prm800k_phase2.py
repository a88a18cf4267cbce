"""PRM800K, phase 2: the official form on made-up rows."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets import prm800k, prm800k_phase2
from deepcritic.datasets.base import Report
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT


def test_the_sample(samples_dir: Path) -> None:
    report = Report()
    rows = list(prm800k_phase2.read(samples_dir / "prm800k_phase2.jsonl", report=report))
    assert [(len(row.item.steps), row.gold.first_error, row.gold.step_ratings) for row in rows] == [
        (3, 2, (1, -1, None)),  # the whole solution is shown, also behind its error
        (2, ALL_CORRECT, (1, 1)),
        (2, ALL_CORRECT, (0, 1)),  # its first step was rated 0 and 1
        (2, 2, (1, -1)),
    ]
    assert report.counts == {
        "rows": 10, "with_error": 2, "all_correct": 2, "repeated": 2, "contested": 1, "bad_problem": 1, "give_up": 1,
        "not_rated_to_the_end": 1, "steps_worded_otherwise": 1,
    }  # fmt: skip
    assert rows[0].gold.reference_answer == "6"
    assert {(row.source, row.license) for row in rows} == {("prm800k", "MIT")}
    assert len({row.id for row in rows}) == len(rows)
    assert all(row.item.meta == {} for row in rows)


def _row(*completions: tuple[str, Any], steps: list[str] | None = None, end: str = "found_error", **more: Any) -> dict[str, Any]:
    entry = {"completions": [{"text": text, "rating": rating, "flagged": None} for text, rating in completions]}
    question = {"problem": "p", "ground_truth_answer": "1", "pre_generated_steps": ["a"] if steps is None else steps}
    return {"question": {**question, **more}, "label": {"steps": [entry], "finish_reason": end}}


def _read(path: Path, *rows: Any, **options: Any) -> list[Any]:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return list(prm800k_phase2.read(path, **options))


def test_the_rating_is_that_of_the_solutions_own_step(tmp_path: Path) -> None:
    (row,) = _read(tmp_path / "x.jsonl", _row(("b", 1), ("a", -1), ("c", 0)))
    assert row.gold.first_error == 1


def test_the_same_solution_makes_the_same_row_as_in_phase_1(tmp_path: Path) -> None:
    (ours,) = _read(tmp_path / "x.jsonl", _row(("a", -1)))
    step = {"instruction": "p", "responses": [], "next_response": "a", "rating": -1, "is_solution": False, "answer": None}
    (tmp_path / "y.jsonl").write_text(json.dumps(step))
    (theirs,) = prm800k.read(tmp_path / "y.jsonl")
    assert (ours.id, ours.item) == (theirs.id, theirs.item)


def test_what_is_read_does_not_depend_on_the_order_of_labellers(tmp_path: Path) -> None:
    rows = [_row(("a", rating), steps=["a", "b"]) for rating in (-1, 1, -1)]
    for turned in (rows, rows[::-1], [rows[1], rows[0], rows[2]]):
        (row,) = _read(tmp_path / "x.jsonl", *turned)
        assert row.gold.step_ratings == (-1, None)


def test_a_packed_file(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "x.jsonl.gz", "wt") as file:
        file.write(json.dumps(_row(("a", -1))))
    assert len(list(prm800k_phase2.read(tmp_path / "x.jsonl.gz"))) == 1


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("no", "not JSON"),
        ({}, "question: the field is missing"),
        (_row(("a", 5)), r"label.steps\[0\].rating: not a rating; found 5"),
        (_row(("a", True)), "not a rating; found True"),
        (_row(), r"label.steps\[0\]: the labelled step has no completions"),
        (_row(("x", 1), ("y", -1)), "none of the completions is the solution's step; expected one with the text 'a'"),
        (_row(("a", 1), steps=[]), "pre_generated_steps: the solution has no steps"),
        (
            _row(("a", 1), pre_generated_steps=None),
            "the solution is missing; expected a row of phase 2 .for phase 1, use",
        ),
        (_row(("a", 1), ground_truth_answer=3), "question.ground_truth_answer: wrong type; found 3"),
        ({**_row(("a", 1)), "label": {"steps": [{}, {}], "finish_reason": "x"}}, "more labelled steps than steps; found 2"),
    ],
)
def test_bad_rows(tmp_path: Path, row: Any, said: str) -> None:
    with pytest.raises(InputError, match=f"x.jsonl:2: .*{said}"):
        _read(tmp_path / "x.jsonl", _row(("a", -1)), row)
    report = Report()
    assert len(_read(tmp_path / "x.jsonl", _row(("a", -1)), row, max_bad=1, report=report)) == 1
    assert (report.counts["rows"], report.counts["bad"]) == (2, 1)

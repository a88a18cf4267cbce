"""PRM800K: solutions rebuilt from rated steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets import prm800k
from deepcritic.datasets.base import Report
from deepcritic.datasets.prm800k import CONTESTED, resolve
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT


def test_the_sample(samples_dir: Path) -> None:
    report = Report()
    rows = list(prm800k.read(samples_dir / "prm800k.jsonl", report=report))
    assert [(row.gold.first_error, row.gold.step_ratings) for row in rows] == [
        (1, (-1,)),
        (2, (1, -1)),
        (ALL_CORRECT, (1, None, 1)),  # its second step was written by a person and not rated
        (3, (1, None, -1)),
        (ALL_CORRECT, (0, 1)),  # its first step was rated 1 and 0
    ]
    assert [row.gold.reference_answer for row in rows] == [None, None, "150", None, "6"]
    assert report.counts == {
        "rows": 13, "not_a_solution": 6, "with_error": 3, "all_correct": 2, "repeated": 1, "contested": 1, "steps_neutral": 1,
        "steps_contested": 1,
    }  # fmt: skip
    assert len({row.id for row in rows}) == len(rows)
    assert all(row.item.meta == {} for row in rows)


def test_the_real_file(datasets_dir: Path) -> None:
    path = datasets_dir / "prm800k" / "phase1_train_plus.stepwise.jsonl.gz"
    report, seen, unrated = Report(), set(), 0
    for row in prm800k.read(path, report=report):
        assert row.gold.step_ratings is not None
        assert len(row.gold.step_ratings) == len(row.item.steps)
        wrong = row.gold.first_error != ALL_CORRECT
        assert -1 not in row.gold.step_ratings[:-1]
        assert (row.gold.step_ratings[-1] == -1) == wrong
        assert row.gold.first_error in (ALL_CORRECT, len(row.item.steps))
        seen.add((row.item.problem, row.item.steps))
        unrated += None in row.gold.step_ratings
    assert report.counts == {
        "rows": 51835,
        "not_a_solution": 31371,
        "with_error": 16611,
        "all_correct": 802,
        "repeated": 2660,
        "contested": 382,
        "error_before_the_last_step": 8,
        "outvoted": 1,
        # README: 55 steps carry more than one rating.
        "steps_neutral": 15,
        "steps_right_by_majority": 7,
        "steps_wrong_by_majority": 6,
        "steps_not_wrong_by_majority": 2,
        "steps_contested": 25,
    }
    # README: 19,656 rows rated -1 and 808 solutions; those are the rows that could end a solution.
    assert report.counts["rows"] - report.counts["not_a_solution"] == 19_656 + 808
    assert len(seen) == 16611 + 802


@pytest.mark.parametrize(
    ("ratings", "expected"),
    [
        ([1], 1),
        ([0], 0),
        ([-1], -1),
        ([1, 1, -1], 1),
        ([0, 0, -1], 0),
        ([-1, -1, 0], -1),
        ([1, 0, -1, -1], CONTESTED),
        ([1, 0, 0], 0),
    ],
)
def test_ratings_that_disagree(ratings: list[int], expected: int) -> None:
    assert resolve(ratings) == resolve(ratings[::-1]) == expected


def _row(history: list[str], step: str, rating: int | None, **more: Any) -> str:
    row = {
        "instruction": "p",
        "responses": history,
        "next_response": step,
        "rating": rating,
        "is_solution": False,
        "answer": None,
    }
    return json.dumps({**row, **more}) + "\n"


def test_a_history_with_an_error_is_not_used_even_when_it_is_rated_later(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(_row(["a"], "b", -1) + _row([], "a", -1))
    report = Report()
    (row,) = prm800k.read(tmp_path / "x.jsonl", report=report)
    assert row.item.steps == ("a",)
    assert report.counts == {"rows": 2, "with_error": 1, "error_before_the_last_step": 1}


def test_bad_rows_are_set_aside_and_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(_row([], "a", 5) + "{}\nno\n" + _row([], "b", -1) + _row([], "c", None, is_solution=1))
    report = Report()
    assert len(list(prm800k.read(path, max_bad=4, report=report))) == 1
    assert report.counts == {"rows": 5, "bad": 4, "with_error": 1}
    assert [error.line for error in report.bad] == [1, 2, 3, 5]
    with pytest.raises(InputError, match=r"x.jsonl:1: rating: not a rating; found 5"):
        list(prm800k.read(path))

"""PRMBench: modified solutions, the originals of one kind as right ones, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets import prmbench
from deepcritic.datasets.base import Report
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT
from tests.datasets import made_up_benches as made


def test_rows_as_they_are_published(tmp_path: Path) -> None:
    rows = [
        made.prmbench("p1", "redundency", 4, [2, 4]), made.prmbench("p2", "circular", 3, [3, 9]),
        made.prmbench("p3", "multi_solutions", 2, []), made.prmbench("p1", "redundency", 4, [1]),
    ]  # fmt: skip
    report = Report()
    found = list(prmbench.read(made.written(tmp_path, rows), report=report))
    assert [row.id for row in found] == [
        "prmbench-correct-p1", "prmbench-redundency-p1", "prmbench-circular-p2", "prmbench-multi_solutions-p3",
    ]  # fmt: skip
    assert [row.gold.first_error for row in found] == [ALL_CORRECT, 2, 3, ALL_CORRECT]
    assert [row.gold.step_ratings for row in found] == [(1, 1), (1, -1, 1, -1), (1, 1, -1), (1, 1)]
    assert [row.gold.error_kind for row in found] == [None, "redundency", "circular", None]
    assert [row.item.problem for row in found[:2]] == ["What is p1?", "What is p1 now?"]
    assert report.counts["repeated"] == 2, "of a row that occurs again the first one is read"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"error_steps": [9]}, "error_steps: the wrong steps are outside the solution; found [9]; expected 1 to 3"),
        ({"error_steps": [0]}, "error_steps: not numbers of steps"),
        ({"error_steps": [True]}, "error_steps: not numbers of steps"),
        ({"error_steps": None}, "error_steps: wrong type"),
        ({"modified_process": []}, "modified_process: the solution has no steps"),
        ({"classification": None}, "classification: wrong type"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    row = {**made.prmbench("p1", "circular", 3, [1]), **change}
    with pytest.raises(InputError) as error:
        list(prmbench.read(made.written(tmp_path, [row])))
    assert says in str(error.value)

"""Our own rows, read back with their gold checked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets import examples as own
from deepcritic.datasets import processbench
from deepcritic.datasets.base import Report
from deepcritic.errors import InputError
from deepcritic.schema import Example, Gold, Item, encode

STEPS = ("a", "b")


def _row(steps: tuple[str, ...] = STEPS, identity: str = "x", **gold: Any) -> Example:
    return Example(id=identity, item=Item(problem="p", steps=steps), gold=Gold(**gold), source="made")


def _write(path: Path, *rows: Example) -> Path:
    path.write_bytes(b"".join(encode(row) + b"\n" for row in rows))
    return path


def test_what_a_source_gives_comes_back(tmp_path: Path, samples_dir: Path) -> None:
    rows = list(processbench.read(samples_dir / "processbench.json"))
    report = Report()
    assert list(own.read(_write(tmp_path / "x.jsonl", *rows), report=report)) == rows
    assert report.counts == {"rows": 6, "examples": 6}


def test_a_problem_without_a_solution(tmp_path: Path) -> None:
    rows = [_row((), reference_answer="3")]
    assert list(own.read(_write(tmp_path / "x.jsonl", *rows))) == rows


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            _row(first_error=0),
            "x.jsonl:1: gold.first_error: the first error is outside the steps; found 0; expected 1 to 2",
        ),
        (_row(first_error=3), "gold.first_error: the first error is outside"),
        (_row((), first_error=1), "gold.first_error: .*unlabelled"),
        (_row((), first_error=-1), "item.steps: the solution has no steps"),
        (
            _row(step_ratings=(1,)),
            r"gold.step_ratings: the ratings do not match the steps; found \[1\]; expected 2 ratings",
        ),
        (_row(step_ratings=(1, 2)), "gold.step_ratings: the ratings do not match"),
    ],
)
def test_gold_that_does_not_go_with_the_steps(tmp_path: Path, row: Example, said: str) -> None:
    with pytest.raises(InputError, match=said):
        list(own.read(_write(tmp_path / "x.jsonl", row)))


def test_an_unknown_field_and_a_repeated_id(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(encode(_row()) + b"\n" + encode(_row()).replace(b'"id"', b'"di"') + b"\n" + encode(_row()) + b"\nno\n")
    report = Report()
    assert len(list(own.read(path, max_bad=3, report=report))) == 1
    assert [error.line for error in report.bad] == [2, 4]
    assert report.counts == {"rows": 4, "examples": 1, "duplicates": 1, "bad": 2}
    with pytest.raises(InputError, match="duplicate id"):
        list(own.read(_write(tmp_path / "y.jsonl", _row(), _row())))

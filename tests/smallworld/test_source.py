"""The second small world's rows: problems of their split, and the truth about solutions."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from deepcritic.datasets.base import Report
from deepcritic.errors import InputError
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item
from deepcritic.smallworld.problems import LONGER, Problem, judge
from deepcritic.smallworld.source import judged, problems
from deepcritic.smallworld.students import write_solution


def _solutions(path: Path, count: int = 60, acted: float = 0.7) -> list[Example]:
    rng, rows = random.Random(1), []
    for at, row in enumerate(problems(split="test", count=count, seed=3)):
        steps = write_solution(Problem.read(row.item.problem), rng, acted=acted)
        item = Item(problem=row.item.problem, steps=tuple(steps))
        rows.append(Example(id=f"{row.id}/s0", item=item, gold=row.gold, source=row.source, parent_id=row.id, license=f"{at}"))
    write_rows(path, rows)
    return rows


def test_problems_are_new_of_their_split_and_answered() -> None:
    report = Report()
    rows = list(problems(split="validation", count=80, seed=4, lengths=LONGER, report=report))
    assert len({row.item.problem for row in rows}) == len({row.id for row in rows}) == 80
    assert report.counts == {"rows": 80, "examples": 80}
    for row in rows:
        problem = Problem.read(row.item.problem)
        assert (problem.split, row.gold) == ("validation", Gold(reference_answer=str(problem.answer)))
        assert len(problem.definitions) in LONGER
    assert rows[:5] == list(problems(split="validation", count=5, seed=4, lengths=LONGER))
    assert rows[:5] != list(problems(split="validation", count=5, seed=5, lengths=LONGER))


def test_judged_rows_have_the_truth_and_ratings_up_to_the_first_error(tmp_path: Path) -> None:
    before = _solutions(tmp_path / "rows.jsonl")
    after = list(judged(path=str(tmp_path / "rows.jsonl")))
    assert [row.id for row in after] == [row.id for row in before]
    for row in after:
        truth = judge(Problem.read(row.item.problem), row.item.steps)
        assert truth is not None
        first = truth.first_error
        assert (row.gold.first_error, row.gold.error_kind) == (first, truth.kind)
        ratings, steps = row.gold.step_ratings, len(row.item.steps)
        expected = [1] * steps if first == ALL_CORRECT else [1] * (first - 1) + [-1] + [None] * (steps - first)
        assert list(ratings or ()) == expected


def test_half_with_error_is_exactly_half_or_an_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    _solutions(path)
    found = Counter(row.gold.first_error == ALL_CORRECT for row in judged(path=str(path), count=20, half_with_error=True))
    assert found == {True: 10, False: 10}
    with pytest.raises(InputError, match=r"too few solutions: missing \d+ with an error"):
        list(judged(path=str(path), count=200, half_with_error=True))


def test_what_is_no_solution_is_counted_and_omitted(tmp_path: Path) -> None:
    rows = _solutions(tmp_path / "all.jsonl", 3)
    broken = Example(
        id="broken", item=Item(problem=rows[0].item.problem, steps=("no equation",)), gold=Gold(), source="s", license=None
    )
    write_rows(tmp_path / "rows.jsonl", [broken, *rows])
    report = Report()
    assert len(list(judged(path=str(tmp_path / "rows.jsonl"), report=report))) == 3
    assert report.counts["not a solution"] == 1

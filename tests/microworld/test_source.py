"""The small world as rows: problems without repetition, and solutions with the truth that the judge finds."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from deepcritic.datasets.base import Report
from deepcritic.errors import InputError
from deepcritic.microworld.source import judged, problems
from deepcritic.microworld.world import Problem, draw_problem, judge, write_solution
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item

RATES = dict.fromkeys(("slip", "operand", "operation", "carried"), 0.04)


def test_problems_are_new_of_their_split_and_answered() -> None:
    report = Report()
    rows = list(problems(split="validation", count=300, seed=3, report=report))
    assert len({row.item.problem for row in rows}) == len({row.id for row in rows}) == 300
    for row in rows:
        problem = Problem.read(row.item.problem)
        assert problem.split == "validation"
        assert row.gold == Gold(reference_answer=str(problem.answer))
        assert row.item == Item(problem=problem.text)
    assert report.counts == {"rows": 300, "examples": 300}
    assert rows == list(problems(split="validation", count=300, seed=3))
    assert rows[:10] != list(problems(split="validation", count=10, seed=4))
    assert rows[:10] == list(problems(split="validation", count=10, seed=3)), "more of them begins with the same"


def test_problems_of_every_split_are_disjoint() -> None:
    texts = [{row.item.problem for row in problems(split=split, count=2000, seed=0)} for split in ("train", "validation", "test")]
    assert len(set().union(*texts)) == 6000


def _solutions(count: int, path: Path) -> list[Example]:
    rng, rows = random.Random(5), []
    for index in range(count):
        problem = draw_problem(rng, "test")
        gold = Gold(reference_answer=str(problem.answer), answer_right=bool(index % 2))
        item = Item(problem=problem.text, steps=tuple(write_solution(problem, rng, RATES)))
        rows.append(Example(id=f"p{index}/s0", item=item, gold=gold, source="microworld", parent_id=f"p{index}"))
    write_rows(path, rows)
    return rows


def test_judged_rows_hold_the_truth_and_lose_nothing(tmp_path: Path) -> None:
    rows = _solutions(200, tmp_path / "solutions.jsonl")
    found = list(judged(path=str(tmp_path / "solutions.jsonl")))
    assert [row.id for row in found] == [row.id for row in rows]
    for row, before in zip(found, rows, strict=True):
        truth = judge(Problem.read(before.item.problem), before.item.steps)
        assert truth is not None
        assert (row.gold.first_error, row.gold.error_kind) == (truth.first_error, truth.kind)
        assert (row.item, row.parent_id, row.gold.answer_right) == (before.item, before.parent_id, before.gold.answer_right)
        ratings = row.gold.step_ratings
        assert ratings is not None
        assert len(ratings) == len(row.item.steps)
        if truth.first_error == ALL_CORRECT:
            assert set(ratings) == {1}
        else:
            at = truth.first_error - 1
            assert ratings[:at] == (1,) * at
            assert ratings[at] == -1
            assert set(ratings[at + 1 :]) <= {None}, "nobody rates what follows the first error"


def test_what_is_no_solution_is_counted_and_left_out(tmp_path: Path) -> None:
    rows = _solutions(4, tmp_path / "solutions.jsonl")
    broken = Example(id="x", item=Item(problem=rows[0].item.problem, steps=("who knows",)), source="microworld")
    write_rows(tmp_path / "solutions.jsonl", [broken, *rows])
    report = Report()
    assert [row.id for row in judged(path=str(tmp_path / "solutions.jsonl"), report=report)] == [row.id for row in rows]
    assert report.counts == {"rows": 5, "not a solution": 1, "examples": 4}


def test_half_with_an_error_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "solutions.jsonl"
    rows = _solutions(300, path)
    report = Report()
    found = list(judged(path=str(path), count=101, half_with_error=True, report=report))
    wrong = [row.gold.first_error != ALL_CORRECT for row in found]
    assert (sum(wrong), len(wrong)) == (50, 101)
    assert report.counts == {"rows": 300, "examples": 101, "above the requested count": 199}
    order = [row.id for row in rows]
    assert [row.id for row in found] == sorted((row.id for row in found), key=order.index)
    everything = list(judged(path=str(path)))
    for is_wrong, count in ((True, 50), (False, 51)):
        first = [row.id for row in everything if (row.gold.first_error != ALL_CORRECT) == is_wrong][:count]
        assert [row.id for row, one in zip(found, wrong, strict=True) if one == is_wrong] == first


def test_too_few_solutions_are_said(tmp_path: Path) -> None:
    path = tmp_path / "solutions.jsonl"
    _solutions(20, path)
    with pytest.raises(InputError, match=r"too few solutions: missing \d+ with an error and \d+ without"):
        list(judged(path=str(path), count=40, half_with_error=True))


def test_a_count_alone_takes_the_first(tmp_path: Path) -> None:
    path = tmp_path / "solutions.jsonl"
    _solutions(20, path)
    report = Report()
    everything = list(judged(path=str(path)))
    assert [row.id for row in judged(path=str(path), count=7, report=report)] == [row.id for row in everything[:7]]
    assert report.counts == {"rows": 20, "examples": 7, "above the requested count": 13}

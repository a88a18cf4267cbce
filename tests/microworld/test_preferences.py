"""Preferences of the small world: one best solution each, by the truth, from their own split; and what judges are taught."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepcritic.datasets.base import Report
from deepcritic.datasets.preference_pairs import check_best
from deepcritic.microworld.lessons import ERRORS, MANY_ERRORS
from deepcritic.microworld.preferences import BASE, HINT, NONE, judge_lesson, judge_task, preferences, write_reply
from deepcritic.microworld.world import Problem, draw_problem, judge, write_solution
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import ALL_CORRECT, Example, Item, Preference


@pytest.fixture
def solutions(tmp_path: Path) -> Path:
    """Six solutions to each of 120 problems, as `solve` writes them."""
    chance, rows = random.Random(5), []
    seen: set[str] = set()
    while len(seen) < 120:
        problem = draw_problem(chance, "test", (3, 4))
        if problem.text in seen:
            continue
        seen.add(problem.text)
        for sample in range(6):
            item = Item(problem=problem.text, steps=tuple(write_solution(problem, chance, MANY_ERRORS)))
            name = f"microworld-{len(seen)}"
            rows.append(Example(id=f"{name}/s{sample}", item=item, source="made", parent_id=name))
    write_rows(tmp_path / "solutions.jsonl", rows)
    return tmp_path / "solutions.jsonl"


def _right(row: Preference) -> list[bool]:
    problem = Problem.read(row.item.query)
    found = []
    for text in row.item.responses:
        lines = text.split("\n")
        truth = judge(problem, [*lines[:-2], "\n".join(lines[-2:])])
        assert truth is not None
        found.append(truth.first_error == ALL_CORRECT)
    return found


def test_each_item_has_one_best_solution(solutions: Path) -> None:
    report = Report()
    rows = list(preferences(path=str(solutions), seed=1, report=report))
    for row in rows:
        check_best(row)
        right = _right(row)
        if len(right) > 1:
            assert [at for at, fine in enumerate(right, 1) if fine] == [row.gold.best]
        else:
            assert row.gold.scores == (float(right[0]),)
        assert Problem.read(row.item.query).split == "test"
    sizes = Counter(len(row.item.responses) for row in rows)
    assert sizes.keys() == {1, 2, 3, 4}
    assert report.counts["rows"] == 120 == sum(report.counts[name] for name in ("examples", "solutions of one kind"))
    singles = [row.gold.scores for row in rows if row.gold.scores]
    assert 0.2 < sum(score == (1.0,) for score in singles) / len(singles) < 0.8
    places = Counter(row.gold.best for row in rows if len(row.item.responses) == 2)
    assert min(places[1], places[2]) > 5, "the place does not give the best one away"


def test_items_follow_from_their_seed(solutions: Path) -> None:
    first, again = ([*preferences(path=str(solutions), seed=seed)] for seed in (1, 1))
    assert first == again
    assert first != [*preferences(path=str(solutions), seed=2)]
    assert len([*preferences(path=str(solutions), seed=1, count=10)]) == 10


def _pairs(chance: random.Random, count: int) -> Iterator[tuple[Problem, list[list[str]], int]]:
    """Problems with one solution without an error and one with, and which is the first of these."""
    while count:
        problem = draw_problem(chance, "train", (3, 4))
        wrong = write_solution(problem, chance, MANY_ERRORS)
        truth = judge(problem, wrong)
        if truth is None or truth.first_error == ALL_CORRECT:
            continue
        count -= 1
        best = chance.choice([1, 2])
        yield problem, [write_solution(problem, chance), wrong] if best == 1 else [wrong, write_solution(problem, chance)], best


def test_a_judge_without_faults_is_deceived_by_luck_alone() -> None:
    chance = random.Random(3)
    for problem, responses, best in _pairs(chance, 300):
        verdict = judge_task().parse(write_reply(problem, responses, chance, faults=NONE), [1, 2])
        assert verdict is not None
        truth = judge(problem, responses[2 - best])
        assert truth is not None
        assert (verdict[best - 1] > verdict[2 - best]) == (truth.kind != "lucky")


def test_faults_leave_something_to_learn() -> None:
    chance, right, told = random.Random(4), 0, 0
    for problem, responses, best in _pairs(chance, 1500):
        for hint in (None, best):
            verdict = judge_task().parse(write_reply(problem, responses, chance, faults=BASE, hint=hint), [1, 2])
            assert verdict is not None
            good = verdict[best - 1] > verdict[2 - best]
            right, told = right + (good and hint is None), told + (good and hint is not None)
    assert 0.5 < right / 1500 < 0.85
    assert told / 1500 > 0.85, "who is told the truth finds reasons for it"


def test_lessons_are_asked_as_the_task_asks() -> None:
    """One of the task's four forms, with or without a hint; every reply can be read, and its split is that of training."""
    chance, hinted, forms = random.Random(7), 0, Counter[str]()
    for _ in range(300):
        ((question, reply),) = judge_lesson(chance, ERRORS)
        text, _, hint = question.partition("\nBest: ")
        hinted += bool(hint)
        forms[text.rpartition("\n")[2]] += 1
        shown = text.count("Look ")
        binary = text.endswith("k?")
        assert judge_task(binary=binary).parse(reply, list(range(1, shown + 1))) is not None
        assert Problem.read(text.partition("\nLook 1:")[0]).split == "train"
        assert reply.startswith("Due: ") == ("Due, " in text)
    assert forms.keys() == {"Due, then scores?", "Scores?", "Due, then ok?", "Ok?"}
    assert 20 < hinted < 100
    assert HINT.startswith("Best: ")

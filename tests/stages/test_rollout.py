"""Rollouts: every beginning of every solution, continued so many times, and nothing asked twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.microworld.world import Problem, judge
from deepcritic.parsing import split_steps
from deepcritic.rows import Example, Generation
from deepcritic.stages import rollout
from deepcritic.store import read_rows, write_rows

GENERATOR = "deepcritic://microworld/models/generator"
Command = Callable[..., Any]


@pytest.fixture
def rolled(tmp_path: Path, fake_sampler: Any, open_folder: Any, make_solutions: Any) -> Callable[..., Any]:
    def run(answer: Any, **options: Any) -> Any:
        generator = fake_sampler(answer)
        generator.rows = make_solutions(6)
        write_rows(tmp_path / "solutions.jsonl", generator.rows)
        with open_folder("rollout") as folder:
            generator.manifest = rollout.run(
                folder, solutions=str(tmp_path / "solutions.jsonl"), generator=GENERATOR, sampler=generator,
                template="deepcritic://microworld/templates/solve.txt", **options,
            )  # fmt: skip
        return generator

    return run


def test_every_beginning_is_continued(rolled: Any) -> None:
    done = rolled(lambda request, sample: "\\boxed{1}", samples=3)
    asked = {(request.keys[0].example_id, request.keys[0].step): request for request in done.asked}
    assert len(asked) == len(done.asked) == sum(len(row.item.steps) - 1 for row in done.rows)
    for row in done.rows:
        for given in range(1, len(row.item.steps)):
            request = asked[row.id, given]
            assert request.prefix == "".join(f"Step {at}: {step}\n" for at, step in enumerate(row.item.steps[:given], start=1))
            assert request.messages[0].content == f"{row.item.problem}\nSolve step by step."
            assert [key.sample for key in request.keys] == [0, 1, 2]
            assert split_steps(request.prefix + f"Step {given + 1}: x")[:given] == list(row.item.steps[:given])
    assert len({seed for request in done.asked for seed in request.seeds}) == 3 * len(asked)


def test_draws_that_failed_are_counted(rolled: Any) -> None:
    done = rolled(lambda request, sample: None if sample == 1 else "\\boxed{1}", samples=2)
    asked = sum(len(row.item.steps) - 1 for row in done.rows)
    assert done.manifest["counts"]["rollouts"] == {
        "in": 2 * asked, "out": asked, "failed": {"no reply": asked}, "filtered": {},
    }  # fmt: skip
    assert done.manifest["solutions"] == 6


@pytest.mark.slow
def test_the_shipped_generator_goes_on_where_the_solution_was_cut(command: Command, make_solutions: Any) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
    rows = {row.id: row for row in make_solutions(10, 2)}
    write_rows(Path("solutions.jsonl"), list(rows.values()))
    words = ["experiment=microworld/rollout", "stage.solutions=solutions.jsonl", "run=mine", "stage.samples=4"]
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    draws = list(read_rows(Path("runs/mine/rollout/generations.jsonl"), Generation))
    assert [draw.key for draw in draws] == sorted(draw.key for draw in draws)
    whole, right = 0, 0
    for draw in draws:
        row = rows[draw.key.example_id]
        steps = split_steps(draw.prefix + draw.text)
        assert steps[: draw.key.step] == list(row.item.steps[: draw.key.step])
        truth = judge(Problem.read(row.item.problem), steps)
        if truth is not None:
            whole += 1
            right += truth.answer_right
    assert whole > 0.9 * len(draws)
    assert 0 < right < whole


def test_without_a_generator(command: Command, make_solutions: Any) -> None:
    write_rows(Path("solutions.jsonl"), make_solutions(1))
    outcome = command("stage=rollout", "stage.solutions=solutions.jsonl", "run=mine")
    assert outcome.code == 2
    assert "no generator is named: give generator=PATH" in outcome.err


def test_rows_of_another_kind_are_refused(command: Command) -> None:
    Path("solutions.jsonl").write_text('{"id": "a"}\n', "utf-8")
    outcome = command("experiment=microworld/rollout", "stage.solutions=solutions.jsonl", "run=mine")
    assert outcome.code == 1
    assert "solutions.jsonl:1: item" in outcome.err
    assert Example.__name__ in outcome.err

"""Solving: what is asked, whose answer is right, which solutions stay, and where the others go."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.errors import InputError
from deepcritic.microworld.source import problems as small_world
from deepcritic.microworld.world import Problem, judge
from deepcritic.parsing import split_steps
from deepcritic.rows import UNLABELLED, Example, Generation, Gold, Item
from deepcritic.stages import solve
from deepcritic.store import read_rows, write_rows

GENERATOR = "deepcritic://microworld/models/generator"
Command = Callable[..., Any]


def _problem(name: str, reference: str | None = "7") -> Example:
    return Example(
        id=name, item=Item(problem=f"problem {name}"), gold=Gold(reference_answer=reference), source="made", license="MIT"
    )


@pytest.fixture
def solved(tmp_path: Path, fake_sampler: Any, open_folder: Any) -> Callable[..., Any]:
    """`solved({"a": ["7", "8"]})`: problems by name, each with the answers of its samples ("": no box; None: no reply)."""

    def run(answers: dict[str, list[str | None]], **options: Any) -> Any:
        def answer(request: Any, sample: int) -> str | None:
            given = answers[request.keys[0].example_id][sample]
            return None if given is None else f" think\nStep 2: so \\boxed{{{given}}}" if given else " no idea"

        generator = fake_sampler(answer)
        write_rows(tmp_path / "problems.jsonl", [_problem(name) for name in answers])
        with open_folder("solve") as folder:
            generator.manifest = solve.run(
                folder, problems=str(tmp_path / "problems.jsonl"), generator=GENERATOR, sampler=generator,
                samples=max(map(len, answers.values())), **options,
            )  # fmt: skip
        generator.solutions = list(read_rows(tmp_path / "runs/mine/solve" / solve.FILE, Example))
        return generator

    return run


def test_contrast_keeps_the_problems_with_right_and_wrong_solutions(solved: Any) -> None:
    done = solved({
        "a": ["7", "8", "7.0", "9"], "b": ["7", "7", "7", "7"], "c": ["8", "8", "", "8"], "d": ["7", "", "", ""],
        "e": ["1", "14/2", "", None],
    })  # fmt: skip
    assert [(row.id, row.gold.answer_right) for row in done.solutions] == [
        ("a/s0", True), ("a/s1", False), ("a/s3", False), ("e/s1", True), ("e/s0", False),
    ]  # fmt: skip
    assert done.manifest["counts"]["solutions"] == {
        "in": 20, "out": 5, "failed": {"no reply": 1},
        "filtered": {"all right": 5, "all wrong": 3, "more right ones than wanted": 1, "no readable answer": 5},
    }  # fmt: skip
    assert (done.manifest["right"], done.manifest["readable"]) == (8, 14)


def test_all_keeps_every_readable_one(solved: Any) -> None:
    done = solved({"a": ["7", "8"], "b": ["7", ""]}, keep="all")
    assert [row.id for row in done.solutions] == ["a/s0", "a/s1", "b/s0"]


def test_a_solution_is_a_row_of_its_problem(solved: Any) -> None:
    (row, _) = solved({"a": ["7", "8"]}).solutions
    assert row == Example(
        id="a/s0", item=Item(problem="problem a", steps=("think", "so \\boxed{7}")), source="made", parent_id="a", license="MIT",
        gold=Gold(reference_answer="7", answer_right=True),
    )  # fmt: skip
    assert row.gold.first_error is UNLABELLED


def test_the_prompt_states_the_problem_and_the_reply_is_begun(solved: Any) -> None:
    (request, *_) = solved({"a": ["7", "8"]}).asked
    assert request.prefix == "Step 1:"
    assert len(request.messages) == 1
    assert request.messages[0].content.startswith("problem a\n")
    assert len(set(request.seeds)) == 2


def test_a_limit_takes_the_first_problems(solved: Any) -> None:
    assert {row.parent_id for row in solved({"a": ["7", "8"], "b": ["7", "8"]}, limit=1).solutions} == {"a"}


def test_a_problem_without_a_reference_is_named() -> None:
    with pytest.raises(InputError, match=r"x: gold.reference_answer: the problem has no reference answer"):
        solve.judge_answers([_problem("x", None)], {})


@pytest.mark.parametrize(
    ("words", "said"),
    [(["stage.keep=some"], "stage.keep must be contrast or all; found 'some'"), (["generator=null"], "no generator is named")],
)
def test_bad_options(command: Command, words: list[str], said: str) -> None:
    write_rows(Path("problems.jsonl"), [_problem("a")])
    outcome = command("experiment=microworld/solve", "stage.problems=problems.jsonl", "run=mine", *words)
    assert outcome.code == 2
    assert said in outcome.err


@pytest.mark.slow
def test_the_shipped_generator_solves_and_errs(command: Command) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
    rows = list(small_world(split="validation", count=60, seed=1))
    write_rows(Path("problems.jsonl"), rows)
    words = ["experiment=microworld/solve", "stage.problems=problems.jsonl", "run=mine", "stage.samples=2", "stage.keep=all"]
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    solutions = list(read_rows(Path("runs/mine/solve/solutions.jsonl"), Example))
    assert len(solutions) > 110
    truths = [judge(Problem.read(row.item.problem), row.item.steps) for row in solutions]
    known = [(row, truth) for row, truth in zip(solutions, truths, strict=True) if truth is not None]
    assert len(known) > 0.95 * len(solutions)
    assert all(row.gold.answer_right == truth.answer_right for row, truth in known)
    assert 0.3 < sum(truth.answer_right for _, truth in known) / len(known) < 0.95
    drawn = {row.key.text: row for row in read_rows(Path("runs/mine/solve/generations.jsonl"), Generation)}
    for row in solutions[:20]:
        name, _, sample = row.id.rpartition("/s")
        text = drawn[f"{name}|solve|0|{sample}"]
        assert tuple(split_steps(text.prefix + text.text)) == row.item.steps
    manifest = json.loads(Path("runs/mine/solve/manifest.json").read_text("utf-8"))
    assert manifest["counts"]["solutions"]["in"] == 120
    assert manifest["generations"] == 120

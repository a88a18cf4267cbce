"""Solving: what is asked, whose answer is right, which solutions stay, and where the others go."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from deepcritic.errors import InputError
from deepcritic.evaluation.contamination import Problems
from deepcritic.microworld.source import problems as small_world
from deepcritic.microworld.world import KINDS, Problem, judge
from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.schema import UNLABELLED, Example, Failure, Generation, Gold, Item
from deepcritic.stages import solve
from deepcritic.text.steps import split_steps
from tests.stages.conftest import call

GENERATOR = "deepcritic://microworld/models/generator"
Command = Callable[..., Any]


def _problem(name: str, reference: str | None = "7") -> Example:
    return Example(
        id=name, item=Item(problem=f"problem {name}"), gold=Gold(reference_answer=reference), source="made", license="MIT"
    )


@pytest.fixture
def solved(tmp_path: Path, fake_sampler: Any, open_folder: Any) -> Callable[..., Any]:
    """`solved({"a": ["7", "8"]})`: problems by name, each with the answers of its samples ("": no box; None: no reply)."""

    def run(
        answers: dict[str, list[str | None]],
        *,
        rows: list[Example] | None = None,
        reply: Any = None,
        cut: Any = (),
        **options: Any,
    ) -> Any:
        def answer(request: Any, sample: int) -> str | None:
            given = answers[request.keys[0].example_id][sample]
            if given is not None and reply:
                return str(reply(given, sample))
            return None if given is None else f" think\nStep 2: so \\boxed{{{given}}}" if given else " no idea"

        class Cutting(fake_sampler):  # type: ignore[misc]
            def stream(self, requests: Any) -> Any:
                for outcome in super().stream(requests):
                    ended = (outcome.key.example_id, outcome.key.sample) not in cut
                    yield outcome if ended else replace(outcome, finish_reason="length")

        generator = Cutting(answer)
        write_rows(tmp_path / "problems.jsonl", rows or [_problem(name) for name in answers])
        with open_folder("solve") as folder:
            generator.manifest = call(
                solve, folder, problems=str(tmp_path / "problems.jsonl"), generator=GENERATOR, sampler=generator,
                samples=max(map(len, answers.values())), **options,
            )  # fmt: skip
        generator.folder = tmp_path / "runs/mine/solve"
        generator.solutions = list(read_rows(generator.folder / solve.FILE, Example))
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
        "filtered": {"all right": 5, "all wrong": 3, "above stage.max_correct": 1, "no readable answer": 5},
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


def test_problems_without_an_answer_that_can_be_read_are_listed(solved: Any) -> None:
    rows = [
        _problem("a"), _problem("b", None), _problem("c", " "), _problem("d", "\\boxed{"), _problem("e", "x^^)("),
        _problem("f", "\\frac{14}{2}"),
    ]  # fmt: skip
    done = solved({row.id: ["7", "8"] for row in rows}, rows=rows)
    assert [row.id for row in done.solutions] == ["a/s0", "a/s1", "f/s0", "f/s1"]
    assert {request.keys[0].example_id for request in done.asked} == {"a", "f"}
    assert done.manifest["counts"]["problems"] == {
        "in": 6, "out": 2, "failed": {}, "filtered": {"no reference answer": 2, "unreadable reference answer": 2},
    }  # fmt: skip
    listed = list(read_rows(done.folder / "set_aside.jsonl", Failure))
    assert [(one.key.example_id, one.reason) for one in listed] == [
        ("b", "no reference answer"), ("c", "no reference answer"),
        ("d", "unreadable reference answer"), ("e", "unreadable reference answer"),
    ]  # fmt: skip
    assert "x^^)(" in listed[-1].detail


def test_no_problem_that_can_be_checked(solved: Any) -> None:
    with pytest.raises(InputError, match="no usable problem"):
        solved({"a": ["7", "8"]}, rows=[_problem("a", None)])


def test_problems_of_a_benchmark_are_left_out(solved: Any, tmp_path: Path) -> None:
    """Word for word they go, also with other blanks and letters; what only resembles one stays, and is counted."""
    long = " ".join(f"word{number}" for number in range(30))
    rows = [
        replace(_problem(name), item=Item(problem=text))
        for name, text in {"a": "Find  the sum\nof 3 and 4.", "b": f"{long} five", "c": "Find 9."}.items()
    ]
    benchmark = tmp_path / "benchmark.jsonl"
    benchmark.write_text('{"problem": "find the SUM of 3 and 4."}\n' + json.dumps({"question": f"{long} six"}) + "\n", "utf-8")
    done = solved({row.id: ["7", "8"] for row in rows}, rows=rows, contamination=[str(benchmark)])
    assert {row.parent_id for row in done.solutions} == {"b", "c"}
    assert done.manifest["counts"]["problems"]["filtered"] == {"occurs in a benchmark": 1}
    assert done.manifest["contamination"] == {"files": [str(benchmark)], "resembling": 1}
    (listed,) = read_rows(done.folder / "set_aside.jsonl", Failure)
    assert (listed.key.example_id, listed.detail) == ("a", f"{benchmark}:1")
    assert f"contamination {benchmark}" in done.manifest["depends"]


def test_a_problem_of_the_training_set_of_math_is_in_processbench(solved: Any, datasets_dir: Path) -> None:
    """As shared/datasets/README.md says; none of GSM8K's."""
    from deepcritic.datasets import math_problems

    files = [str(datasets_dir / "processbench" / name) for name in ("gsm8k.json", "math.json.gz")]
    math = list(math_problems.math(datasets_dir / "math" / "train_problems_and_answers.json.gz"))
    grade_school = list(math_problems.gsm8k(datasets_dir / "gsm8k" / "train.jsonl.gz"))
    benchmarks = Problems.of(files)
    assert [benchmarks.holds(row.item.problem) is not None for row in [*math, *grade_school]].count(True) == 1
    held = next(row for row in math if benchmarks.holds(row.item.problem))
    done = solved({row.id: ["7", "8"] for row in (held, math[0])}, rows=[held, math[0]], contamination=files, keep="all")
    assert done.manifest["counts"]["problems"]["filtered"] == {"occurs in a benchmark": 1}


def test_replies_that_say_nothing_are_told_apart(solved: Any) -> None:
    """No box, an empty one, one that was cut; and what the checker could not decide is not the solution's fault."""
    cut = {("a", 3)}
    done = solved({"a": ["7", "", " ", "8", "9^{9^{9^{9}}}", "8"]}, cut=cut)
    assert [row.id for row in done.solutions] == ["a/s0", "a/s5"]
    filtered = done.manifest["counts"]["solutions"]["filtered"]
    assert filtered.pop("no readable answer") == 2
    assert filtered.pop("truncated at max_tokens") == 1
    assert list(filtered.values()) == [1]
    assert next(iter(filtered)).startswith("undecided by the checker (")


def test_one_step_and_two_hundred(solved: Any) -> None:
    long = "".join(f"Step {at}: still 7\n" for at in range(2, 201))

    def reply(given: str, sample: int) -> str:
        return f" \\boxed{{{given}}}" if sample else f" 7\n{long}\\boxed{{{given}}}"

    done = solved({"a": ["7", "8"]}, reply=reply)
    assert [len(row.item.steps) for row in done.solutions] == [200, 1]


def test_the_cost_of_solving_is_told_apart(solved: Any) -> None:
    done = solved({"a": ["7", "8"], "b": ["7", "7"], "c": ["8", None]})
    assert done.manifest["solving"] == {
        "kept": {"problems": 1, "draws": 2, "tokens": 0}, "prefiltered": {"problems": 2, "draws": 3, "tokens": 0},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stage.samples=0"], "stage.samples: out of range; found 0"),
        (["stage.max_correct=-1"], "stage.max_correct: out of range; found -1"),
        (["stage.keep=some"], "stage.keep: invalid choice; found 'some'; expected contrast, all"),
        (["generator=null"], "no generator is given"),
    ],
)
def test_bad_options(command: Command, words: list[str], said: str) -> None:
    write_rows(Path("problems.jsonl"), [_problem("a")])
    outcome = command("experiment=microworld/solve", "stage.problems=problems.jsonl", "run=mine", *words)
    assert outcome.code in (1, 2)
    assert said in outcome.err


@pytest.mark.slow
def test_the_shipped_generator_solves_and_errs(command: Command) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
    rows = list(small_world(split="validation", count=60, seed=1))
    write_rows(Path("problems.jsonl"), rows)
    words = ["experiment=microworld/solve", "stage.problems=problems.jsonl", "run=mine", "stage.samples=8", "stage.keep=all"]
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    solutions = list(read_rows(Path("runs/mine/solve/solutions.jsonl"), Example))
    assert len(solutions) > 0.9 * 480
    truths = [judge(Problem.read(row.item.problem), row.item.steps) for row in solutions]
    known = [(row, truth) for row, truth in zip(solutions, truths, strict=True) if truth is not None]
    assert len(known) > 0.95 * len(solutions)
    assert all(row.gold.answer_right == truth.answer_right for row, truth in known)
    assert 0.3 < sum(truth.answer_right for _, truth in known) / len(known) < 0.95
    errors = Counter(truth.kind for _, truth in known if truth.kind)
    assert set(errors) == set(KINDS)
    assert min(errors.values()) / errors.total() > 0.05, errors
    drawn = {row.key.text: row for row in read_rows(Path("runs/mine/solve/generations.jsonl"), Generation)}
    for row in solutions[:20]:
        name, _, sample = row.id.rpartition("/s")
        text = drawn[f"{name}|solve|0|{sample}"]
        assert tuple(split_steps(text.prefix + text.text)) == row.item.steps
    manifest = json.loads(Path("runs/mine/solve/manifest.json").read_text("utf-8"))
    assert manifest["counts"]["solutions"]["in"] == 480
    assert manifest["generations"] == 480


def test_solutions_of_one_step_are_counted_and_can_be_left_out(solved: Any, capsys: pytest.CaptureFixture[str]) -> None:
    answers: dict[str, list[str | None]] = {"a": ["7", "8", "7", "9"]}

    def reply(given: str, sample: int) -> str:
        return f" \\boxed{{{given}}}" if sample % 2 else f" x\nStep 2: \\boxed{{{given}}}"

    done = solved(answers, reply=reply, keep="all")
    assert done.manifest["unsplit"] == 2
    assert "2 of 4 readable solutions have only one step" in capsys.readouterr().out
    assert [len(row.item.steps) for row in done.solutions] == [2, 1, 2, 1]


def test_so_many_steps_can_be_asked_for(solved: Any) -> None:
    def reply(given: str, sample: int) -> str:
        return f" \\boxed{{{given}}}" if sample % 2 else f" x\nStep 2: \\boxed{{{given}}}"

    done = solved({"a": ["7", "8", "7", "9"]}, reply=reply, keep="all", min_steps=2)
    assert [row.id for row in done.solutions] == ["a/s0", "a/s2"]
    assert done.manifest["counts"]["solutions"]["filtered"] == {"fewer than 2 steps": 2}
    assert done.manifest["unsplit"] == 0

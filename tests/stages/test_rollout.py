"""Rollouts: every beginning of every solution, continued so many times, and nothing asked twice."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from deepcritic.labels.rules import RULES
from deepcritic.microworld.world import Problem, judge
from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.samplers.base import Request
from deepcritic.schema import Example, Generation
from deepcritic.stages import rollout
from deepcritic.text.steps import split_steps
from tests.stages.conftest import call

GENERATOR = "deepcritic://microworld/models/generator"
Command = Callable[..., Any]


@pytest.fixture
def rolled(tmp_path: Path, fake_sampler: Any, open_folder: Any, make_solutions: Any) -> Callable[..., Any]:
    def run(answer: Any, rows: list[Example] | None = None, **options: Any) -> Any:
        generator = fake_sampler(answer)
        write_rows(tmp_path / "solutions.jsonl", make_solutions(6) if rows is None else rows)
        generator = options.pop("sampler", generator)
        generator.rows = make_solutions(6) if rows is None else rows
        with open_folder(options.pop("name", "rollout"), **options) as folder:
            generator.manifest = call(
                rollout, folder, solutions=str(tmp_path / "solutions.jsonl"), generator=GENERATOR, sampler=generator,
                template="deepcritic://microworld/templates/solve.txt", **options,
            )  # fmt: skip
        return generator

    run.sampler = fake_sampler  # type: ignore[attr-defined]
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


def chance(request: Request, sample: int) -> str:
    """Reaches the answer with a probability of its own at each prefix; the same for the same key, in whatever order."""
    key = request.keys[0]
    prefix = f"{key.example_id}/{key.step}"
    rate = random.Random(prefix).choice([0, 0.1, 0.4, 0.6, 0.9, 1])
    return "\\boxed{ok}" if random.Random(f"{prefix}/{sample}").random() < rate else "\\boxed{no}"


def named(rows: list[Example]) -> list[Example]:
    """The solutions with a reference answer that `chance` can reach."""
    return [replace(row, gold=replace(row.gold, reference_answer="ok")) for row in rows]


@pytest.mark.parametrize("samples", [1, 3, 8])
@pytest.mark.parametrize("rule", RULES)
def test_labels_equal_those_of_all_rollouts(
    rolled: Any, make_solutions: Any, command: Command, rule: str, samples: int, tmp_path: Path
) -> None:
    rows = named(make_solutions(40, seed=samples))
    folders = {adaptive: tmp_path / "runs" / "mine" / f"rollout.{adaptive}" for adaptive in (True, False)}
    for adaptive, folder in folders.items():
        done = rolled(chance, rows, rule=rule, adaptive=adaptive, samples=samples, name=folder.name)
        words = [f"stage.solutions={tmp_path}/solutions.jsonl", f"stage.rollouts={folder}/generations.jsonl"]
        options = [f"stage.samples={samples}", f"stage.rule={rule}", "run=mine", f"name={adaptive}"]
        assert command("stage=label", *words, *options).code == 0
        if adaptive:
            manifest = done.manifest
    labelled = [(tmp_path / f"runs/mine/label.{adaptive}/labelled.jsonl").read_bytes() for adaptive in (True, False)]
    assert labelled[0] == labelled[1]
    draws = {adaptive: set((folder / "generations.jsonl").read_bytes().splitlines()) for adaptive, folder in folders.items()}
    assert draws[True] <= draws[False], "each rollout that was drawn is the one that would have been"
    fates = [manifest[fate] for fate in ("labelled", "discarded") if fate in manifest]
    assert sum(fate["rollouts"] for fate in fates) == len(draws[True])
    assert sum(fate["rollouts"] + fate["rollouts_saved"] for fate in fates) == len(draws[False])
    assert sum(fate["solutions"] for fate in fates) == 40
    assert (len(draws[True]) == len(draws[False])) == (
        (samples == 1 and rule.startswith("math_shepherd")) or rule.endswith("soft")
    )


def test_without_a_rule_all_are_drawn(rolled: Any) -> None:
    done = rolled(chance, samples=2, adaptive=True)
    assert done.manifest["generations"] == 2 * sum(len(row.item.steps) - 1 for row in done.rows)
    assert "labelled" not in done.manifest


def test_many_solutions_are_read_at_once(rolled: Any, make_solutions: Any) -> None:
    """An engine that asks for more before it answers gets the first wave of every solution."""
    waves: list[int] = []

    class Greedy(rolled.sampler):  # type: ignore[misc]
        def stream(self, requests: Any) -> Any:
            pulled = list(requests)
            waves.append(len(pulled))
            yield from super().stream(iter(pulled))

    rolled(chance, named(make_solutions(50)), rule="zero_of_k", sampler=Greedy(chance))
    assert waves[0] == 50
    assert all(waves)


def test_the_order_in_which_rollouts_come_leaves_no_trace(
    rolled: Any, make_solutions: Any, tmp_path: Path, contents: Any
) -> None:
    """One engine answers as it is asked, another everything at once and backwards; some answers need algebra."""
    pytest.importorskip("math_verify", reason="needs the checker: pip install deepcritic[answers]")

    def algebra(request: Request, sample: int) -> str:
        return chance(request, sample).replace("ok", "1+x").replace("no", f"x+{sample + 2}")

    class Backwards(rolled.sampler):  # type: ignore[misc]
        def stream(self, requests: Any) -> Any:
            yield from reversed(list(super().stream(requests)))

    rows = [replace(row, gold=replace(row.gold, reference_answer="x+1")) for row in make_solutions(12)]
    left = []
    for engine in (rolled.sampler(algebra), Backwards(algebra)):
        rolled(None, rows, rule="deepcritic", sampler=engine)
        left.append(contents(tmp_path / "runs/mine/rollout"))
        shutil.rmtree(tmp_path / "runs")
    assert left[0] == left[1]
    assert left[0]["compared.jsonl"].count(b"\n") > 1


def test_rollouts_that_never_come_leave_the_rest_alone(rolled: Any, make_solutions: Any) -> None:
    """What fails is lacking, and its solution is given up; a solution that does not need it gets its label."""

    def failing(request: Request, sample: int) -> str | None:
        lost = request.keys[0].example_id == "p0" and sample == 2
        return None if lost else "\\boxed{ok}"

    done = rolled(failing, named(make_solutions(4)), rule="math_shepherd_soft", samples=3)
    assert done.manifest["lacking"]["solutions"] == 1
    assert done.manifest["labelled"]["solutions"] == 3
    assert done.manifest["counts"]["rollouts"]["failed"] == {"no reply": 1}


def test_what_cannot_be_labelled_is_not_rolled_out(rolled: Any, make_solutions: Any) -> None:
    rows = named(make_solutions(4))
    rows[1] = replace(rows[1], gold=replace(rows[1].gold, reference_answer=None))
    rows[2] = replace(
        rows[2], item=replace(rows[2].item, steps=rows[2].item.steps[:1]), gold=replace(rows[2].gold, first_error=1)
    )
    rows[3] = replace(rows[3], gold=replace(rows[3].gold, answer_right=None))
    for options in ({}, {"rule": "zero_of_k", "name": "rule"}):
        done = rolled(chance, rows, samples=1, **options)
        assert {request.keys[0].example_id for request in done.asked} == {"p0"}, "p2 has one step"
        assert done.manifest["counts"]["solutions"] == {
            "in": 4, "out": 2, "failed": {}, "filtered": {"its answer was not checked": 1, "no reference answer": 1},
        }  # fmt: skip


@pytest.mark.parametrize(("option", "said"), [("rule=guess", "found 'guess'"), ("samples=0", "a whole number from 1")])
def test_bad_options(command: Command, make_solutions: Any, option: str, said: str) -> None:
    write_rows(Path("solutions.jsonl"), make_solutions(1))
    outcome = command("experiment=microworld/rollout", "stage.solutions=solutions.jsonl", "run=mine", f"stage.{option}")
    assert outcome.code in (1, 2)
    assert said in outcome.err


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
    assert "no generator is given; set generator=PATH" in outcome.err


def test_rows_of_another_kind_are_refused(command: Command) -> None:
    Path("solutions.jsonl").write_text('{"id": "a"}\n', "utf-8")
    outcome = command("experiment=microworld/rollout", "stage.solutions=solutions.jsonl", "run=mine")
    assert outcome.code == 1
    assert "solutions.jsonl:1: item" in outcome.err
    assert Example.__name__ in outcome.err


@pytest.mark.slow
def test_the_shipped_generator_draws_the_same_rollouts_as_needed(command: Command, make_solutions: Any) -> None:
    """Other batches, the same replies: each has a seed of its own. And so the same labels."""
    pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
    write_rows(Path("solutions.jsonl"), make_solutions(12, 3))
    words = ["experiment=microworld/rollout", "stage.solutions=solutions.jsonl", "run=mine", "stage.temperature=1.3"]
    assert command(*words, "name=all").code == 0
    every = set(Path("runs/mine/rollout.all/generations.jsonl").read_bytes().splitlines())
    for rule in ("zero_of_k", "deepcritic"):
        assert command(*words, f"name={rule}", f"stage.rule={rule}").code == 0
        drawn = set(Path(f"runs/mine/rollout.{rule}/generations.jsonl").read_bytes().splitlines())
        assert drawn < every
        for name in (rule, "all"):
            options = [f"stage.rollouts=runs/mine/rollout.{name}/generations.jsonl", f"stage.rule={rule}", f"name={rule}.{name}"]
            assert command("stage=label", "stage.solutions=solutions.jsonl", "run=mine", *options).code == 0
        labels = [Path(f"runs/mine/label.{rule}.{name}/labelled.jsonl").read_bytes() for name in (rule, "all")]
        assert labels[0] == labels[1]


def test_no_solutions_at_all(command: Command) -> None:
    """As `solve` leaves them where every solution was right: nothing can be built on that."""
    Path("solutions.jsonl").write_text("", "utf-8")
    for options in (["name=all"], ["stage.rule=zero_of_k"]):
        outcome = command("experiment=microworld/rollout", "stage.solutions=solutions.jsonl", "run=mine", *options)
        assert outcome.code == 1
        assert "solutions.jsonl: no solution can be labelled; found 'no rows'" in outcome.err

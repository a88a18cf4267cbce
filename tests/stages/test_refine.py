"""Refinement: who is rewritten, from where on, and what became of the answers, counted by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.schema import Example, Gold, Item
from deepcritic.stages import refine
from deepcritic.tasks.first_error import FirstError
from tests.stages.conftest import call

CRITIC, GENERATOR = "deepcritic://microworld/models/base", "deepcritic://microworld/models/generator"
Command = Callable[..., Any]


def _solution(name: str, answer: str) -> Example:
    item = Item(problem=f"problem {name}", steps=("one", "two", f"\\boxed{{{answer}}}"))
    gold = Gold(reference_answer="7", answer_right=answer == "7")
    return Example(id=name, item=item, gold=gold, source="made", parent_id=name[0])


# name: (answer before, the critic's reply, the generator's reply)
CASES: dict[str, tuple[str, str | None, str | None]] = {
    "mended": ("8", "\\boxed{2}", "Step 2: two, better\nStep 3: \\boxed{7}"),
    "mended too": ("8", "\\boxed{1}", "Step 1: anew\nStep 2: \\boxed{14/2}"),
    "spoilt": ("7", "\\boxed{3}", "Step 3: \\boxed{9}"),
    "still wrong": ("8", "\\boxed{3}", "Step 3: \\boxed{9}"),
    "still right": ("7", "\\boxed{3}", "Step 3: \\boxed{7.0}"),
    "left right": ("7", "\\boxed{-1}", None),
    "left wrong": ("8", "\\boxed{-1}", None),
    "unparsed": ("7", "hm", None),
    "beyond": ("7", "\\boxed{9}", None),
    "mumbled": ("7", "\\boxed{3}", "Step 3: who knows"),
    "no critique": ("7", None, None),
    "no rewrite": ("7", "\\boxed{3}", None),
}


@pytest.fixture
def refined(tmp_path: Path, fake_sampler: Any, open_folder: Any) -> Callable[..., Any]:
    def run(cases: dict[str, tuple[str, str | None, str | None]], **options: Any) -> Any:
        both = fake_sampler(
            lambda request, sample: cases[request.keys[0].example_id][1 if request.keys[0].request == "critique" else 2]
        )
        both.rows = [_solution(name, answer) for name, (answer, _, _) in cases.items()]
        write_rows(tmp_path / "solutions.jsonl", both.rows)
        with open_folder("refine") as folder:
            both.metrics = call(
                refine, folder, solutions=str(tmp_path / "solutions.jsonl"), task=FirstError(), model=CRITIC, generator=GENERATOR,
                sampler=both, **options,
            )  # fmt: skip
            both.manifest = folder.manifest
        both.after = {row.id: row for row in read_rows(tmp_path / "runs/mine/refine" / refine.FILE, Example)}
        return both

    return run


def test_the_outcome_counted_by_hand(refined: Any) -> None:
    done = refined(CASES)
    right = {name for name, row in done.after.items() if row.gold.answer_right}
    wrong = {"spoilt", "still wrong", "left wrong"}
    assert right == CASES.keys() - wrong
    metrics = done.metrics
    assert metrics["solutions"] == len(CASES) == 12
    assert metrics["before"] == pytest.approx(100 * 8 / 12, abs=1e-3)
    assert metrics["after"] == pytest.approx(100 * 9 / 12, abs=1e-3)
    assert (metrics["wrong_to_right"], metrics["right_to_wrong"]) == (2, 1)
    assert metrics["wrong_to_right_percent"] == pytest.approx(100 * 2 / 12, abs=1e-3)
    assert metrics["right_to_wrong_percent"] == pytest.approx(100 * 1 / 12, abs=1e-3)
    for move in ("wrong_to_right", "right_to_wrong"):
        assert metrics[f"{move}_interval"][0] <= metrics[f"{move}_percent"] <= metrics[f"{move}_interval"][1]
        assert metrics["by_round"][0][move] == metrics[move]
    assert metrics["rewritten"] == 6
    assert metrics["unparsed"] == 2, "a critique that we did not get is not one that cannot be read"
    assert metrics["failures"] == 2
    low, high = metrics["gain_interval"]
    assert low <= 0 <= high
    assert done.manifest["counts"]["solutions"] == {"in": 12, "out": 12, "failed": {}, "filtered": {}}


def test_only_what_follows_the_flagged_step_is_written_anew(refined: Any) -> None:
    done = refined(CASES)
    assert done.after["mended"].item.steps == ("one", "two, better", "\\boxed{7}")
    assert done.after["mended too"].item.steps == ("anew", "\\boxed{14/2}")
    for name in ("left right", "left wrong", "unparsed", "beyond", "no critique", "no rewrite"):
        assert done.after[name] == next(row for row in done.rows if row.id == name), "the solution stands"
    rewrites = {request.keys[0].example_id: request for request in done.asked if request.keys[0].request == "rewrite"}
    assert rewrites["mended"].prefix == "Step 1: one\n"
    assert rewrites["mended too"].prefix == ""
    assert rewrites["spoilt"].prefix == "Step 1: one\nStep 2: two\n"
    assert "found step 2 wrong" in rewrites["mended"].messages[0].content
    assert "\\boxed{2}" in rewrites["mended"].messages[0].content, "the critique is shown"
    assert set(rewrites) == {
        name for name, (_, critique, _) in CASES.items() if critique in {f"\\boxed{{{at}}}" for at in (1, 2, 3)}
    }
    assert {request.keys[0].parent for request in rewrites.values()} == {f"{name}|critique|0|0" for name in rewrites}


def test_what_the_checker_could_not_decide_is_not_called_wrong(refined: Any) -> None:
    done = refined({"a": ("8", "\\boxed{3}", "Step 3: \\boxed{9^{9^{9^{9}}}}"), "b": ("8", "\\boxed{3}", "Step 3: \\boxed{7}")})
    assert [row.gold.answer_right for row in done.after.values()] == [None, True]
    assert done.metrics["undecided"] == {"size": 1}
    assert (done.metrics["after"], done.metrics["wrong_to_right"]) == (50, 1)


def test_a_limit(refined: Any) -> None:
    assert refined(CASES, limit=3).metrics["solutions"] == 3


def test_the_gain_of_a_perfect_pair(refined: Any) -> None:
    cases = {f"{at}": ("8", "\\boxed{3}", "Step 3: \\boxed{7}") for at in range(20)}
    metrics = refined(cases).metrics
    assert (metrics["before"], metrics["after"], metrics["wrong_to_right"]) == (0, 100, 20)
    assert metrics["gain_interval"] == [100, 100]


def test_problems_are_drawn_together(refined: Any) -> None:
    """Twenty solutions of one problem are one cluster: nothing can be said of other problems."""
    rows = [_solution(f"a{at}", "8") for at in range(6)]
    assert {row.parent_id for row in rows} == {"a"}
    outcome = refine.outcome(rows, np.zeros(6), np.array([1, 1, 1, 0, 0, 0], float))
    assert outcome["gain_interval"] == outcome["after_interval"] == [50, 50]


@pytest.mark.slow
def test_the_shipped_models_refine(command: Command, make_solutions: Any) -> None:
    pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
    rows = make_solutions(40, 5)
    write_rows(Path("solutions.jsonl"), rows)
    outcome = command("experiment=microworld/refine", "stage.solutions=solutions.jsonl", f"model={CRITIC}", "run=mine")
    assert outcome.code == 0, outcome.err
    metrics = json.loads(Path("runs/mine/refine/metrics.json").read_text("utf-8"))
    after = list(read_rows(Path("runs/mine/refine/refined.jsonl"), Example))
    assert [row.id for row in after] == [row.id for row in rows]
    moves = [(bool(old.gold.answer_right), bool(new.gold.answer_right)) for old, new in zip(rows, after, strict=True)]
    assert metrics["wrong_to_right"] == moves.count((False, True))
    assert metrics["right_to_wrong"] == moves.count((True, False))
    assert metrics["rewritten"] > 0


def test_both_models_are_needed(command: Command) -> None:
    write_rows(Path("solutions.jsonl"), [_solution("a", "8")])
    outcome = command("stage=refine", "stage.solutions=solutions.jsonl", f"model={CRITIC}", "run=mine")
    assert outcome.code == 2
    assert "set generator=PATH" in outcome.err

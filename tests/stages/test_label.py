"""Step labels from rollouts: the rules as a table, and the stage on rollouts counted by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.rows import ALL_CORRECT, Example, Generation, Gold, Item, Key
from deepcritic.stages.label import FILE, RULES, Count
from deepcritic.store import read_rows, write_rows

TABLE = json.loads((Path(__file__).parent / "label_rules.json").read_text("utf-8"))
Command = Callable[..., Any]


@pytest.mark.parametrize("case", TABLE, ids=[f"{case['rule']}-{number}" for number, case in enumerate(TABLE)])
def test_the_rules(case: dict[str, Any]) -> None:
    assert case["source"]
    counts = [Count(*pair) for pair in case["rates"]]
    steps = case.get("steps", len(counts) + 1)
    assert RULES[case["rule"]](counts, case["answer_right"], steps) == case["expected"]


def test_the_table_has_every_rule_and_every_outcome() -> None:
    assert {case["rule"] for case in TABLE} == set(RULES)
    assert {str(case["expected"]) for case in TABLE} >= {"-1", "too few rollouts", "no clear first error"}


def _solution(name: str, right: bool, steps: int = 3) -> Example:
    item = Item(problem=f"problem {name}", steps=tuple(f"step {at}" for at in range(1, steps + 1)))
    return Example(id=name, item=item, gold=Gold(reference_answer="7", answer_right=right), source="made", parent_id=name[0])


def _rollouts(name: str, *answers: list[str]) -> list[Generation]:
    """The replies from each prefix; "" is one without a box."""
    return [
        Generation(
            key=Key(example_id=name, request="rollout", step=step, sample=sample),
            text=f"\\boxed{{{answer}}}" if answer else "no idea", finish_reason="stop", model="m", fingerprint="f", seed=0,
        )
        for step, replies in enumerate(answers, start=1)
        for sample, answer in enumerate(replies)
    ]  # fmt: skip


def _label(command: Command, solutions: list[Example], rollouts: list[Generation], *more: str) -> Any:
    write_rows(Path("solutions.jsonl"), solutions)
    write_rows(Path("rollouts.jsonl"), rollouts)
    return command("stage=label", "stage.solutions=solutions.jsonl", "stage.rollouts=rollouts.jsonl", "run=mine", *more)


def test_labels_counted_by_hand(command: Command) -> None:
    rows = [_solution("a", False), _solution("b", True), _solution("c", True), _solution("d", False), _solution("e", False, 1)]
    rollouts = [
        *_rollouts("a", ["7", "7", "7.0", "8"], ["8", "", "9", "9"]),
        *_rollouts("b", ["7", "7", "1", "7"], ["7", "7", "7", "14/2"]),
        *_rollouts("c", ["7", "7", "7", "7"], ["8", "8", "7", "8"]),
        *_rollouts("d", ["", "7", "8", "8"], ["7", "8", "8", "8"]),
    ]
    outcome = _label(command, rows, rollouts)
    assert outcome.code == 0, outcome.err
    folder = Path("runs/mine/label")
    labelled = {row.id: row for row in read_rows(folder / FILE, Example)}
    assert {name: row.gold.first_error for name, row in labelled.items()} == {"a": 2, "b": ALL_CORRECT, "e": 1}
    for row in rows:
        if row.id in labelled:
            kept = labelled[row.id]
            assert (kept.item, kept.parent_id, kept.gold.reference_answer) == (row.item, row.parent_id, "7")
    counts = json.loads((folder / "counts.json").read_text("utf-8"))
    assert [cell[:2] for cell in counts["a"]] == [[3, 4], [0, 4]], "a rollout without an answer has failed"
    assert all(0 <= low <= right / judged <= high <= 1 for cells in counts.values() for right, judged, low, high in cells)
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest["counts"]["solutions"] == {
        "in": 5, "out": 3, "failed": {},
        "filtered": {"no clear first error": 1, "right answer, but a prefix rarely succeeds": 1},
    }  # fmt: skip
    assert manifest["first_errors"] == {"-1": 1, "1": 1, "2": 1}


def test_another_rule(command: Command) -> None:
    rows = [_solution("d", False)]
    assert _label(command, rows, _rollouts("d", ["7", "8"], ["8", "8"]), "stage.rule=zero_of_k").code == 0
    assert [row.gold.first_error for row in read_rows(Path("runs/mine/label") / FILE, Example)] == [2]


def test_an_unknown_rule_is_refused(command: Command) -> None:
    outcome = _label(command, [_solution("a", True)], [], "stage.rule=guess")
    assert outcome.code == 2
    assert "stage.rule must be one of deepcritic, zero_of_k; found 'guess'" in outcome.err


@pytest.mark.parametrize(
    ("rollout", "found"),
    [(Key(example_id="z", request="rollout", step=1), "'z'"), (Key(example_id="a", request="rollout", step=3), "3")],
)
def test_rollouts_of_other_solutions_are_refused(command: Command, rollout: Key, found: str) -> None:
    stray = Generation(key=rollout, text="\\boxed{7}", finish_reason="stop", model="m", fingerprint="f", seed=0)
    outcome = _label(command, [_solution("a", True)], [stray])
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert "rollouts.jsonl" in outcome.err
    assert f"found {found}" in outcome.err

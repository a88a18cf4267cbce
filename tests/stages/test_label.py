"""Step labels from rollouts counted by hand: what is kept and why not, beside a critic and beside the truth."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from deepcritic.datasets import examples as example_rows
from deepcritic.labels.quality import SolutionLabel, share
from deepcritic.metrics.bootstrap import wilson
from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.schema import ALL_CORRECT, Example, Generation, Gold, Item, Judged, Key
from deepcritic.stages.label import FILE

Command = Callable[..., Any]


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
    return command(
        "stage=label", "stage.solutions=solutions.jsonl", "stage.rollouts=rollouts.jsonl", "stage.samples=4", "run=mine", *more
    )


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
    labels = {row.id: row for row in read_rows(folder / "labels.jsonl", SolutionLabel)}
    assert [labels["a"].right, labels["a"].judged] == [(3, 0), (4, 4)], "a rollout without an answer has failed"
    assert labels.keys() == {row.id for row in rows}
    assert {name: (row.first_error, row.reason) for name, row in labels.items() if row.reason} == {
        "c": (None, "right answer, but a prefix rarely succeeds"), "d": (None, "no clear first error"),
    }  # fmt: skip
    for label in labels.values():
        for right, judged, low, high in zip(label.right, label.judged, label.low, label.high, strict=True):
            assert 0 <= low <= right / judged <= high <= 1
            assert (low, high) == tuple(round(bound, 4) for bound in wilson(right, judged))
    manifest = json.loads((folder / "manifest.json").read_text("utf-8"))
    assert manifest["counts"]["solutions"] == {
        "in": 5, "out": 3, "failed": {},
        "filtered": {"no clear first error": 1, "right answer, but a prefix rarely succeeds": 1},
    }  # fmt: skip
    assert manifest["first_errors"] == {"-1": 1, "1": 1, "2": 1}


def test_what_the_checker_could_not_decide_is_counted_apart(command: Command) -> None:
    rollouts = _rollouts("a", ["7", "7", "7", "9^{9^{9^{9}}}"], ["8", "8", "8", "1000000!"])
    assert _label(command, [_solution("a", False)], rollouts).code == 0
    folder = Path("runs/mine/label")
    (label,) = read_rows(folder / "labels.jsonl", SolutionLabel)
    assert (label.right, label.judged) == ((3, 0), (3, 3))
    assert json.loads((folder / "manifest.json").read_text("utf-8"))["undecided"] == {"size": 2}


def test_ratings_and_soft_labels_are_gold(command: Command) -> None:
    rows = [_solution("d", False)]
    assert _label(command, rows, _rollouts("d", ["7", "8", "7", "8"], ["8"] * 4), "stage.rule=math_shepherd_soft").code == 0
    (row,) = example_rows.read("runs/mine/label/" + FILE)
    assert (row.gold.first_error, row.gold.step_ratings, row.gold.step_values) == (2, (1, -1, -1), (0.5, 0.0, 0.0))


def test_a_rule_says_how_many_rollouts_it_lacks(command: Command) -> None:
    rows = [_solution("a", False), _solution("b", False)]
    rollouts = [*_rollouts("a", ["7"], ["8", "8"]), *_rollouts("b", ["8"] * 4)]
    assert _label(command, rows, rollouts, "stage.rule=zero_of_k").code == 0
    lacking, labelled = read_rows(Path("runs/mine/label/labels.jsonl"), SolutionLabel)
    assert (lacking.first_error, lacking.reason, lacking.lacks) == (None, "lacks rollouts", 1)
    assert (labelled.first_error, labelled.lacks) == (1, 0), "what comes after the first error is not needed"
    report = json.loads(Path("runs/mine/label/report.json").read_text("utf-8"))
    assert report["rules"]["zero_of_k"]["lacks"] == 1
    assert report["rules"]["deepcritic"]["discarded"] == {"lacks rollouts": 2}


def test_the_number_of_samples_stands_beside_the_rollouts(command: Command) -> None:
    rows = [_solution("a", False)]
    _label(command, rows, _rollouts("a", ["7"] * 4, ["8"] * 4), "name=other")
    words = ["stage=label", "stage.solutions=solutions.jsonl", "stage.rollouts=rollouts.jsonl", "run=mine"]
    outcome = command(*words)
    assert outcome.code == 2
    assert "set stage.samples=K" in outcome.err
    Path("config.json").write_text('{"samples": 4}', "utf-8")
    assert command(*words).code == 0
    assert json.loads(Path("runs/mine/label/manifest.json").read_text("utf-8"))["samples"] == 4


def test_fewer_samples_than_there_are(command: Command) -> None:
    outcome = _label(command, [_solution("a", False)], _rollouts("a", ["8", "8", "7", "7"], ["8"] * 4), "stage.samples=2")
    assert outcome.code == 0
    assert [row.gold.first_error for row in read_rows(Path("runs/mine/label") / FILE, Example)] == [1]


def test_what_no_rule_can_label_is_counted(command: Command) -> None:
    rows = [
        _solution("a", True, 1),
        replace(_solution("b", True), gold=Gold(answer_right=True)),
        replace(_solution("c", True), gold=Gold(reference_answer="7")),
        replace(_solution("d", True), item=Item(problem="p")),
    ]
    assert _label(command, rows, _rollouts("b", ["7"])).code == 0
    assert json.loads(Path("runs/mine/label/manifest.json").read_text("utf-8"))["counts"]["solutions"] == {
        "in": 4, "out": 1, "failed": {},
        "filtered": {"its answer was not checked": 1, "no reference answer": 1, "no steps": 1},
    }  # fmt: skip


CRITIC: dict[str, list[int | None]] = {"a": [2], "b": [3, 3, 1], "c": [None]}
"""What a critic says of three solutions whose label is 2; of a fourth nothing."""


@pytest.mark.parametrize("form", ["verdicts", "replies"])
def test_labels_that_a_critic_names_as_well(command: Command, form: str) -> None:
    rows = [_solution(name, False) for name in "abcd"] + [_solution("e", True)]
    rollouts = [one for row in rows for one in _rollouts(row.id, ["7"] * 4, ["8"] * 4)]
    if form == "verdicts":
        judged = [
            Judged(id=name, gold=2, stratum="", cluster="", correct=0.0, verdicts=tuple(said), vote=said[0])
            for name, said in CRITIC.items()
        ]
        write_rows(Path("critic.jsonl"), judged)
    else:
        replies = [
            {"example_id": name, "sample": sample, "text": f"\\boxed{{{verdict}}}" if verdict else "no box"}
            for name, said in CRITIC.items()
            for sample, verdict in enumerate(said)
        ]
        Path("critic.jsonl").write_text("".join(json.dumps(reply) + "\n" for reply in replies), "utf-8")
    assert _label(command, rows, rollouts, "stage.consensus=critic.jsonl").code == 0
    assert [row.id for row in read_rows(Path("runs/mine/label") / FILE, Example)] == ["a"]
    manifest = json.loads(Path("runs/mine/label/manifest.json").read_text("utf-8"))
    assert manifest["counts"]["solutions"]["filtered"] == {
        "no verdict from the critic": 1, "right answer, but a prefix rarely succeeds": 1,
        "the critic disagrees": 1, "the critic's verdict is unparsed": 1,
    }  # fmt: skip
    assert manifest["consensus"]["kept"] == share(1, 4)
    assert manifest["consensus"]["agreement"] == share(1, 2)
    assert manifest["first_errors"] == {"2": 1}


def test_the_report(command: Command) -> None:
    rows = [_solution("a", False), _solution("b", False), _solution("c", True), _solution("d", False)]
    rollouts = [
        *_rollouts("a", ["7"] * 4, ["8"] * 4), *_rollouts("b", ["8"] * 4, ["7", "8", "8", "8"]),
        *_rollouts("c", ["7"] * 4, ["7", "7", "7", "8"]), *_rollouts("d", ["7"] * 4, ["7", "7", "7", "8"]),
    ]  # fmt: skip
    truths = {"a": 2, "b": 2, "c": ALL_CORRECT, "d": 3}
    known = [replace(row, gold=Gold(first_error=truths[row.id])) for row in rows]
    write_rows(Path("truth.jsonl"), known)
    outcome = _label(command, rows, rollouts, "stage.rule=zero_of_k", "stage.truth=truth.jsonl")
    assert outcome.code == 0, outcome.err
    assert "zero_of_k                 4 labelled, 0 not; first errors: precision 66.7%, recall 66.7%" in outcome.out
    assert "deepcritic                3 labelled, 1 not; first errors: precision 100.0%, recall 66.7%" in outcome.out
    report = json.loads(Path("runs/mine/label/report.json").read_text("utf-8"))
    assert report["success"]["wrong answer"] == [
        {"prefix": 1, "drawn": 12, **share(8, 12)}, {"prefix": 2, "drawn": 12, **share(4, 12)},
    ]  # fmt: skip
    assert report["success"]["right answer"] == [
        {"prefix": 1, "drawn": 4, **share(4, 4)},
        {"prefix": 2, "drawn": 4, **share(3, 4)},
    ]
    rule = report["rules"]["zero_of_k"]
    assert rule["labels"] == {"-1": 1, "1": 1, "2": 1, "3": 1}
    assert rule["truth"] == {
        "exact": share(3, 4), "precision": share(2, 3), "recall": share(2, 3),
        "all_correct_precision": share(1, 1), "all_correct_recall": share(1, 1),
    }  # fmt: skip
    assert {tuple(pair["rules"]): (pair["count"], pair["of"]) for pair in report["agreement"]}["deepcritic", "zero_of_k"] == (
        3,
        3,
    )
    assert report["unconfirmed"] is False
    labelled = {row.id: row.gold.first_error for row in read_rows(Path("runs/mine/label") / FILE, Example)}
    assert labelled["b"] == 1, "the truth decides nothing"


def test_an_unknown_rule_is_refused(command: Command) -> None:
    outcome = _label(command, [_solution("a", True)], [], "stage.rule=guess")
    assert outcome.code == 2
    assert "stage.rule: invalid choice; found 'guess'; expected deepcritic, zero_of_k" in outcome.err


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

"""Real text through `refine`: 200 solutions of ProcessBench's gsm8k with recorded replies, every count worked out by hand."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deepcritic.datasets import processbench
from deepcritic.refining import Refinement, solution_answer
from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.samplers.recorded import RecordedSampler
from deepcritic.schema import ALL_CORRECT, Example, Generation, Key
from deepcritic.stages import refine
from deepcritic.tasks.first_error import FirstError
from tests.stages.conftest import call

GOLDEN = json.loads((Path(__file__).resolve().parent.parent / "golden" / "refine_gsm8k.json").read_text("utf-8"))
CRITICS = ("oracle", "first step", "unparsed", "beyond the end", "oracle")
REWRITES = ("right", "wrong", "empty", "repeats")
UNKNOWN, WRONG = "7919", "104729"
"""The public data say which answers are right and not what is right where one is wrong: there the test makes a reference up."""


def _critique(kind: str, row: Example) -> str:
    verdict = {"oracle": row.gold.first_error, "first step": 1, "beyond the end": len(row.item.steps) + 1}.get(kind)
    return "It may be right, or it may not." if verdict is None else f"Let me see.\n\\boxed{{{verdict}}}"


def _rewrite(kind: str, row: Example) -> str:
    answer = {"right": row.gold.reference_answer, "wrong": WRONG, "repeats": solution_answer(row.item.steps)}.get(kind)
    return "" if kind == "empty" else "Step 1: once more" if answer is None else f"Step 1: once more, \\boxed{{{answer}}}"


@pytest.fixture
def rows(datasets_dir: Path) -> list[Example]:
    """Every second row of the file, with a reference answer."""
    with_reference = []
    for row in list(processbench.read(datasets_dir / "processbench" / "gsm8k.json"))[::2]:
        known = solution_answer(row.item.steps) if row.gold.answer_right else None
        gold = msgspec.structs.replace(row.gold, reference_answer=known or UNKNOWN)
        with_reference.append(msgspec.structs.replace(row, gold=gold))
    return with_reference


@pytest.fixture
def recorded(rows: list[Example], tmp_path: Path) -> Path:
    """A critique and a rewrite for each row, by its number."""
    lines = []
    for number, row in enumerate(rows):
        critique, rewrite = CRITICS[number % 5], REWRITES[number // 5 % 4]
        first = {"oracle": row.gold.first_error, "first step": 1}.get(critique)
        lines.append({"example_id": row.id, "request": "critique", "sample": 0, "text": _critique(critique, row)})
        if isinstance(first, int) and first != ALL_CORRECT:
            lines.append({"example_id": row.id, "request": "rewrite", "step": first, "sample": 0, "text": _rewrite(rewrite, row)})
    path = tmp_path / "replies.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    return path


@pytest.fixture
def done(rows: list[Example], recorded: Path, tmp_path: Path, open_folder: Callable[..., Any]) -> dict[str, Any]:
    write_rows(tmp_path / "solutions.jsonl", rows)
    with open_folder("refine") as folder:
        metrics: dict[str, Any] = call(
            refine, folder, solutions=str(tmp_path / "solutions.jsonl"), task=FirstError(), model="recorded",
            generator="recorded",
            sampler=lambda model: RecordedSampler(recorded),
        )  # fmt: skip
        return metrics


def test_every_case_is_as_worked_out_by_hand(rows: list[Example], done: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "runs/mine/refine"
    traces = {row.id: row for row in read_rows(folder / refine.TRACES, Refinement)}
    after = {row.id: row for row in read_rows(folder / refine.FILE, Example)}
    found: Counter[str] = Counter()
    for number, row in enumerate(rows):
        has, had = after[row.id].gold.answer_right, row.gold.answer_right
        facts = {
            "critic": CRITICS[number % 5], "rewrite": REWRITES[number // 5 % 4],
            "with_error": row.gold.first_error != ALL_CORRECT, "answer_right": had,
            "boxed": solution_answer(row.item.steps) is not None, "outcome": traces[row.id].outcome,
            "move": "none" if has == had else "wrong to right" if has else "right to wrong",
        }  # fmt: skip
        cases = [case for case in GOLDEN["cases"] if all(case.get(name, fact) == fact for name, fact in facts.items())]
        assert len(cases) == 1, (row.id, facts)
        found[json.dumps(cases[0])] += 1
    assert found == Counter({json.dumps(case): case["rows"] for case in GOLDEN["cases"]})


def test_the_metrics_are_the_sums_of_the_cases(done: dict[str, Any]) -> None:
    totals = GOLDEN["totals"]
    assert {name: done[name] for name in totals} == totals
    assert (done["failures"], done["undecided"]) == (0, {})
    cases = GOLDEN["cases"]
    assert totals["solutions"] == sum(case["rows"] for case in cases)
    assert totals["before"] == 100 * sum(case["rows"] for case in cases if case["answer_right"]) / totals["solutions"]
    for outcome, count in totals["outcomes"].items():
        assert count == sum(case["rows"] for case in cases if case["outcome"] == outcome)
    low, high = done["gain_interval"]
    assert low < totals["after"] - totals["before"] < high


def test_what_is_kept_is_the_real_text_to_the_letter(rows: list[Example], done: dict[str, Any], tmp_path: Path) -> None:
    drawn = list(read_rows(tmp_path / "runs/mine/refine/generations.jsonl", Generation))
    rewrites = {draw.key.example_id: draw for draw in drawn if draw.key.request == "rewrite"}
    assert len(rewrites) == GOLDEN["totals"]["rewritten"]
    by_id = {row.id: row for row in rows}
    for name, draw in rewrites.items():
        kept = by_id[name].item.steps[: draw.key.step - 1]
        assert draw.prefix == "".join(f"Step {number}: {step}\n" for number, step in enumerate(kept, start=1))
        assert draw.key.parent == Key(example_id=name, request="critique").text

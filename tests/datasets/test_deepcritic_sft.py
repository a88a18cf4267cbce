"""The released seed critiques: as labelled solutions, and as dialogues in the task's own words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets import deepcritic_sft
from deepcritic.datasets.base import Report
from deepcritic.errors import InputError
from deepcritic.runs.jsonl import read_rows
from deepcritic.schema import ALL_CORRECT, Dialogue, Item
from deepcritic.tasks.first_error import FirstError


def test_the_sample_as_solutions(samples_dir: Path) -> None:
    report = Report()
    rows = list(deepcritic_sft.read(samples_dir / "deepcritic_sft.json", report=report))
    assert [(row.item.problem, row.item.steps, row.gold.first_error) for row in rows] == [
        ("What is $2 \\cdot 3$?", ("$2 \\cdot 3 = 2 + 2 + 2$.", "That is 8.\n\nSurely."), 2),
        ("How many {sides} has a die?", ("A die is a cube, so 6; hence \\boxed{6}.",), ALL_CORRECT),
    ]
    assert report.counts == {"rows": 2, "examples": 2}
    assert {(row.source, row.license) for row in rows} == {("deepcritic-4.5k", None)}


def test_the_sample_as_dialogues(samples_dir: Path) -> None:
    task = FirstError()
    first, second = deepcritic_sft.dialogues(samples_dir / "deepcritic_sft.json", task=task)
    item = Item(problem="What is $2 \\cdot 3$?", steps=("$2 \\cdot 3 = 2 + 2 + 2$.", "That is 8.\n\nSurely."))
    assert first.messages[:-1] == task.ask(item).messages
    reply = first.messages[-1].content
    assert reply.startswith("Three twos, as it should be.\n\nHmm, 2 + 2 is 4")
    assert reply.endswith("So 8 is wrong.\n\\boxed{2}")
    assert second.messages[-1].content.endswith("\\boxed{6} is right.\n\\boxed{-1}")
    assert (
        [task.parse(row.messages[-1].content) for row in (first, second)] == [2, ALL_CORRECT] == [first.verdict, second.verdict]
    )


def test_dialogues_are_prepared_for_sft(command: Callable[..., Any], samples_dir: Path) -> None:
    words = ["stage=prepare", "source=deepcritic_sft_dialogues", f"source.path={samples_dir}/deepcritic_sft.json", "run=mine"]
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    assert "2 dialogues" in outcome.out
    assert [row.verdict for row in read_rows(Path("runs/mine/prepare/dialogues.jsonl"), Dialogue)] == [2, ALL_CORRECT]


def _row(user: str | None = None, reply: str = "So.\n**Answer**: \\boxed{1}", solution: str = "Step 1: a") -> dict[str, Any]:
    prompt = f"<Problem>\np\n</Problem>\n\n<Solution>\n{solution}\n</Solution>\n" if user is None else user
    return {"messages": [{"role": "user", "content": prompt}, {"role": "assistant", "content": reply}]}


@pytest.mark.parametrize(
    ("solution", "steps"),
    [
        ("Step 1: a\n\nStep 2: b", ("a", "b")),
        ("Step 1: </Solution>\n\nStep 2: b", ("</Solution>", "b")),
        ("Step 1:\nAdd.\n\nStep 2:\nSo 2.", ("Add.", "So 2.")),
        ("Step 1:** Add **\n1+1=2\n\nStep 2: So 2.", ("** Add **\n1+1=2", "So 2.")),
        ("Step 1: a\n\nmore\n\n**Step 2:** b\n### Step 3\nc", ("a\n\nmore", "b", "c")),
        ("Step 1: a.\nStep 2 is next.\n\nStep 2: b", ("a.\nStep 2 is next.", "b")),
        ("Step 1: ", ("",)),
    ],
)
def test_steps(tmp_path: Path, solution: str, steps: tuple[str, ...]) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps(_row(solution=solution)))
    (row,) = deepcritic_sft.read(tmp_path / "x.jsonl")
    assert row.item.steps == steps


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({}, "messages: the field is missing"),
        ({"messages": []}, "messages: a turn is missing"),
        ({"messages": ["x"]}, r"messages\[0\]: wrong type"),
        (_row(user="hello"), "unknown prompt format; found 'hello'"),
        (_row(solution="a"), "the solution does not begin with its first step; found 'a'"),
        (
            _row(solution="Step 1: a\n\nStep 3: b"),
            r"headings do not number .*; found \[1, 3\]; expected 1 to 2",
        ),
        (
            _row(solution="Step 1: a\n\nStep 2: b\n\nStep 1: c"),
            r"headings do not number .*; found \[1, 2, 1\]",
        ),
        (_row(solution="Step 2: a\n\nStep 3: b"), r"headings do not number .*; found \[2, 3\]"),
        (
            _row(reply="**Judgement**: The correctness of Step 1 is: \\boxed{1}"),
            "the critique ends with the judgement of a step, not of the solution",
        ),
        (_row(reply="So."), "the critique does not end with a verdict; found 'So.'"),
        (_row(reply="\\boxed{2}"), "expected 1 to 1, or -1, in the last box"),
        (_row(reply="\\boxed{0}"), "the critique does not end with a verdict"),
    ],
)
def test_bad_rows(tmp_path: Path, row: Any, said: str) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps(row))
    with pytest.raises(InputError, match=f"x.jsonl:1: .*{said}"):
        list(deepcritic_sft.read(tmp_path / "x.jsonl"))

"""The authors' RL data in verl's layout: labels that count from 1 (or 0), and what is said of a row in another layout."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets import deepcritic_rl
from deepcritic.errors import InputError
from deepcritic.runs.jsonl import read_rows
from deepcritic.schema import ALL_CORRECT, Example

PROMPT = "Judge this.\n<Problem>\nWhat is $1 + 1$?\n</Problem>\n\n<Solution>\nStep 1: It is 2.\n\nStep 2: So 3.\n</Solution>\nGo."


def _row(truth: Any, prompt: str = PROMPT, **more: Any) -> dict[str, Any]:
    return {
        "data_source": "prm800k", "prompt": [{"role": "system", "content": "Be strict."}, {"role": "user", "content": prompt}],
        "ability": "math", "reward_model": {"style": "rule", "ground_truth": truth}, "extra_info": {"index": 0}, **more,
    }  # fmt: skip


def _file(folder: Path, *rows: dict[str, Any]) -> Path:
    path = folder / "rl.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_the_sample(samples_dir: Path) -> None:
    rows = list(deepcritic_rl.read(samples_dir / "deepcritic_rl.jsonl"))
    assert [(row.item.problem, len(row.item.steps), row.gold.first_error) for row in rows] == [
        ("What is $2 \\cdot 3$?", 2, 2), ("How many sides has a square?", 2, ALL_CORRECT),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("truth", "index_base", "expected"),
    [(2, 1, 2), ("2", 1, 2), (" 1 ", 1, 1), (-1, 1, ALL_CORRECT), ("-1", 1, ALL_CORRECT),
     (0, 0, 1), ("1", 0, 2), (-1, 0, ALL_CORRECT)],
)  # fmt: skip
def test_a_row(tmp_path: Path, truth: Any, index_base: int, expected: int) -> None:
    (row,) = deepcritic_rl.read(_file(tmp_path, _row(truth)), index_base=index_base)
    assert (row.item.problem, row.item.steps) == ("What is $1 + 1$?", ("It is 2.", "So 3."))
    assert (row.gold.first_error, row.source) == (expected, "deepcritic-rl-data")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (_row(3), "reward_model.ground_truth: the label is outside the steps; found 3; expected 1 to 2, or -1 for none"),
        (_row(0), "reward_model.ground_truth: the label is outside the steps"),
        (_row(True), "reward_model.ground_truth: the label is outside the steps"),
        (_row(None), "reward_model.ground_truth: the label is outside the steps"),
        (_row("two"), "reward_model.ground_truth: the label is outside the steps"),
        (_row(1, prompt="What is 1 + 1?"), "prompt: unknown prompt format"),
        (_row(1) | {"reward_model": {}}, "reward_model.ground_truth: the field is missing"),
        (_row(1) | {"prompt": [{"role": "system", "content": "x"}]}, "prompt: no user message"),
        ({"prompt": []}, "prompt: no user message"),
        ({"problem": "1 + 1?"}, "prompt: the field is missing"),
    ],
)
def test_another_layout_is_named(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as error:
        list(deepcritic_rl.read(_file(tmp_path, row)))
    assert said in str(error.value)
    assert "rl.jsonl" in str(error.value)


def test_it_is_prepared_for_rl(command: Callable[..., Any], tmp_path: Path) -> None:
    path = _file(tmp_path, _row(2), _row(-1, prompt=PROMPT.replace("So 3", "So 2")))
    outcome = command("stage=prepare", "source=deepcritic_rl", f"source.path={path}", "run=mine")
    assert outcome.code == 0, outcome.err
    rows = list(read_rows(Path("runs/mine/prepare/examples.jsonl"), Example))
    assert [row.gold.first_error for row in rows] == [2, ALL_CORRECT]

"""A file without a row ends a stage with one line and an exit code that says so, whatever the stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import Example, Generation, Gold, Item, Key

pytest.importorskip("torch", reason="the models need torch: pip install deepcritic[train]")

BASE = "deepcritic://microworld/models/base"
STAGES = {
    "evaluate": f"benchmark=examples benchmark.path={{file}} model={BASE}",
    "recorded": "benchmark=examples benchmark.path={rows} stage.generations={file}",
    "prepare": "source=examples source.path={file}",
    "solve": f"stage.problems={{file}} generator={BASE}",
    "rollout": f"stage.solutions={{file}} generator={BASE}",
    "label": "stage.solutions={file} stage.rollouts={rollouts} stage.samples=2",
    "label.rollouts": "stage.solutions={rows} stage.rollouts={file} stage.samples=2",
    "label.consensus": "stage.solutions={rows} stage.rollouts={rollouts} stage.samples=2 stage.consensus={file}",
    "seed": f"stage.examples={{file}} teacher={BASE}",
    "sft": f"stage.dialogues={{file}} model={BASE}",
    "rl": f"stage.examples={{file}} model={BASE} stage.steps=1",
    "reject": f"stage.examples={{file}} model={BASE}",
    "meta_rm": f"stage.examples={{file}} stage.generations=[{{file}}] model={BASE}",
    "vote": f"stage.problems={{file}} stage.solutions={{file}} model={BASE}",
    "filter": f"stage.examples={{file}} model={BASE}",
    "filter.verdicts": "stage.examples={rows} stage.verdicts={file}",
    "estimate": "stage.verdicts={file}",
    "refine": f"stage.solutions={{file}} model={BASE} generator={BASE}",
    "critique": f"input=@{{file}} model={BASE}",
}


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    rows = [
        Example(
            id=f"p{at}", item=Item(problem="1 + 1?", steps=("1 + 1 = 3", "so 3")), source="made",
            gold=Gold(first_error=1, reference_answer="2", answer_right=False),
        )
        for at in range(2)
    ]  # fmt: skip
    write_rows(tmp_path / "rows.jsonl", rows)
    write_rows(tmp_path / "rollouts.jsonl", [_rollout("p0", sample) for sample in (0, 1)])
    return {"rows": tmp_path / "rows.jsonl", "rollouts": tmp_path / "rollouts.jsonl"}


def _rollout(name: str, sample: int) -> Generation:
    key = Key(example_id=name, request="rollout", step=1, sample=sample)
    return Generation(key=key, text="\\boxed{3}", finish_reason="stop", model="m", fingerprint="", seed=0)


@pytest.mark.parametrize("content", ["", "\n \n"])
@pytest.mark.parametrize("name", STAGES)
def test_an_empty_file_is_an_error(command: Callable[..., Any], files: dict[str, Path], name: str, content: str) -> None:
    Path("empty.jsonl").write_text(content, "utf-8")
    stage = "evaluate" if name == "recorded" else name.partition(".")[0]
    outcome = command(f"stage={stage}", *STAGES[name].format(file="empty.jsonl", **files).split(), "run=mine")
    assert outcome.code == 1, outcome
    assert len(outcome.err.splitlines()) == 1
    assert outcome.err.startswith("error: ")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([_rollout("p0", 0), _rollout("p0", 0)], "rollouts.jsonl:2: key.sample: duplicate rollout; found 0"),
        ([_rollout("p0", 0), _rollout("p0", -1)], "rollouts.jsonl:2: key.sample: no such sample; found -1"),
        (
            [_rollout("p0", 1), _rollout("p9", 0)],
            "rollouts.jsonl:2: key.example_id: the rollout belongs to an unknown solution or step; found 'p9'",
        ),
    ],
)
def test_what_is_wrong_with_a_rollout_has_its_file_and_line(
    command: Callable[..., Any], files: dict[str, Path], rows: list[Generation], said: str
) -> None:
    write_rows(files["rollouts"], rows)
    outcome = command("stage=label", *STAGES["label"].format(file=files["rows"], **files).split(), "run=mine")
    assert outcome.code == 1
    assert said in outcome.err

"""What `stage=reject` writes goes to `stage=sft` unchanged, and `stage=rl` takes a task that scores responses as it is."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.runs.jsonl import write_rows
from deepcritic.samplers.recorded import RecordedSampler
from deepcritic.schema import Generation, Key, Preference, Preferred, Responses
from deepcritic.stages import reject
from deepcritic.tasks.pointwise import Pointwise
from tests.stages.conftest import call

torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
pytest.importorskip("trl", reason="needs the trainers: pip install deepcritic[train]")
pytestmark = pytest.mark.slow

BASE = "deepcritic://microworld/models/base"
TASK = Pointwise("deepcritic://microworld/templates/score.txt", "deepcritic://microworld/templates/score_single.txt", binary=True)
Command = Callable[..., Any]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _rows() -> list[Preference]:
    rows = [
        Preference(
            id=f"p-{at}", item=Responses(query=f"{at}+1", responses=(f"{at}", f"{at + 1}")), gold=Preferred(best=2), source="made"
        )
        for at in range(6)
    ]
    single = Preference(id="s", item=Responses(query="1+1", responses=("2",)), gold=Preferred(scores=(1.0,)), source="made")
    write_rows(Path("rows.jsonl"), [*rows, single])
    return [*rows, single]


def test_from_saved_replies_to_a_tuned_model(command: Command, open_folder: Any) -> None:
    rows, lines = _rows(), []
    for row in rows:
        for sample in range(3):
            order = TASK.ask(row.item, sample=sample).context
            right = sample == 1
            marks = [9 if (number == row.gold.best) == right else 2 for number in order] if len(order) > 1 else [int(right)]
            lines.append(
                Generation(
                    key=Key(example_id=row.id, request="reject", sample=sample), text=TASK.format(tuple(marks)), context=order,
                    finish_reason="stop", model="m", fingerprint="", seed=0,
                )
            )  # fmt: skip
    write_rows(Path("saved.jsonl"), lines)
    saved = functools.partial(RecordedSampler, "saved.jsonl")
    with open_folder("reject") as folder:
        call(reject, folder, examples="rows.jsonl", task=TASK, sampler=saved, model="saved", hinted_samples=0)
    sft = command(
        "experiment=microworld/spct_sft", "run=mine", f"model={BASE}", "stage.max_steps=1", "stage.batch_size=4",
        "stage.device_batch_size=4", "stage.dialogues=runs/mine/reject/dialogues.jsonl",
    )  # fmt: skip
    assert sft.code == 0, sft.err
    counts = json.loads(Path("runs/mine/sft/manifest.json").read_text("utf-8"))["counts"]["dialogues"]
    assert (counts["in"], counts["out"]) == (7, 7)
    wrong = command(
        "stage=sft",
        "run=mine",
        "name=wrong",
        f"model={BASE}",
        "stage.dialogues=runs/mine/reject/dialogues.jsonl",
        "stage.max_steps=1",
    )
    assert wrong.code == 1
    assert "the dialogue belongs to another task; found 'pointwise'; expected first_error" in wrong.err


def test_rl_on_scores(command: Command) -> None:
    _rows()
    outcome = command(
        "experiment=microworld/spct_rl", "run=mine", f"model={BASE}", "stage.examples=rows.jsonl", "stage.steps=1",
        "stage.prompts_per_step=2", "stage.num_generations=2", "stage.device_batch_size=4", "stage.max_tokens=8",
        "stage.logging_steps=1",
        "stage.log_groups=2",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    first = json.loads(Path("runs/mine/rl/training.jsonl").read_text("utf-8").splitlines()[0])
    assert first["reward"] == -1, "what cannot be read costs as much as what is wrong"
    assert first["unparsed"] == 1, "the form is watched, not rewarded"

"""Two processes that train together: the losses of one, one folder, and weights shared in parts that can still be sampled."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.microworld.lessons import deep_critique
from deepcritic.microworld.world import Problem
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import Dialogue, Message

torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
pytest.importorskip("trl", reason="needs the trainers: pip install deepcritic[train]")

pytestmark = pytest.mark.slow
SHARED = """
import sys, types, torch
from torch.distributed import destroy_process_group, init_process_group
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from deepcritic.hub.models import load_model, load_tokenizer
from deepcritic.samplers.base import Sampling
from deepcritic.samplers.transformers import draw_replies
from deepcritic.training.processes import whole_weights

torch.set_num_threads(1)
base = "deepcritic://microworld/models/base"
model, tokenizer = load_model(base, device="cpu").eval(), load_tokenizer(base)
prompts = [tokenizer(text)["input_ids"] for text in ("7 + 5", "1 + 2 - 3", "Step 1:")]


def drawn(model, at):
    return draw_replies(model, tokenizer, [prompts[at]], [3], Sampling(max_tokens=4 + 5 * at))[0].ids


alone = [drawn(model, at) for at in range(3)]
init_process_group("gloo")
mesh = init_device_mesh("cpu", (2,))
for layer in model.model.layers:
    fully_shard(layer, mesh=mesh)
fully_shard(model, mesh=mesh)
held = sum(part.to_local().numel() for part in model.parameters())
trainer = types.SimpleNamespace(
    is_deepspeed_enabled=False, is_fsdp_enabled=True, model=model, model_wrapped=model,
    accelerator=types.SimpleNamespace(
        unwrap_model=lambda given, **_: given, state=types.SimpleNamespace(deepspeed_plugin=None), is_main_process=True
    ),
)
rank = torch.distributed.get_rank()
model.train()
with whole_weights(trainer) as whole:  # one process draws more tokens, by as many forwards
    assert not whole.training
    for at in ((0,), (1, 2))[rank]:
        assert drawn(whole, at) == alone[at], at
assert model.training
assert sum(part.to_local().numel() for part in model.parameters()) == held
loss = model(input_ids=torch.tensor([prompts[1]]), labels=torch.tensor([prompts[1]])).loss  # goes on in parts
loss.backward()
assert all(torch.isfinite(part.grad.to_local()).all() for part in model.parameters() if part.grad is not None)
destroy_process_group()
open(f"as_one_{rank}", "w").close()
"""


def _two(words: list[str], place: Path) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true", "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
    }  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", *words]
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False, timeout=600)


def test_two_processes_train_as_one(command: Callable[..., Any], make_solutions: Any, critic_task: Any, tmp_path: Path) -> None:
    rows = []
    for row in make_solutions(16):
        reply = Message(role="assistant", content=deep_critique(Problem.read(row.item.problem), list(row.item.steps)))
        messages = (*critic_task.ask(row.item).messages, reply)
        rows.append(Dialogue(id=row.id, task=critic_task.name, messages=messages, verdict=row.gold.first_error))
    write_rows(tmp_path / "dialogues.jsonl", rows)
    write_rows(tmp_path / "rows.jsonl", make_solutions(5, seed=3))
    words = [
        "experiment=microworld/sft", "stage.dialogues=dialogues.jsonl", "stage.batch_size=8", "stage.device_batch_size=2",
        "stage.max_steps=3", "stage.save_steps=2", "stage.logging_steps=1", "stage.validation_examples=rows.jsonl",
        "stage.validation_max_tokens=12",
    ]  # fmt: skip
    torch.set_num_threads(1)
    assert command(*words, "run=one").code == 0
    done = _two(["-m", "deepcritic", *words, "run=two"], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("8 dialogues per step = 2 (devices) x 2 (per device) x 2 (accumulated)") == 1, "one speaks for both"
    curves = []
    for run in ("one", "two"):
        lines = [json.loads(line) for line in Path(f"runs/{run}/sft/training.jsonl").read_text("utf-8").splitlines()]
        curves.append([(line["step"], name, line[name]) for line in lines for name in ("loss", "eval_f1") if name in line])
        assert json.loads(Path(f"runs/{run}/sft/manifest.json").read_text("utf-8"))["steps"] == 3
    assert [one[:2] for one in curves[0]] == [one[:2] for one in curves[1]]
    assert [one[2] for one in curves[0]] == pytest.approx([one[2] for one in curves[1]], rel=1e-4)
    refused = _two(["-m", "deepcritic", *words, "run=three", "stage.batch_size=9"], tmp_path)
    assert refused.returncode
    said = [line for line in refused.stderr.splitlines() if line.startswith("error:")]
    assert said == ["error: stage.batch_size=9 is not a multiple of stage.device_batch_size=2 on 2 devices"]


def test_weights_in_parts_are_brought_together_to_sample(tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text(SHARED, "utf-8")
    done = _two(["shared.py"], tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(file.name for file in tmp_path.glob("as_one_*")) == ["as_one_0", "as_one_1"]


def test_a_stage_that_does_not_train_runs_in_one_process(command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    outcome = command("stage=report", "run=mine")
    assert outcome.code == 2
    assert "stage=report runs in one process, but WORLD_SIZE is set; start it without accelerate launch" in outcome.err

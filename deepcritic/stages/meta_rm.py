"""Train a Meta RM: one logit on the model that writes, for how likely a reply is to be right (DeepSeek-GRM, arXiv 2504.02495).

    python -m deepcritic stage=meta_rm task=pointwise stage.examples=rows.jsonl model=PATH run=x \
        stage.generations=[runs/x/reject/generations.jsonl,runs/x/evaluate.more/generations.jsonl]

It learns from replies that were saved before, with binary cross-entropy on "this reply is right", as the task's reward says.
Replies to prompts that told the truth (`stage=reject`, hinted) are left out. `stage=evaluate stage.guide=MODEL` puts it to use.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepcritic.errors import UsageError
from deepcritic.hub.models import load_tokenizer, model_id
from deepcritic.runs.folder import RunFolder, existing
from deepcritic.tasks.base import CriticTask
from deepcritic.training.loop import remove_checkpoints, save_model, train
from deepcritic.training.meta_rm import labelled_replies, meta_rm_trainer


def run(
    folder: RunFolder,
    *,
    examples: str,
    generations: Sequence[str],
    task: CriticTask[Any],
    model: str | None,
    learning_rate: float = 1e-5,
    epochs: float = 1.0,
    max_steps: int = -1,
    batch_size: int = 512,
    device_batch_size: int = 8,
    max_length: int = 16_384,
    warmup: float = 0.1,
    save_steps: int = 100,
    logging_steps: int = 10,
    seed: int = 42,
) -> dict[str, Any]:
    """Returns the manifest; the model is saved to `model/`. Replies over `max_length` tokens are set aside and counted."""
    if model is None:
        raise UsageError("no model is named: give model=PATH")
    files = [generations] if isinstance(generations, str) else [str(one) for one in generations]
    if not files:
        raise UsageError("no replies are named: give stage.generations=[FILE,FILE]")
    if batch_size % device_batch_size:
        raise UsageError(f"stage.batch_size={batch_size} is no multiple of stage.device_batch_size={device_batch_size}")
    saved = {f"generations {at}": existing(Path(file), "stage.generations") for at, file in enumerate(files)}
    if not folder.begin(examples=Path(examples), model=model_id(model), **saved):
        remove_checkpoints(folder.path)
        return folder.manifest or {}
    tokenizer = load_tokenizer(model)
    rows = labelled_replies(folder, examples, files, task, tokenizer, max_length)
    right = sum(row["labels"][0] for row in rows)
    print(f"{folder.path}: {len(rows)} replies, {right:g} of them right")
    settings = {
        "learning_rate": learning_rate, "num_train_epochs": epochs, "max_steps": max_steps,
        "per_device_train_batch_size": device_batch_size, "gradient_accumulation_steps": batch_size // device_batch_size,
        "warmup_steps": warmup, "save_steps": save_steps, "logging_steps": logging_steps, "seed": seed,
    }  # fmt: skip
    trainer = meta_rm_trainer(folder, model, tokenizer, rows, settings)
    steps_done = train(trainer, folder.path)
    save_model(trainer, tokenizer, folder.path)
    manifest = folder.finish(
        model=model_id(model), trained=model_id(str(folder / "model")), steps=steps_done, right=right / len(rows)
    )
    remove_checkpoints(folder.path)
    return manifest

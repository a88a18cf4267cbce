"""Supervised fine-tuning on dialogues, with TRL: the loss is on the assistant's reply alone.

python -m deepcritic stage=sft stage.dialogues=runs/x/seed/dialogues.jsonl model=PATH run=x
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from deepcritic.chat import dialogue_ids
from deepcritic.errors import InputError, UsageError
from deepcritic.models import load_model, load_tokenizer, model_id
from deepcritic.rows import Dialogue
from deepcritic.runs import RunFolder
from deepcritic.store import read_rows
from deepcritic.tasks import CriticTask
from deepcritic.training import order_by_epoch, quiet, recorder, remove_checkpoints, save_model, train


def run(
    folder: RunFolder,
    *,
    dialogues: str,
    task: CriticTask[Any],
    model: str | None,
    learning_rate: float = 1e-5,
    epochs: float = 3.0,
    max_steps: int = -1,
    batch_size: int = 64,
    device_batch_size: int = 1,
    max_length: int = 16_384,
    warmup: float = 0.1,
    validation: float = 0.0,
    limit: int | None = None,
    save_steps: int = 100,
    logging_steps: int = 10,
    seed: int = 42,
) -> dict[str, Any]:
    """Returns the manifest; the model is saved to `model/`. Dialogues over `max_length` tokens are set aside and counted.

    `batch_size` is the number of dialogues a step, over all devices: the accumulation follows from it.
    """
    if model is None:
        raise UsageError("no model is named: give model=PATH")
    if batch_size % device_batch_size:
        raise UsageError(f"stage.batch_size={batch_size} is no multiple of stage.device_batch_size={device_batch_size}")
    if not folder.begin(dialogues=Path(dialogues), model=model_id(model)):
        remove_checkpoints(folder.path)
        return folder.manifest or {}
    tokenizer = load_tokenizer(model)
    rows = encode_dialogues(folder, Path(dialogues), tokenizer, task, max_length, limit)
    random.Random(seed).shuffle(rows)
    held = int(len(rows) * validation)
    trainer = _trainer(
        folder, load_model(model), tokenizer, rows[held:], rows[:held],
        {
            "learning_rate": learning_rate, "num_train_epochs": epochs, "max_steps": max_steps,
            "per_device_train_batch_size": device_batch_size, "gradient_accumulation_steps": batch_size // device_batch_size,
            "max_length": max_length, "warmup_steps": warmup, "save_steps": save_steps, "logging_steps": logging_steps,
            "seed": seed, "eval_strategy": "epoch" if held else "no",
        },
    )  # fmt: skip
    steps_done = train(trainer, folder.path)
    save_model(trainer, tokenizer, folder.path)
    manifest = folder.finish(model=model_id(model), trained=model_id(str(folder / "model")), steps=steps_done)
    remove_checkpoints(folder.path)
    return manifest


def encode_dialogues(
    folder: RunFolder, path: Path, tokenizer: Any, task: CriticTask[Any], max_length: int, limit: int | None
) -> list[dict[str, list[int]]]:
    """Token ids and reply masks, as the sampler would see the prompt; over-long dialogues are counted, never cut."""
    ledger = folder.ledger("dialogues")
    rows = []
    for number, dialogue in enumerate(read_rows(path, Dialogue), start=1):
        if limit is not None and ledger.entered >= limit:
            break
        ledger.enter()
        if dialogue.task != task.name:
            raise InputError(
                "a dialogue of another task", file=path, line=number, field="task", found=dialogue.task, remedy=task.name
            )
        ids, mask = dialogue_ids(tokenizer, dialogue.messages)
        if len(ids) > max_length:
            ledger.drop("longer than max_length")
            continue
        ledger.keep()
        rows.append({"input_ids": ids, "completion_mask": mask})
    if not rows:
        raise InputError("no dialogue to learn from", file=path, remedy="rows that fit into max_length")
    return rows


def _trainer(folder: RunFolder, model: Any, tokenizer: Any, train: list[Any], held: list[Any], settings: dict[str, Any]) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    on_cpu = model.device.type == "cpu"
    config = SFTConfig(
        output_dir=str(folder.path), save_strategy="steps", save_total_limit=2, report_to=[], disable_tqdm=True,
        lr_scheduler_type="cosine", bf16=not on_cpu, use_cpu=on_cpu, gradient_checkpointing=not on_cpu,
        completion_only_loss=True, train_sampling_strategy="group_by_length", dataloader_num_workers=0, **settings,
    )  # fmt: skip
    trainer = SFTTrainer(
        model=model,
        args=config,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(train),
        eval_dataset=Dataset.from_list(held) if held else None,
        callbacks=[recorder(folder.path)],
    )
    quiet(trainer)
    order_by_epoch(trainer, settings["seed"])
    return trainer

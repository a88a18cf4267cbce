"""Supervised fine-tuning on dialogues, with TRL: the loss is on the assistant's reply alone.

python -m deepcritic stage=sft stage.dialogues=runs/x/seed/dialogues.jsonl model=PATH run=x
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from deepcritic.errors import Stopped, UsageError
from deepcritic.hub import publishing
from deepcritic.hub.models import load_tokenizer, model_id
from deepcritic.runs.folder import RunFolder
from deepcritic.tasks.base import CriticTask
from deepcritic.training.card import push_model, write_card
from deepcritic.training.loop import best_of, remove_checkpoints, save_model, train
from deepcritic.training.plan import Plan
from deepcritic.training.processes import leader_first, leads, world_size
from deepcritic.training.settings import TrainerSettings, accumulation
from deepcritic.training.sft import TOO_LONG, encode_dialogues, optimizer_steps, sft_trainer
from deepcritic.training.validation import Validation, validate


def run(
    folder: RunFolder,
    *,
    dialogues: str,
    task: CriticTask[Any],
    model: str | None,
    trainer: TrainerSettings = TrainerSettings(),  # noqa: B008  # frozen
    learning_rate: float = 1e-5,
    epochs: float = 3.0,
    max_steps: int = -1,
    batch_size: int = 64,
    device_batch_size: int = 1,
    max_length: int = 16_384,
    on_too_long: str = "drop",
    warmup: float = 0.1,
    validation: float = 0.0,
    validation_examples: str | None = None,
    validation_limit: int | None = 500,
    validation_tokens: int | None = None,
    validation_votes: int = 0,
    limit: int | None = None,
    save_steps: int = 100,
    logging_steps: int = 10,
    push: str | None = None,
    seed: int = 42,
) -> dict[str, Any]:
    """Returns the manifest; the model is saved to `model/`, with a card.

    `batch_size` is the number of dialogues a step, over all devices: the accumulation follows from it. Dialogues over
    `max_length` tokens are an error, or set aside, or lose the end of their reply, counted each (`on_too_long`).
    `validation` is the share of the dialogues that is held back for a loss at each epoch's end. `validation_examples` are
    labelled solutions on which F1 is measured then, with the weights of the moment; the best of them are kept in `best/`.
    """
    if model is None:
        raise UsageError("no model is named: give model=PATH")
    if on_too_long not in TOO_LONG:
        raise UsageError(f"stage.on_too_long must be one of {', '.join(TOO_LONG)}; found {on_too_long!r}")
    times = accumulation(batch_size, device_batch_size)
    if push is not None:
        publishing.check(push)
    trainer.check(model)
    files = {"dialogues": Path(dialogues)}
    if validation_examples is not None:
        files["validation_examples"] = Path(validation_examples)
    if not leader_first(lambda: folder.begin(**files, model=model_id(model))):
        remove_checkpoints(folder.path)
        if leads():
            push_model(folder.path, push)
        return folder.manifest or {}
    tokenizer = load_tokenizer(model)
    rows, origins = encode_dialogues(folder, Path(dialogues), tokenizer, task, max_length, limit, on_too_long)
    random.Random(seed).shuffle(rows)
    held = int(len(rows) * validation)
    measured = None
    if validation_examples is not None:
        measured = Validation.read(
            validation_examples, task, validation_limit, max_tokens=validation_tokens, votes=validation_votes, seed=seed
        )
    steps, reads = optimizer_steps(len(rows) - held, batch_size, epochs, max_steps)
    lengths = [len(row["input_ids"]) for row in rows[held:]]
    plan = Plan.of(model, trainer, lengths=lengths, reads=reads, steps=steps, rows=device_batch_size)
    shared = f"{batch_size} dialogues a step = {world_size()} (devices) x {device_batch_size} (at a time) x {times} (accumulated)"
    if folder.limits.dry_run:
        raise Stopped(f"{plan}\n{shared}\n{folder.path}: a dry run: nothing is trained")
    plan.check_memory()
    print(f"{folder.path}: {shared}; {len(rows) - held:,} dialogues, {steps:,} steps")
    sft = sft_trainer(
        folder, model, tokenizer, rows[held:], rows[:held], trainer,
        {
            "learning_rate": learning_rate, "num_train_epochs": epochs, "max_steps": max_steps,
            "per_device_train_batch_size": device_batch_size, "gradient_accumulation_steps": times,
            "max_length": max_length, "warmup_steps": warmup, "save_steps": save_steps, "logging_steps": logging_steps,
            "seed": seed, "eval_strategy": "epoch" if held else "no",
        },
    )  # fmt: skip
    if measured is not None:
        measured.check(sft.model, tokenizer)
        validate(sft, tokenizer, measured, folder.path, base=model)
    steps_done = train(sft, folder.path)
    save_model(sft, tokenizer, folder.path, base=model)
    if not leads():
        return {}
    facts = {"steps": steps_done, "train_tokens": sum(lengths), **({"best": best_of(folder.path)} if measured else {})}
    write_card(
        folder,
        base=model,
        method="SFT",
        data={"dialogues": origins, "held back": f"{held:,} dialogues"},
        facts={"steps": steps_done},
    )
    manifest = folder.finish(model=model_id(model), trained=model_id(str(folder.path / "model")), **facts)
    remove_checkpoints(folder.path)
    push_model(folder.path, push)
    return manifest

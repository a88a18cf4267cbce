"""Supervised fine-tuning on dialogues with TRL. The loss covers only the assistant's reply.

python -m deepcritic stage=sft stage.dialogues=runs/x/seed/dialogues.jsonl model=PATH run=x
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepcritic.errors import Stopped, UsageError
from deepcritic.hub import publishing
from deepcritic.hub.models import load_tokenizer, model_id
from deepcritic.options import REQUIRED, Options, option
from deepcritic.runs.folder import RunFolder
from deepcritic.tasks.base import CriticTask
from deepcritic.training.card import push_model, write_card
from deepcritic.training.loop import best_of, remove_checkpoints, save_model, train
from deepcritic.training.plan import Plan
from deepcritic.training.processes import leader_first, leads, world_size
from deepcritic.training.settings import TrainerSettings, accumulation
from deepcritic.training.sft import TOO_LONG, encode_dialogues, optimizer_steps, sft_trainer
from deepcritic.training.validation import Validation, validate


@dataclass(frozen=True, kw_only=True)
class SFTOptions(Options):
    """Supervised fine-tuning on dialogues (TRL)."""

    dialogues: str = option(
        REQUIRED, "dialogues.jsonl of stage=seed, reject or prepare, or your own data (file, folder or hub id)", group="Data",
    )  # fmt: skip
    columns: Mapping[str, str] | None = option(None, "column names of your own data: {problem: question, steps: solution_steps}")
    index_base: int | None = option(None, "index of the first step in the labels: 0 or 1", at_least=0, at_most=1)
    max_bad: int = option(0, "maximum invalid dialogues to set aside before the stage fails", at_least=0)
    limit: int | None = option(None, "number of dialogues; null: all", at_least=0)
    max_length: int = option(16_384, "maximum tokens per dialogue")
    on_too_long: str = option(
        "drop", "what to do with longer dialogues, which are counted; truncate: cut the end of the reply", choices=TOO_LONG
    )
    validation_split: float = option(
        0.0, "fraction of dialogues held out for a validation loss after each epoch", was="validation", at_least=0, at_most=1
    )
    model: str | None = option(None, "model to train: local folder or hub id (ORG/NAME@revision)", group="Model", top=True)
    learning_rate: float = option(0.00001, "peak learning rate", group="Training")
    epochs: float = option(3.0, "training epochs")
    max_steps: int = option(-1, "optimizer steps, overriding `epochs`; -1: use `epochs`")
    batch_size: int = option(64, "dialogues per optimizer step, over all devices", at_least=1)
    device_batch_size: int = option(1, "dialogues per forward pass on each device", at_least=1)
    warmup_ratio: float = option(0.1, "fraction of steps used for warmup", was="warmup", at_least=0, at_most=1)
    seed: int = option(0, "random seed", top=True)
    validation_examples: str | None = option(
        None, "labelled solutions to compute F1 on after each epoch; best/ keeps the best weights",
        group="Validation",
    )  # fmt: skip
    validation_limit: int | None = option(
        500, "number of validation examples; null: all", at_least=1, needs="validation_examples"
    )
    validation_max_tokens: int | None = option(
        None,
        "maximum tokens per reply; null: up to the context length",
        was="validation_tokens",
        needs="validation_examples",
    )
    validation_votes: int = option(
        0, "replies per solution for the F1 of a vote; 0: no vote", at_least=0, needs="validation_examples"
    )
    save_steps: int = option(100, "steps between checkpoints", group="Logging", not_hashed=True, at_least=1)
    logging_steps: int = option(10, "steps between lines of training.jsonl", not_hashed=True, at_least=1)
    push: str | None = option(
        None,
        "publish the model: ORG/NAME on the hub (token: HF_TOKEN), or a folder",
        group="Publishing",
        top=True,
        not_hashed=True,
    )


def run(
    folder: RunFolder,
    options: SFTOptions,
    *,
    task: CriticTask[Any],
    trainer: TrainerSettings = TrainerSettings(),  # noqa: B008  # frozen
) -> dict[str, Any]:
    """Return the manifest. The model is saved to `model/`, with a card, and the best weights by validation to `best/`."""
    if options.model is None:
        raise UsageError("no model is given; set model=PATH")
    model = options.model
    times = accumulation(options.batch_size, options.device_batch_size)
    if options.push is not None:
        publishing.check(options.push)
    trainer.check(model)
    files = {"dialogues": Path(options.dialogues)} if Path(options.dialogues).is_file() else {}
    if options.validation_examples is not None:
        files["validation_examples"] = Path(options.validation_examples)
    if not leader_first(lambda: folder.begin(**files, model=model_id(model))):
        remove_checkpoints(folder.path)
        if leads():
            push_model(folder.path, options.push)
        return folder.manifest or {}
    tokenizer = load_tokenizer(model, template_args=trainer.template_args)
    rows, origins = encode_dialogues(
        folder, options.dialogues, tokenizer, task, options.max_length, options.limit, options.on_too_long,
        columns=options.columns, index_base=options.index_base, max_bad=options.max_bad,
    )  # fmt: skip
    random.Random(options.seed).shuffle(rows)
    held = int(len(rows) * options.validation_split)
    measured = None
    if options.validation_examples is not None:
        measured = Validation.read(
            options.validation_examples, task, options.validation_limit, max_tokens=options.validation_max_tokens,
            votes=options.validation_votes, seed=options.seed,
        )  # fmt: skip
    steps, reads = optimizer_steps(len(rows) - held, options.batch_size, options.epochs, options.max_steps)
    lengths = [len(row["input_ids"]) for row in rows[held:]]
    plan = Plan.of(model, trainer, lengths=lengths, reads=reads, steps=steps, rows=options.device_batch_size)
    shared = (
        f"{options.batch_size} dialogues per step = {world_size()} (devices) x {options.device_batch_size} (per device) "
        f"x {times} (accumulated)"
    )
    if folder.limits.dry_run:
        raise Stopped(f"{plan.dry_run()}\n{shared}\n{folder.path}: dry run, nothing was trained")
    plan.check_memory()
    print(f"{folder.path}: {shared}; {len(rows) - held:,} dialogues, {steps:,} steps")
    sft = sft_trainer(
        folder, model, tokenizer, rows[held:], rows[:held], trainer,
        {
            "learning_rate": options.learning_rate, "num_train_epochs": options.epochs, "max_steps": options.max_steps,
            "per_device_train_batch_size": options.device_batch_size, "gradient_accumulation_steps": times,
            "max_length": options.max_length, "warmup_steps": options.warmup_ratio, "save_steps": options.save_steps,
            "logging_steps": options.logging_steps, "seed": options.seed, "eval_strategy": "epoch" if held else "no",
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
    push_model(folder.path, options.push)
    return manifest

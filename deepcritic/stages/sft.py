"""Supervised fine-tuning on dialogues, with TRL: the loss is on the assistant's reply alone.

python -m deepcritic stage=sft stage.dialogues=runs/x/seed/dialogues.jsonl model=PATH run=x
"""

from __future__ import annotations

import math
import random
from collections import Counter
from pathlib import Path
from typing import Any

from deepcritic import publishing
from deepcritic.chat import dialogue_ids
from deepcritic.errors import InputError, Stopped, UsageError
from deepcritic.models import load_tokenizer, model_id
from deepcritic.rows import Dialogue
from deepcritic.runs import RunFolder
from deepcritic.store import read_rows
from deepcritic.tasks import CriticTask
from deepcritic.training import best_of, order_by_epoch, quiet, recorder, remove_checkpoints, save_model, train
from deepcritic.training.card import push_model, write_card
from deepcritic.training.plan import Plan
from deepcritic.training.processes import leader_first, leads, world_size
from deepcritic.training.settings import TrainerSettings, accumulation
from deepcritic.training.validation import Validation, validate

TOO_LONG = ("error", "drop", "truncate")
_Row = dict[str, list[int]]


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
    validation_tokens: int = 2048,
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
    steps, reads = _steps(len(rows) - held, batch_size, epochs, max_steps)
    lengths = [len(row["input_ids"]) for row in rows[held:]]
    plan = Plan.of(model, trainer, lengths=lengths, reads=reads, steps=steps, rows=device_batch_size)
    shared = f"{batch_size} dialogues a step = {world_size()} (devices) x {device_batch_size} (at a time) x {times} (accumulated)"
    if folder.limits.dry_run:
        raise Stopped(f"{plan}\n{shared}\n{folder.path}: a dry run: nothing is trained")
    plan.check_memory()
    print(f"{folder.path}: {shared}; {len(rows) - held:,} dialogues, {steps:,} steps")
    sft = _trainer(
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


def encode_dialogues(
    folder: RunFolder,
    path: Path,
    tokenizer: Any,
    task: CriticTask[Any],
    max_length: int,
    limit: int | None,
    on_too_long: str = "drop",
) -> tuple[list[_Row], str]:
    """Token ids and reply masks, as the sampler would see the prompt; and where the dialogues come from, in words.

    Over-long dialogues are an error, counted and left out, or counted and cut at their end, never in silence.
    """
    ledger = folder.ledger("dialogues")
    rows, origins, cut = [], Counter[str](), 0
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
            if on_too_long == "error":
                raise InputError(
                    "a dialogue longer than stage.max_length", file=path, line=number, found=f"{len(ids)} tokens",
                    remedy=f"at most {max_length}, or stage.on_too_long=drop or truncate",
                )  # fmt: skip
            if on_too_long == "drop" or not any(mask[:max_length]):
                ledger.drop("longer than max_length" if on_too_long == "drop" else "prompt longer than max_length")
                continue
            ids, mask, cut = ids[:max_length], mask[:max_length], cut + 1
        ledger.keep()
        origins[f"{dialogue.source or 'no source'} ({dialogue.license or 'no licence'})"] += 1
        rows.append({"input_ids": ids, "completion_mask": mask})
    if not rows:
        raise InputError("no dialogue to learn from", file=path, remedy="rows that fit into max_length")
    if on_too_long == "truncate":
        folder.account({"truncated_dialogues": cut}, {})
        print(f"{folder.path}: {cut} of {len(rows)} dialogues lost the end of their reply (stage.max_length={max_length})")
    return rows, ", ".join(f"{count:,} of {origin}" for origin, count in origins.most_common())


def _steps(rows: int, batch_size: int, epochs: float, max_steps: int) -> tuple[int, float]:
    """How many steps there will be, and how often each row is read in them."""
    if max_steps > 0:
        return max_steps, max_steps * batch_size / rows
    return math.ceil(epochs * math.ceil(rows / batch_size)), epochs


def _trainer(
    folder: RunFolder,
    model: str,
    tokenizer: Any,
    train: list[Any],
    held: list[Any],
    settings: TrainerSettings,
    more: dict[str, Any],
) -> Any:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    if settings.padding_free:  # laid end to end there is no padding to be saved by grouping, and the order may be random
        more = {**more, "padding_free": True, "max_length": None, "train_sampling_strategy": "random"}
    config = SFTConfig(**{
        "output_dir": str(folder.path), "save_strategy": "steps", "save_total_limit": 2, "disable_tqdm": True,
        "lr_scheduler_type": "cosine", "completion_only_loss": True, "train_sampling_strategy": "group_by_length",
        "dataloader_num_workers": 0, **settings.arguments(), **more,
    })  # fmt: skip
    trainer = SFTTrainer(
        model=settings.load(model, more["seed"]),
        args=config,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(train),
        eval_dataset=Dataset.from_list(held) if held else None,
        peft_config=settings.adapter(),
        callbacks=[recorder(folder.path)],
    )
    quiet(trainer)
    order_by_epoch(trainer, more["seed"])
    return trainer

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

from deepcritic.chat import dialogue_ids
from deepcritic.errors import InputError, UsageError
from deepcritic.evaluation import conversations
from deepcritic.models import load_model, load_tokenizer, model_id
from deepcritic.rows import Generation
from deepcritic.runs import RunFolder, existing
from deepcritic.sources import own
from deepcritic.stages.reject import HINTED
from deepcritic.store import read_rows
from deepcritic.tasks import CriticTask
from deepcritic.training import order_by_epoch, quiet, recorder, remove_checkpoints, save_model, train


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
    trainer = _trainer(folder, model, tokenizer, rows, settings)
    steps_done = train(trainer, folder.path)
    save_model(trainer, tokenizer, folder.path)
    manifest = folder.finish(
        model=model_id(model), trained=model_id(str(folder / "model")), steps=steps_done, right=right / len(rows)
    )
    remove_checkpoints(folder.path)
    return manifest


def labelled_replies(
    folder: RunFolder, examples: str, files: Sequence[str], task: CriticTask[Any], tokenizer: Any, max_length: int
) -> list[dict[str, Any]]:
    """Token ids of each saved reply behind its prompt, with its label: right or not."""
    known = {row.id: row for row in own.read(examples, task.row) if task.stratum(row.gold) is not None}
    ledger = folder.ledger("replies")
    rows: list[dict[str, Any]] = []
    for file in files:
        for number, reply in enumerate(read_rows(Path(file), Generation), start=1):
            ledger.enter()
            row = known.get(reply.key.example_id)
            if row is None:
                raise InputError(
                    "a reply to a row that is not there", file=file, line=number, field="key.example_id",
                    found=reply.key.example_id, remedy=f"replies to labelled rows of {examples}",
                )  # fmt: skip
            if reply.key.request == HINTED:
                ledger.drop("the truth was told")
                continue
            (messages,) = conversations(task, row.item, [reply])
            ids = dialogue_ids(tokenizer, messages)[0]
            if len(ids) > max_length:
                ledger.drop("longer than max_length")
                continue
            ledger.keep()
            verdict = task.parse(reply.prefix + reply.text, reply.context)
            rows.append({"input_ids": ids, "labels": [float(task.reward(verdict, row.gold) > 0)]})
    if len({row["labels"][0] for row in rows}) < 2:
        remedy = "replies some of which are right, and some not"
        raise InputError("nothing to tell apart", file=files[0], found=f"{len(rows)} replies of one kind", remedy=remedy)
    return rows


def _trainer(folder: RunFolder, model: str, tokenizer: Any, rows: list[dict[str, Any]], settings: dict[str, Any]) -> Any:
    import torch
    from datasets import Dataset
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    torch.manual_seed(settings["seed"])  # the new head begins at random
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    weights = load_model(model, kind="AutoModelForSequenceClassification", num_labels=1)
    weights.config.pad_token_id = tokenizer.pad_token_id
    weights.config.problem_type = "multi_label_classification"  # which is what transformers calls binary cross-entropy
    on_cpu = weights.device.type == "cpu"
    config = TrainingArguments(
        output_dir=str(folder.path), save_strategy="steps", save_total_limit=2, report_to=[], disable_tqdm=True,
        lr_scheduler_type="cosine", bf16=not on_cpu, use_cpu=on_cpu, gradient_checkpointing=not on_cpu,
        train_sampling_strategy="group_by_length", **settings,
    )  # fmt: skip
    trainer = Trainer(
        model=weights,
        args=config,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows),
        data_collator=DataCollatorWithPadding(tokenizer),
        callbacks=[recorder(folder.path)],
    )
    quiet(trainer)
    order_by_epoch(trainer, settings["seed"])
    return trainer

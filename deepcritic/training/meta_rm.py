"""Training of a Meta RM: replies labelled by whether their verdict is right."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepcritic.datasets import own
from deepcritic.errors import InputError
from deepcritic.evaluation.evaluators import conversations
from deepcritic.hub.models import load_model
from deepcritic.runs.folder import RunFolder
from deepcritic.schema import Generation
from deepcritic.tasks.base import CriticTask, verdict_of
from deepcritic.text.chat_template import dialogue_ids
from deepcritic.training.loop import order_by_epoch, quiet, recorder
from deepcritic.training.rejection_sampling import HINTED


def labelled_replies(
    folder: RunFolder, examples: str, files: Sequence[str], task: CriticTask[Any], tokenizer: Any, max_length: int
) -> list[dict[str, Any]]:
    """Token ids of prompt and saved reply, with the label: right or not."""
    known = {row.id: row for row in own.read(examples, task.row) if task.stratum(row.gold) is not None}
    ledger = folder.ledger("replies")
    rows: list[dict[str, Any]] = []
    for file in files:
        for number, reply in enumerate(own.rows_of(file, Generation), start=1):
            ledger.enter()
            row = known.get(reply.key.example_id)
            if row is None:
                raise InputError(
                    "the reply's row is unknown", file=file, line=number, field="key.example_id",
                    found=reply.key.example_id, expected=f"a reply to a labelled row of {examples}",
                )  # fmt: skip
            if reply.key.request == HINTED:
                ledger.drop("hinted reply")
                continue
            (messages,) = conversations(task, row.item, [reply])
            ids = dialogue_ids(tokenizer, messages)[0]
            if len(ids) > max_length:
                ledger.drop("longer than max_length")
                continue
            ledger.keep()
            verdict = verdict_of(reply, task)
            rows.append({"input_ids": ids, "labels": [float(task.reward(verdict, row.gold) == 1)]})
    if len({row["labels"][0] for row in rows}) < 2:
        expected = "both correct and incorrect replies"
        raise InputError("all replies have the same label", file=files[0], found=f"{len(rows)} replies", expected=expected)
    return rows


def meta_rm_trainer(folder: RunFolder, model: str, tokenizer: Any, rows: list[dict[str, Any]], settings: dict[str, Any]) -> Any:
    import torch
    from datasets import Dataset
    from transformers import DataCollatorWithPadding, Trainer, TrainingArguments

    torch.manual_seed(settings["seed"])  # the new head is random
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    weights = load_model(model, kind="AutoModelForSequenceClassification", num_labels=1)
    weights.config.pad_token_id = tokenizer.pad_token_id
    weights.config.problem_type = "multi_label_classification"  # transformers' name for binary cross-entropy
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

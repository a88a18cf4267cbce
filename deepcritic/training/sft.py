"""Supervised fine-tuning on dialogues: token ids with a loss mask for TRL's SFTTrainer."""

from __future__ import annotations

import logging
import math
from collections import Counter
from typing import Any

from deepcritic.datasets import conversations
from deepcritic.datasets.base import Report
from deepcritic.datasets.limits import limited
from deepcritic.datasets.reading import Rows
from deepcritic.errors import InputError
from deepcritic.runs.folder import RunFolder
from deepcritic.tasks.base import CriticTask
from deepcritic.text.chat_template import dialogue_ids
from deepcritic.training.loop import order_by_epoch, quiet, recorder
from deepcritic.training.settings import TrainerSettings

LOG = logging.getLogger(__name__)

TOO_LONG = ("error", "drop", "truncate")
Row = dict[str, list[int]]


def encode_dialogues(
    folder: RunFolder,
    path: Rows,
    tokenizer: Any,
    task: CriticTask[Any],
    max_length: int,
    limit: int | None,
    on_too_long: str = "drop",
    **reading: Any,
) -> tuple[list[Row], str]:
    """Token ids and reply masks, with the prompt encoded as for sampling; and a description of the dialogues' sources.

    Over-long dialogues raise an error, or are dropped or truncated, and counted. `reading`: options for custom rows
    (`columns`, `index_base`, `max_bad`; see `deepcritic.datasets.conversations`).
    """
    ledger = folder.ledger("dialogues")
    rows, origins, cut = [], Counter[str](), 0
    report = Report()
    for dialogue in limited(conversations.read(path, task, report=report, **reading), limit):
        ledger.enter()
        ids, mask = dialogue_ids(tokenizer, dialogue.messages)
        if len(ids) > max_length:
            if on_too_long == "error":
                raise InputError(
                    "the dialogue is longer than stage.max_length", file=str(path), field="id",
                    found=f"{dialogue.id}, {len(ids)} tokens",
                    expected=f"at most {max_length}, or stage.on_too_long=drop or truncate",
                )  # fmt: skip
            if on_too_long == "drop" or not any(mask[:max_length]):
                ledger.drop("longer than max_length" if on_too_long == "drop" else "prompt longer than max_length")
                continue
            ids, mask, cut = ids[:max_length], mask[:max_length], cut + 1
        ledger.keep()
        origins[f"{dialogue.source or 'no source'} ({dialogue.license or 'no licence'})"] += 1
        rows.append({"input_ids": ids, "completion_mask": mask})
    if not rows:
        why = f": {len(report.bad)} were set aside, the first: {report.bad[0]}" if report.bad else ""
        raise InputError(f"no usable dialogue{why}", file=str(path), expected="dialogues of at most stage.max_length tokens")
    for error in report.bad:
        ledger.enter()
        ledger.drop("bad row")
        LOG.warning(f"set aside: {error}")
    if duplicates := report.counts["duplicates"]:
        ledger.enter(duplicates)
        ledger.drop("duplicate", duplicates)
        LOG.info(f"{folder.path}: {duplicates} duplicate dialogues were skipped")
    if on_too_long == "truncate":
        folder.account({"truncated_dialogues": cut}, {})
        LOG.warning(f"{folder.path}: {cut} of {len(rows)} replies were truncated (stage.max_length={max_length})")
    return rows, ", ".join(f"{count:,} of {origin}" for origin, count in origins.most_common())


def optimizer_steps(rows: int, batch_size: int, epochs: float, max_steps: int) -> tuple[int, float]:
    """The number of steps, and how often each row is read."""
    if max_steps > 0:
        return max_steps, max_steps * batch_size / rows
    return math.ceil(epochs * math.ceil(rows / batch_size)), epochs


def sft_trainer(
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

    if settings.padding_free:  # packed rows have no padding, so grouping by length is not needed
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

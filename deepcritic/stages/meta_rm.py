"""Train a Meta RM: a language model with one logit, the probability that a reply is right (DeepSeek-GRM, arXiv 2504.02495).

    python -m deepcritic stage=meta_rm task=pointwise stage.examples=rows.jsonl model=PATH run=x \
        stage.generations=[runs/x/reject/generations.jsonl,runs/x/evaluate.more/generations.jsonl]

It is trained on saved replies with binary cross-entropy; a reply is right if the task's reward is positive. Replies to
prompts that contain the gold answer (`stage=reject`, hinted) are excluded. `stage=evaluate stage.meta_rm=MODEL` uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepcritic.errors import UsageError
from deepcritic.hub.models import load_tokenizer, model_id
from deepcritic.options import REQUIRED, Options, option, wrong
from deepcritic.runs.folder import RunFolder, existing
from deepcritic.tasks.base import CriticTask
from deepcritic.training.loop import remove_checkpoints, save_model, train
from deepcritic.training.meta_rm import labelled_replies, meta_rm_trainer


@dataclass(frozen=True, kw_only=True)
class MetaRMOptions(Options):
    """Train a Meta RM: the probability that a saved reply is right, for guided votes."""

    examples: str = option(REQUIRED, "labelled rows", group="Data")
    generations: Sequence[str] | str = option(REQUIRED, "files of saved replies to these rows: [FILE,FILE]")
    max_length: int = option(16_384, "maximum tokens of prompt and reply; longer rows are excluded and counted")
    model: str | None = option(None, "model to start from: local folder or hub id (ORG/NAME@revision)", group="Model", top=True)
    learning_rate: float = option(0.00001, "peak learning rate, as in arXiv 2504.02495", group="Training")
    epochs: float = option(1.0, "training epochs")
    max_steps: int = option(-1, "optimizer steps, overriding `epochs`; -1: use `epochs`")
    batch_size: int = option(512, "replies per optimizer step, as in arXiv 2504.02495", at_least=1)
    device_batch_size: int = option(8, "replies per forward pass", at_least=1)
    warmup_ratio: float = option(0.1, "fraction of steps used for warmup", was="warmup", at_least=0, at_most=1)
    seed: int = option(0, "random seed", top=True)
    save_steps: int = option(100, "steps between checkpoints", group="Logging", not_hashed=True, at_least=1)
    logging_steps: int = option(10, "steps between lines of training.jsonl", not_hashed=True, at_least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.generations:
            raise wrong("stage.generations", self.generations, "stage.generations=[FILE,FILE]", "no file")
        if self.batch_size % self.device_batch_size:
            expected = f"a multiple of stage.device_batch_size={self.device_batch_size}"
            raise wrong("stage.batch_size", self.batch_size, expected, "no multiple")


def run(folder: RunFolder, options: MetaRMOptions, *, task: CriticTask[Any]) -> dict[str, Any]:
    """Return the manifest. The model is saved to `model/`."""
    if options.model is None:
        raise UsageError("no model is given; set model=PATH")
    files = [options.generations] if isinstance(options.generations, str) else [str(one) for one in options.generations]
    saved = {f"generations {at}": existing(Path(file), "stage.generations") for at, file in enumerate(files)}
    if not folder.begin(examples=Path(options.examples), model=model_id(options.model), **saved):
        remove_checkpoints(folder.path)
        return folder.manifest or {}
    tokenizer = load_tokenizer(options.model)
    rows = labelled_replies(folder, options.examples, files, task, tokenizer, options.max_length)
    right = sum(row["labels"][0] for row in rows)
    print(f"{folder.path}: {len(rows)} replies, {right:g} correct")
    settings = {
        "learning_rate": options.learning_rate, "num_train_epochs": options.epochs, "max_steps": options.max_steps,
        "per_device_train_batch_size": options.device_batch_size,
        "gradient_accumulation_steps": options.batch_size // options.device_batch_size, "warmup_steps": options.warmup_ratio,
        "save_steps": options.save_steps, "logging_steps": options.logging_steps, "seed": options.seed,
    }  # fmt: skip
    trainer = meta_rm_trainer(folder, options.model, tokenizer, rows, settings)
    steps_done = train(trainer, folder.path)
    save_model(trainer, tokenizer, folder.path)
    manifest = folder.finish(
        model=model_id(options.model), trained=model_id(str(folder / "model")), steps=steps_done, right=right / len(rows)
    )
    remove_checkpoints(folder.path)
    return manifest

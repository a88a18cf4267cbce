"""The training loop of SFT and RL: resuming from complete checkpoints, and metrics as JSON lines."""

from __future__ import annotations

import gc
import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deepcritic.runs.folder import COMPLETE
from deepcritic.runs.jsonl import replacing
from deepcritic.schema import Key, sample_seed
from deepcritic.training.checkpoints import (
    best_of,
    check_checkpoint,
    keep_best,
    last_checkpoint,
    remove_checkpoints,
    save_model,
)
from deepcritic.training.failures import explained, no_number, watch_for_nan
from deepcritic.training.processes import leads, world_size
from deepcritic.training.trl_internals import load_weights, replace_train_sampler

LOG = logging.getLogger(__name__)

__all__ = [
    "best_of",
    "keep_best",
    "last_checkpoint",
    "order_by_epoch",
    "quiet",
    "recorder",
    "remove_checkpoints",
    "save_model",
    "train",
]

SHOWN = ("loss", "reward", "eval_loss", "eval_f1", "eval_maj_f1", "frac_reward_zero_std")
"""Metrics printed on the terminal; `training.jsonl` has all."""
_OF_THIS_START = frozenset({"num_tokens", "eval_num_tokens"})
"""Metrics that TRL restarts from 0 when a run resumes."""


def train(trainer: Any, folder: Path) -> int:
    """Train from the newest complete checkpoint, or from the start, and return the number of steps.

    Raises `InputError` for a checkpoint of another model, and `DeepCriticError` if memory runs out or the loss is not finite.
    """
    from transformers import GenerationConfig

    checkpoint = last_checkpoint(folder)
    if checkpoint is not None:
        check_checkpoint(Path(checkpoint), trainer.accelerator.unwrap_model(trainer.model))
        state = json.loads((Path(checkpoint) / "trainer_state.json").read_text("utf-8"))
        if state["global_step"] >= state["max_steps"]:  # resuming from the last step would train further
            load_weights(trainer, checkpoint)
            if (Path(checkpoint) / "generation_config.json").exists():  # a scorer has none
                trainer.model.generation_config = GenerationConfig.from_pretrained(checkpoint)
            return int(state["global_step"])
    trainer.add_callback(watch_for_nan(trainer))
    gc.collect()
    gc.freeze()  # garbage collection skips what libraries loaded: saves 1 to 2% of small steps
    try:
        with explained(trainer):
            return int(trainer.train(resume_from_checkpoint=checkpoint).global_step)
    finally:
        gc.unfreeze()


def quiet(trainer: Any) -> None:
    """Disable the trainer's own printing (the recorder prints one line instead) and its model card."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)
    trainer.create_model_card = lambda *_, **__: None


def order_by_epoch(trainer: Any, seed: int) -> None:
    """Make the order of rows depend only on `seed` and the epoch, not on the number of processes.

    The samplers of transformers and TRL use a generator that restarts in a resumed run: from the second epoch on, some rows
    would be repeated and others skipped.
    """
    from torch import Generator
    from torch.utils.data import Sampler

    class Ordered(Sampler[int]):
        def __init__(self, inner: Any) -> None:
            self.inner, self.epoch = inner, 0
            if hasattr(inner, "batch_size"):  # rows are grouped by length within this many batches
                inner.batch_size *= world_size()

        def set_epoch(self, epoch: int) -> None:
            self.epoch = epoch

        def __len__(self) -> int:
            return len(self.inner)

        def __iter__(self) -> Iterator[int]:
            self.inner.generator = Generator().manual_seed(
                sample_seed(seed, Key(example_id="order", request="", step=self.epoch))
            )
            return iter(self.inner)

    replace_train_sampler(trainer, lambda theirs: Ordered(theirs()))


def recorder(folder: Path) -> Any:
    """A callback that marks complete checkpoints, writes `training.jsonl` and stops if the loss is not finite.

    After a restart, lines beyond the checkpoint are dropped, so the file equals that of an uninterrupted run.
    """
    from transformers import TrainerCallback

    path = folder / "training.jsonl"

    class Recorder(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
        put_off = False

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.began = time.monotonic()
            if not leads():
                return
            lines = path.read_text("utf-8").splitlines() if path.exists() else []
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= state.global_step]
            with replacing(path) as file:
                file.write("".join(f"{line}\n" for line in kept).encode())

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
            if "train_runtime" in (logs or {}):
                return  # the final summary covers only this start
            values = {
                name: value
                for name, value in (logs or {}).items()
                if isinstance(value, int | float) and name not in _OF_THIS_START
            }
            if not math.isfinite(values.get("loss", 0.0)):
                raise no_number("loss", values["loss"], state.global_step)
            if not leads():
                return
            finite = {name: value for name, value in values.items() if math.isfinite(value)}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"step": state.global_step, **finite}) + "\n")
            shown = {name: values[name] for name in SHOWN if name in values}
            figures = ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
            LOG.info(f"step {state.global_step}/{state.max_steps}, {time.monotonic() - self.began:.0f} s: {figures}")

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            # Save after the evaluation at the end of an epoch: a run resumed in between would skip it.
            ends = control.should_training_stop or state.epoch == int(state.epoch)
            if args.eval_strategy == "epoch" and control.should_save and ends:
                self.put_off, control.should_save = True, False

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.put_off:
                self.put_off, control.should_save = False, True

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if world_size() > 1:  # each process writes a part
                from torch.distributed import barrier

                barrier()
            place = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            if place.is_dir() and leads():
                (place / COMPLETE).touch()

    return Recorder()

"""Errors during training, as one line that says what to change."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

from deepcritic.errors import DeepCriticError
from deepcritic.training.trl_internals import running_loss

_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


@contextlib.contextmanager
def explained(trainer: Any) -> Iterator[None]:
    """Turn an out-of-memory error into one that says what to change."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not any(sign in str(error).lower() for sign in _NO_MEMORY):
            raise
        raise DeepCriticError(
            f"out of memory at step {trainer.state.global_step + 1} of {trainer.state.max_steps}{_used()}; lower "
            f"stage.device_batch_size (now {trainer.args.per_device_train_batch_size}) or the maximum length, set trainer=lora "
            "or trainer.gradient_checkpointing=true, or shard over devices (conf/accelerate/fsdp2.yaml); checkpoints are kept"
        ) from None


def _used() -> str:
    import torch

    if not torch.cuda.is_available():
        return ""
    free, total = torch.cuda.mem_get_info()
    return f" ({(total - free) / 2**30:.1f} of {total / 2**30:.1f} GiB in use)"


def no_number(name: str, value: float, step: int) -> DeepCriticError:
    """The error for a metric that is infinite or NaN."""
    return DeepCriticError(f"the {name} is {value} at step {step}; lower stage.learning_rate or raise stage.warmup_ratio")


def watch_for_nan(trainer: Any) -> Any:
    """A callback that prevents checkpoints of NaN weights, from which a run could not resume."""
    from transformers import TrainerCallback

    class Watching(TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            loss = running_loss(trainer) if control.should_save else 0.0
            if not math.isfinite(loss):
                raise no_number("loss", loss, state.global_step)

    return Watching()

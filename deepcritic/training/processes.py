"""Training in several processes: one of them leads, and all of them see the same weights when they sample.

`accelerate launch` and `torchrun` start one process for each device and say so in the environment. With one process
nothing here does anything.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def world_size() -> int:
    """How many processes train together."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def leads() -> bool:
    """Whether this process is the one that owns the run's folder."""
    return int(os.environ.get("RANK") or 0) == 0


def leader_first(act: Callable[[], T]) -> T:
    """`act()` in every process, the others once the one that leads has done it: they find what it has left."""
    if world_size() == 1:
        return act()
    from accelerate import PartialState

    state = PartialState()
    if not state.is_main_process:
        state.wait_for_everyone()
        return act()
    done = act()
    state.wait_for_everyone()
    return done


def from_all(rows: list[T]) -> list[T]:
    """The rows of every process, in order of the processes; each gets them all."""
    if world_size() == 1:
        return rows
    from accelerate.utils import gather_object

    gathered: list[T] = gather_object(rows)
    return gathered


@contextlib.contextmanager
def whole_weights(trainer: Any) -> Iterator[Any]:
    """The trainer's model as one that can sample: not training, and with weights that other processes hold a part of (FSDP2,
    ZeRO-3) brought together for as long as the block lasts. All processes must enter it."""
    with contextlib.ExitStack() as stack:
        if trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled:
            from trl.models.utils import unwrap_model_for_generation

            model = stack.enter_context(unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator))
        else:
            model = trainer.accelerator.unwrap_model(trainer.model)
        if trainer.is_fsdp_enabled:
            stack.callback(_gather(model))
        training = model.training
        model.eval()
        stack.callback(model.train, training)
        yield model


def _gather(model: Any) -> Callable[[], None]:
    """Bring the parts of an FSDP2 model together; returns what takes them apart again.

    Otherwise each forward would gather them anew, and processes whose replies end sooner would leave the others waiting.
    """
    from torch.distributed.fsdp import FSDPModule

    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()

    def apart() -> None:
        for part in parts:
            part.set_reshard_after_forward(True, recurse=False)
            part.reshard()

    return apart

"""Training in several processes: one leads, and all sample with the same weights.

`accelerate launch` and `torchrun` start one process per device and set environment variables. With one process
these functions do nothing.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

T = TypeVar("T")


def world_size() -> int:
    """The number of training processes."""
    return int(os.environ.get("WORLD_SIZE") or 1)


def rank() -> int:
    """The number of this process, from 0."""
    return int(os.environ.get("RANK") or 0)


def leads() -> bool:
    """Whether this process owns the run folder."""
    return rank() == 0


def leader_first(act: Callable[[], T]) -> T:
    """Call `act()` in every process, first in the leader, so the others find its files."""
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
    """The rows of all processes, ordered by process; every process gets all."""
    if world_size() == 1:
        return rows
    from accelerate.utils import gather_object

    gathered: list[T] = gather_object(rows)
    return gathered


@contextlib.contextmanager
def whole_weights(trainer: Any) -> Iterator[Any]:
    """The trainer's model, ready to sample inside the block: in evaluation mode, with sharded weights (FSDP2, ZeRO-3)
    gathered. All processes must enter it."""
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
    """Gather an FSDP2 model; returns a function that shards it again.

    Otherwise each forward pass would gather it, and processes whose replies end sooner would block the others.
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

"""Memory that runs out and losses that are no numbers: one line, with what to change."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from deepcritic.errors import DeepCriticError
from deepcritic.training.failures import explained, watch_for_nan

torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
TRAINER = SimpleNamespace(
    state=SimpleNamespace(global_step=6, max_steps=90), args=SimpleNamespace(per_device_train_batch_size=4), _tr_loss=1.0
)


def _no_room() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)  # what this machine's own allocator says


def _no_room_on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 12.00 GiB.")


def _no_room_for_python() -> None:
    raise MemoryError


@pytest.mark.parametrize("act", [_no_room, _no_room_on_a_gpu, _no_room_for_python])
def test_out_of_memory(act: Any) -> None:
    said = r"^out of memory at step 7 of 90; lower stage.device_batch_size \(now 4\).*trainer=lora.*fsdp2.yaml.*are kept$"
    with pytest.raises(DeepCriticError, match=said), explained(TRAINER):
        act()


def test_another_error_is_left_as_it_is() -> None:
    with pytest.raises(RuntimeError, match="a shape is wrong"), explained(TRAINER):
        raise RuntimeError("a shape is wrong")


def test_weights_that_are_no_numbers_get_no_checkpoint() -> None:
    for loss, save, stops in ((math.nan, True, True), (math.inf, True, True), (math.nan, False, False), (0.5, True, False)):
        trainer = SimpleNamespace(**{**vars(TRAINER), "_tr_loss": torch.tensor(loss)})
        control = SimpleNamespace(should_save=save)
        if stops:
            with pytest.raises(DeepCriticError, match=r"the loss is (nan|inf) at step 6; lower stage.learning_rate"):
                watch_for_nan(trainer).on_step_end(None, trainer.state, control)
        else:
            watch_for_nan(trainer).on_step_end(None, trainer.state, control)

"""The private members of transformers and TRL that training uses are there, and take what they are called with."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

import deepcritic
from deepcritic.errors import DeepCriticError
from deepcritic.training.trl_internals import (
    LOGPROB_GAP,
    MEMBERS,
    last_advantages,
    last_metric,
    load_weights,
    replace_train_sampler,
    running_loss,
)

CALLS: dict[tuple[str, str], tuple[Any, ...]] = {
    ("Trainer", "_load_from_checkpoint"): ("checkpoint-1",),
    ("Trainer", "_get_train_sampler"): (),
    ("GRPOTrainer", "_get_train_sampler"): (),
    ("GRPOTrainer", "_generate_single_turn"): ([[1]], None, {}, 8),
}
"""The methods, with arguments as they are called."""
FILES = sorted(Path(deepcritic.__file__).parent.rglob("*.py"))


def _class(name: str) -> Any:
    return getattr(importlib.import_module("trl" if name == "GRPOTrainer" else "transformers"), name)


@pytest.mark.parametrize(("name", "member"), [(name, member) for name, members in MEMBERS.items() for member in members])
def test_the_installed_version_has_each_member(name: str, member: str) -> None:
    """A new version of TRL or transformers that fails here has renamed a member: change `trl_internals.py`."""
    kind = _class(name)
    if (name, member) in CALLS:
        assert hasattr(kind, member), f"{name} has lost {member}"
        inspect.signature(getattr(kind, member)).bind(kind, *CALLS[name, member])
    else:  # an attribute that the trainer sets
        assert f"self.{member}" in inspect.getsource(kind), f"{name} has lost {member}"


@pytest.mark.parametrize("text", [f'"{LOGPROB_GAP}"', 'self._logs["advantages"]'])
def test_trl_still_keeps_the_entries_that_are_read(text: str) -> None:
    assert text in inspect.getsource(_class("GRPOTrainer"))


def test_no_other_file_uses_a_private_member_of_a_trainer() -> None:
    names = {member for members in MEMBERS.values() for member in members}
    others = [file for file in FILES if file.name != "trl_internals.py" and "training" in file.parts]
    assert others
    for file in others:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = ast.unparse(node.value)
                private = node.attr.startswith("_") and not node.attr.startswith("__") and owner.endswith("trainer")
                if private or node.attr in names:
                    pytest.fail(f"{file.name}:{node.lineno}: {owner}.{node.attr}")


class _Trainer:
    _tr_loss = 1.5

    def __init__(self) -> None:
        self._metrics = {"train": {"kl": [0.25, 0.5], "none": []}}
        self._logs = {"advantages": (1.0, -1.0, 0.5)}
        self.loaded: list[str] = []

    def _load_from_checkpoint(self, checkpoint: str) -> None:
        self.loaded.append(checkpoint)

    def _get_train_sampler(self, dataset: Any = None) -> list[int]:
        return [0, 1, 2]


def test_values_are_read() -> None:
    trainer = _Trainer()
    assert running_loss(trainer) == 1.5
    assert (last_metric(trainer, "kl"), last_metric(trainer, "none"), last_metric(trainer, "other")) == (0.5, None, None)
    assert last_advantages(trainer, 2) == [1.0, -1.0]
    load_weights(trainer, "checkpoint-7")
    assert trainer.loaded == ["checkpoint-7"]


def test_a_sampler_may_wrap_the_trainers_own() -> None:
    trainer = _Trainer()
    replace_train_sampler(trainer, lambda inner: inner()[::-1])
    assert trainer._get_train_sampler() == trainer._get_train_sampler(None) == [2, 1, 0]


def test_a_member_that_is_gone_is_named_with_the_versions() -> None:
    with pytest.raises(DeepCriticError, match=r"^object has no _tr_loss in trl [\d.]+ .*transformers [\d.]+.*constraints"):
        running_loss(object())

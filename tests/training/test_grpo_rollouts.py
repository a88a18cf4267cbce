"""How groups are drawn and judged, and how those without variance give way to others."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from deepcritic.schema import Gold, Message
from deepcritic.tasks.base import Question
from deepcritic.tasks.first_error import FirstError
from deepcritic.training.grpo_rollouts import RolloutFunction
from deepcritic.training.prompts import Prompt

END, PAD = 900, 901


class Characters:
    """A tokenizer of characters, for an engine that writes what it is told to."""

    pad_token_id = PAD
    eos_token_id = END
    added_tokens_decoder: dict[int, Any] = {}

    def apply_chat_template(self, messages: list[dict[str, str]], **_: Any) -> str:
        return "".join(message["content"] for message in messages) + ">"

    def __call__(self, text: str, **_: Any) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}

    def __len__(self) -> int:
        return sys.maxunicode + 1

    def decode(self, ids: list[int], **_: Any) -> str:
        return "".join(chr(one) for one in ids if one not in (END, PAD))


class Engine:
    """Answers each prompt by what its first letter says: a and b are sometimes right, x never, y always."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.seeds: list[int] = []

    def __call__(self, trainer: Any, prompts: list[list[int]], seeds: list[int]) -> tuple[list[list[int]], None]:
        letters = [chr(prompt[0]) for prompt in prompts]
        self.asked.append(letters)
        self.seeds += seeds
        size = trainer.num_generations
        right = [letter == "y" or (letter in "ab" and at % size == 0) for at, letter in enumerate(letters)]
        return [[ord(letter) for letter in f"\\boxed{{{1 if one else 2}}}"] + [END] for one in right], None


def _prompt(name: str) -> Prompt:
    question = Question(messages=(Message(role="user", content=name),))
    return Prompt(id=name, question=question, gold=Gold(first_error=1), stratum=name[-1])


def _trainer(step: int = 0, group: int = 4) -> Any:
    accelerator = SimpleNamespace(process_index=0, num_processes=1)
    return SimpleNamespace(
        num_generations=group, state=SimpleNamespace(global_step=step), accelerator=accelerator, eos_token_ids=[END]
    )


def _groups(names: list[str], rounds: int) -> RolloutFunction:
    return RolloutFunction([_prompt(name) for name in names], FirstError(), Characters(), Engine(), rounds=rounds, seed=3)


NAMES = ["a1", "a2", "b1", "b2", "x1", "x2", "y1", "y2", "x3", "a3", "b4", "x4"]
"""The letter says how often the model is right, the number is the class."""


def _drawn(groups: RolloutFunction, names: list[str], step: int = 0) -> list[str]:
    groups([name for name in names for _ in range(4)], _trainer(step))
    return [group.prompt.id for group in groups.batch]


def test_a_batch_is_drawn_and_judged() -> None:
    groups = _groups(NAMES, 0)
    told = groups([name for name in ("a1", "x1") for _ in range(4)], _trainer())
    assert told["judged"] == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert told["logprobs"] is None
    assert told["prompt_ids"] == [[ord(letter) for letter in "a1>"]] * 4 + [[ord(letter) for letter in "x1>"]] * 4
    assert [group.varies for group in groups.batch] == [True, False]
    assert all(sample.ended and sample.text.startswith("\\boxed") for group in groups.batch for sample in group.samples)
    assert len(set(groups.engine.seeds)) == 8, "each reply has a seed of its own"  # type: ignore[attr-defined]


def test_without_rounds_what_does_not_vary_stays() -> None:
    assert _drawn(_groups(NAMES, 0), ["x1", "a2", "y1"]) == ["x1", "a2", "y1"]


def test_what_does_not_vary_gives_way_to_its_own_class() -> None:
    groups = _groups(NAMES, 9)
    assert _drawn(groups, ["x1", "a2", "y2"]) in (["a1", "a2", "b2"], ["b1", "a2", "b2"])
    assert len(groups.used) == len(set(groups.used)), "no prompt twice in a step"


def test_the_rounds_are_bounded_and_so_is_the_supply() -> None:
    groups = _groups(["x1", "y1", "a2", "x2", "x3"], 9)
    assert _drawn(groups, ["x1", "x3"]) == ["x1", "x3"], "there is no other that varies"
    assert sorted(groups.used) == ["x1", "x3", "y1"], "class 3 has no other, class 1 one"
    one = _groups(["x1", "x1 1", "y1", "a1"], 1)
    _drawn(one, ["x1"])
    assert len(one.used) == 2


@pytest.mark.parametrize("step", range(4))
def test_the_same_step_draws_the_same_anew(step: int) -> None:
    """As a resumed run must: nothing is kept from step to step."""
    first, second = _groups(NAMES, 3), _groups(NAMES, 3)
    _drawn(second, ["y1", "x4"], step=77)
    assert _drawn(first, ["x1", "y2"], step) == _drawn(second, ["x1", "y2"], step)
    assert first.used == second.used


def test_steps_draw_different_others() -> None:
    names = [f"{letter}{number} 1" for letter in "ab" for number in range(20)] + ["x1"]
    assert len({_drawn(_groups(names, 1), ["x1"], step)[0] for step in range(12)}) > 3

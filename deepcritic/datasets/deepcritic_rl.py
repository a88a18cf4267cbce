r"""The solutions that DeepCritic's authors trained on with RL (DeepCritic-RL-Data), as rows for their trainer, verl.

A row is in verl's layout (its documentation, "Prepare data"): `prompt`, a list of messages; `reward_model`, an object with the
`ground_truth`; and `data_source`, `ability`, `extra_info`. This reader was written without access to the data. It assumes that
the prompt is that of the authors' SFT data (a problem between `<Problem>` tags, a solution between `<Solution>` tags), and that
the ground truth is the first wrong step, from 1, or -1. If it counts from 0, pass `index_base=0`.

    for row in deepcritic_rl.read("Keven16/DeepCritic-RL-Data"): ...
"""

from __future__ import annotations

import re
from typing import Any, Final

from deepcritic.datasets.base import reader
from deepcritic.datasets.deepcritic_sft import problem_and_steps
from deepcritic.datasets.fields import first_error_of, take
from deepcritic.datasets.reading import Record
from deepcritic.errors import InputError
from deepcritic.schema import Example, Gold, Item, content_id

SOURCE: Final = "deepcritic-rl-data"


def _example(record: Record, *, index_base: int = 1) -> Example:
    """The solutions with their labels. A row in another layout raises `InputError` with the field that differs."""
    asked = [message for message in take(record, "prompt", list) if isinstance(message, dict) and message.get("role") == "user"]
    if not asked:
        raise InputError("no user message", field="prompt", found=record["prompt"], expected='[{"role": "user", "content": ...}]')
    problem, steps = problem_and_steps(take(asked[-1], "content", str), "prompt")
    reward = take(record, "reward_model", dict)
    if "ground_truth" not in reward:
        raise InputError("the field is missing", field="reward_model.ground_truth", expected="the first wrong step, or -1")
    first = _first_error(reward["ground_truth"], len(steps), index_base)
    item = Item(problem=problem, steps=steps)
    return Example(id=content_id(SOURCE, problem, steps), item=item, gold=Gold(first_error=first), source=SOURCE)


def _first_error(truth: Any, steps: int, index_base: int) -> int:
    field = "reward_model.ground_truth"
    number = int(truth) if isinstance(truth, str) and re.fullmatch(r"\s*-?\d{1,6}\s*", truth) else truth
    if not isinstance(number, int) or isinstance(number, bool):
        expected = f"{index_base} to {steps - 1 + index_base}, or -1 for none"
        raise InputError("the label is outside the steps", field=field, found=truth, expected=expected)
    return first_error_of(number, steps, index_base, field)


read = reader(_example)

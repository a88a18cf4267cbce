"""A task's reward in the shape that RL trainers ask for. The reward itself is the task's, and so cannot drift from the metric.

For TRL, `reward_funcs=judgment_reward` with a data set that has a column `first_error`:

>>> judgment_reward([[{"role": "assistant", "content": "Step 2 adds wrongly. \\\\boxed{2}"}], "no verdict"], first_error=[2, 2])
[1.0, 0.0]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from deepcritic.rows import Gold
from deepcritic.tasks import CriticTask
from deepcritic.tasks.first_error import FirstError

Completion = str | Sequence[dict[str, str]]


def judgment_reward(completions: Sequence[Completion], first_error: Sequence[int], **_: Any) -> list[float]:
    """DeepCritic's reward (arXiv 2505.00662): 1 if the judged step is the labelled one, else 0; unreadable is 0."""
    return reward_of(FirstError())(completions, first_error)


def reward_of(task: CriticTask[Any]) -> Callable[..., list[float]]:
    """The reward of any task, as a function of completions and the gold first errors of their prompts."""

    def judgment(completions: Sequence[Completion], first_error: Sequence[int], **_: Any) -> list[float]:
        pairs = zip(completions, first_error, strict=True)
        return [task.reward(task.parse(reply_text(reply)), Gold(first_error=gold)) for reply, gold in pairs]

    return judgment


def reply_text(completion: Completion) -> str:
    """The text of a completion, which TRL gives as a string or as a list of messages."""
    return completion if isinstance(completion, str) else completion[-1]["content"]

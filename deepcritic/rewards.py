"""A task's reward in the shape that RL trainers ask for. The reward itself is the task's, and so cannot drift from the metric.

For TRL, `reward_funcs=judgment_reward` with a data set that has a column `first_error`:

>>> judgment_reward([[{"role": "assistant", "content": "Step 2 adds wrongly. \\\\boxed{2}"}], "no verdict"], first_error=[2, 2])
[1.0, 0.0]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from deepcritic.errors import InputError
from deepcritic.schema import Gold
from deepcritic.tasks.base import CriticTask
from deepcritic.tasks.first_error import FirstError

Completion = str | Sequence[dict[str, str]]


def judgment_reward(completions: Sequence[Completion], first_error: Sequence[int], **_: Any) -> list[float]:
    """DeepCritic's reward (arXiv 2505.00662): 1 if the judged step is the labelled one, else 0; unreadable is 0."""
    return reward_of(FirstError())(completions, [Gold(first_error=label) for label in first_error])


def compute_score(
    data_source: str, solution_str: str, ground_truth: int | str, extra_info: Mapping[str, Any] | None = None, **_: Any
) -> float:
    """The same reward for verl: `custom_reward_function.path` is this file, `custom_reward_function.name` compute_score.

    `ground_truth` is the first wrong step, counted from 1, or -1, as a number or its text; `data_source` and `extra_info` do not
    matter. Raises `InputError` for another ground truth: that is a fault of the data, and no reward. `examples/verl_grpo.sh`
    is a whole command.

    >>> compute_score("deepcritic", "Step 2 adds wrongly. \\\\boxed{2}<|im_end|>", "2", {"index": 7})
    1.0
    """
    text = str(ground_truth).strip()
    if not re.fullmatch(r"-1|[1-9]\d{0,5}", text):
        raise InputError(
            "no first wrong step", field="ground_truth", found=ground_truth, expected="a number from 1, or -1 for none"
        )
    (reward,) = judgment_reward([solution_str], [int(text)])
    return reward


def reward_of(task: CriticTask[Any]) -> Callable[..., list[float]]:
    """The reward of any task, as a function of replies, the gold of their prompts, and what `ask` said of each (`context`)."""

    def judgment(
        completions: Sequence[Completion], gold: Sequence[Any], context: Sequence[Any] | None = None, **_: Any
    ) -> list[float]:
        told = zip(completions, gold, context or [None] * len(completions), strict=True)
        return [task.reward(task.parse(reply_text(reply), known), truth) for reply, truth, known in told]

    return judgment


def reply_text(completion: Completion) -> str:
    """The text of a completion, which TRL gives as a string or as a list of messages."""
    return completion if isinstance(completion, str) else completion[-1]["content"]


class Critiques(Protocol):
    """What `CriticReward` needs of `deepcritic.Critic`."""

    def critique_many(self, pairs: Iterable[tuple[str, str]], /) -> Iterator[Any]: ...


class CriticReward:
    r"""What a critic says of a solution, as the reward of the generator that wrote it: TRL's `reward_funcs=CriticReward(critic)`.

    The problem is in the data set's column `problem`, else the prompt itself. The reward is the share of the critic's
    readable votes that find every step right: 0 to 1, and 0 for an empty completion. None, which TRL leaves out of the
    group, where no vote is readable or the engine did not deliver.

    >>> from deepcritic import Critic
    >>> from deepcritic.samplers.scripted import ScriptedSampler
    >>> votes = ["\\boxed{-1}", "\\boxed{1}", "\\boxed{-1}", "no verdict"]
    >>> reward = CriticReward(Critic(sampler=ScriptedSampler(lambda request, sample: votes[sample]), samples=4))
    >>> [round(value, 2) for value in reward(["What is 1 + 1?"] * 2, ["1 + 1 = 2", ""])]
    [0.67, 0.0]
    """

    __name__ = "critic"

    def __init__(self, critic: Critiques) -> None:
        self.critic = critic

    def __call__(
        self, prompts: Sequence[Completion], completions: Sequence[Completion], problem: Sequence[str] | None = None, **_: Any
    ) -> list[float | None]:
        """A reward for each completion, in their order; further columns of the data set are not looked at."""
        problems = [reply_text(prompt) for prompt in prompts] if problem is None else problem
        texts = [reply_text(completion) for completion in completions]
        pairs = zip(problems, texts, strict=True)
        found = zip(texts, self.critic.critique_many(pairs), strict=True)
        return [critique.acceptance if text.strip() else 0.0 for text, critique in found]

"""A task's reward as a function for RL trainers, consistent with the task's metric.

For TRL, use `reward_funcs=judgment_reward` and a data set with a column `first_error`:

>>> judgment_reward([[{"role": "assistant", "content": "Step 2 adds wrongly. \\\\boxed{2}"}], "no verdict"], first_error=[2, 2])
[1.0, 0.0]
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, Gold
from deepcritic.tasks.base import CriticTask
from deepcritic.tasks.first_error import FirstError

Completion = str | Mapping[str, Any] | Sequence[Mapping[str, Any]] | None
"""A reply in a trainer's format: a text, a message, or a conversation that ends with it. Content: a text, parts, or None."""
Label = int | str
"""The first wrong step, numbered from 1, or -1 if every step is right, as a number or its text."""


def judgment_reward(completions: Sequence[Completion], first_error: Sequence[Label], **_: Any) -> list[float]:
    """DeepCritic's reward (arXiv 2505.00662): 1 if the judged step is the labelled one, else 0; an unparsed reply earns 0.

    Raises `InputError` for a label that names no step: that is an error in the data, not a reward of 0.
    """
    gold = [Gold(first_error=read_label(label, f"first_error[{place}]")) for place, label in enumerate(first_error)]
    return reward_of(FirstError())(completions, gold)


def compute_score(
    data_source: str, solution_str: Completion, ground_truth: Label, extra_info: Mapping[str, Any] | None = None, **_: Any
) -> float:
    """The same reward for verl: `custom_reward_function.path` is this file, `custom_reward_function.name` compute_score.

    `ground_truth` is the label; `data_source` and `extra_info` are ignored. `examples/verl_grpo.sh` is a complete command.

    >>> compute_score("deepcritic", "Step 2 adds wrongly. \\\\boxed{2}<|im_end|>", "2", {"index": 7})
    1.0
    """
    label = read_label(ground_truth, "ground_truth")
    (reward,) = judgment_reward([solution_str], [label])
    return reward


def read_label(value: Any, field: str) -> int:
    """The label in `value`: a whole number of any integer type, or its text.

    Raises `InputError` for anything else: 0, None, NaN, other numbers and texts.
    """
    label = value.strip() if isinstance(value, str) else value
    if isinstance(label, str) and re.fullmatch(r"-1|[1-9][0-9]{0,5}", label):
        return int(label)
    if not isinstance(label, str | bool) and hasattr(label, "__index__"):
        number = operator.index(label)
        if number == ALL_CORRECT or 1 <= number < 10**6:
            return number
    raise InputError("not a first wrong step", field=field, found=value, expected="a whole number from 1, or -1 for none")


def reward_of(task: CriticTask[Any]) -> Callable[..., list[float]]:
    """The reward of any task, as a function of replies, the gold of their prompts, and the `context` that `ask` returned."""

    def judgment(
        completions: Sequence[Completion], gold: Sequence[Any], context: Sequence[Any] | None = None, **_: Any
    ) -> list[float]:
        if isinstance(completions, str) or len(completions) != len(gold):
            found = "one text" if isinstance(completions, str) else len(completions)
            expected = f"a list of {len(gold)}, one for each label"
            raise InputError("not one reply for each label", field="completions", found=found, expected=expected)
        told = zip(completions, gold, context or [None] * len(completions), strict=True)
        return [task.reward(task.parse(reply_text(reply), known), truth) for reply, truth, known in told]

    return judgment


def reply_text(completion: Completion) -> str:
    """The text of a completion, or of the last message of a conversation. An empty or missing one is an empty reply.

    >>> reply_text([{"role": "assistant", "content": [{"type": "text", "text": "Step 2 "}, {"type": "text", "text": "is off."}]}])
    'Step 2 is off.'
    >>> reply_text([]), reply_text(None), reply_text([{"role": "assistant", "content": None}])
    ('', '', '')
    """
    if completion is None or isinstance(completion, str):
        return completion or ""
    messages: Sequence[Mapping[str, Any]] = [completion] if isinstance(completion, Mapping) else completion
    if not isinstance(messages, Sequence):
        raise InputError("no reply", field="completions", found=completion, expected="a text, or a list of messages")
    content = messages[-1].get("content") if len(messages) else None
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part if isinstance(part, str) else str(part.get("text") or "") for part in content)


class Critiques(Protocol):
    """The part of `deepcritic.Critic` that `CriticReward` uses."""

    def critique_many(self, pairs: Iterable[tuple[str, str]], /) -> Iterator[Any]: ...


class CriticReward:
    r"""A critic's verdict on a solution as the reward of its generator: TRL's `reward_funcs=CriticReward(critic)`.

    The problem is the data set's column `problem`, else the prompt. The reward is the share of the critic's readable votes that
    find every step right: 0 to 1, and 0 for an empty completion. It is None, which TRL leaves out of the group, if no vote is
    readable or the engine gave no reply.

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
        """A reward per completion, in order. Other columns of the data set are ignored."""
        problems = [reply_text(prompt) for prompt in prompts] if problem is None else problem
        texts = [reply_text(completion) for completion in completions]
        pairs = zip(problems, texts, strict=True)
        found = zip(texts, self.critic.critique_many(pairs), strict=True)
        return [critique.acceptance if text.strip() else 0.0 for text, critique in found]

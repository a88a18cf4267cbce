"""A critic service as the reward of a generator: TRL's `reward_funcs=service_reward(["http://host:8765"])`.

The function is asynchronous, so TRL runs it concurrently with other rewards. A reward is None, which TRL leaves out, if the
critic gave no readable verdict or did not answer: a missing reply is never a score.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from deepcritic.errors import InputError
from deepcritic.rewards import Completion, reply_text
from deepcritic.samplers.servers.critics import ServiceClient
from deepcritic.schema import ALL_CORRECT

Reward = Callable[..., Coroutine[Any, Any, list[float | None]]]
PER = ("solution", "step")


def service_reward(
    urls: str | Sequence[str], *, per: str = "step", samples: int | None = None, patience: float = 600.0
) -> Reward:
    """A reward function that calls the services at `urls`: 0 to 1 per completion.

    `per="solution"`: the share of the critic's votes that find every step right. `per="step"`: the mean over steps of the share
    of votes that find a step and all before it right, so that a later first error earns more. `samples` is the number of
    critiques that vote (None: the service's default). An empty completion earns 0. The problem is the data set's column
    `problem`, else the prompt.

    Raises `InputError` for any other `per`.
    """
    if per not in PER:
        raise InputError("no such reward", field="per", found=per, expected=" or ".join(PER))

    async def critic(
        prompts: Sequence[Completion], completions: Sequence[Completion], problem: Sequence[str] | None = None, **_: Any
    ) -> list[float | None]:
        problems = [reply_text(prompt) for prompt in prompts] if problem is None else list(problem)
        texts = [reply_text(completion) for completion in completions]
        asked = [index for index, text in enumerate(texts) if text.strip()]
        more = {} if samples is None else {"samples": samples}
        bodies = [{"problem": problems[index], "solution": texts[index], **more} for index in asked]

        def ask() -> list[float | None]:
            rewards: list[float | None] = [0.0] * len(texts)
            with ServiceClient(urls, patience=patience) as client:
                for answer in client.critiques(bodies):
                    rewards[asked[answer.number]] = None if answer.found is None else share(answer.found, per)
            return rewards

        return await asyncio.to_thread(ask)

    return critic


def share(found: dict[str, Any], per: str) -> float | None:
    """The reward for one critique, in the service's format. None without a vote.

    >>> found = {"steps": ["a", "b"], "votes": {"-1": 1.0, "2": 1.0}, "acceptance": 0.5}
    >>> share(found, "solution"), share(found, "step")
    (0.5, 0.75)
    """
    if per == "solution" or found["acceptance"] is None:
        return None if found["acceptance"] is None else float(found["acceptance"])
    steps = len(found["steps"])
    votes = {int(verdict): count for verdict, count in found["votes"].items()}
    earned = sum(count * (steps if verdict == ALL_CORRECT else verdict - 1) for verdict, count in votes.items())
    whole: float = steps * sum(votes.values())
    return float(earned / whole)

"""A critic behind the service as verl's reward of a *generator*: the critic reads each solution, and no reference answer is used.

    python -m deepcritic serve model=CRITIC &
    DEEPCRITIC_URLS=http://127.0.0.1:8765 python -m verl.trainer.main_ppo ... \\
        custom_reward_function.path=examples/verl_critic_reward.py custom_reward_function.name=compute_score

The problem is in `extra_info["problem"]`. The reward is the mean over steps of the share of votes that find a step and all
earlier ones right. Raises `RuntimeError` if the critic gives none: verl then stops instead of training on an invented number.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from deepcritic.service.reward import service_reward


async def compute_score(
    data_source: str, solution_str: str, ground_truth: Any = None, extra_info: Mapping[str, Any] | None = None, **_: Any
) -> float:
    """The reward of one solution, 0 to 1. verl awaits the rewards of a batch concurrently."""
    urls = os.environ.get("DEEPCRITIC_URLS", "http://127.0.0.1:8765").split(",")
    (reward,) = await service_reward(urls, per="step")([""], [solution_str], problem=[(extra_info or {})["problem"]])
    if reward is None:
        raise RuntimeError("the critic gives no verdict")
    return reward

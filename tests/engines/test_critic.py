"""A critic as an object on a Ray cluster: inside a task of Ray's own, and with an engine on each machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepcritic import Critic, Critique
from deepcritic.tasks.first_error import FirstError

PROBLEM, STEPS = "Mod ten, from 7:\n1)*1\n2)-1\n3)-7\n4)+2", ("7*1=7", "7-1=6", "6-7=9", "9+2=2\n\\boxed{2}")
TASK = FirstError("deepcritic://microworld/templates/critique.txt")
ASKED: dict[str, Any] = {"samples": 4, "max_tokens": 96, "task": TASK}
HERE = {**ASKED, "device": "cpu", "dtype": "float32"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray", reason="needs Ray: scripts/test engines")
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def here(critic_model: Path) -> Critique:
    with Critic(str(critic_model), **HERE) as critic:
        found = critic.critique(PROBLEM, STEPS)
    assert found.votes, "the small critic gives verdicts"
    return found


def test_a_critic_travels_into_a_task(cluster: Any, critic_model: Path, here: Critique) -> None:
    def ask(critic: Critic) -> Critique:
        return critic.critique(PROBLEM, STEPS)

    critic = Critic(str(critic_model), **HERE)
    task = cluster.remote(ask)
    assert cluster.get([task.remote(critic), task.remote(critic)]) == [here, here]


def test_an_engine_of_the_cluster_by_its_name(cluster: Any, critic_model: Path, here: Critique) -> None:
    with Critic(str(critic_model), sampler="ray", engine="transformers", actors=1, cpus=0.5, **ASKED) as critic:
        found = critic.critique(PROBLEM, STEPS)
    assert (found.failed, found.steps, sum(found.votes.values()) + found.unparsed) == (0, here.steps, 4)

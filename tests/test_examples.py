"""The examples run as they stand, each as a program of its own, on the models that the package ships."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from deepcritic import Critic
from deepcritic.rewards import CriticReward
from deepcritic.rows import ALL_CORRECT
from deepcritic.samplers.scripted import ScriptedSampler

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "says"),
    [("better_answers", "first wrong step: "), ("filter_dataset", "features: ['problem', 'solution', 'first_error'"),
     ("generator_reward", "[")],
)  # fmt: skip
def test_an_example(name: str, says: str, tmp_path: Path) -> None:
    for package in ("torch", "trl", "datasets"):
        pytest.importorskip(package, reason=f"the examples need {package}: pip install deepcritic[train]")
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert any(line.strip().startswith(says) for line in done.stdout.splitlines()), done.stdout


def test_the_critics_reward_is_its_share_of_acceptance() -> None:
    replies = ["\\boxed{-1}", "\\boxed{-1}", "\\boxed{1}", "hm"]
    reward = CriticReward(Critic(sampler=ScriptedSampler(lambda _, sample: replies[sample]), samples=4))
    completion = [{"role": "assistant", "content": "Step 1: 1 + 1 = 2"}]
    prompt = [{"role": "user", "content": "1 + 1?"}]
    assert reward([prompt, "1 + 1?"], [completion, "Step 1: 2"]) == pytest.approx([2 / 3, 2 / 3])
    assert reward.__name__ == "critic"


@pytest.mark.parametrize("script", ["who knows", lambda *_: None])
def test_no_verdict_is_no_reward(script: object) -> None:
    reward = CriticReward(Critic(sampler=ScriptedSampler(script), samples=2))  # type: ignore[arg-type]
    assert reward(["1 + 1?"], ["Step 1: 2"]) == [None]
    assert reward(["1 + 1?"], [""]) == [None], "a completion without any step is not asked about"


def test_the_problem_may_stand_in_a_column_of_its_own() -> None:
    seen: list[str] = []
    sampler = ScriptedSampler(lambda request, _: seen.append(request.messages[-1].content) or f"\\boxed{{{ALL_CORRECT}}}")  # type: ignore[func-returns-value]
    rewards = CriticReward(Critic(sampler=sampler, samples=1))(["Solve: 1 + 1?"], ["Step 1: 2"], problem=["1 + 1?"])
    assert rewards == [1.0]
    assert "Solve:" not in seen[0]

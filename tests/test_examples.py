"""The examples run as they stand, each as a program of its own, on the models that the package ships."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from deepcritic import Critic
from deepcritic.microworld.source import written
from deepcritic.rewards import CriticReward
from deepcritic.runs.jsonl import write_rows
from deepcritic.samplers.scripted import ScriptedSampler
from deepcritic.schema import ALL_CORRECT

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def needs(package: str, extra: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"the example needs {package}: pip install deepcritic[{extra}]")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "package", "extra", "says"),
    [("better_answers", "torch", "train", "first wrong step: "),
     ("filter_dataset", "datasets", "train", "features: ['problem', 'solution', 'first_error'"),
     ("generator_reward", "trl", "train", "["),
     ("inspect_scorer", "inspect_ai", "inspect", "{'accepted': 0.0}"),
     ("verifiers_environment", "verifiers", "verifiers", "{'judgment': Reward(score=1.0"),
     ("verifiers_judge", "verifiers", "verifiers", "{'accepted': Reward(score=0.0")],
)  # fmt: skip
def test_an_example(name: str, package: str, extra: str, says: str, tmp_path: Path) -> None:
    needs("torch", "train")
    needs(package, extra)
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    assert any(says in line for line in done.stdout.splitlines()), done.stdout


@pytest.mark.slow
def test_the_whole_recipe_in_one_file_runs_and_resumes(tmp_path: Path) -> None:
    needs("trl", "train")
    command = [sys.executable, str(EXAMPLES / "train_critic.py"), "--fast"]
    said = []
    for _ in range(2):  # the second time every stage is finished
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        said.append([line for line in done.stdout.splitlines() if ": F1 " in line])
    assert [line.partition(":")[0] for line in said[0]] == ["base", "sft", "rl"]
    assert said[0] == said[1]
    assert (tmp_path / "runs" / "train_critic" / "rl" / "model" / "model.safetensors").is_file()


@pytest.mark.slow
def test_a_generator_learns_from_the_service_as_from_the_outcome(tmp_path: Path) -> None:
    """Small: that both rewards train it, through TRL's asynchronous reward, and that everything is compared in pairs."""
    needs("trl", "train")
    needs("fastapi", "service")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    words = ["--steps", "1", "--tested", "24", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(
        [sys.executable, EXAMPLES / "train_generator.py", *words], cwd=tmp_path, capture_output=True, text=True, timeout=600,
        check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["samples"] == 128
    assert "rewards/critic/mean" in done.stdout
    assert "rewards/outcome_reward/mean" in done.stdout
    for name in ("before", "critic", "outcome"):
        mean, low, high = found[name]
        assert 0 <= low <= mean <= high <= 100
    assert found["critic - outcome"][0] == pytest.approx(found["critic"][0] - found["outcome"][0], abs=0.11)


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
    assert reward([""], ["Step 1: 2"]) == [None], "a row without a problem is not the generator's fault"


def test_an_empty_completion_earns_nothing_and_is_not_asked_about() -> None:
    sampler = ScriptedSampler(lambda *_: pytest.fail("there is nothing to ask"))
    assert CriticReward(Critic(sampler=sampler, samples=2))(["1 + 1?"] * 2, ["", " \n"]) == [0.0, 0.0]


VERDICTS = [("\\boxed{-1}", 1.0), ("\\boxed{1}", 0.0), ("who knows", None)]


@pytest.mark.parametrize(("reply", "value"), VERDICTS)
def test_the_score_in_inspect(reply: str, value: float | None) -> None:
    needs("inspect_ai", "inspect")
    from inspect_ai.scorer import Target

    score = runpy.run_path(str(EXAMPLES / "inspect_scorer.py"))["accepted"](Critic(sampler=ScriptedSampler(reply), samples=2))
    state = SimpleNamespace(input_text="1 + 1?", output=SimpleNamespace(completion="Step 1: 1 + 1 = 2"))
    found = asyncio.run(score(state, Target("")))
    if value is None:
        assert math.isnan(found.value)
        assert found.reason == "no readable verdict"
    else:
        assert found.value == value
    state.output.completion = " "
    assert asyncio.run(score(state, Target(""))).value == 0.0


@pytest.mark.parametrize(("reply", "value"), VERDICTS)
def test_the_judge_in_verifiers(reply: str, value: float | None) -> None:
    needs("verifiers", "verifiers")
    example = SimpleNamespace(**runpy.run_path(str(EXAMPLES / "verifiers_judge.py")))
    judge = example.CriticJudge(Critic(sampler=ScriptedSampler(reply), samples=2))
    task = example.Solve(example.vf.TaskData(prompt="1 + 1?"), judge)
    trace = example.rollout(task, "Step 1: 1 + 1 = 2")
    if value is None:
        with pytest.raises(example.vf.TaskError, match="no readable verdict"):
            asyncio.run(task.score(trace))
        assert trace.rewards == {"accepted": None}, "not scored, and not 0"
    else:
        asyncio.run(task.score(trace))
        assert trace.reward == value


def test_verifiers_finds_the_taskset_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs("verifiers", "verifiers")
    from verifiers.v1.utils.loaders import load_taskset, taskset_config_type

    rows = list(written(split="train", count=3, seed=0, lengths=(3, 4)))
    write_rows(tmp_path / "labelled.jsonl", rows)
    monkeypatch.syspath_prepend(EXAMPLES)
    config = taskset_config_type("verifiers_environment")(id="verifiers_environment", path=str(tmp_path / "labelled.jsonl"))
    tasks = list(load_taskset(config))
    assert [(one.data.id, one.data.first_error) for one in tasks] == [(row.id, row.gold.first_error) for row in rows]
    assert all(row.item.steps[0] in one.data.prompt_text for one, row in zip(tasks, rows, strict=True))


def test_the_problem_may_stand_in_a_column_of_its_own() -> None:
    seen: list[str] = []
    sampler = ScriptedSampler(lambda request, _: seen.append(request.messages[-1].content) or f"\\boxed{{{ALL_CORRECT}}}")  # type: ignore[func-returns-value]
    rewards = CriticReward(Critic(sampler=sampler, samples=1))(["Solve: 1 + 1?"], ["Step 1: 2"], problem=["1 + 1?"])
    assert rewards == [1.0]
    assert "Solve:" not in seen[0]

"""A critic behind the service as a reward: in TRL's form, in verl's, and as a judge of NeMo Gym."""

from __future__ import annotations

import asyncio
import runpy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from deepcritic.critic import Critic
from deepcritic.errors import InputError
from deepcritic.samplers.base import Request
from deepcritic.samplers.scripted import ScriptedSampler
from tests.service.conftest import Serve

pytest.importorskip("fastapi", reason="needs the service: pip install deepcritic[service]")
from deepcritic.service.reward import service_reward

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PROBLEM, SOLUTION = "What is 1 + 1 + 3?", "Step 1: 1 + 1 = 2\nStep 2: 2 + 3 = 6"
VOTES = ["\\boxed{-1}", "\\boxed{2}", "no verdict", "\\boxed{2}"]


def _critic(script: Any = lambda request, sample: VOTES[sample]) -> Critic:
    return Critic(sampler=ScriptedSampler(script), samples=4)


def _example(name: str) -> Any:
    return SimpleNamespace(**runpy.run_path(str(EXAMPLES / f"{name}.py")))


@pytest.mark.parametrize(("per", "value"), [("solution", 1 / 3), ("step", (1 + 0.5 + 0.5) / 3)])
def test_in_trls_form(serve: Serve, per: str, value: float) -> None:
    with serve(_critic()) as url:
        prompt, completion = [{"role": "user", "content": PROBLEM}], [{"role": "assistant", "content": SOLUTION}]
        rewards = asyncio.run(service_reward(url, per=per)([prompt] * 3, [completion, " ", completion], answer=[1, 2, 3]))
    assert rewards == [pytest.approx(value), 0.0, pytest.approx(value)]


def test_no_verdict_and_no_service_are_no_reward(serve: Serve) -> None:
    with serve(_critic("who knows")) as url:
        assert asyncio.run(service_reward(url)([PROBLEM], [SOLUTION])) == [None]
    assert asyncio.run(service_reward(url, patience=0.2)([PROBLEM], [SOLUTION])) == [None]


def test_the_problem_may_stand_in_a_column_of_its_own(serve: Serve) -> None:
    seen: list[str] = []

    def script(request: Request, sample: int) -> str:
        seen.append(request.messages[-1].content)
        return "\\boxed{-1}"

    with serve(_critic(script)) as url:
        assert asyncio.run(service_reward(url, samples=1)(["Solve this."], [SOLUTION], problem=[PROBLEM])) == [1.0]
    assert len(seen) == 1
    assert PROBLEM in seen[0]
    assert "Solve this." not in seen[0]


def test_a_reward_that_there_is_not() -> None:
    with pytest.raises(InputError, match="solution or step"):
        service_reward("http://127.0.0.1:1", per="token")


def test_in_verls_form(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    compute_score = _example("verl_critic_reward").compute_score
    with serve(_critic()) as url:
        monkeypatch.setenv("DEEPCRITIC_URLS", url)
        found = asyncio.run(compute_score("math", SOLUTION, "5", {"problem": PROBLEM, "index": 3}))
    assert found == pytest.approx(2 / 3)
    with serve(_critic("who knows")) as url:
        monkeypatch.setenv("DEEPCRITIC_URLS", url)
        with pytest.raises(RuntimeError, match="no verdict"):
            asyncio.run(compute_score("math", SOLUTION, "5", {"problem": PROBLEM}))


ROLLOUT = {
    "responses_create_params": {"input": [{"role": "system", "content": "Solve."}, {"role": "user", "content": PROBLEM}]},
    "response": {
        "id": "r1",
        "output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "\\boxed{7}"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": SOLUTION}]},
        ],
    },
    "uuid": "row-7",
}


def test_as_a_judge_of_nemo_gym(serve: Serve) -> None:
    example = _example("nemo_gym_judge")
    with serve(_critic()) as url:
        answer = _post(example.create_app(url), ROLLOUT)
    assert answer.status_code == 200
    assert answer.json() == {**ROLLOUT, "reward": pytest.approx(1 / 3)}
    with serve(_critic("who knows")) as url:
        assert _post(example.create_app(url), ROLLOUT).status_code == 503


def test_as_a_scorer_of_inspect(serve: Serve) -> None:
    pytest.importorskip("inspect_ai", reason="needs Inspect AI: pip install deepcritic[inspect]")
    from inspect_ai.scorer import Target

    accepted = _example("inspect_scorer").accepted
    state = SimpleNamespace(input_text=PROBLEM, output=SimpleNamespace(completion=SOLUTION))
    with serve(_critic()) as url, Critic(urls=[url], samples=4) as critic:
        assert asyncio.run(accepted(critic)(state, Target(""))).value == pytest.approx(1 / 3)
    with serve(_critic("who knows")) as url, Critic(urls=[url], samples=4) as critic:
        assert asyncio.run(accepted(critic)(state, Target(""))).reason == "no readable verdict"


def test_as_a_judge_of_verifiers(serve: Serve) -> None:
    pytest.importorskip("verifiers", reason="needs verifiers: pip install deepcritic[verifiers]")
    example = _example("verifiers_judge")
    with serve(_critic()) as url, Critic(urls=[url], samples=4) as critic:
        task = example.Solve(example.vf.TaskData(prompt=PROBLEM), example.CriticJudge(critic))
        trace = example.rollout(task, SOLUTION)
        asyncio.run(task.score(trace))
    assert trace.reward == pytest.approx(1 / 3)


def _post(app: Any, body: dict[str, Any]) -> httpx.Response:
    async def post() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gym") as client:
            return await client.post("/verify", json=body)

    return asyncio.run(post())

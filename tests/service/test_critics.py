"""The client of a service against real ones: what it asks for again, what it gives up, and that every pair gets one answer."""

from __future__ import annotations

import collections
import copy
import threading
import time
from typing import Any

import pytest

from deepcritic.critic import Critic
from deepcritic.errors import InputError, UsageError
from deepcritic.samplers.base import Request
from deepcritic.samplers.scripted import ScriptedSampler
from deepcritic.samplers.servers.critics import ServiceClient
from deepcritic.service.limits import Limits
from tests.service.conftest import Serve


def _critic(script: Any = "\\boxed{1}") -> Critic:
    return Critic(sampler=ScriptedSampler(script), samples=1)


def _bodies(count: int) -> list[dict[str, Any]]:
    return [{"problem": f"What is {number} + 1?", "steps": ["a"]} for number in range(count)]


def test_every_body_gets_one_answer(serve: Serve) -> None:
    with serve(_critic()) as url, ServiceClient(url, concurrency=16) as client:
        answers = list(client.critiques(_bodies(200)))
        assert client.model() == "scripted"
    assert sorted(answer.number for answer in answers) == list(range(200))
    assert {answer.found["first_error"] for answer in answers if answer.found} == {1}


def test_a_full_queue_is_waited_for(serve: Serve) -> None:
    def script(request: Request, sample: int) -> str:
        time.sleep(0.005)
        return "\\boxed{1}"

    with serve(_critic(script), limits=Limits(queue=2, retry_after=0)) as url, ServiceClient(url, concurrency=32) as client:
        answers = list(client.critiques(_bodies(100)))
    assert collections.Counter(bool(answer.found) for answer in answers) == {True: 100}


def test_what_a_dead_service_was_asked_goes_to_another(serve: Serve) -> None:
    asked = threading.Event()

    def script(request: Request, sample: int) -> str:
        asked.set()
        time.sleep(0.002)
        return "\\boxed{1}"

    with serve(_critic(script)) as first:
        context = serve(_critic(script))
        second = context.__enter__()
        with ServiceClient([first, second], concurrency=8, patience=20) as client:
            stream = client.critiques(_bodies(300))
            answers = [next(stream)]
            context.__exit__(None, None, None)
            answers += stream
    assert sorted(answer.number for answer in answers) == list(range(300))
    assert all(answer.found for answer in answers)


def test_no_service_at_all_is_a_note_and_never_a_verdict() -> None:
    with ServiceClient("http://127.0.0.1:9", patience=0.3) as client:
        (answer,) = client.critiques(_bodies(1))
        with pytest.raises(InputError, match="no service answers"):
            client.model()
    assert answer.found is None
    assert answer.note.startswith("unreachable: http://127.0.0.1:9")


def test_the_key_comes_from_the_environment(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(_critic(), key="right") as url:
        monkeypatch.setenv("DEEPCRITIC_API_KEY", "wrong")
        with ServiceClient(url) as client, pytest.raises(InputError, match="DEEPCRITIC_API_KEY"):
            list(client.critiques(_bodies(1)))
        monkeypatch.setenv("DEEPCRITIC_API_KEY", "right")
        with ServiceClient(url) as client:
            assert next(client.critiques(_bodies(1))).found


@pytest.mark.parametrize("urls", ["", "host:8000", ["ftp://host"], []])
def test_an_address_is_checked_at_once(urls: Any) -> None:
    with pytest.raises(InputError, match="not a base URL"):
        ServiceClient(urls)


def test_a_critic_behind_a_service_says_what_it_says_in_the_process(serve: Serve) -> None:
    def script(request: Request, sample: int) -> str:
        return f"\\boxed{{{(-1, 1, 2)[request.seeds[sample] % 3]}}}"

    pairs: list[tuple[str, Any]] = [(f"What is {number} + 1?", "Step 1: a\nStep 2: b") for number in range(30)]
    pairs += [("What is 1 + 1?", ["a", "b"]), ("What is 1 + 1?", "")]
    ours = Critic(sampler=ScriptedSampler(script), samples=4)
    with serve(Critic(sampler=ScriptedSampler(script), samples=1)) as url, Critic(urls=[url], samples=4) as critic:
        found = list(critic.critique_many(pairs))
        assert critic.model_id == "scripted"
        assert critic.critique(*pairs[3]) == found[3]
        assert found[:31] == list(ours.critique_many(pairs[:31]))
        assert found[3].place == ours.critique(*pairs[3]).place
        assert copy.deepcopy(critic).critique(*pairs[3]) == found[3]
    assert found[31].first_error is None
    assert "solution" in found[31].note


def test_no_service_is_no_verdict() -> None:
    with Critic(urls="http://127.0.0.1:9", patience=0.2) as critic:
        found = critic.critique("What is 1 + 1?", "Step 1: 2")
    assert (found.first_error, found.failed, found.acceptance) == (None, 1, None)
    assert found.note.startswith("unreachable")


@pytest.mark.parametrize("name", ["temperature", "top_p", "max_tokens", "task", "split", "seed"])
def test_what_the_service_decides_is_not_ignored_in_silence(name: str) -> None:
    given: dict[str, Any] = {name: 1}
    with pytest.raises(UsageError, match=f"{name} is set by the service"):
        Critic(urls="http://127.0.0.1:9", **given)


def test_a_critic_behind_a_service_draws_no_replies(serve: Serve) -> None:
    with serve(_critic()) as url, Critic(urls=url) as critic, pytest.raises(UsageError, match="critiques, not replies"):
        critic.opened()

"""LiteLLM as an engine, against servers of this machine that speak the makers' own protocols."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("litellm", reason="needs LiteLLM: pip install deepcritic[litellm]")

from deepcritic.critic import Critic
from deepcritic.errors import InputError
from deepcritic.samplers.base import Cancelling, Counting, Sampling
from deepcritic.samplers.litellm import LiteLLMSampler
from deepcritic.schema import Failure, Generation
from tests.samplers.contract import GREEDY, ask, drawn
from tests.samplers.server import FakeServer, Trouble, never, says, status

KEY = "sk-ant-0123456789-secret"
CLAUDE = "anthropic/claude-sonnet-4-5"
SAYS: dict[str, Any] = {
    "id": "msg_01", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5-20250929", "stop_reason": "end_turn",
    "content": [{"type": "thinking", "thinking": "2 + 2 is 5?", "signature": "x"}, {"type": "text", "text": "No. \\boxed{2}"}],
    "stop_sequence": None, "usage": {"input_tokens": 11, "output_tokens": 5, "cache_read_input_tokens": 4},
}  # fmt: skip
"""An answer in the form of Anthropic's Messages API (docs.claude.com, "Messages")."""
GEMINI: dict[str, Any] = {
    "candidates": [
        {"content": {"parts": [{"text": "No. \\boxed{2}"}], "role": "model"}, "finishReason": "MAX_TOKENS", "index": 0}
    ],
    "usageMetadata": {"promptTokenCount": 8, "candidatesTokenCount": 5, "totalTokenCount": 13},
    "modelVersion": "gemini-2.5-pro",
}
"""An answer in the form of Gemini's generateContent (ai.google.dev, "Generating content")."""


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(trouble=lambda count, body: says(SAYS)) as found:
        yield found


def _sampler(server: FakeServer, **options: Any) -> LiteLLMSampler:
    return LiteLLMSampler(CLAUDE, api_base=server.url.removesuffix("/v1"), **{"retries": 1, **options})


def _error(code: int, kind: str, message: str) -> Trouble:
    return status(code, {"type": "error", "error": {"type": kind, "message": message}})


def test_claude_is_asked_in_its_own_protocol(server: FakeServer) -> None:
    with _sampler(server) as sampler:
        (reply,) = drawn(sampler, [ask("a", "2 + 2 = 5", Sampling(temperature=0.6, top_p=0.9, max_tokens=24))]).values()
    assert (reply.text, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens) == ("No. \\boxed{2}", "stop", 15, 5)
    assert (reply.cached_tokens, reply.served) == (4, "claude-sonnet-4-5-20250929")
    (body,) = server.asked
    assert set(server.paths) == {"messages"}
    assert (body["model"], body["max_tokens"], body["temperature"], body["top_p"]) == ("claude-sonnet-4-5", 24, 0.6, 0.9)
    assert "seed" not in body, "Claude takes none, and says so when it gets one"
    assert server.headers[0]["x-api-key"] == KEY


def test_gemini_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", KEY)
    with FakeServer(trouble=lambda count, body: says(GEMINI)) as server:
        with LiteLLMSampler("gemini/gemini-2.5-pro", api_base=f"{server.url}/models/gemini-2.5-pro") as sampler:
            (reply,) = drawn(sampler, [ask("a", "2 + 2 = 5", GREEDY)]).values()
        assert (reply.text, reply.finish_reason, reply.completion_tokens) == ("No. \\boxed{2}", "length", 5)
        assert server.asked[0]["generationConfig"]["max_output_tokens"] == GREEDY.max_tokens


def test_a_seed_goes_where_it_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_KEY", "another-key-of-mine")
    with FakeServer() as server:
        with LiteLLMSampler("openai/m", api_base=server.url, api_key_env="OTHER_KEY") as sampler:
            assert isinstance(sampler, Counting)
            request = ask("a", "2 + 2 = 5", GREEDY, samples=3)
            replies = drawn(sampler, [request])
            assert sampler.usage.requests == 3
        assert sorted(body["seed"] for body in server.asked) == sorted(request.seeds)
        assert server.headers[0]["Authorization"] == "Bearer another-key-of-mine"
    assert len({reply.text for reply in replies.values()}) == 3


def test_a_critic_of_another_maker(server: FakeServer) -> None:
    url = server.url.removesuffix("/v1")
    with Critic(CLAUDE, sampler="litellm", api_base=url, samples=2, max_tokens=64) as critic:
        found = critic.critique("What is 1 + 1 + 3?", "Step 1: 1 + 1 = 2\nStep 2: 2 + 3 = 6")
    assert (found.first_error, found.agreement) == (2, 1.0)


def test_what_passes_is_asked_again() -> None:
    def trouble(count: int, body: Any) -> Trouble:
        return _error(529, "overloaded_error", "Overloaded") if count == 1 else says(SAYS)

    with FakeServer(trouble=trouble) as server, _sampler(server) as sampler:
        assert len(drawn(sampler, [ask("a", "2 + 2 = 5", GREEDY)])) == 1
        assert (sampler.usage.requests, sampler.usage.retries) == (2, 1)


@pytest.mark.parametrize(
    ("trouble", "reason"),
    [
        (_error(400, "invalid_request_error", "prompt is too long: 208310 tokens > 200000 maximum"), "too_long"),
        (_error(500, "api_error", "Internal server error"), "server_error"),
        (says({**SAYS, "content": [], "usage": {"input_tokens": 11, "output_tokens": 9}}), "empty"),
    ],
)
def test_what_no_reply_comes_of_is_a_failure(trouble: Trouble, reason: str) -> None:
    with FakeServer(trouble=lambda count, body: trouble) as server, _sampler(server, retries=0) as sampler:
        (failure,) = sampler.stream([ask("a", "2 + 2 = 5", GREEDY)])
    assert isinstance(failure, Failure)
    assert failure.reason == reason, failure


def test_a_key_that_is_refused_is_one_line_that_does_not_show_it() -> None:
    trouble = _error(401, "authentication_error", f"invalid x-api-key {KEY}")
    with (
        FakeServer(trouble=lambda count, body: trouble) as server,
        _sampler(server) as sampler,
        pytest.raises(InputError, match="environment variable ANTHROPIC_API_KEY") as caught,
    ):
        list(sampler.stream([ask("a", "2 + 2 = 5", GREEDY)]))
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_key_that_is_not_set(monkeypatch: pytest.MonkeyPatch, server: FakeServer) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with _sampler(server) as sampler, pytest.raises(InputError, match=r"is not set.*ANTHROPIC_API_KEY"):
        list(sampler.stream([ask("a", "2 + 2 = 5", GREEDY)]))


def test_a_refusal_names_the_option(server: FakeServer) -> None:
    """LiteLLM refuses a field that the maker does not take; it is not left out in silence."""
    with _sampler(server, seeds=True) as sampler, pytest.raises(InputError, match=r"set sampler\.seeds=false"):
        list(sampler.stream([ask(f"p{number}", "2 + 2 = 5", GREEDY) for number in range(9)]))
    assert not server.asked


def test_a_maker_that_there_is_not() -> None:
    with pytest.raises(InputError, match="PROVIDER/MODEL as named by LiteLLM"), LiteLLMSampler("nobody/model"):
        pass


def test_nobody_there() -> None:
    sampler = LiteLLMSampler(CLAUDE, api_base="http://127.0.0.1:9", retries=0)
    with sampler:
        (failure,) = sampler.stream([ask("a", "2 + 2 = 5", GREEDY)])
    assert isinstance(failure, Failure)
    assert failure.reason == "connection"
    assert not failure.permanent


def test_a_draw_can_be_cancelled() -> None:
    with FakeServer(trouble=lambda count, body: never) as server, _sampler(server) as sampler:
        assert isinstance(sampler, Cancelling)
        request, found = ask("a", "2 + 2 = 5", GREEDY, samples=2), list[Generation | Failure]()
        asking = threading.Thread(target=lambda: found.extend(sampler.stream([request])))
        asking.start()
        until = time.monotonic() + 20
        while server.in_flight < 2 and time.monotonic() < until:
            time.sleep(0.01)
        sampler.cancel(request.keys)
        asking.join(20)
        assert [one.reason for one in found if isinstance(one, Failure)] == ["cancelled"] * 2
        while server.in_flight and time.monotonic() < until:
            time.sleep(0.01)
        assert server.in_flight == 0

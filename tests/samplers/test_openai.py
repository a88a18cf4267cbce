"""The engine for servers that speak OpenAI's protocol: what it sends, and what it makes of what it gets."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepcritic.errors import InputError
from deepcritic.hub.models import model_id
from deepcritic.samplers.base import Counting, Request, Sampling, Usage
from deepcritic.samplers.openai import OpenAISampler
from deepcritic.schema import Failure, Generation, Key, Message, sample_seed
from tests.samplers.server import FakeServer, reply, says, written

SAMPLING = Sampling(temperature=0.7, top_p=0.9, max_tokens=8)


def ask(name: str, text: str = "7 + 5?", samples: int = 1, sampling: Sampling = SAMPLING, prefix: str = "") -> Request:
    keys = tuple(Key(example_id=name, request="ask", sample=sample) for sample in range(samples))
    seeds = tuple(sample_seed(0, key) for key in keys)
    return Request(keys=keys, seeds=seeds, messages=(Message(role="user", content=text),), sampling=sampling, prefix=prefix)


def rows(sampler: OpenAISampler, requests: list[Request]) -> dict[Key, Any]:
    outcomes = list(sampler.stream(requests))
    assert sorted(row.key for row in outcomes) == sorted(key for one in requests for key in one.keys)
    return {row.key: row for row in outcomes}


def one(server: FakeServer, request: Request, model: str = "m", **options: Any) -> tuple[Any, dict[str, Any]]:
    """The outcome of one request, and the body that was sent."""
    with OpenAISampler(model, urls=server.url, **options) as sampler:
        (row,) = rows(sampler, [request]).values()
    return row, server.asked[-1] if server.asked else {}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as opened:
        yield opened


@pytest.fixture(scope="module")
def own(tiny_model: Path) -> Iterator[FakeServer]:
    """A server of one's own: it has the model's folder, and says how long its context is."""
    with FakeServer(str(tiny_model), card={"owned_by": "vllm", "root": str(tiny_model), "max_model_len": 64}) as opened:
        opened.trouble = lambda count, body: says(_counted(body)) if "prompt" in body else None
        yield opened


def _counted(body: dict[str, Any]) -> dict[str, Any]:
    return {**reply("completions", body), "usage": {"prompt_tokens": len(body["prompt"]), "completion_tokens": 5}}


def test_every_sample_is_a_request_with_its_own_seed(server: FakeServer) -> None:
    requests = [ask(f"p{index}", f"{index} + 5?", samples=3) for index in range(100)]
    with OpenAISampler("m", urls=server.url) as sampler:
        drawn = rows(sampler, requests)
        assert isinstance(sampler, Counting)
        assert sampler.usage == Usage(requests=300, retries=0)
    assert {body["seed"] for body in server.asked} == {seed for one in requests for seed in one.seeds}
    by_seed = {body["seed"]: body for body in server.asked}
    for request in requests:
        for key, seed in zip(request.keys, request.seeds, strict=True):
            body, row = by_seed[seed], drawn[key]
            assert body["messages"] == [{"role": "user", "content": request.messages[0].content}]
            assert isinstance(row, Generation)
            assert (row.text, row.seed, row.fingerprint) == (written(body), seed, request.fingerprint("m"))
            assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens) == (11, 5, 8)


def test_no_more_than_the_limit_is_in_flight_and_connections_are_kept(server: FakeServer) -> None:
    server.seconds = 0.01
    with OpenAISampler("m", urls=server.url, concurrency=7) as sampler:
        rows(sampler, [ask(f"p{index}") for index in range(70)])
    assert server.most_in_flight == 7
    assert server.connections <= 7 + 1


def test_requests_are_pulled_as_there_is_room(server: FakeServer) -> None:
    pulled = 0

    def endless() -> Iterator[Request]:
        nonlocal pulled
        while True:
            pulled += 1
            yield ask(f"p{pulled}", samples=2)

    with OpenAISampler("m", urls=server.url, concurrency=4) as sampler:
        stream: Any = sampler.stream(endless())
        assert len([next(stream) for _ in range(20)]) == 20
        stream.close()
    assert pulled < 20


def test_a_slow_source_does_not_hold_back_what_is_there(server: FakeServer) -> None:
    """A reply comes out while the source could still be asked for more, and there is room for more."""
    given, seen = 0, False

    def slow() -> Iterator[Request]:
        nonlocal given
        while not seen and given < 2000:
            time.sleep(0.01)
            given += 1
            yield ask(f"p{given}")

    with OpenAISampler("m", urls=server.url, concurrency=5000) as sampler:
        stream: Any = sampler.stream(slow())
        next(stream)
        seen = True
        assert given < 2000
        assert len(list(stream)) == given - 1


def test_what_a_hosted_model_is_sent(server: FakeServer) -> None:
    sampling = Sampling(temperature=0, max_tokens=5, stop=("###", "\u2028"))
    row, body = one(server, ask("p", "a\ud800b", sampling=sampling))
    assert isinstance(row, Generation)
    assert server.paths == {"chat/completions": 1}
    assert body == {
        "model": "m", "messages": [{"role": "user", "content": "a\ud800b"}], "max_tokens": 5, "temperature": 0.0, "top_p": 1.0,
        "stop": ["###", "\u2028"], "seed": sample_seed(0, row.key),
    }  # fmt: skip


def test_settings_for_other_dialects(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    extra = {"reasoning_effort": "low", "top_p": None, "provider": {"order": ["x"]}}
    row, body = one(server, ask("p"), seeds=False, length_field="max_completion_tokens", extra=extra)
    assert body == {
        "model": "m", "messages": [{"role": "user", "content": "7 + 5?"}], "max_completion_tokens": 8, "temperature": 0.7,
        "reasoning_effort": "low", "provider": {"order": ["x"]},
    }  # fmt: skip
    assert row.seed == sample_seed(0, row.key)
    assert "replies are not reproducible" in capsys.readouterr().out
    others = [None, {"reasoning_effort": "high"}, extra]
    assert len({OpenAISampler("m", urls=server.url, extra=other).model_id for other in others}) == 3
    assert row.model == OpenAISampler("m", urls="http://elsewhere/v1", extra=dict(reversed(extra.items()))).model_id


def test_a_tokenizer_makes_prompts_of_token_ids(own: FakeServer, tiny_model: Path) -> None:
    from deepcritic.hub.models import load_tokenizer
    from deepcritic.text.chat_template import prompt_ids

    tokenizer = load_tokenizer(str(tiny_model))
    for text, prefix in (("7 + 5?", ""), ("<|im_end|> 7", "Find the"), ("7", "so\n")):
        request = ask("p", text, prefix=prefix)
        row, body = one(own, request, str(tiny_model))
        assert body["prompt"] == prompt_ids(tokenizer, request.messages, prefix)
        assert "messages" not in body
        assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (-1, 0.0, 1.0)
        assert body["model"] == str(tiny_model)
        assert (row.model, row.prefix, row.text) == (model_id(str(tiny_model)), prefix, written(body))
        assert row.prompt_tokens == len(body["prompt"])
    assert own.paths.keys() == {"completions"}


def test_a_model_under_another_name_with_a_tokenizer_of_its_own(tiny_model: Path) -> None:
    with FakeServer("critic-7b") as server:
        row, body = one(server, ask("p"), "critic-7b", tokenizer=str(tiny_model))
        assert isinstance(row, Failure), "the server counts fewer tokens than were sent"
        assert (row.reason, row.detail) == ("too_long", f"the server cut the prompt of {len(body['prompt'])} tokens to 11")
        assert (body["model"], server.paths) == ("critic-7b", {"completions": 1})
    assert (
        OpenAISampler("critic-7b", urls="http://x", tokenizer=str(tiny_model)).model_id
        == f"critic-7b+{model_id(str(tiny_model))}"
    )


def test_a_server_may_name_the_folder_in_its_own_way(tiny_model: Path) -> None:
    with FakeServer("served", card={"root": f"{tiny_model.parent}/./{tiny_model.name}/"}) as server:
        _, body = one(server, ask("p"), str(tiny_model))
        assert body["model"] == "served"


def test_another_model_on_the_server_is_named_at_the_start(own: FakeServer, tiny_model: Path) -> None:
    asked = len(own.asked)
    with pytest.raises(InputError, match=r"model: .* serves another model; found 'other'; expected a served model"):
        OpenAISampler("other", urls=own.url, tokenizer=str(tiny_model)).__enter__()
    assert len(own.asked) == asked


def test_what_does_not_fit_is_not_sent(own: FakeServer, tiny_model: Path) -> None:
    asked = len(own.asked)
    with OpenAISampler(str(tiny_model), urls=own.url) as sampler:
        long, short = ask("long", "7 " * 60, samples=2), ask("short", "7")
        drawn = rows(sampler, [long, short])
    for key in long.keys:
        assert isinstance(drawn[key], Failure)
        assert drawn[key].reason == "too_long"
        assert drawn[key].detail.endswith("prompt tokens leave fewer than 8 of a context of 64")
    assert isinstance(drawn[short.keys[0]], Generation)
    assert len(own.asked) == asked + 1


def test_a_chat_server_is_not_trusted_to_continue_a_reply(server: FakeServer) -> None:
    with OpenAISampler("m", urls=server.url) as sampler:
        stream: Any = sampler.stream([ask("p", prefix="So 7")])
        with pytest.raises(InputError, match=r"continues partial replies.*sampler\.tokenizer=PATH.*sampler\.continues=true"):
            next(stream)
    assert server.asked == []


def test_a_chat_server_that_says_it_can_is_asked_in_its_own_words(server: FakeServer) -> None:
    row, body = one(server, ask("p", prefix="So 7"), continues=True)
    assert body["messages"] == [{"role": "user", "content": "7 + 5?"}, {"role": "assistant", "content": "So 7"}]
    assert (body["continue_final_message"], body["add_generation_prompt"]) == (True, False)
    assert (body["top_k"], row.prefix, row.text) == (-1, "So 7", written(body))
    _, body = one(server, ask("p"), continues=True)
    assert "continue_final_message" not in body


def test_a_server_that_says_it_is_vllm_does_not_mix_in_the_models_own_settings() -> None:
    with FakeServer(card={"owned_by": "vllm"}) as server:
        assert one(server, ask("p"))[1]["repetition_penalty"] == 1.0


@pytest.mark.parametrize(
    ("choice", "text", "reason"),
    [
        ({"finish_reason": "length", "text": "so 1"}, "so 1", "length"),
        ({"finish_reason": "length", "message": {"content": None, "reasoning_content": "hm"}}, "", "length"),
        ({"finish_reason": "stop", "message": {"content": "4", "reasoning_content": "2 + 2", "role": "assistant"}}, "4", "stop"),
    ],
)
def test_answers_in_several_shapes(server: FakeServer, choice: dict[str, Any], text: str, reason: str) -> None:
    server.trouble = lambda count, body: says({"choices": [choice]})
    row, _ = one(server, ask("p"))
    assert (row.text, row.finish_reason, row.prompt_tokens, row.completion_tokens) == (text, reason, 2, -(-len(text) // 3))


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://host/v1", "http://", "http://host/v1?x=1", "", "http://[", "https://host/v1#x"]
)
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(InputError, match=r"sampler\.urls: not a base URL"):
        OpenAISampler("m", urls=url)
    with pytest.raises(InputError, match=r"sampler\.urls: no server is given"):
        OpenAISampler("m", urls=[])


@pytest.mark.parametrize(
    ("option", "value"), [("concurrency", 0), ("retries", -1), ("timeout", 0), ("stall", 0.0), ("patience", -1)]
)
def test_a_number_out_of_range(option: str, value: float) -> None:
    given: dict[str, Any] = {option: value}
    with pytest.raises(InputError, match=rf"sampler\.{option}: out of range; found {value}"):
        OpenAISampler("m", urls="http://host", **given)


def test_a_password_in_the_address_is_not_repeated() -> None:
    with pytest.raises(InputError, match="a user name or password") as caught:
        OpenAISampler("m", urls="https://me:canary-7391@host/v1")
    assert "canary" not in str(caught.value)


def test_a_key_that_no_header_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-\u20ac-7391")
    with pytest.raises(InputError, match="OPENAI_API_KEY: the key cannot be sent") as caught:
        OpenAISampler("m", urls="http://host")
    assert "canary" not in str(caught.value)


def test_the_key_goes_to_the_server_and_not_into_a_reply(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "canary/7391/abcdef")
    content = json.dumps(reply("chat/completions", {}, message={"content": "Bearer canary/7391/abcdef"})).replace("/", "\\/")
    server.trouble = lambda count, body: says(content)
    row, _ = one(server, ask("p"), api_key_env="MY_KEY")
    assert server.headers[0]["Authorization"] == "Bearer canary/7391/abcdef"
    assert row.text == "Bearer [key]"


def test_a_key_that_is_none_does_not_change_replies(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """`EMPTY` is what servers without keys are given."""
    monkeypatch.setenv("OPENAI_API_KEY", "EMPTY")
    server.trouble = lambda count, body: says(reply("chat/completions", body, message={"content": "the set is EMPTY"}))
    assert one(server, ask("p"))[0].text == "the set is EMPTY"

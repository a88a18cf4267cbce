"""The engine for servers that speak OpenAI's protocol, against a real server that answers by rote."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from deepcritic.rows import Generation, Key, Message, sample_seed
from deepcritic.samplers import Request, Sampling
from deepcritic.samplers.openai import OpenAISampler
from tests.samplers.server import FakeServer, written

SAMPLING = Sampling(max_tokens=8)


def ask(name: str, text: str = "7 + 5?", samples: int = 1, sampling: Sampling = SAMPLING, prefix: str = "") -> Request:
    keys = tuple(Key(example_id=name, request="ask", sample=sample) for sample in range(samples))
    seeds = tuple(sample_seed(0, key) for key in keys)
    return Request(keys=keys, seeds=seeds, messages=(Message(role="user", content=text),), sampling=sampling, prefix=prefix)


def rows(sampler: OpenAISampler, requests: list[Request]) -> dict[Key, Any]:
    outcomes = list(sampler.stream(requests))
    assert sorted(row.key for row in outcomes) == sorted(key for one in requests for key in one.keys)
    return {row.key: row for row in outcomes}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as opened:
        yield opened


def test_every_sample_is_a_request_with_its_own_seed(server: FakeServer) -> None:
    requests = [ask(f"p{index}", f"{index} + 5?", samples=3) for index in range(100)]
    with OpenAISampler("m", urls=server.url) as sampler:
        drawn = rows(sampler, requests)
        assert (sampler.requests, sampler.retries) == (300, 0)
    assert {body["seed"] for body in server.asked} == {seed for one in requests for seed in one.seeds}
    by_seed = {body["seed"]: body for body in server.asked}
    for one in requests:
        for key, seed in zip(one.keys, one.seeds, strict=True):
            body, row = by_seed[seed], drawn[key]
            assert body["messages"] == [{"role": "user", "content": one.messages[0].content}]
            assert isinstance(row, Generation)
            assert (row.text, row.seed, row.fingerprint) == (written(body), seed, one.fingerprint("m"))
            assert (row.prompt_tokens, row.completion_tokens, row.cached_tokens) == (11, 5, 8)


def test_no_more_than_the_limit_is_in_flight_and_connections_are_kept(server: FakeServer) -> None:
    server.seconds = 0.01
    with OpenAISampler("m", urls=server.url, concurrency=7) as sampler:
        rows(sampler, [ask(f"p{index}") for index in range(70)])
    assert server.most_in_flight == 7

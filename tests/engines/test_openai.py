"""The engine for servers, under the contract of all engines, against `vllm serve`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deepcritic.samplers.base import Sampler
from deepcritic.samplers.openai import OpenAISampler
from tests.engines.serving import serve
from tests.samplers.contract import GREEDY, TEXTS, Contract, WithoutEnd, ask, asks, drawn, texts


@pytest.fixture(scope="module")
def opened(critic_model: Path, server: str) -> Iterator[Sampler]:
    with OpenAISampler(str(critic_model), urls=server, concurrency=32) as sampler:
        yield sampler


@pytest.fixture(scope="module")
def endless(endless_model: Path, logs: Path) -> Iterator[Sampler]:
    with (
        serve(endless_model, logs / "endless.log") as url,
        OpenAISampler(str(endless_model), urls=url) as sampler,
    ):
        yield sampler


class TestOpenAI(Contract, WithoutEnd):
    ROOM = 2 * 32 + 5


def test_chats_get_the_replies_that_token_ids_get(opened: Sampler, server: str) -> None:
    """The server's own template makes the prompt, and its `continue_final_message` the beginning of the reply."""
    requests = [*asks(GREEDY, samples=1), *(ask(f"q{index}", text, GREEDY, prefix="Step 1:") for index, text in enumerate(TEXTS))]
    with OpenAISampler("critic", urls=server, continues=True) as chats:
        rows = drawn(chats, requests)
    expected = drawn(opened, requests)
    assert texts(rows) == texts(expected)
    assert {key: row.prompt_tokens for key, row in rows.items()} == {key: row.prompt_tokens for key, row in expected.items()}

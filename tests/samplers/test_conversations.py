"""`sampler=openai` in conversations with the servers that people run, put together from what those servers were seen to answer.

`tests/golden/conversations.json` says where each comes from; only the words of the replies are made up.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from deepcritic.errors import InputError
from deepcritic.samplers.openai import OpenAISampler
from deepcritic.schema import Failure, Generation
from tests.samplers.contract import GREEDY, ask
from tests.samplers.server import FakeServer, Trouble, status

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "conversations.json"
CONVERSATIONS: list[dict[str, Any]] = json.loads(GOLDEN.read_text("utf-8"))
CASES = [(one, exchange) for one in CONVERSATIONS for exchange in one["exchanges"]]
NAMES = [f"{one['server']}-{exchange['status']}-{at}" for at, (one, exchange) in enumerate(CASES)]


@pytest.mark.parametrize(("conversation", "exchange"), CASES, ids=NAMES)
def test_a_conversation(conversation: dict[str, Any], exchange: dict[str, Any]) -> None:
    async def models(request: web.Request) -> web.StreamResponse:
        return web.json_response(conversation["models"])

    def answer(count: int, body: dict[str, Any]) -> Trouble:
        return status(exchange["status"], exchange["body"])

    with FakeServer(trouble=answer) as server:
        server.models = models
        sampler = OpenAISampler(conversation["model"], urls=server.url, retries=0, patience=5.0)
        with sampler:
            if "error" in exchange:
                with pytest.raises(InputError, match=exchange["error"]):
                    list(sampler.stream([ask("a", "2 + 2 = 5", GREEDY)]))
                return
            (outcome,) = sampler.stream([ask("a", "2 + 2 = 5", GREEDY)])
        body = server.asked[0]
    assert body["model"] == conversation["model"]
    assert {name: body[name] for name in conversation.get("asked", {})} == conversation.get("asked", {})
    if "failure" in exchange:
        assert isinstance(outcome, Failure)
        assert outcome.reason == exchange["failure"], outcome
    else:
        assert isinstance(outcome, Generation), outcome
        counts = (outcome.prompt_tokens, outcome.completion_tokens, outcome.cached_tokens)
        assert [outcome.text, outcome.finish_reason, *counts] == exchange["reply"]


def test_each_server_of_the_documentation_is_there() -> None:
    named = {one["server"] for one in CONVERSATIONS}
    assert {"Ollama", "llama.cpp", "LM Studio", "SGLang", "TGI"} <= named
    assert all(one["source"] for one in CONVERSATIONS)

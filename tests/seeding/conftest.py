"""A sampler that answers by a rule about keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Self

import pytest

from deepcritic.samplers.base import Request
from deepcritic.schema import Failure, Generation, Key

TOKENS = 10


class ScriptedSampler:
    """Answers each key by a rule (None: out of reach), every reply being ten tokens long, and keeps what it was asked."""

    model_id = "scripted"

    def __init__(self, answer: Callable[[Key], str | None]) -> None:
        self.asked: list[Request] = []
        self._answer = answer

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        for request in requests:
            self.asked.append(request)
            for key, seed in zip(request.keys, request.seeds, strict=True):
                text = self._answer(key)
                if text is None:
                    yield Failure(key=key, reason="unreachable")
                    continue
                yield Generation(
                    key=key, text=text, finish_reason="stop", model=self.model_id, seed=seed, completion_tokens=TOKENS,
                    fingerprint=request.fingerprint(self.model_id),
                )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def scripted_sampler() -> Callable[[Callable[[Key], str | None]], ScriptedSampler]:
    return ScriptedSampler

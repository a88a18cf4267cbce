"""Requests of many clients in one call of an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import pytest

from deepcritic.schema import Generation, Key
from deepcritic.service.batching import Batcher


class Work(NamedTuple):
    keys: tuple[Key, ...]


def work(name: str) -> Work:
    return Work((Key(example_id=name, request="critique"),))


@pytest.mark.parametrize("refills", [True, False])
def test_an_engine_that_refills_gets_what_comes_while_it_writes(refills: bool) -> None:
    calls: list[list[str]] = []
    begun = asyncio.Event()

    def stream(asked: Iterable[Work | None]) -> Iterator[Generation]:
        """Writes until a second request has come, or until the requests end."""
        calls.append([])
        waiting: list[Work] = []
        for tokens, one in enumerate(asked):
            if one is not None:
                calls[-1].append(one.keys[0].example_id)
                waiting.append(one)
                if refills:
                    loop.call_soon_threadsafe(begun.set)
            if len(waiting) == 2 or tokens > 1_000_000:
                break
        loop.call_soon_threadsafe(begun.set)
        for one in waiting:
            yield Generation(key=one.keys[0], fingerprint="", seed=0, text="", finish_reason="stop", model="m")

    async def both() -> None:
        batcher: Batcher[Work] = Batcher(stream, refills=refills)
        with batcher:
            first = asyncio.create_task(batcher.draw("first", work("first")))
            await begun.wait()
            await asyncio.gather(first, batcher.draw("second", work("second")))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(both())
    loop.close()
    assert calls == ([["first", "second"]] if refills else [["first"], ["second"]])

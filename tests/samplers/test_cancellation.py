"""Draws that nobody waits for any more: each engine ends them, and goes on with the others."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepcritic.samplers.base import Cancelling, Sampling
from deepcritic.samplers.cancellation import Cancellation, cancelled
from deepcritic.samplers.event_loop import Background
from deepcritic.samplers.openai import OpenAISampler
from deepcritic.schema import Failure, Generation, Key
from tests.samplers.contract import GREEDY, asks, drawn, texts
from tests.samplers.contract import ask as question
from tests.samplers.server import FakeServer, never

KEYS = [Key(example_id="a", request="ask", sample=sample) for sample in range(3)]


def test_a_key_that_is_not_under_way_is_not_remembered() -> None:
    unwanted = Cancellation()
    unwanted.pulled(KEYS[:2])
    unwanted.answered(KEYS[1])
    unwanted.cancel(KEYS)
    assert [key in unwanted for key in KEYS] == [True, False, False]
    unwanted.answered(KEYS[0])
    assert not unwanted


def test_a_task_is_cancelled_before_and_after_it_has_begun() -> None:
    unwanted, begun = Cancellation(), threading.Event()

    async def work(key: Key) -> Generation | Failure:
        begun.set()
        await asyncio.sleep(60)
        raise AssertionError

    with Background() as background:
        unwanted.pulled(KEYS)
        unwanted.cancel(KEYS[:1])
        assert background.run(unwanted.run(KEYS[0], work(KEYS[0]))) == cancelled(KEYS[0])
        assert not begun.is_set()
        stream = background.stream(iter(KEYS[1:2]), lambda key: unwanted.run(key, work(key)), room=4)

        def leave() -> None:
            begun.wait(10)
            unwanted.cancel(KEYS)

        ended = threading.Thread(target=leave)
        ended.start()
        assert list(stream) == [cancelled(KEYS[1])]
        ended.join()
    unwanted.answered(KEYS[2])
    assert not unwanted


def test_several_streams_may_ask_for_one_key() -> None:
    unwanted, begun = Cancellation(), threading.Semaphore(0)

    async def work(key: Key) -> Generation | Failure:
        begun.release()
        await asyncio.sleep(60)
        raise AssertionError

    with Background() as background:
        found: list[list[Generation | Failure]] = []

        def stream() -> None:
            unwanted.pulled(KEYS[:1])
            found.append(list(background.stream(iter(KEYS[:1]), lambda key: unwanted.run(key, work(key)), room=4)))

        threads = [threading.Thread(target=stream) for _ in range(3)]
        for thread in threads:
            thread.start()
        assert all(begun.acquire(timeout=10) for _ in threads)
        unwanted.cancel(KEYS)
        for thread in threads:
            thread.join(10)
    assert found == [[cancelled(KEYS[0])]] * 3
    assert not unwanted


class TestOpenAI:
    def _sampler(self, server: FakeServer, **options: Any) -> OpenAISampler:
        return OpenAISampler("m", urls=server.url, patience=5.0, **options)

    def test_the_server_sees_the_request_end_and_the_others_are_answered(self) -> None:
        with FakeServer(trouble=lambda count, body: never if "slow" in str(body["messages"]) else None) as server:
            with self._sampler(server) as sampler:
                slow, quick = question("slow", "slow", GREEDY, samples=4), question("quick", "quick", GREEDY, samples=2)
                found: list[Generation | Failure] = []
                asking = threading.Thread(target=lambda: found.extend(sampler.stream([slow, quick])))
                asking.start()
                _until(lambda: len(server.asked) == 6)
                sampler.cancel(slow.keys)
                asking.join(10)
                assert not asking.is_alive()
                _until(lambda: server.in_flight == 0)
            assert sorted(one.key for one in found if isinstance(one, Generation)) == sorted(quick.keys)
            failures = [one for one in found if isinstance(one, Failure)]
            assert sorted(one.key for one in failures) == sorted(slow.keys)
            assert {one.reason for one in failures} == {"cancelled"}
            assert not failures[0].permanent, "who asks again may get an answer"
            assert sampler.usage.retries == 0

    def test_samples_that_wait_for_room_are_never_sent(self) -> None:
        with FakeServer(trouble=lambda count, body: never) as server, self._sampler(server, concurrency=2) as sampler:
            slow = question("slow", "slow", GREEDY, samples=9)
            asking = threading.Thread(target=lambda: list(sampler.stream([slow])))
            asking.start()
            _until(lambda: len(server.asked) == 2)
            sampler.cancel(slow.keys)
            asking.join(10)
            assert len(server.asked) == 2


@pytest.fixture(scope="module")
def opened(critic_model: Path) -> Iterator[Any]:
    pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
    from deepcritic.samplers.transformers import TransformersSampler

    with TransformersSampler(str(critic_model), device="cpu", batch_size=4) as sampler:
        assert isinstance(sampler, Cancelling)
        yield sampler


class TestTransformers:
    @pytest.mark.parametrize("samples", [1, 3])
    def test_draws_end_with_the_next_token_and_the_others_are_what_they_were(
        self, opened: Any, samples: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        requests = asks(Sampling(temperature=1.6, max_tokens=60), samples=samples)
        expected = texts(drawn(opened, requests))
        gone = {*requests[0].keys, *requests[2].keys[:1], *requests[4].keys}  # the longest prompts are begun first
        _cancel_at_the_first_token(opened, gone, monkeypatch)
        found: list[Generation | Failure] = list(opened.stream(requests))
        assert {one.key for one in found if isinstance(one, Failure)} == gone
        kept = {one.key: one.text for one in found if isinstance(one, Generation)}
        assert kept == {key: text for key, text in expected.items() if key not in gone}

    def test_all_of_them(self, opened: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        requests = asks(Sampling(temperature=1.6, max_tokens=2000), samples=2)
        before = opened.written
        gone = {key for one in requests for key in one.keys}
        _cancel_at_the_first_token(opened, gone, monkeypatch)
        assert sorted(one.key for one in opened.stream(requests)) == sorted(gone)
        monkeypatch.undo()
        assert opened.written - before <= 2 * 4, "at most one more token for each of the four that are begun"
        assert drawn(opened, asks(GREEDY, samples=1)), "the sampler is as good as before"

    def test_a_stream_that_is_left_is_forgotten(self, opened: Any) -> None:
        stream = opened.stream(asks(GREEDY))
        next(stream)
        stream.close()
        opened.cancel(key for one in asks(GREEDY) for key in one.keys)
        assert not opened._cancellation


def _cancel_at_the_first_token(sampler: Any, gone: set[Key], monkeypatch: pytest.MonkeyPatch) -> None:
    """From another thread, while the first draws have one token each."""
    wrote, cancel = sampler._wrote, threading.Thread(target=sampler.cancel, args=(gone,))

    def told(tokens: int) -> None:
        wrote(tokens)
        if not cancel.ident:
            cancel.start()
            cancel.join()

    monkeypatch.setattr(sampler, "_wrote", told)


def _until(holds: Any) -> None:
    until = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.001)

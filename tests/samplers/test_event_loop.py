"""An event loop in a thread: what is under way, what comes out, and what becomes of it when somebody leaves."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
from collections.abc import Iterator

import pytest

from deepcritic.samplers.event_loop import Background


@pytest.fixture
def background() -> Iterator[Background]:
    with Background() as opened:
        yield opened


class Source:
    """The numbers below `count`, and how many of them were pulled."""

    def __init__(self, count: int) -> None:
        self.count, self.pulled = count, 0

    def __iter__(self) -> Iterator[int]:
        for piece in range(self.count):
            self.pulled += 1
            yield piece


def test_at_most_room_pieces_are_begun_and_not_taken(background: Background) -> None:
    begun, most = 0, 0

    async def do(piece: int) -> int:
        nonlocal begun
        begun += 1
        await asyncio.sleep(0)
        return piece

    taken: list[int] = []
    for piece in background.stream(iter(range(500)), do, room=7):
        most = max(most, begun - len(taken))
        taken.append(piece)
    assert sorted(taken) == list(range(500))
    assert most <= 7


def test_work_is_pulled_ahead_while_nothing_is_done(background: Background) -> None:
    """It waits until there is room: no more is begun for that."""
    source, begun, most, lead = Source(200), 0, 0, 0
    at_first, taken = 0, list[int]()

    async def do(piece: int) -> int:
        nonlocal begun, most, lead
        begun += 1
        most = max(most, begun - len(taken))
        await asyncio.sleep(0.02)
        lead = max(lead, source.pulled - begun)
        return piece

    for piece in background.stream(iter(source), do, room=8, ahead=5):
        at_first = at_first or source.pulled
        taken.append(piece)
    assert sorted(taken) == list(range(200))
    assert most <= 8
    assert lead == 5
    assert at_first == 8, "none before the first result"


def test_what_is_ready_can_be_taken_without_waiting(background: Background) -> None:
    """And nothing more is pulled in between, so that what is taken together is kept before more is asked."""
    source = Source(500)
    sizes: list[int] = []

    async def do(piece: int) -> int:
        if piece == 400:
            raise ValueError("after those that were ready")
        await asyncio.sleep(0)
        return piece

    def drain() -> None:
        for _ in stream:
            ready, before = stream.ready, source.pulled
            sizes.append(1 + len([*itertools.islice(stream, ready)]))
            assert sizes[-1] == 1 + ready
            assert source.pulled == before

    stream = background.stream(iter(source), do, room=8)
    with pytest.raises(ValueError, match="after those"):
        drain()
    assert max(sizes) > 1, "several came out together"
    assert sum(sizes) >= 393


def test_work_is_pulled_in_the_callers_thread_and_late(background: Background) -> None:
    """What is pulled may follow from what came out before."""
    results: list[int] = []

    def growing() -> Iterator[int]:
        assert threading.current_thread() is caller
        yield 1
        yield from (2 * number for number in results[:3])

    async def do(piece: int) -> int:
        return piece + 1

    caller = threading.current_thread()
    for result in background.stream(growing(), do, room=1):
        results.append(result)
    assert results == [2, 5]


def test_an_exception_comes_after_what_was_finished_and_only_once(
    background: Background, capfd: pytest.CaptureFixture[str]
) -> None:
    async def do(piece: int) -> int:
        if piece >= 5:
            raise ValueError(f"piece {piece}")
        return piece

    got: list[int] = []
    with pytest.raises(ValueError, match="piece"):
        got.extend(background.stream(iter(range(100)), do, room=10))
    assert sorted(got) == list(range(5))
    gc.collect()
    assert capfd.readouterr().err == "", "asyncio tells of exceptions that nobody took"


def test_an_exception_of_the_source_cancels_what_is_under_way(background: Background) -> None:
    cancelled = threading.Event()

    def broken() -> Iterator[int]:
        yield 1
        assert begun.wait(10)
        raise KeyError("source")

    async def do(piece: int) -> int:
        begun.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return piece

    begun = threading.Event()
    with pytest.raises(KeyError, match="source"):
        list(background.stream(broken(), do, room=4))
    assert cancelled.wait(10)


def test_an_empty_source_gives_nothing(background: Background) -> None:
    async def do(piece: int) -> int:
        return piece

    assert list(background.stream(iter([]), do, room=4)) == []


def test_threads_have_streams_of_their_own(background: Background) -> None:
    async def do(piece: int) -> int:
        await asyncio.sleep(0)
        return piece

    drawn: dict[int, list[int]] = {}

    def draw(start: int) -> None:
        drawn[start] = sorted(background.stream(iter(range(start, start + 300)), do, room=5))

    threads = [threading.Thread(target=draw, args=(start,)) for start in (0, 1000, 2000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == {start: list(range(start, start + 300)) for start in (0, 1000, 2000)}

"""One engine shared by many clients, whose requests are batched together.

Engines are called from threads (lanes), and clients wait on an event loop. Concurrent identical requests share one draw. A client
that disconnects cancels its draw, unless another client waits for it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Generic, Protocol, Self, TypeVar

from deepcritic.schema import Failure, Generation, Key, Scores

Outcome = Generation | Scores | Failure


class Asked(Protocol):
    """A unit of work. It gets one outcome per key, and no other unit in progress has the same keys."""

    @property
    def keys(self) -> tuple[Key, ...]: ...


W = TypeVar("W", bound=Asked)


class QueueFullError(Exception):
    """The queue is full."""


class ClosedError(Exception):
    """The service is shutting down and accepts no new work."""


@dataclass(eq=False)
class _Draw(Generic[W]):
    """Work in progress, and the clients that wait for it."""

    name: Hashable
    work: W
    done: asyncio.Future[list[Outcome]]
    loop: asyncio.AbstractEventLoop
    outcomes: list[Outcome] = field(default_factory=list)
    clients: int = 0
    lane: int | None = None
    """The lane that started it."""

    def settle(self, error: BaseException | None = None) -> None:
        def settle() -> None:
            if not self.done.done():
                if error is None:
                    self.done.set_result(self.outcomes)
                else:
                    self.done.set_exception(error)

        self.loop.call_soon_threadsafe(settle)


class Batcher(Generic[W]):
    """Passes work from many clients to `stream`, the engine's own batching loop.

    `lanes` is the number of concurrent calls of `stream`: 1 for an engine that forms batches inside one call, more for one that
    forms them across calls. A single lane's call takes work until the queue is empty, or with `refills` as long as the engine
    writes replies (see `Refilling`). `cancel`, if the engine has it, stops the draws of some keys (see `Cancelling`).
    `most_waiting` limits the queue: beyond it `draw` raises `QueueFullError`.
    """

    def __init__(
        self,
        stream: Callable[[Iterable[Any]], Iterator[Outcome]],
        *,
        lanes: int = 1,
        most_waiting: int = 1024,
        cancel: Callable[[Iterable[Key]], None] | None = None,
        refills: bool = False,
    ) -> None:
        self._stream, self._lanes, self._most_waiting, self._cancel = stream, lanes, most_waiting, cancel
        self._refills = refills and lanes == 1
        self._waiting: deque[_Draw[W]] = deque()
        self._by_name: dict[Hashable, _Draw[W]] = {}
        self._by_key: dict[Key, _Draw[W]] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._last_progress = time.monotonic()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name=f"lane {lane}", daemon=True) for lane in range(self._lanes)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Waits for the work in progress."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    @property
    def waiting(self) -> int:
        """The number of queued draws."""
        return len(self._waiting)

    @property
    def under_way(self) -> int:
        """The number of draws that the engine is working on."""
        return len(self._by_name) - len(self._waiting)

    @property
    def idle_seconds(self) -> float:
        """Seconds since the engine last showed progress, while it has work. 0 without work."""
        return time.monotonic() - self._last_progress if self._by_name else 0.0

    def progressed(self) -> None:
        """The engine wrote tokens. An outcome counts as progress by itself."""
        self._last_progress = time.monotonic()

    async def draw(self, name: Hashable, work: W) -> list[Outcome]:
        """The outcomes of `work`, one per key, in completion order. Work in progress with the same `name` is shared.

        Raises `QueueFullError`, `ClosedError`, or the engine's error. Cancelling it cancels the draw.
        """
        with self._changed:
            draw = self._by_name.get(name)
            if draw is None:
                if self._closed:
                    raise ClosedError
                if len(self._waiting) >= self._most_waiting:
                    raise QueueFullError
                if not self._by_name:
                    self._last_progress = time.monotonic()
                loop = asyncio.get_running_loop()
                draw = _Draw(name, work, loop.create_future(), loop)
                self._by_name[name] = draw
                self._by_key.update(dict.fromkeys(work.keys, draw))
                self._waiting.append(draw)
                self._changed.notify()
            draw.clients += 1
        try:
            return await asyncio.shield(draw.done)
        except asyncio.CancelledError:
            self._left(draw)
            raise

    def _left(self, draw: _Draw[W]) -> None:
        """A client stops waiting for `draw`. The last one cancels it."""
        with self._changed:
            draw.clients -= 1
            if draw.clients or self._by_name.get(draw.name) is not draw:
                return
            if draw.lane is None:
                self._waiting.remove(draw)
            elif self._cancel is None:
                return  # it runs to its end, and may still serve an identical request
            self._forget(draw)  # later identical requests get a new draw
        if draw.lane is not None and self._cancel is not None:
            self._cancel(draw.work.keys)

    def _forget(self, draw: _Draw[W]) -> None:
        del self._by_name[draw.name]
        for key in draw.work.keys:
            self._by_key.pop(key, None)

    def _run(self, lane: int) -> None:
        while (first := self._take(lane, wait=True)) is not None:
            try:
                for outcome in self._stream(self._source(first, lane)):
                    self._arrived(outcome)
                error: BaseException = RuntimeError("the engine stopped without an answer")
            except Exception as raised:  # an engine's error goes to the clients, not to the lane
                error = raised
            self._fail(lane, error)

    def _source(self, first: _Draw[W], lane: int) -> Iterator[W | None]:
        """Yield `first`, and with a single lane, also queued work whenever the engine asks for more; None if there is none."""
        draw: _Draw[W] | None = first
        while draw is not None or self._refills:
            if draw is None:
                yield None
            elif self._by_name.get(draw.name) is draw:  # else all its clients have left
                yield draw.work
            draw = self._take(lane, wait=False) if self._lanes == 1 else None

    def _take(self, lane: int, *, wait: bool) -> _Draw[W] | None:
        with self._changed:
            while wait and not self._waiting and not self._closed:
                self._changed.wait()
            if not self._waiting:
                return None
            draw = self._waiting.popleft()
            draw.lane = lane
            return draw

    def _arrived(self, outcome: Outcome) -> None:
        with self._changed:
            self._last_progress = time.monotonic()
            draw = self._by_key.pop(outcome.key, None)
            if draw is None:
                return
            draw.outcomes.append(outcome)
            if len(draw.outcomes) < len(draw.work.keys):
                return
            self._forget(draw)
        draw.settle()

    def _fail(self, lane: int, error: BaseException) -> None:
        """Fail the draws that a lane started and the engine did not answer."""
        with self._changed:
            draws = [draw for draw in self._by_name.values() if draw.lane == lane]
            for draw in draws:
                self._forget(draw)
        for draw in draws:
            draw.settle(error)

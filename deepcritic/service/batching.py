"""One engine shared by many clients: what they ask is put into the engine's batches together.

Engines are called from threads (lanes), clients wait on an event loop. Two clients that ask the same thing at the same time share
one draw. A client that goes away cancels its draw, unless another one waits for it.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from deepcritic.schema import Failure, Generation, Key, Scores

Outcome = Generation | Scores | Failure


class Asked(Protocol):
    """A piece of work: one outcome is due for each of its keys, which no other piece under way has."""

    @property
    def keys(self) -> tuple[Key, ...]: ...


W = TypeVar("W", bound=Asked)


class QueueFullError(Exception):
    """More work waits than the queue may hold."""


class ClosedError(Exception):
    """The service is shutting down and begins nothing new."""


@dataclass(eq=False)
class _Draw(Generic[W]):
    """Work under way, and who waits for it."""

    name: Hashable
    work: W
    done: asyncio.Future[list[Outcome]]
    loop: asyncio.AbstractEventLoop
    outcomes: list[Outcome] = field(default_factory=list)
    clients: int = 0
    lane: int | None = None
    """The lane that has begun it."""

    def settle(self, error: BaseException | None = None) -> None:
        def settle() -> None:
            if not self.done.done():
                if error is None:
                    self.done.set_result(self.outcomes)
                else:
                    self.done.set_exception(error)

        self.loop.call_soon_threadsafe(settle)


class Batcher(Generic[W]):
    """Hands work from many clients to `stream`, the engine's own batching loop.

    `lanes` is how many calls of `stream` run side by side: 1 for an engine whose batches are formed inside one call, more for one
    that forms them across calls. A call goes on taking what waits until nothing does. `cancel`, if the engine has it, stops the
    draws of some keys (see `Cancelling`). `most_waiting` bounds the queue: `draw` raises `QueueFullError` beyond it.
    """

    def __init__(
        self,
        stream: Callable[[Iterable[W]], Iterator[Outcome]],
        *,
        lanes: int = 1,
        most_waiting: int = 1024,
        cancel: Callable[[Iterable[Key]], None] | None = None,
    ) -> None:
        self._stream, self._lanes, self._most_waiting, self._cancel = stream, lanes, most_waiting, cancel
        self._waiting: deque[_Draw[W]] = deque()
        self._by_name: dict[Hashable, _Draw[W]] = {}
        self._by_key: dict[Key, _Draw[W]] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._last_outcome = time.monotonic()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name=f"lane {lane}", daemon=True) for lane in range(self._lanes)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Waits for what is under way."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    @property
    def waiting(self) -> int:
        """How many draws wait for a place in the engine."""
        return len(self._waiting)

    @property
    def under_way(self) -> int:
        """How many draws the engine works on."""
        return len(self._by_name) - len(self._waiting)

    @property
    def idle_seconds(self) -> float:
        """For how long the engine has given nothing although it was asked; 0 while nothing is asked."""
        return time.monotonic() - self._last_outcome if self._by_name else 0.0

    async def draw(self, name: Hashable, work: W) -> list[Outcome]:
        """The outcomes of `work`, one for each key, in the order of finishing. Work of the same `name` under way is shared.

        Raises `QueueFullError`, `ClosedError`, or what the engine raised. When it is cancelled, so is the draw.
        """
        with self._changed:
            draw = self._by_name.get(name)
            if draw is None:
                if self._closed:
                    raise ClosedError
                if len(self._waiting) >= self._most_waiting:
                    raise QueueFullError
                if not self._by_name:
                    self._last_outcome = time.monotonic()
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
        """A client no longer waits for `draw`; the last one cancels it."""
        with self._changed:
            draw.clients -= 1
            if draw.clients or self._by_name.get(draw.name) is not draw:
                return
            if draw.lane is None:
                self._waiting.remove(draw)
            elif self._cancel is None:
                return  # it goes on to its end, and may still serve somebody who asks the same
            self._forget(draw)  # who asks the same from now on gets a draw of its own
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
                error: BaseException = RuntimeError("the engine ended without an answer")
            except Exception as raised:  # whatever an engine raises is for those who asked, not for the lane
                error = raised
            self._fail(lane, error)

    def _source(self, first: _Draw[W], lane: int) -> Iterator[W]:
        """`first`, and, where one call of the engine forms all batches, whatever waits by the time it is asked for more."""
        draw: _Draw[W] | None = first
        while draw is not None:
            if self._by_name.get(draw.name) is draw:  # else everybody has left since it was taken
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
            self._last_outcome = time.monotonic()
            draw = self._by_key.pop(outcome.key, None)
            if draw is None:
                return
            draw.outcomes.append(outcome)
            if len(draw.outcomes) < len(draw.work.keys):
                return
            self._forget(draw)
        draw.settle()

    def _fail(self, lane: int, error: BaseException) -> None:
        """End what a lane has begun and the engine has not answered."""
        with self._changed:
            draws = [draw for draw in self._by_name.values() if draw.lane == lane]
            for draw in draws:
                self._forget(draw)
        for draw in draws:
            draw.settle(error)

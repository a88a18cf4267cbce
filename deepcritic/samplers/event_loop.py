"""An event loop in its own thread: it runs many coroutines at once while the caller takes their results.

>>> async def double(number: int) -> int:
...     await asyncio.sleep(0.001 * number)
...     return 2 * number
>>> with Background() as background:
...     sorted(background.stream(iter([3, 1, 2]), double, room=2))
[2, 4, 6]
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterable, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

T = TypeVar("T")
W = TypeVar("W")

TURN_SECONDS = 0.005
"""How long work is pulled and begun before results are checked again."""
_NOTHING: Any = object()


class Background:
    """The loop and its thread, from entering the `with` block to leaving it. `run` and `stream` may be called from
    several threads."""

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="background", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Cancel all running work; other threads that wait for it get a `RuntimeError`."""
        self.cancel()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Wait for `work` and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def cancel(self) -> None:
        """Cancel all running work."""
        self.run(_cancel_all())

    def stream(self, work: Iterator[W], do: Callable[[W], Coroutine[Any, Any, T]], room: int, ahead: int = 0) -> Stream[T]:
        """The result of `do` for each piece of `work`, in completion order. An exception in `do` is raised here.

        `work` is pulled in the caller's thread: at most `room` pieces are begun and not yet taken by the caller. After the
        first result, from which a caller knows what one costs, up to `ahead` more are pulled while idle, so that they can
        begin immediately. Pieces still running when the caller stops are cancelled.
        """
        tasks = _Tasks(self._loop, do)
        return Stream(self._results(work, tasks, room, ahead), tasks)

    def _results(self, work: Iterator[W], tasks: _Tasks[W, T], room: int, ahead: int) -> Generator[T]:
        open_, more, pulled, spare = 0, True, deque[W](), 0

        def pull() -> bool:
            nonlocal more
            piece = next(work, _NOTHING)
            more = piece is not _NOTHING
            if more:
                pulled.append(piece)
            return more

        try:
            while True:
                until = time.monotonic() + TURN_SECONDS
                while open_ < room and time.monotonic() < until and (pulled or (more and pull())):
                    open_ += 1
                    tasks.begin(pulled.popleft())
                left = more or bool(pulled)
                if not open_ and not left:
                    return
                could_pull = more and len(pulled) < spare
                ended = tasks.take(wait=open_ >= room or not left, most=TURN_SECONDS if could_pull else None)
                done, error = _sorted(ended)
                for tasks.ready in range(len(done) - 1, -1, -1):
                    yield done[-1 - tasks.ready].result()
                    open_, spare = open_ - 1, ahead
                if error is not None:
                    raise error
                while open_ >= room and more and len(pulled) < spare and tasks.none_done:
                    pull()
        finally:
            if open_:
                with contextlib.suppress(RuntimeError):  # the loop is closed: the engine was closed before its stream
                    self._loop.call_soon_threadsafe(tasks.cancel)


class Stream(Iterator[T]):
    """The results of `Background.stream`. `ready` of them can be taken without waiting."""

    def __init__(self, results: Generator[T], tasks: _Tasks[Any, T]) -> None:
        self._results, self._tasks = results, tasks

    @property
    def ready(self) -> int:
        return self._tasks.ready

    def __next__(self) -> T:
        return next(self._results)

    def close(self) -> None:
        """Cancel the running work. This also happens when the stream is garbage-collected."""
        self._results.close()


class _Tasks(Generic[W, T]):
    """The tasks of one stream. Work goes to the loop and results to the caller's thread in batches: waking the other thread
    costs as much as a task."""

    def __init__(self, loop: asyncio.AbstractEventLoop, do: Callable[[W], Coroutine[Any, Any, T]]) -> None:
        self._loop, self._do = loop, do
        self.ready = 0
        self._given: deque[W] = deque()
        self._called = False
        self._under_way: set[asyncio.Task[T]] = set()
        self._turn: list[asyncio.Task[T]] = []
        self._queue: queue.SimpleQueue[list[asyncio.Task[T]]] = queue.SimpleQueue()

    def begin(self, piece: W) -> None:
        self._given.append(piece)
        if not self._called:
            self._called = True
            self._loop.call_soon_threadsafe(self._begin)

    def cancel(self) -> None:
        self._given.clear()
        for task in self._under_way:
            task.cancel()

    def take(self, *, wait: bool, most: float | None = None) -> list[asyncio.Task[T]]:
        """The tasks that are done. If there are none and `wait` is set, wait for up to `most` seconds."""
        try:
            return self._queue.get(block=wait, timeout=most)
        except queue.Empty:
            return []

    @property
    def none_done(self) -> bool:
        return self._queue.empty()

    def _begin(self) -> None:
        self._called = False  # before the work is read: any later piece calls again
        while self._given:
            task = self._loop.create_task(self._do(self._given.popleft()))
            self._under_way.add(task)
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[T]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved: asyncio would print exceptions that are never read
        if not self._turn:
            self._loop.call_soon(self._hand_over)
        self._turn.append(task)

    def _hand_over(self) -> None:
        self._queue.put(self._turn)
        self._turn = []


def _sorted(ended: Iterable[asyncio.Task[T]]) -> tuple[list[asyncio.Task[T]], BaseException | None]:
    """The tasks with a result, and the first error of the others."""
    done: list[asyncio.Task[T]] = []
    error: BaseException | None = None
    for task in ended:
        if task.cancelled():
            error = error or RuntimeError("the engine was closed while generating")
        elif task.exception() is not None:
            error = error or task.exception()
        else:
            done.append(task)
    return done, error


async def _cancel_all() -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)

"""Cancelling draws: an engine that has a `Cancellation` can end them before their replies are complete.

>>> from deepcritic.schema import Key
>>> first, second = Key(example_id="a", request="critique"), Key(example_id="b", request="critique")
>>> wanted = Cancellation()
>>> wanted.pulled([first])
>>> wanted.cancel([first, second])
>>> first in wanted, second in wanted
(True, False)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable
from typing import Any

from deepcritic.schema import Failure, Generation, Key


class Cancellation:
    """The keys that an engine has pulled and not answered yet, and which of them were cancelled. Thread-safe.

    Cancelling a key that the engine has not pulled, or has answered, has no effect. Several streams may ask for one key at once;
    cancelling it ends their draws of it.
    """

    def __init__(self) -> None:
        self._open: set[Key] = set()
        self._cancelled: set[Key] = set()
        self._tasks: dict[Key, set[asyncio.Task[Any]]] = {}
        self._ended: set[asyncio.Task[Any]] = set()
        self._lock = threading.Lock()

    def pulled(self, keys: Iterable[Key]) -> None:
        """Record that the engine has pulled these keys."""
        with self._lock:
            self._open.update(keys)

    def answered(self, key: Key) -> None:
        """Record that the engine has an outcome for this key."""
        with self._lock:
            self._open.discard(key)
            self._cancelled.discard(key)

    def cancel(self, keys: Iterable[Key]) -> None:
        """End the draws of these keys as soon as the engine can. Their outcome is a `Failure` with the reason `cancelled`."""
        with self._lock:
            ended = self._open.intersection(keys)
            self._cancelled |= ended
            tasks = [task for key in ended for task in self._tasks.get(key, ())]
            self._ended.update(tasks)
        for task in tasks:
            task.get_loop().call_soon_threadsafe(task.cancel)

    def __contains__(self, key: Key) -> bool:
        return key in self._cancelled

    def __bool__(self) -> bool:
        """Whether any cancelled key has no outcome yet."""
        return bool(self._cancelled)

    async def run(self, key: Key, work: Coroutine[Any, Any, Generation | Failure]) -> Generation | Failure:
        """Run the draw `work` as an event loop task that is cancelled with its key; returns its outcome."""
        task = asyncio.current_task()
        assert task is not None
        with self._lock:
            self._tasks.setdefault(key, set()).add(task)
        try:
            if key in self._cancelled:
                work.close()
                return cancelled(key)
            return await work
        except asyncio.CancelledError:
            if task not in self._ended or task.uncancel() > 0:  # the whole stream was cancelled
                raise
            return cancelled(key)
        finally:
            with self._lock:
                self._ended.discard(task)
                self._tasks[key].discard(task)
                if not self._tasks[key]:
                    del self._tasks[key]
            self.answered(key)


def cancelled(key: Key) -> Failure:
    """The outcome of a draw that was cancelled."""
    return Failure(key=key, reason="cancelled", detail="cancelled: the caller stopped waiting")

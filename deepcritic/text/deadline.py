"""A deadline for Python code that may not end, such as the loops of an untrusted chat template.

>>> with deadline(60):
...     total = sum(range(10))
>>> try:
...     with deadline(0.1):
...         while True:
...             pass
... except DeadlineError:
...     print("stopped")
stopped
"""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

_INTERVAL = 0.2
"""Seconds between two looks at the deadlines."""


class DeadlineError(Exception):
    """The code did not end in time."""


@dataclass(eq=False)
class _Watched:
    thread: int
    until: float
    expired: bool = False


_watched: set[_Watched] = set()
_changed = threading.Condition()
_watcher: threading.Thread | None = None


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise `DeadlineError` in this thread if the block takes longer. It stops Python code, but no call into C."""
    global _watcher
    watched = _Watched(threading.get_ident(), time.monotonic() + seconds)
    with _changed:
        _watched.add(watched)
        if _watcher is None or not _watcher.is_alive():  # a fork copies no threads
            _watcher = threading.Thread(target=_watch, name="deadlines", daemon=True)
            _watcher.start()
        _changed.notify()
    try:
        yield
    finally:
        with _changed:
            _watched.discard(watched)
        if watched.expired:  # the block may have ended at the same moment: the exception must not be raised outside of it
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(watched.thread), None)
    if watched.expired:
        raise DeadlineError


def _watch() -> None:
    while True:
        with _changed:
            while not _watched:
                _changed.wait()
            now = time.monotonic()
            for one in [one for one in _watched if one.until < now]:
                _watched.discard(one)
                one.expired = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(one.thread), ctypes.py_object(DeadlineError))
        time.sleep(_INTERVAL)

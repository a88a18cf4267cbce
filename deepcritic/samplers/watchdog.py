"""Kills child processes when this one ends, however it ends: an orphaned engine would keep its GPU memory.

    with Watchdog() as watchdog:
        with watchdog.children():
            ...  # code that starts an engine

A small separate process waits for this one to end, and notices even if this one is killed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

WATCH = """
import os, select, signal, sys
watched, client = [], os.pidfd_open(int(sys.argv[1]))
print("watching", flush=True)
while client not in (ready := select.select([client, sys.stdin], [], [])[0]):
    line = sys.stdin.readline().strip()
    if not line:
        break
    try:
        watched.append(os.pidfd_open(int(line)))
    except ProcessLookupError:
        pass
    print("watched", flush=True)
for handle in watched:
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""
LOOK_SECONDS = 0.1


class Watchdog:
    """Kills the watched processes when its `with` block or this process ends. It works only on Linux; elsewhere it does
    nothing."""

    def __enter__(self) -> Self:
        self._watch = None
        if sys.platform == "linux":
            self._watch = subprocess.Popen(
                [sys.executable, "-c", WATCH, str(os.getpid())],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            )  # fmt: skip
            assert self._watch.stdout is not None
            self._watch.stdout.readline()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._watch is not None:
            self._watch.communicate("\n")  # an empty line, because a child may keep the pipe open

    def add(self, number: int) -> None:
        """Also watch the process with this id."""
        if self._watch is not None:
            assert self._watch.stdin is not None
            assert self._watch.stdout is not None
            self._watch.stdin.write(f"{number}\n")
            self._watch.stdin.flush()
            self._watch.stdout.readline()

    @contextlib.contextmanager
    def children(self) -> Iterator[None]:
        """Watch the processes that `multiprocessing` starts inside the block, as soon as they start."""
        known = {child.pid for child in multiprocessing.active_children()}
        over = threading.Event()

        def look() -> None:
            while True:
                last = over.wait(LOOK_SECONDS)
                for child in multiprocessing.active_children():
                    if child.pid is not None and child.pid not in known:
                        known.add(child.pid)
                        self.add(child.pid)
                if last:
                    return

        looking = threading.Thread(target=look, name="watchdog", daemon=True)
        looking.start()
        try:
            yield
        finally:
            over.set()
            looking.join()

"""Processes that must not outlive this one, however it ends: an engine left behind keeps the memory of its GPUs.

    with Guard(process.pid):
        ...

A small process of its own waits for this one's end of a pipe to close, which the system does even for one that is killed.
"""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType
from typing import Self

WATCH = """
import os, signal, sys
handles = [os.pidfd_open(int(number)) for number in sys.argv[1:]]
print("watching", flush=True)
sys.stdin.read()
for handle in handles:
    try:
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        pass
"""


class Guard:
    """Kills the processes `numbers` when it is left, and when this process ends. Only Linux has what it takes; elsewhere
    it does nothing."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers

    def __enter__(self) -> Self:
        self._watch = None
        if sys.platform == "linux" and self._numbers:
            self._watch = subprocess.Popen(
                [sys.executable, "-c", WATCH, *map(str, self._numbers)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
            assert self._watch.stdout is not None
            self._watch.stdout.readline()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._watch is not None:
            self._watch.communicate()

"""Clean exit of a command on a signal or a closed output pipe."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

TERMINATED = 128 + signal.SIGTERM
CLOSED = 141
"""The exit code of a program ended by SIGPIPE."""


class Terminated(KeyboardInterrupt):
    """SIGTERM was received: `kill`, a cluster's time limit, a stopped container."""


@contextlib.contextmanager
def termination_raises() -> Iterator[None]:
    """Inside the block the first SIGTERM raises `Terminated`, so open files are closed; the second one kills."""
    ours = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if os.getpid() != ours:  # a forked child dies as usual
            os.kill(os.getpid(), number)
        raise Terminated

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # another handler is set
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def reader_is_gone() -> bool:
    """Whether the reader of standard output is gone, as after `| head`. If so, further output is discarded."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        gone = any(seen & (select.POLLERR | select.POLLHUP) for _, seen in poll.poll(0))
        if gone:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (AttributeError, OSError, ValueError):  # no `poll` on this system, or stdout is not a file
        return False
    return gone

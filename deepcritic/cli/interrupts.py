"""Clean exit of a command that is stopped by a signal or by a closed output pipe."""

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
"""The exit code of a program that is ended by SIGPIPE."""


class Terminated(KeyboardInterrupt):
    """SIGTERM came: `kill`, a cluster's time limit, a container that is stopped."""


@contextlib.contextmanager
def termination_raises() -> Iterator[None]:
    """Inside the block the first SIGTERM raises `Terminated`, so that what is open is closed; the second one kills."""
    ours = os.getpid()

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if os.getpid() != ours:  # a child that was forked dies as before
            os.kill(os.getpid(), number)
        raise Terminated

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # somebody else decides
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def reader_is_gone() -> bool:
    """Whether nobody reads standard output any more, as after `| head`. If so, further output goes nowhere."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        gone = any(seen & (select.POLLERR | select.POLLHUP) for _, seen in poll.poll(0))
        if gone:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (AttributeError, OSError, ValueError):  # no poll on this system, or no file behind standard output
        return False
    return gone

"""The client of the processes that do algebra: a forkserver, and the workers that it forks.

Call `workers().compare(question, deadline)`. Each process has one pool, which is thread-safe.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Final, NamedTuple

from deepcritic.answers.decide import Comparison, Question
from deepcritic.answers.protocol import READY, REPLY, REQUEST, exactly, receive, send
from deepcritic.errors import DeepCriticError

_MEMORY: Final = 1 << 30  # address space of a worker, in bytes
_START: Final = 120.0  # most seconds to load math-verify on a busy machine
_STARVED: Final = 0.1  # a pair with a smaller share of its deadline on a processor (busy machine) is retried once
_ALARM: Final = 0.9  # the share of a deadline after which the kernel kills a worker, so that the result is in time


class _Worker(NamedTuple):
    pid: int
    channel: socket.socket
    spent: float = 0.0
    """Processor seconds so far."""


class Pool:
    """The forkserver and its idle workers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(cores())
        self._idle: list[_Worker] = []
        self._forkserver: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def compare(self, question: Question, deadline: float) -> Comparison:
        """Ask a worker, which is killed after `deadline` seconds without a reply. Waits while all cores are busy."""
        task = json.dumps([_ALARM * deadline, question.reference, question.prediction, asdict(question.conventions)]).encode()
        with self._slots:
            for last_try in (False, True):  # an idle worker may have exited, or been killed from outside
                worker = self._take()
                with contextlib.suppress(OSError):
                    send(worker.channel, task)
                in_time = _readable(worker.channel, deadline)
                reply = receive(worker.channel) if in_time else b""
                if reply:
                    equal, reason, spent = json.loads(reply)
                    with self._lock:
                        self._idle.append(worker._replace(spent=spent))
                    return Comparison(equal, reason)
                status, spent = self._end(worker)
                late = not in_time or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM)
                if late and (last_try or spent - worker.spent > _STARVED * deadline):
                    return Comparison(None, "time")
        return Comparison(None, "died")

    def close(self) -> None:
        """Stop all processes, and wait for them."""
        with self._lock:
            self._abandon()
            forkserver, self._forkserver = self._forkserver, None
        if forkserver is not None:
            try:
                forkserver.wait(5)
            except subprocess.TimeoutExpired:
                forkserver.kill()
                forkserver.wait()

    def forget(self) -> None:
        """In a forked child: the processes belong to the parent."""
        self._abandon()
        if self._forkserver is not None:
            self._forkserver.returncode = 0  # so that nothing here waits for a process that is not our child
            self._forkserver = None

    def pids(self) -> list[int]:
        """The pids of live processes, except busy workers."""
        forkserver = [] if self._forkserver is None else [self._forkserver.pid]
        return forkserver + [worker.pid for worker in self._idle]

    def _abandon(self) -> None:
        """Close our ends of the sockets; the forkserver then stops its workers and itself."""
        for worker in self._idle:
            worker.channel.close()
        self._idle.clear()
        if self._control is not None:
            self._control.close()
            self._control = None

    def _take(self) -> _Worker:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            for last_try in (False, True):
                control = self._control or self._start()
                ours, theirs = socket.socketpair()
                with theirs:
                    try:
                        socket.send_fds(control, [REQUEST.pack(b"F", 0)], [theirs.fileno()])
                        return _Worker(self._answer(control)[0], ours)
                    except (OSError, EOFError):  # the forkserver was killed from outside
                        ours.close()
                        self._abandon()
                        if last_try:
                            raise
            raise AssertionError

    def _end(self, worker: _Worker) -> tuple[int, float]:
        """Kill and reap a worker; return its wait status and processor seconds. The forkserver does this, as only a parent knows
        that a pid is still its child."""
        worker.channel.close()
        with self._lock:
            if self._control is None:
                return 0, 0.0
            try:
                self._control.sendall(REQUEST.pack(b"K", worker.pid))
                return self._answer(self._control)
            except (OSError, EOFError):
                self._abandon()
                return 0, 0.0

    @staticmethod
    def _answer(control: socket.socket) -> tuple[int, float]:
        data = exactly(control, REPLY.size)
        if not data:
            raise EOFError
        number, seconds = REPLY.unpack(data)
        return number, seconds

    def _start(self) -> socket.socket:
        if importlib.util.find_spec("math_verify") is None:
            raise DeepCriticError(
                "comparing these answers needs algebra, and math-verify is not installed: pip install 'deepcritic[answers]'"
            )
        if self._forkserver is not None:  # it was killed, but not reaped
            self._forkserver.kill()
            self._forkserver.wait()
        ours, theirs = socket.socketpair()
        with theirs:
            # Without -P the current folder could shadow modules. No other variables are passed, so that no secret can leak.
            path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
            self._forkserver = subprocess.Popen(
                [sys.executable, "-P", "-B", "-m", "deepcritic.answers.worker", str(theirs.fileno()), str(_MEMORY)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0", "PYTHONPATH": path},
                start_new_session=True,
            )
        greeting = receive(ours) if _readable(ours, _START) else b"it did not start in time"
        if greeting != READY:
            ours.close()
            self._forkserver.kill()
            self._forkserver.wait()
            raise DeepCriticError(f"the answer checker did not start: {greeting.decode() or 'the process died'}")
        self._control = ours
        return ours


_the_pool: Pool | None = None
_the_pool_lock = threading.Lock()


def workers() -> Pool:
    """This process's pool; its processes start on first use."""
    global _the_pool
    with _the_pool_lock:
        if _the_pool is None:
            _the_pool = Pool()
            atexit.register(_the_pool.close)
        return _the_pool


def _after_fork() -> None:
    """Give a forked child its own pool; a lock held by another thread of the parent would never be released here."""
    global _the_pool, _the_pool_lock
    _the_pool_lock = threading.Lock()
    if _the_pool is not None:
        atexit.unregister(_the_pool.close)
        _the_pool.forget()
        _the_pool = None


os.register_at_fork(after_in_child=_after_fork)


def _readable(channel: socket.socket, seconds: float) -> bool:
    poll = select.poll()  # not select(): it cannot take descriptors above 1023
    poll.register(channel, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

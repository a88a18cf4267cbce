r"""Are two mathematical answers equal? Plain numbers at once, the rest by math-verify in processes that can be killed.

>>> equivalent(r"Therefore it is $\boxed{\frac{1}{2}}$.", "0.5")
True
>>> [result.equal for result in compare([("3", "3"), ("4 cm", "5"), ("", "5")])]
[True, False, None]

None means undecided: out of time or memory, or not readable; `compare` says why. It is never "wrong" in silence. The reference
comes second here and first in math-verify, whose comparison is not symmetric.

math-verify's own timeout needs the main thread and does not stop everything. Here a worker is a process of its own, ended by the
kernel at its deadline, so all of this works in any thread, in forked children, in Ray, and in a script without a main guard. The
processes start with the first pair that needs algebra (about a second) and end with this process.
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
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

from deepcritic import answer_worker as wire
from deepcritic.answer_text import LIMIT, answer_of, decide_answers, for_algebra, too_hard
from deepcritic.errors import DeepCriticError

_MEMORY: Final = 1 << 30  # address space of a worker, in bytes
_START: Final = 120.0  # seconds that loading math-verify may take on a busy machine
_GRACE: Final = 0.5  # the kernel ends a worker at the deadline; if it cannot, we do, so much later
_REMEMBERED: Final = 50_000
_AHEAD: Final = 64  # pairs that wait for each worker, so that a slow pair at the head does not idle the others


class Comparison(NamedTuple):
    """Whether the answers are equal, and where that is None, why: `time`, `memory`, `size`, `unreadable prediction` ..."""

    equal: bool | None
    reason: str = ""


def equivalent(prediction: str, reference: str, *, deadline: float = 2.0) -> bool | None:
    """Whether `prediction` gives the same answer as `reference`; None when that could not be decided in `deadline` seconds.

    Each may be a bare answer or a whole reply, of which the last box counts.
    """
    quick = _at_once(prediction, reference)
    return (quick if isinstance(quick, Comparison) else _by_algebra(quick, deadline)).equal


def compare(pairs: Iterable[tuple[str, str]], *, deadline: float = 2.0, workers: int | None = None) -> Iterator[Comparison]:
    """One `Comparison` for each pair (prediction, reference), in order, while up to `workers` processes work ahead.

    Pairs are pulled as there is room, so a stream of any length does. By default there is a worker for each core.
    """
    size = workers or _cores()
    waiting: deque[Comparison | Future[Comparison]] = deque()
    threads: ThreadPoolExecutor | None = None
    try:
        for prediction, reference in pairs:
            quick = _at_once(prediction, reference)
            if isinstance(quick, Comparison):
                waiting.append(quick)
            else:
                if threads is None:
                    threads = ThreadPoolExecutor(size, "answers")
                waiting.append(threads.submit(_by_algebra, quick, deadline))
            while waiting and (len(waiting) > _AHEAD * size or isinstance(waiting[0], Comparison) or waiting[0].done()):
                yield _settled(waiting.popleft())
        while waiting:
            yield _settled(waiting.popleft())
    finally:
        if threads is not None:
            threads.shutdown(cancel_futures=True)


def _settled(item: Comparison | Future[Comparison]) -> Comparison:
    return item if isinstance(item, Comparison) else item.result()


def _at_once(prediction: str, reference: str) -> Comparison | tuple[str, str]:
    """The result, where no algebra is needed; else what to give to math-verify: (reference, prediction)."""
    one, other = answer_of(prediction), answer_of(reference)
    for side, answer in (("prediction", one), ("reference", other)):
        if not answer:
            return Comparison(None, f"unreadable {side}")
    quick = decide_answers(one, other)
    if quick is not None:
        return Comparison(quick)
    texts = for_algebra(other), for_algebra(one)
    for text in texts:
        if len(text) > LIMIT + 2 or too_hard(text):
            return Comparison(None, "size")
    return texts


_remembered: OrderedDict[tuple[str, str], Comparison] = OrderedDict()


def _by_algebra(texts: tuple[str, str], deadline: float) -> Comparison:
    known = _remembered.get(texts)
    if known is not None:
        return known
    found = _pool().compare(texts, deadline)
    if found.reason not in ("time", "died"):  # those may come out otherwise on a quieter machine
        _remembered[texts] = found
        if len(_remembered) > _REMEMBERED:
            with contextlib.suppress(KeyError):
                _remembered.popitem(last=False)
    return found


class _Worker(NamedTuple):
    pid: int
    channel: socket.socket


class _Pool:
    """The nursery and its idle workers. One for each process that compares; thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(_cores())
        self._idle: list[_Worker] = []
        self._nursery: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def compare(self, texts: tuple[str, str], deadline: float) -> Comparison:
        task = json.dumps([deadline, *texts]).encode()
        with self._slots:
            for last_try in (False, True):
                worker = self._take()
                try:
                    wire.send(worker.channel, task)
                except OSError:  # it had retired, or was killed from outside, while idle
                    self._end(worker)
                    continue
                ready = _readable(worker.channel, deadline + _GRACE)
                reply = wire.receive(worker.channel) if ready else b""
                if reply:
                    equal, reason = json.loads(reply)
                    with self._lock:
                        self._idle.append(worker)
                    return Comparison(equal, reason)
                status = self._end(worker)
                if not ready or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM):
                    return Comparison(None, "time")
                if last_try or not (os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0):
                    break
        return Comparison(None, "died")

    def close(self) -> None:
        """End all processes, and wait for them."""
        with self._lock:
            self._abandon()
            nursery, self._nursery = self._nursery, None
        if nursery is not None:
            try:
                nursery.wait(5)
            except subprocess.TimeoutExpired:
                nursery.kill()
                nursery.wait()

    def _abandon(self) -> None:
        """Close our ends of the sockets: the nursery sees that and ends its workers and itself."""
        for worker in self._idle:
            worker.channel.close()
        self._idle.clear()
        if self._control is not None:
            self._control.close()
            self._control = None

    def forget(self) -> None:
        """In a forked child: the processes belong to the parent."""
        self._abandon()
        if self._nursery is not None:
            self._nursery.returncode = 0  # so that nothing here waits for a process that is not our child
            self._nursery = None

    def _take(self) -> _Worker:
        with self._lock:
            if self._idle:
                return self._idle.pop()
            for again in (True, False):
                control = self._control or self._start()
                ours, theirs = socket.socketpair()
                try:
                    socket.send_fds(control, [wire.REQUEST.pack(b"F", 0)], [theirs.fileno()])
                    return _Worker(self._answer(control), ours)
                except (OSError, EOFError):
                    ours.close()
                    self._abandon()
                    if not again:
                        raise
                finally:
                    theirs.close()
            raise AssertionError

    def _end(self, worker: _Worker) -> int:
        """Kill and reap a worker; its wait status. The nursery does it: only a parent can know that a pid is still its child."""
        worker.channel.close()
        with self._lock:
            if self._control is None:
                return 0
            try:
                self._control.sendall(wire.REQUEST.pack(b"K", worker.pid))
                return self._answer(self._control)
            except (OSError, EOFError):
                self._abandon()
                return 0

    @staticmethod
    def _answer(control: socket.socket) -> int:
        data = wire.exactly(control, wire.REPLY.size)
        if not data:
            raise EOFError
        return int(wire.REPLY.unpack(data)[0])

    def _start(self) -> socket.socket:
        if importlib.util.find_spec("math_verify") is None:
            raise DeepCriticError(
                "comparing these answers needs algebra, and math-verify is not installed: pip install 'deepcritic[answers]'"
            )
        ours, theirs = socket.socketpair()
        with theirs:
            # -P: the folder of the script must not shadow modules. The environment is bare, so no secret can leak from it.
            self._nursery = subprocess.Popen(
                [sys.executable, "-P", str(Path(wire.__file__)), str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PYTHONHASHSEED": "0"},
                start_new_session=True,
            )
        wire.send(ours, json.dumps({"path": sys.path, "memory": _MEMORY}).encode())
        greeting = wire.receive(ours) if _readable(ours, _START) else b"it did not start in time"
        if greeting != wire.READY:
            ours.close()
            self._nursery.kill()
            self._nursery.wait()
            raise DeepCriticError(f"the process that compares answers does not start: {greeting.decode() or 'it died'}")
        self._control = ours
        return ours


_the_pool: _Pool | None = None
_the_pool_lock = threading.Lock()


def _pool() -> _Pool:
    global _the_pool
    with _the_pool_lock:
        if _the_pool is None:
            _the_pool = _Pool()
            atexit.register(_the_pool.close)
        return _the_pool


def _after_fork() -> None:
    """A forked child starts processes of its own; a lock that another thread of the parent held would never open here."""
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


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

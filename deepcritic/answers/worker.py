"""The code of the forkserver and its workers. `pool` starts this module; nothing imports it.

A forkserver loads math-verify once and forks a worker on request, in milliseconds. A worker compares pairs one by one. The
kernel's alarm kills it when a pair's time is up, whatever it is doing, and its memory is limited.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import signal
import socket
import sys
import time
from types import ModuleType
from typing import Final, NoReturn

from deepcritic.answers.conventions import Conventions
from deepcritic.answers.decide import Question
from deepcritic.answers.protocol import READY, REPLY, REQUEST, receive, send

_TASKS: Final = 2000  # a worker is replaced after this many pairs, so that its caches stay small


def main(descriptor: int, memory: int) -> None:
    """Run the forkserver: `descriptor` is a socket to the client, `memory` the limit of a worker in bytes."""
    control = socket.socket(fileno=descriptor)
    try:
        import deepcritic.answers.algebra as algebra

        algebra.close_and_bound()
    except Exception as error:
        send(control, f"{type(error).__name__}: {error}".encode())
        return
    gc.collect()
    gc.freeze()
    parent = os.getppid()
    send(control, READY)
    children: set[int] = set()
    try:
        while True:
            # A fork of our owner may hold the socket open after the owner has died, so check the parent.
            if not select.select([control], [], [], 1.0)[0]:
                if os.getppid() != parent:
                    return
                continue
            message, descriptors, _, _ = socket.recv_fds(control, REQUEST.size, 1)
            if len(message) < REQUEST.size:
                return
            request, pid = REQUEST.unpack(message)
            if request == b"F":
                child = os.fork()
                if not child:
                    control.close()
                    work(socket.socket(fileno=descriptors[0]), algebra, memory)
                os.close(descriptors[0])
                children.add(child)
                control.sendall(REPLY.pack(child, 0.0))
            else:
                control.sendall(REPLY.pack(*(_end(pid) if pid in children else (0, 0.0))))
                children.discard(pid)
    finally:
        for child in children:
            _end(child)


def work(channel: socket.socket, algebra: ModuleType, memory: int) -> NoReturn:
    """Answer requests until the other side closes or the worker is replaced."""
    status = 0
    try:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        sys.addaudithook(algebra.forbid)
        for _ in range(_TASKS):
            task = receive(channel)
            if not task:
                break
            seconds, reference, prediction, conventions = json.loads(task)
            # The default action of SIGALRM ends the process in the kernel: no bytecode runs, and no handler can be lost.
            signal.setitimer(signal.ITIMER_REAL, seconds)
            found = algebra.compare(Question(reference, prediction, Conventions(**conventions)))
            signal.setitimer(signal.ITIMER_REAL, 0)
            send(channel, json.dumps([*found, time.process_time()]).encode())
    except BaseException:
        status = 1
    finally:
        os._exit(status)


def _end(pid: int) -> tuple[int, float]:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    _, status, usage = os.wait4(pid, 0)
    return status, usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

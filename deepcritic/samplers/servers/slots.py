"""Chooses the server for the next request, with a queue for requests while no server has room.

slots = Slots(servers, patience=600.0)
server = await slots.take()
...
slots.release(server)
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque

from deepcritic.samplers.servers.server import Server

LOG = logging.getLogger(__name__)


class NoAnswer(Exception):
    """No answer within the limits. `reason` is the kind of problem in one word, `detail` the last error."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Nowhere(Exception):
    """Every server is dropped or has refused the request."""


class Slots:
    """A queue of requests for servers with room. `patience` is the most seconds without an answer from any server."""

    def __init__(self, servers: list[Server], patience: float) -> None:
        self._servers, self._patience = servers, patience
        self._waiting: deque[tuple[asyncio.Future[Server], frozenset[Server]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._said = -math.inf

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def take(self, avoid: Server | None, refused: frozenset[Server]) -> Server:
        """Reserve a place on a server with room: not one of `refused`, and if possible not `avoid`. Raises `Nowhere` if all
        servers are in `refused` or dropped."""
        server = self._best(refused, avoid)
        if server is not None:
            server.in_flight += 1
            return server
        if self._nowhere(refused):
            raise Nowhere
        self._check_patience()
        waiter: asyncio.Future[Server] = asyncio.get_running_loop().create_future()
        self._waiting.append((waiter, refused))
        self._wake_later()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self.release(waiter.result())
            raise

    def _best(self, refused: frozenset[Server], avoid: Server | None = None) -> Server | None:
        now = self._now
        free = [server for server in self._servers if server.room > 0 and now >= server.resume and server not in refused]
        return min(free, key=lambda server: (server is avoid, server.in_flight), default=None)

    def _nowhere(self, refused: frozenset[Server]) -> bool:
        return all(server.aside or server in refused for server in self._servers)

    def release(self, server: Server) -> None:
        server.in_flight -= 1
        if self._waiting:
            self._wake()

    def _wake(self) -> None:
        """Assign free places to waiting requests; all of them fail once `patience` has passed."""
        waiting, self._waiting = self._waiting, deque()
        while waiting:
            waiter, refused = waiting.popleft()
            if waiter.done():  # its request was cancelled
                continue
            server = self._best(refused)
            if server is not None:
                server.in_flight += 1
                waiter.set_result(server)
                continue
            if self._nowhere(refused):
                waiter.set_exception(Nowhere())
                continue
            self._waiting.append((waiter, refused))
            if not refused:  # no server has room for any request
                break
        self._waiting.extend(waiting)
        try:
            self._check_patience()
        except NoAnswer as error:
            while self._waiting:
                waiter, _ = self._waiting.popleft()
                if not waiter.done():
                    waiter.set_exception(NoAnswer(error.reason, error.detail))
        if self._waiting:
            self._wake_later()

    def _wake_later(self) -> None:
        """Schedule `_wake` for the end of the next pause or of `patience`."""
        now = self._now
        moments = [server.resume for server in self._servers if server.resume > now]
        moments += [server.down_since + self._patience for server in self._servers if server.down_since is not None]
        upcoming = [moment for moment in moments if moment > now]
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(min(upcoming), self._wake) if upcoming else None

    def _check_patience(self) -> None:
        """Raises `NoAnswer` once no server has answered for `patience` seconds and none has a request; until then logs a
        warning at most once a minute."""
        now = self._now
        used = [server for server in self._servers if not server.aside]
        down = [server for server in used if not server.in_flight and server.down_since is not None]
        if len(down) < len(used):
            return
        seen = "; ".join(server.problem for server in used)
        since = max((server.down_since for server in down if server.down_since is not None), default=now)
        if now - since >= self._patience:
            raise NoAnswer(down[0].reason if down else "unreachable", f"no answer for {now - since:.0f} s: {seen}")
        if now - self._said >= 60:
            self._said = now
            LOG.warning(f"waiting for up to {self._patience:.0f} s: {seen}")

"""Which server gets the next request: places in a queue for the room that servers have.

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
    """No answer within the limits. `reason` is one word for the kind of trouble, `detail` what was seen last."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Nowhere(Exception):
    """Every server is set aside, or has refused the request."""


class Slots:
    """Requests wait here while no server has room. `patience` is for how many seconds no server may answer."""

    def __init__(self, servers: list[Server], patience: float) -> None:
        self._servers, self._patience = servers, patience
        self._waiting: deque[tuple[asyncio.Future[Server], frozenset[Server]]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._said = -math.inf

    @property
    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def take(self, avoid: Server | None, refused: frozenset[Server]) -> Server:
        """A server with room, counted in: none of `refused`, and another one than `avoid` where there is a choice. Raises
        `Nowhere` if there is none but those that are refused or set aside."""
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
        """Give waiting requests what room there is; all of them fail where patience has run out."""
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
            if not refused:  # nor is there any for those that may go to all servers
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
        """Look again when a server may be asked again, and when patience runs out."""
        now = self._now
        moments = [server.resume for server in self._servers if server.resume > now]
        moments += [server.down_since + self._patience for server in self._servers if server.down_since is not None]
        upcoming = [moment for moment in moments if moment > now]
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(min(upcoming), self._wake) if upcoming else None

    def _check_patience(self) -> None:
        """Raises `NoAnswer` once no server has answered for too long and none has a request; prints a line before, at most
        once a minute."""
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

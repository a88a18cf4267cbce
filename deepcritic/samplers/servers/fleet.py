"""Several HTTP servers that do the same work: who is asked next, what is asked again, and when that is given up.

Here is the one owner of retries. A request is sent at most 1 + `retries` times, and waits while no server can be
reached, up to `patience`; what comes of it is an answer, `NoAnswer` (it may pass another time) or `Refusal` (it would
be refused again). All of it runs on one event loop.

    async with Fleet(["http://a:8000/v1", "http://b:8000/v1"], concurrency=64) as fleet:
        reply = await fleet.ask("completions", body, json.loads)
"""

from __future__ import annotations

import asyncio
import math
import re
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
from yarl import URL

from deepcritic.errors import InputError
from deepcritic.samplers.base import Usage
from deepcritic.samplers.servers.completions import shown
from deepcritic.samplers.servers.server import Server, base_url, pause, retry_after

T = TypeVar("T")

CONNECT_SECONDS = 20.0
IDLE_SECONDS = 4.0
"""How long an idle connection is kept; less than uvicorn's five, lest it is closed just as it is used again."""
PASSING = frozenset({408, 409, 425, 500, 520, 522, 524})
"""Trouble with one request, which may pass."""
BUSY = frozenset({429, 502, 503, 504, 529})
"""Trouble with the server: it is asked for less."""
_TOKENS = re.compile(rb"^[\w:]*_tokens_total(?:\{[^}\n]*\})? +([0-9.eE+]+)", re.M)


class NoAnswer(Exception):
    """No answer within the budget. `reason` is one word for the kind of trouble, `detail` what was seen last."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class Refusal(Exception):
    """The server understood and declined, with this status: asking again would not help."""

    def __init__(self, url: str, status: int, body: bytes) -> None:
        super().__init__(f"{url}: {status}")
        self.url, self.status, self.body = url, status, body


class Fleet:
    """Asks whichever server has the fewest requests in flight. Use it inside its `async with` block.

    `concurrency` is the most requests in flight at one server, `retries` how often a request may be sent again,
    `timeout` the seconds that one reply may take, `patience` the seconds for which all servers may be out of reach.
    Where a server counts its tokens on `/metrics` (as vLLM does), requests to it are also given up once none has moved
    for `stall` seconds: a server's health says nothing about that. `secret` is sent as bearer token, and taken out of
    every answer before anybody sees it.
    """

    def __init__(
        self,
        urls: list[str],
        *,
        concurrency: int = 64,
        retries: int = 5,
        timeout: float = 3600.0,
        stall: float = 300.0,
        patience: float = 600.0,
        secret: str = "",
    ) -> None:
        for field, value, fits, right in (
            ("concurrency", concurrency, concurrency >= 1, "a whole number from 1"),
            ("retries", retries, retries >= 0, "a whole number from 0"),
            ("timeout", timeout, timeout > 0, "seconds above 0"),
            ("stall", stall, stall > 0, "seconds above 0"),
            ("patience", patience, patience >= 0, "seconds from 0"),
        ):
            if not fits:
                raise InputError("out of range", field=f"sampler.{field}", found=value, expected=right)
        self.servers = [Server(base_url(url), concurrency) for url in dict.fromkeys(urls)]
        if not self.servers:
            raise InputError("no server is named", field="sampler.urls", remedy="give sampler.urls=[http://host:8000/v1]")
        self.capacity = concurrency * len(self.servers)
        self.usage = Usage()
        self._retries, self._timeout, self._stall, self._patience = retries, timeout, stall, patience
        self._secret = secret
        self._waiting: deque[asyncio.Future[Server]] = deque()
        self._watchers: list[asyncio.Task[None]] = []
        self._ended: dict[asyncio.Task[Any], str] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._said = -math.inf

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        headers = {"Content-Type": "application/json"}
        if self._secret:
            headers["Authorization"] = f"Bearer {self._secret}"
        most = self.capacity + 2 * len(self.servers)  # requests, and looks at its pages
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=most, keepalive_timeout=IDLE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),  # `timeout` is kept by `_watch`
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._watchers = [asyncio.create_task(self._watch(server)) for server in self.servers]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for watcher in self._watchers:
            watcher.cancel()
        await self._session.close()

    async def ask(self, path: str, body: bytes, read: Callable[[bytes], T]) -> T:
        """POST `body` to `path` below a base URL and return what `read` makes of the answer; it raises ValueError for an
        answer that is not whole, which is then asked for again."""
        attempts, server = 0, None
        while True:
            server = await self._slot(avoid=server)
            url = URL(f"{server.url}/{path}")
            try:
                self.usage.requests += 1
                status, content, wait = await self._post(server, url, body)
                now = self._loop.time()
                if status == 200:
                    answer = read(content)
                    server.answered(now)
                    return answer
                if status in BUSY and b"insufficient_quota" not in content:
                    problem = NoAnswer("rate_limited" if status == 429 else "server_error", f"{url}: {status}")
                    server.busy(now, problem.detail, retry_after(wait))
                elif status in PASSING:
                    problem = NoAnswer("server_error", f"{url}: {status} {shown(content)}")
                else:
                    raise Refusal(str(url), status, content)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                self.usage.requests -= 1  # it never left: this costs time, of which `_slot` keeps account, and no attempt
                server.lost(self._loop.time(), f"{server.url} cannot be reached ({_plain(error)})", reached=False)
                continue
            except (aiohttp.ClientError, OSError) as error:
                now, timed_out = self._loop.time(), isinstance(error, TimeoutError)
                seen = str(error) if timed_out else f"the connection broke ({_plain(error)})"
                problem = NoAnswer("timeout" if timed_out else "connection", f"{url}: {seen}")
                if not timed_out or now - server.last_answer >= self._timeout:  # else only this one reply was too long
                    server.lost(now, problem.detail, reached=True)
            except ValueError as error:
                problem = NoAnswer("malformed", f"{url}: {error}")
            finally:
                self._release(server)
            attempts += 1
            if attempts > self._retries:
                raise problem
            self.usage.retries += 1
            if problem.reason != "rate_limited":  # there the whole server is left in peace instead
                await asyncio.sleep(pause(attempts))

    async def get(self, server: Server, path: str) -> tuple[int, bytes]:
        """Status and content of one page below the base URL, asked for once."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                url = URL(f"{server.url}/{path}")
                return (await self._read(self._session.get(url, proxy=server.proxy, allow_redirects=False)))[:2]
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoAnswer("unreachable", f"{server.url} cannot be reached ({_plain(error)})") from None

    async def _post(self, server: Server, url: URL, body: bytes) -> tuple[int, bytes, str | None]:
        task = asyncio.current_task()
        assert task is not None
        server.flying[task] = self._loop.time()
        try:
            return await self._read(self._session.post(url, data=body, proxy=server.proxy, allow_redirects=False))
        except asyncio.CancelledError:
            seen = self._ended.pop(task, None)
            if seen is None or task.uncancel() > 0:  # somebody else does not want it any more
                raise
            raise TimeoutError(seen) from None
        finally:
            server.flying.pop(task, None)
            self._ended.pop(task, None)

    async def _read(self, asked: aiohttp.client._RequestContextManager) -> tuple[int, bytes, str | None]:
        """Status, content without the secret, and the header Retry-After."""
        async with asked as response:
            content = await response.read()
            if self._secret and (response.status != 200 or len(self._secret) >= 12):  # a reply may well say "EMPTY"
                for written in {self._secret, self._secret.replace("/", "\\/")}:
                    content = content.replace(written.encode(), b"[key]")
            return response.status, content, response.headers.get("Retry-After")

    async def _slot(self, avoid: Server | None) -> Server:
        """A server with room, counted in; another one than `avoid` where there is a choice."""
        server = self._best(avoid)
        if server is not None:
            server.in_flight += 1
            return server
        self._check_patience()
        waiter: asyncio.Future[Server] = self._loop.create_future()
        self._waiting.append(waiter)
        self._wake_later()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._release(waiter.result())
            raise

    def _best(self, avoid: Server | None = None) -> Server | None:
        now = self._loop.time()
        free = [server for server in self.servers if server.room > 0 and now >= server.resume]
        return min(free, key=lambda server: (server is avoid, server.in_flight), default=None)

    def _release(self, server: Server) -> None:
        server.in_flight -= 1
        if self._waiting:
            self._wake()

    def _wake(self) -> None:
        """Give waiting requests what room there is; all of them are refused where patience has run out."""
        while self._waiting:
            if self._waiting[0].done():  # its request was cancelled
                self._waiting.popleft()
                continue
            server = self._best()
            if server is None:
                break
            server.in_flight += 1
            self._waiting.popleft().set_result(server)
        try:
            self._check_patience()
        except NoAnswer as error:
            while self._waiting:
                waiter = self._waiting.popleft()
                if not waiter.done():
                    waiter.set_exception(NoAnswer(error.reason, error.detail))
        if self._waiting:
            self._wake_later()

    def _wake_later(self) -> None:
        """Look again when a server may be asked again, and when patience runs out."""
        now = self._loop.time()
        moments = [server.resume for server in self.servers if server.resume > now]
        moments += [server.down_since + self._patience for server in self.servers if server.down_since is not None]
        upcoming = [moment for moment in moments if moment > now]
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(min(upcoming), self._wake) if upcoming else None

    def _check_patience(self) -> None:
        """Raises `NoAnswer` once all servers have been down for too long and none is being tried; says so before, at most
        once a minute."""
        now = self._loop.time()
        downs = [server.down_since for server in self.servers if not server.in_flight and server.down_since is not None]
        if len(downs) < len(self.servers):
            return
        seen = "; ".join(server.problem for server in self.servers)
        if now - max(downs) >= self._patience:
            raise NoAnswer("unreachable", seen)
        if now - self._said >= 60:
            self._said = now
            print(f"waiting for up to {self._patience:.0f} s: {seen}", flush=True)

    async def _watch(self, server: Server) -> None:
        """End what takes too long at `server`: a reply by the clock, and all of them where it moves no token."""
        tokens, moved = None, self._loop.time()
        looked = moved
        while True:
            await asyncio.sleep(min(self._timeout, self._stall, 40.0) / 8)
            now = self._loop.time()
            for task, began in server.flying.items():
                if now - began >= self._timeout:
                    self._end(task, f"no reply within {self._timeout:g} s")
            if server.metrics is None or now - looked < self._stall / 8:
                continue
            looked, seen = now, await self._tokens(server)
            unknown = tokens is None and seen is None
            if not server.flying or unknown or (seen is not None and seen != tokens):
                tokens, moved = tokens if seen is None else seen, now
            elif now - moved >= self._stall:
                problem = f"no token moved for {self._stall:g} s"
                server.lost(now, f"{server.url}: {problem}", reached=True)
                for task in server.flying:
                    self._end(task, problem)
                moved = now

    def _end(self, task: asyncio.Task[Any], problem: str) -> None:
        if task not in self._ended:
            self._ended[task] = problem
            task.cancel()

    async def _tokens(self, server: Server) -> float | None:
        """The sum of the server's counters of tokens; None where it has none or does not answer."""
        assert server.metrics is not None
        try:
            async with asyncio.timeout(self._stall / 8):
                asked = self._session.get(server.metrics, proxy=server.proxy, allow_redirects=False)
                status, content, _ = await self._read(asked)
            found = _TOKENS.findall(content) if status == 200 else []
            return sum(map(float, found)) if found else None
        except (aiohttp.ClientError, OSError, ValueError):
            return None


def _plain(error: BaseException) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    said = getattr(cause, "strerror", None)
    return f"{type(error).__name__}: {said}" if said else type(error).__name__

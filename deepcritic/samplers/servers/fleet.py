"""Distributes requests over several equivalent HTTP servers, with all retries and timeouts.

All retries happen here. A request is sent at most 1 + `retries` times. While no server answers it waits, for up to `patience`
seconds. The outcome is an answer, `NoAnswer` (a retry may succeed) or `Refusal` (a retry would be refused). A request that one
server refuses goes to the others; a server that refuses what others accept is no longer used. Everything runs on one event
loop.

    async with Fleet(["http://a:8000/v1", "http://b:8000/v1"], concurrency=64) as fleet:
        reply = await fleet.ask("completions", body, json.loads)
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
from yarl import URL

from deepcritic.errors import InputError
from deepcritic.samplers.base import Usage
from deepcritic.samplers.servers.connection import Final, body_of, cannot_be_asked, permanent, plain
from deepcritic.samplers.servers.refusals import refusal_of_row
from deepcritic.samplers.servers.replies import message_of, shown
from deepcritic.samplers.servers.server import Server, base_url, pause, retry_after
from deepcritic.samplers.servers.slots import NoAnswer, Nowhere, Slots

LOG = logging.getLogger(__name__)

T = TypeVar("T")

CONNECT_SECONDS = 20.0
IDLE_SECONDS = 4.0
"""How long an idle connection is kept: less than uvicorn's five seconds, so that the server does not close it first."""
PASSING = frozenset({408, 409, 425, 500, 520, 522, 524})
"""Temporary errors of one request."""
BUSY = frozenset({429, 502, 503, 504, 529})
"""Errors of the whole server: it gets fewer requests."""
SLOWER = 3.0
"""A server without counters may be silent this many times as long as the slowest reply so far."""
_TOKENS = re.compile(rb"^(?:vllm:\w+_tokens_total|sglang:realtime_tokens_total)(?:\{[^}\n]*\})? +([0-9.eE+]+)", re.M)
"""Counters that grow while a reply is generated. Those of llama.cpp, and the others of SGLang, grow when a request ends."""


class Refusal(Exception):
    """The server refused the request with this status, and would refuse it again."""

    def __init__(self, url: str, status: int, body: bytes) -> None:
        super().__init__(f"{url}: {status}")
        self.url, self.status, self.body = url, status, body


class Fleet:
    """Sends each request to the server with the fewest in flight. Use it inside its `async with` block.

    `concurrency` limits the requests in flight at one server, `retries` the retries of a request, `timeout` the seconds of one
    reply, and `patience` the seconds without an answer from any server. Requests are also withdrawn from a server that makes no
    progress for `stall` seconds. If it counts tokens on `/metrics` as they are generated (vLLM), this means no new token. For
    other servers it means no answer, for at least `SLOWER` times as long as a reply of the largest size would take at the slowest
    pace so far. `secret` is sent as bearer token and removed from all answers.
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
            raise InputError("no server is given", field="sampler.urls", remedy="set sampler.urls=[http://host:8000/v1]")
        self.capacity = concurrency * len(self.servers)
        self.usage = Usage()
        self._retries, self._timeout, self._stall = retries, timeout, stall
        self._secret = secret
        self._slots = Slots(self.servers, patience)
        self._watchers: list[asyncio.Task[None]] = []
        self._ended: dict[asyncio.Task[Any], str] = {}

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        headers = {"Content-Type": "application/json"}
        if self._secret:
            headers["Authorization"] = f"Bearer {self._secret}"
        most = self.capacity + 2 * len(self.servers)  # requests, and two other pages per server
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=most, keepalive_timeout=IDLE_SECONDS),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),  # `_watch` enforces `timeout`
            headers=headers,
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._watchers = [asyncio.create_task(self._watch(server)) for server in self.servers]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for watcher in self._watchers:
            watcher.cancel()
        await self._session.close()

    async def ask(
        self, path: str, body: bytes, read: Callable[[bytes], T], *, share: Callable[[T], float] = lambda answer: 1.0
    ) -> T:
        """POST `body` to `path` below a base URL and return the result of `read` for the answer.

        `read` raises ValueError for an unusable answer, and the request is retried. `share` returns the size of an answer as a
        fraction of the largest possible reply. Raises `NoAnswer` and `Refusal`, and `InputError` if no server can be used.
        """
        attempts, server, refusals = 0, None, dict[Server, Refusal]()
        while True:
            try:
                server = await self._slots.take(avoid=server, refused=frozenset(refusals))
            except Nowhere:
                raise next(iter(refusals.values()), None) or cannot_be_asked(self.servers[0].aside) from None
            url, began = URL(f"{server.url}/{path}"), self._loop.time()
            again = bool(attempts or refusals)
            self.usage.requests += 1
            self.usage.retries += again
            try:
                status, content, wait = await self._post(server, url, body)
                now = self._loop.time()
                if status == 200:
                    answer = read(content)
                    server.longest = max(server.longest, (now - began) / max(share(answer), 1e-3))
                    server.answered(now)
                    self._refused_by(refusals)
                    return answer
                if status in BUSY and b"insufficient_quota" not in content:
                    problem = NoAnswer("rate_limited" if status == 429 else "server_error", f"{url}: {status} {shown(content)}")
                    server.busy(now, problem.detail, retry_after(wait), problem.reason)
                elif status in PASSING:
                    problem = NoAnswer("server_error", f"{url}: {status} {shown(content)}")
                    server.failed(now, problem.detail, problem.reason)
                else:
                    refusals[server] = Refusal(str(url), status, content)
                    continue
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                self.usage.requests -= 1  # it was not sent: only `patience` limits this, not `retries`
                self.usage.retries -= again
                if permanent(error):
                    self.set_aside(server, plain(error))
                server.lost(self._loop.time(), f"{server.url} cannot be reached ({plain(error)})")
                continue
            except (aiohttp.ClientError, OSError) as error:
                now, timed_out = self._loop.time(), isinstance(error, TimeoutError)
                seen = str(error) if timed_out else f"connection lost ({plain(error)})"
                problem = NoAnswer("timeout" if timed_out else "connection", f"{url}: {seen}")
                if not timed_out or now - server.last_answer >= self._timeout:  # otherwise only this reply was too long
                    server.lost(now, problem.detail, problem.reason)
            except ValueError as error:
                problem = NoAnswer("malformed", f"{url}: {error}")
                server.failed(self._loop.time(), problem.detail, problem.reason)
                if isinstance(error, Final):
                    raise problem from None
            finally:
                self._slots.release(server)
            attempts += 1
            if attempts > self._retries:
                raise problem
            if problem.reason != "rate_limited":  # then the whole server is paused instead
                await asyncio.sleep(pause(attempts))

    def _refused_by(self, refusals: dict[Server, Refusal]) -> None:
        """Another server accepted this request. Drop servers that refuse repeatedly, unless the refusal is about the row."""
        for server, refusal in refusals.items():
            said = message_of(refusal.body)
            about_row = refusal_of_row(refusal.status, said) is not None
            if not about_row and server.refused_alone(
                f"{server.url} rejects requests that other servers accept: {refusal.status} {said}"
            ):
                left = sum(not other.aside for other in self.servers)
                LOG.warning(f"{server.aside}; dropped, {left} of {len(self.servers)} servers remain")

    def set_aside(self, server: Server, problem: str) -> None:
        """Stop using `server`. Raises `InputError` if it was the last one."""
        server.aside = f"{server.url} is unusable: {problem}"
        if all(other.aside for other in self.servers):
            raise cannot_be_asked(server.aside) from None
        LOG.warning(f"{server.aside}; dropped")

    async def get(self, server: Server, path: str) -> tuple[int, bytes]:
        """GET one page below the base URL without retries; returns status and content. Raises `NoAnswer`, and `InputError` if
        waiting will not help and there is no other server."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                url = URL(f"{server.url}/{path}")
                return (await self._read(self._session.get(url, proxy=server.proxy, allow_redirects=False)))[:2]
        except (aiohttp.ClientError, OSError, ValueError) as error:
            if permanent(error, at_start=True):
                self.set_aside(server, plain(error))
            raise NoAnswer("unreachable", f"{server.url} cannot be reached ({plain(error)})") from None

    async def _post(self, server: Server, url: URL, body: bytes) -> tuple[int, bytes, str | None]:
        task = asyncio.current_task()
        assert task is not None
        server.flying[task] = self._loop.time()
        try:
            return await self._read(self._session.post(url, data=body, proxy=server.proxy, allow_redirects=False))
        except asyncio.CancelledError:
            seen = self._ended.pop(task, None)
            if seen is None or task.uncancel() > 0:  # the caller cancelled it too
                raise
            raise TimeoutError(seen) from None
        finally:
            server.flying.pop(task, None)
            self._ended.pop(task, None)

    async def _read(self, asked: aiohttp.client._RequestContextManager) -> tuple[int, bytes, str | None]:
        """Status, content without the secret, and the Retry-After header."""
        async with asked as response:
            return response.status, await body_of(response, self._secret), response.headers.get("Retry-After")

    async def _watch(self, server: Server) -> None:
        """Cancel requests to `server`: one after `timeout` seconds, and all of them if the server makes no progress."""
        tokens, alive = None, self._loop.time()
        looked = alive
        while True:
            await asyncio.sleep(min(self._timeout, self._stall, 40.0) / 8)
            now = self._loop.time()
            for task, began in server.flying.items():
                if now - began >= self._timeout:
                    self._end(task, f"no reply within {self._timeout:g} s")
            if now - looked < self._stall / 8:
                continue
            looked, seen = now, None if server.metrics is None else await self._tokens(server)
            counts = tokens is not None or seen is not None
            if not server.flying or (seen is not None and seen != tokens):
                alive = now
            elif not counts:
                alive = max(server.last_answer, min(server.flying.values()))
            tokens = tokens if seen is None else seen
            most = self._stall if counts else self._silence(server)
            if now - alive >= most:
                problem = f"no tokens for {most:g} s" if counts else f"no reply for {most:.0f} s"
                server.lost(now, f"{server.url}: {problem}", "timeout")
                for task in server.flying:
                    self._end(task, problem)
                alive = now

    def _silence(self, server: Server) -> float:
        """How many seconds a server that does not count tokens may go without an answer."""
        return max(self._stall, SLOWER * server.longest) if server.longest else self._timeout

    def _end(self, task: asyncio.Task[Any], problem: str) -> None:
        if task not in self._ended:
            self._ended[task] = problem
            task.cancel()

    async def _tokens(self, server: Server) -> float | None:
        """The sum of the server's counters of generated tokens; None if it has none or does not answer."""
        assert server.metrics is not None
        try:
            async with asyncio.timeout(self._stall / 8):
                asked = self._session.get(server.metrics, proxy=server.proxy, allow_redirects=False)
                status, content, _ = await self._read(asked)
            found = _TOKENS.findall(content) if status == 200 else []
            return sum(map(float, found)) if found else None
        except (aiohttp.ClientError, OSError, ValueError):
            return None

"""A real HTTP server that speaks OpenAI's protocol, answers by rote, notes what it was asked, and misbehaves when told to.

with FakeServer() as server:
    server.trouble = lambda count, body: status(500) if count <= 2 else None
    ...  # server.url, server.asked
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Self

from aiohttp import web

Trouble = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeServer:
    """Listens on a free port of this machine while its `with` block is open. `stop` and `start` are its death and return.

    `trouble(count, body)` says what becomes of the `count`-th request (from 1), or None for a plain answer.
    """

    def __init__(
        self,
        model: str = "m",
        *,
        trouble: Callable[[int, dict[str, Any]], Trouble | None] = lambda count, body: None,
        seconds: float = 0.0,
        card: dict[str, Any] | None = None,
    ) -> None:
        self.trouble, self.seconds, self.card = trouble, seconds, {"id": model, "object": "model", **(card or {})}
        self.asked: list[dict[str, Any]] = []
        self.paths: Counter[str] = Counter()
        self.headers: list[dict[str, str]] = []
        self.models: Trouble = self._models
        self.tokens: int | None = None
        """What `/metrics` says, where it is there."""
        self.counters: list[str] = []
        """Further lines of it."""
        self.in_flight = self.most_in_flight = 0
        self._ports: set[Any] = set()
        self._port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result()

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()

    async def _start(self) -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_get("/v1/models", self._list)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/health", self._health)
        app.router.add_post("/v1/{path:.*}", self._answer)
        self.add_routes(app)
        app.on_response_prepare.append(self._note)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    def add_routes(self, app: web.Application) -> None:
        """For servers that have more pages."""

    async def _note(self, request: web.Request, response: web.StreamResponse) -> None:
        self._ports.add(request.transport.get_extra_info("peername") if request.transport else None)

    @property
    def connections(self) -> int:
        """How many there have been."""
        return len(self._ports)

    async def _stop(self) -> None:
        """As a process that dies: nobody is told."""
        for connection in self._runner.server.connections if self._runner.server else ():
            if connection.transport is not None:
                connection.transport.abort()
        await self._runner.cleanup()

    async def die(self) -> None:
        """To be called by the server's own handlers."""
        for site in list(self._runner.sites):
            await site.stop()
        for connection in list(self._runner.server.connections) if self._runner.server else ():
            if connection.transport is not None:
                connection.transport.abort()

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response()

    async def _list(self, request: web.Request) -> web.StreamResponse:
        return await self.models(request)

    async def _models(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"object": "list", "data": [self.card]})

    async def _metrics(self, request: web.Request) -> web.Response:
        if self.tokens is None and not self.counters:
            raise web.HTTPNotFound
        lines = list(self.counters)
        if self.tokens is not None:
            lines += [
                "# TYPE vllm:generation_tokens_total counter",
                f'vllm:generation_tokens_total{{engine="0",model_name="m"}} {float(self.tokens)}',
                'vllm:prompt_tokens_total{engine="0",model_name="m"} 7.0',
            ]
        return web.Response(text="\n".join(lines) + "\n")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.headers.append(dict(request.headers))
        self.paths[request.match_info["path"]] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            trouble = self.trouble(len(self.asked), body)
            if trouble is not None:
                return await trouble(request)
            await asyncio.sleep(self.seconds)
            return web.json_response(reply(request.match_info["path"], body))
        finally:
            self.in_flight -= 1


def written(body: dict[str, Any]) -> str:
    """What the server writes: it follows from the prompt and the seed alone."""
    asked = json.dumps([body.get("prompt"), body.get("messages"), body.get("seed")])
    return f"so {hashlib.sha256(asked.encode()).hexdigest()[:12]} \\boxed{{-1}}"


def reply(path: str, body: dict[str, Any], **choice: Any) -> dict[str, Any]:
    """A whole answer; `choice` stands in place of parts of its one choice."""
    text = written(body)
    said = {"text": text} if path == "completions" else {"message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 11, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}}
    return {"id": "x", "choices": [{"index": 0, "finish_reason": "stop", **said, **choice}], "usage": usage}


# Troubles


def status(code: int, body: Any = None, **headers: str) -> Trouble:
    async def answer(request: web.Request) -> web.StreamResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.json_response(
            body if body is not None else {"error": {"message": f"trouble {code}"}}, status=code, headers=named
        )

    return answer


def says(content: Any) -> Trouble:
    """An answer of another content, as JSON or as it stands."""

    async def answer(request: web.Request) -> web.StreamResponse:
        text = content if isinstance(content, str) else json.dumps(content)
        return web.Response(text=text, content_type="application/json")

    return answer


async def reset(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def never(request: web.Request) -> web.StreamResponse:
    await asyncio.sleep(3600)
    return web.Response()


async def cut(request: web.Request) -> web.StreamResponse:
    """Half of the body that was announced, then the end of the connection."""
    whole = json.dumps(reply(request.match_info["path"], await request.json())).encode()
    response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(whole))})
    await response.prepare(request)
    await response.write(whole[: len(whole) // 2])
    assert request.transport is not None
    request.transport.close()
    return response


async def endless(request: web.Request) -> web.StreamResponse:
    """A body that does not end."""
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"choices": [{"message": {"content": "')
    while True:
        await response.write(b"so " * 100_000)


async def echo(request: web.Request, *, as_reply: bool = False) -> web.StreamResponse:
    """An error, or a reply, that repeats all headers, as careless proxies do."""
    said = f"bad request with {dict(request.headers)}"
    if as_reply:
        return web.json_response({"choices": [{"finish_reason": "stop", "message": {"content": said}}]})
    status = 400 if request.method == "POST" else 401
    return web.json_response({"error": {"message": said}}, status=status)

"""Middleware for every request: body size limit, counters, and cancellation when a client disconnects."""

from __future__ import annotations

import asyncio
import time
from collections.abc import MutableMapping
from typing import Any

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepcritic.service.critic_service import Service
from deepcritic.service.messages import problem_of

PATHS = frozenset({"/v1/critiques", "/v1/scores", "/v1/rewards", "/health", "/metrics"})


class Guard:
    """Rejects a body that is too large, cancels the work of a disconnected client, and counts responses.

    FastAPI continues a request after its client has disconnected. Here the body is read first, and then the connection is watched
    while the application works.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 499

        async def counted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            try:
                async with asyncio.timeout(self._service.limits.timeout):
                    body = await _read(receive, self._service.limits.body_bytes)
            except TimeoutError:
                late = problem_of("the body did not arrive in time")
                await JSONResponse(late, 408, {"Connection": "close"})(scope, receive, counted)
                return
            if body is None:
                await JSONResponse(problem_of("the body is too large"), 413)(scope, receive, counted)
                return
            await self._watched(scope, body, receive, counted)
        except ConnectionResetError:
            self._service.metrics.cancelled.inc()
        finally:
            path = scope["path"] if scope["path"] in PATHS else "other"
            self._service.metrics.requests.labels(path, str(status)).inc()
            self._service.metrics.seconds.labels(path).observe(time.perf_counter() - began)

    async def _watched(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Run the application with the complete body. Cancel it if the client disconnects before the end."""
        given = False

        async def replay() -> MutableMapping[str, Any]:
            nonlocal given
            if given:
                await asyncio.Event().wait()  # the watcher below detects a disconnect
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        work: asyncio.Task[None] = asyncio.create_task(self._app(scope, replay, send))  # type: ignore[arg-type]
        gone = asyncio.create_task(_gone(receive))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                work.cancel()
                await asyncio.wait({work})
                raise ConnectionResetError
            await work
        finally:
            gone.cancel()
            work.cancel()


async def _read(receive: Receive, most: int) -> bytes | None:
    """The complete body. None if it is larger than `most` bytes."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionResetError
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            return None
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

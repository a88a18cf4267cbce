"""The client of the critic service, used by `Critic(urls=["http://host:8000"])`.

Each solution is one request. If a server dies, its open requests go to another server and no other answer is lost. Temporary
failures (429, 503, no connection) are retried until `patience` seconds have passed without any answer.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import aiohttp

from deepcritic.errors import InputError
from deepcritic.samplers.event_loop import Background

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
PASSING = frozenset({429, 502, 503})


class Answer(NamedTuple):
    """The answer to the body with this number: the JSON of one critique, or None with the reason as `note`."""

    number: int
    found: dict[str, Any] | None
    note: str = ""


class ServiceClient:
    """Sends solutions to the services at `urls`, up to `concurrency` at a time in total. `key_env` names the environment
    variable with the bearer key, if they require one. Enter it only once; `critiques` may be called from several threads.
    """

    def __init__(
        self, urls: str | Sequence[str], *, concurrency: int = 64, timeout: float = 600.0, patience: float = 600.0,
        key_env: str = "DEEPCRITIC_API_KEY",
    ) -> None:  # fmt: skip
        self._urls = [url.rstrip("/").removesuffix("/v1") for url in ([urls] if isinstance(urls, str) else urls)]
        if not self._urls or not all(url.startswith(("http://", "https://")) for url in self._urls):
            raise InputError("not a base URL", field="urls", found=urls, expected="base URLs such as http://host:8000")
        self._concurrency, self._timeout, self._patience, self._key_env = concurrency, timeout, patience, key_env
        self._turns = itertools.cycle(range(len(self._urls)))

    def __enter__(self) -> Self:
        key = os.environ.get(self._key_env, "")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._background = Background().__enter__()
        self._last_answer = time.monotonic()

        async def opened() -> aiohttp.ClientSession:
            limit, timeout = aiohttp.TCPConnector(limit=self._concurrency), aiohttp.ClientTimeout(total=self._timeout)
            return aiohttp.ClientSession(connector=limit, timeout=timeout, headers=headers)

        self._session = self._background.run(opened())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._background.cancel()
        self._background.run(self._session.close())
        self._background.__exit__(None, None, None)

    def model(self) -> str:
        """The name of the critic behind the first service that answers."""
        return str(self._background.run(self._health())["model"])

    def critiques(self, bodies: Iterable[dict[str, Any]]) -> Iterator[Answer]:
        """One answer for each body of `POST /v1/critiques`, in completion order; `bodies` may be infinite."""
        self._last_answer = time.monotonic()
        return self._background.stream(iter(enumerate(bodies)), self._ask, room=self._concurrency)

    async def _ask(self, numbered: tuple[int, dict[str, Any]]) -> Answer:
        index, body = numbered
        for attempt in itertools.count(1):
            url, said, pause = self._urls[next(self._turns)], "", 0.0
            try:
                async with self._session.post(f"{url}/v1/critiques", json=body) as response:
                    content = await response.read()
                    if response.status == 200:
                        self._last_answer = time.monotonic()
                        return Answer(index, json.loads(content)["data"][0])
                    said = f"{response.status} {_message(content)}"
                    if response.status not in PASSING:
                        self._last_answer = time.monotonic()
                        return self._refused(index, url, response.status, said)
                    self._last_answer = time.monotonic() if response.status == 429 else self._last_answer
                    pause = _seconds(response.headers.get("Retry-After"))
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError) as error:
                said = f"{type(error).__name__} {error}"
            if time.monotonic() - self._last_answer > self._patience:
                return Answer(index, None, f"unreachable: {url}: {said}")
            await asyncio.sleep(max(pause, min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempt, 10))))
        raise AssertionError("unreachable")

    def _refused(self, index: int, url: str, status: int, said: str) -> Answer:
        if status in {401, 403}:
            expected = f"the service's key in the environment variable {self._key_env}"
            raise InputError(f"{url} rejected the key", field="urls", found=said, expected=expected)
        if status in {404, 405}:
            raise InputError(
                f"{url} is not a deepcritic service", field="urls", found=said, expected="http://host:port of `deepcritic serve`"
            )
        return Answer(index, None, f"{'timed_out' if status == 504 else 'rejected'}: {said}")

    async def _health(self) -> dict[str, Any]:
        problem = ""
        for url in self._urls:
            try:
                async with self._session.get(f"{url}/health") as response:
                    found: dict[str, Any] = await response.json()
                    return {"model": found["model"]}
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError) as error:
                problem = f"{url}: {type(error).__name__} {error}"
        raise InputError("no service answers", field="urls", found=problem, expected="the address of `deepcritic serve`")


def _message(content: bytes) -> str:
    try:
        return str(json.loads(content)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode("utf-8", "replace")


def _seconds(header: str | None) -> float:
    try:
        return max(0.0, float(header or 0))
    except ValueError:
        return 0.0

"""The client's state of one HTTP server: how many requests it may have, and when it is paused.

>>> server = Server("http://localhost:8000/v1", concurrency=64)
>>> server.busy(now=10.0, problem="429", wait=7.0)
>>> server.room, server.resume
(32, 17.0)
"""

from __future__ import annotations

import asyncio
import math
import random
import re
import urllib.request
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from yarl import URL

from deepcritic.errors import InputError

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 60.0
"""Seconds before the second attempt and, at most, before any later one."""
FAILURES_IN_A_ROW = 16
"""After this many failed requests in a row, the problem is the server, not the requests."""
REFUSALS_ALONE = 3
"""A server is dropped once it has refused this many requests in a row that other servers accepted."""


class Server:
    """One base URL: how many requests it has, how many it may have, and whether it is paused or dropped."""

    def __init__(self, url: str, concurrency: int) -> None:
        self.url, self.concurrency = url.rstrip("/"), concurrency
        self.metrics = URL(self.url.removesuffix("/v1") + "/metrics") if self.url.endswith("/v1") else None
        self.proxy = _proxy(URL(url))
        self.in_flight = 0
        self.resume = 0.0
        self.down_since: float | None = None
        """The time of the first problem since the last answer."""
        self.problem = ""
        self.reason = "unreachable"
        """The kind of `problem`, as one word."""
        self.aside = ""
        """Why the server was dropped; empty while it is in use."""
        self.flying: dict[asyncio.Task[Any], float] = {}
        """The tasks that wait for a reply of this server, with their start times."""
        self.last_answer = -math.inf
        self.longest = 0.0
        """Seconds that a reply of the largest size would take at the slowest pace so far."""
        self._room = self._steady = float(concurrency)
        self._troubles = self._in_a_row = self._alone = 0

    @property
    def room(self) -> int:
        return 0 if self.aside else int(self._room) - self.in_flight

    def answered(self, now: float) -> None:
        """Raise the limit: each round of answers doubles it up to half of the last excessive limit, and then adds one."""
        self.last_answer = now
        self._room = min(self.concurrency, self._room + (1 if self._room < self._steady else 1 / self._room))
        self._troubles = self._in_a_row = self._alone = 0
        self.down_since = None

    def busy(self, now: float, problem: str, wait: float | None, reason: str = "server_error") -> None:
        """The server asks for fewer requests: halve its limit and pause it."""
        if now >= self.resume:  # otherwise it belongs to the same burst
            self._room = self._steady = max(1.0, self._room / 2)
            self._pause(now)
        self._note(now, problem, reason)
        if wait is not None:
            self.resume = max(self.resume, now + wait)

    def lost(self, now: float, problem: str, reason: str = "unreachable") -> None:
        """The server dropped a request or was unreachable: after a pause it gets one request as a test."""
        if now >= self.resume:
            self._room, self._steady = 1.0, float(self.concurrency)
            self._pause(now)
        self._note(now, problem, reason)

    def failed(self, now: float, problem: str, reason: str) -> None:
        """The server failed on one request. Many failures in a row count as `lost`."""
        self._in_a_row += 1
        if self._in_a_row >= max(FAILURES_IN_A_ROW, self._room):
            self.lost(now, problem, reason)
        else:
            self._note(now, problem, reason)

    def refused_alone(self, problem: str) -> bool:
        """The server refused a request that another accepted. Returns whether it is now dropped, after several such refusals
        since its last answer."""
        self._alone += 1
        if self._alone < REFUSALS_ALONE or self.aside:
            return False
        self.aside = problem
        return True

    def _note(self, now: float, problem: str, reason: str) -> None:
        self.problem, self.reason = problem, reason
        self.down_since = now if self.down_since is None else self.down_since

    def _pause(self, now: float) -> None:
        self._troubles += 1
        self.resume = now + pause(self._troubles)


def pause(attempt: int) -> float:
    """Seconds to wait after the `attempt`-th failure in a row: doubled each time, with jitter."""
    longest: float = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(attempt - 1, 30))
    return longest * random.uniform(0.5, 1.0)


def retry_after(header: str | None) -> float | None:
    """The seconds of a Retry-After header: a number or a date (RFC 9110, 10.2.3); None if it is neither.

    >>> retry_after("7"), retry_after("soon"), retry_after("Wed, 21 Oct 2015 07:28:00 GMT")
    (7.0, None, 0.0)
    """
    if header is None:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", header.strip()):
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def base_url(url: str) -> str:
    """`url` as a base URL; one without a path gets the usual /v1.

    >>> base_url("http://localhost:8000"), base_url("https://host/api/v1/")
    ('http://localhost:8000/v1', 'https://host/api/v1')
    """
    try:
        parsed = URL(url)
    except ValueError:
        parsed = URL()
    right = "http://host:8000/v1 or https://host/v1"
    if parsed.user or parsed.password:
        raise InputError(
            "a user name or password in the address",
            field="sampler.urls",
            expected=right,
            remedy="set the key in the environment (sampler.api_key_env)",
        )
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.query_string or parsed.fragment:
        raise InputError("not a base URL", field="sampler.urls", found=url, expected=right)
    return str(parsed / "v1") if parsed.path in {"", "/"} else str(parsed).rstrip("/")


def _proxy(url: URL) -> str | None:
    """The environment's proxy, for https only: servers with plain http are assumed to be local."""
    if url.scheme != "https" or urllib.request.proxy_bypass(url.host or ""):
        return None
    return urllib.request.getproxies().get("https")

"""Limits of the service. The defaults suit one GPU and a team of users."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """`queue`: the maximum number of queued solutions; a full queue answers 429. `body_bytes`: the maximum size of a request
    body (413). `timeout`: seconds until a request times out (504), or the reading of its body (408). `stall`: seconds without
    progress, while there is work, after which `/health` answers 503. `retry_after`: the Retry-After of rejected requests, in
    seconds."""

    queue: int = 1024
    body_bytes: int = 8 << 20
    timeout: float = 600.0
    stall: float = 120.0
    retry_after: int = 2

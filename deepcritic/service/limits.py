"""How much the service takes at a time. Every limit has a default that suits one GPU and a team of users."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """`queue`: draws that may wait for the engine; a full queue answers 429. `body_bytes`: size of a request body (413).
    `timeout`: seconds until a request is given up (504). `stall`: seconds without a reply, while work is under way, after which
    `/health` answers 503. `retry_after`: what a client that is turned away is told to wait, in seconds."""

    queue: int = 1024
    body_bytes: int = 8 << 20
    timeout: float = 600.0
    stall: float = 120.0
    retry_after: int = 2

"""Counters of the service in Prometheus format. No label contains request content."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counts since the service started."""

    def __init__(self, waiting: Callable[[], int], under_way: Callable[[], int]) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("deepcritic_requests", "Requests by path and status.", ["path", "status"], registry=registry)
        self.seconds = Histogram(
            "deepcritic_request_seconds", "Duration of requests by path.", ["path"], registry=registry, buckets=SECONDS
        )
        self.verdicts = Counter(
            "deepcritic_verdicts", "Critiques by outcome: accepted, rejected, none.", ["outcome"], registry=registry
        )
        self.tokens = Counter("deepcritic_tokens", "Tokens of prompts and replies.", registry=registry)
        self.cancelled = Counter("deepcritic_cancelled", "Requests whose client disconnected.", registry=registry)
        Gauge("deepcritic_waiting", "Solutions waiting for the engine.", registry=registry).set_function(waiting)
        Gauge("deepcritic_under_way", "Solutions in progress.", registry=registry).set_function(under_way)

    def text(self) -> bytes:
        return generate_latest(self._registry)

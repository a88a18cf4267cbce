"""Samples replies until each row's vote is decided; its winner is that of a vote of all samples.

    votes = AdaptiveVotes(((row.id, functools.partial(ask, row)) for row in rows), verdict, samples=8)
    while votes.unfinished:
        with votes.wave():
            for outcome in engine.stream(votes.requests()):
                votes.put(outcome)

Each row starts with the samples that decide its vote if all agree, 5 of 8. While rows wait for replies, others are started, so
the engine stays busy. Sample numbers and seeds do not depend on what other rows do.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from deepcritic.metrics.early_vote import samples_needed
from deepcritic.samplers.base import Request
from deepcritic.schema import Failure, Generation

Ask = Callable[[range | tuple[int, ...]], Request]
"""The request for some samples of a row."""


@dataclass
class _Row:
    name: str
    ask: Ask
    known: Mapping[int, Any]
    verdicts: list[Any] = field(default_factory=list)
    asked: int = 0
    waiting: set[int] = field(default_factory=set)
    requested: bool = False


class AdaptiveVotes:
    """`verdict` reads a reply's vote, None if it has none. `known` holds verdicts of earlier replies, by row and sample; these
    are not requested. A sample without a reply could still be any vote, so it never decides one. `asked` counts the samples of
    each finished row, with the known ones."""

    def __init__(
        self,
        rows: Iterable[tuple[str, Ask]],
        verdict: Callable[[Generation], Any],
        samples: int,
        known: Mapping[str, Mapping[int, Any]] | None = None,
    ) -> None:
        self._rows, self._verdict, self._samples, self._known = iter(rows), verdict, samples, known or {}
        self._open: dict[str, _Row] = {}
        self._ready: deque[_Row] = deque()
        self._lock = threading.Lock()  # an engine may pull requests in one thread and yield replies in another
        self.asked: dict[str, int] = {}
        self.unfinished = True

    def requests(self) -> Iterator[Request]:
        """The samples to draw now. Grows as replies arrive, and ends when every row waits for some."""
        while (request := self._next()) is not None:
            yield request

    def put(self, outcome: Generation | Failure) -> None:
        """Take a reply, or the failure of a requested sample."""
        with self._lock:
            row = self._open[outcome.key.example_id]
            row.waiting.remove(outcome.key.sample)
            if isinstance(outcome, Generation):
                row.verdicts.append(self._verdict(outcome))
            if not row.waiting:
                self._go_on(row)

    @contextlib.contextmanager
    def wave(self) -> Iterator[None]:
        """One pass of an engine over `requests`. A request without an outcome counts as failed."""
        yield
        with self._lock:
            for row in [row for row in self._open.values() if row.requested and row.waiting]:
                row.waiting.clear()
                self._go_on(row)
            self.unfinished = bool(self._open)

    def _next(self) -> Request | None:
        with self._lock:
            while not self._ready:
                name, ask = next(self._rows, (None, None))
                if name is None or ask is None:
                    return None
                self._go_on(_Row(name, ask, self._known.get(name, {})))
            row = self._ready.popleft()
            row.requested = True
            return row.ask(tuple(sorted(row.waiting)))

    def _go_on(self, row: _Row) -> None:
        """Request what is still needed, or finish the row."""
        while needed := min(samples_needed(row.verdicts, self._samples), self._samples - row.asked):
            wave = range(row.asked, row.asked + needed)
            row.asked += needed
            row.verdicts += [row.known[sample] for sample in wave if sample in row.known]
            row.waiting = {sample for sample in wave if sample not in row.known}
            if row.waiting:
                row.requested = False
                self._open[row.name] = row
                self._ready.append(row)
                return
        self._open.pop(row.name, None)
        self.asked[row.name] = row.asked

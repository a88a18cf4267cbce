"""Cost of a stage in money, time and requests, and its limits.

>>> Price(prompt=2.0, cached=0.5, completion=6.0).of(prompt=1_000_000, completion=500_000, cached=400_000)
4.4
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import msgspec

from deepcritic.errors import UsageError
from deepcritic.runs.jsonl import Journal, read_rows
from deepcritic.schema import Row

MILLION = 1_000_000


def amount(number: float) -> str:
    """Money or hours with two decimals. Small values have two significant digits.

    >>> amount(1234.567), amount(0.0346)
    ('1,234.57', '0.035')
    """
    return f"{number:,.2f}" if number >= 0.1 or not number else f"{number:.2g}"


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Prices per million tokens, in any currency. By default, cached prompt tokens cost the same as others."""

    prompt: float = 0.0
    cached: float | None = None
    completion: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and not 0 <= value < float("inf"):
                raise UsageError(f"price.{name}: not a price; found {value!r}; expected a number from 0, per million tokens")

    def __bool__(self) -> bool:
        return bool(self.prompt or self.completion or self.cached)

    def of(self, prompt: float, completion: float, cached: float = 0) -> float:
        """The cost of these tokens; `cached` of the prompt tokens were read from a cache."""
        again = self.prompt if self.cached is None else self.cached
        return ((prompt - cached) * self.prompt + cached * again + completion * self.completion) / MILLION


class Limits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The limits of one start of a stage, and the price of its tokens.

    `max_cost` stops sending requests before the cost is exceeded. `dry_run` sends nothing and reports what would be sent. `probe`
    runs this many rows and estimates the rest.
    """

    price: Price = Price()
    max_cost: float | None = None
    dry_run: bool = False
    probe: int | None = None

    def __post_init__(self) -> None:
        if self.max_cost is not None and not self.price:
            raise UsageError("max_cost needs prices; set price.prompt= and price.completion=, per million tokens")
        if self.max_cost is not None and not 0 <= self.max_cost < float("inf"):
            raise UsageError(f"max_cost: not an amount; found {self.max_cost!r}; expected a number from 0")
        if self.probe is not None and self.probe < 1:
            raise UsageError(f"probe: not a number of rows; found {self.probe!r}; expected a whole number from 1")
        if self.probe is not None and self.dry_run:
            raise UsageError("dry_run and probe exclude each other; set only one of them")

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Self:
        """Build from a configuration's values. Raises `UsageError` for invalid ones."""
        try:
            return msgspec.convert(given, cls)
        except msgspec.ValidationError as error:
            message, _, place = str(error).partition(" - at `$.")
            raise UsageError(f"{place.rstrip('`') or 'price'}: {message}") from None

    @property
    def trial(self) -> bool:
        """Whether this start ends before the stage is finished."""
        return self.dry_run or self.probe is not None


class Segment(Row, frozen=True, kw_only=True):
    """A time segment of a start: its length, and what was sent in it (see `samplers.base.Usage`)."""

    began: str
    seconds: float
    requests: int = 0
    retries: int = 0
    duplicates: int = 0
    discarded: int = 0
    discarded_prompt_tokens: int = 0
    discarded_completion_tokens: int = 0
    estimated: int = 0


class UsageLog:
    """Time and requests of a stage over all its starts, in an append-only file. A killed start loses at most a minute."""

    FILE = "starts.jsonl"
    MINUTE = 60.0
    ALWAYS = ("seconds", "requests", "retries", "duplicates")
    """Counts that a manifest lists even if they are 0."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / self.FILE
        self._sent: Counter[str] = Counter()
        self.discarded: Counter[str] = Counter()
        """Tokens of replies that were paid for but not kept, over all starts: `prompt` and `completion`."""
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._journal: Journal[Segment] | None = None
        self._written = time.monotonic()

    def open(self) -> None:
        """Continue the log of earlier starts."""
        self._journal = Journal(self._path, Segment)
        for segment in self._journal:
            self._discard(segment.discarded_prompt_tokens, segment.discarded_completion_tokens)
        self._began_at = datetime.now(UTC).isoformat(timespec="seconds")
        threading.Thread(target=self._keep_writing, name="effort", daemon=True).start()

    def add(self, **sent: int) -> None:
        """Add counts of what was sent, named as the fields of `Segment`."""
        with self._lock:
            self._sent.update(sent)
        self._discard(sent.get("discarded_prompt_tokens", 0), sent.get("discarded_completion_tokens", 0))

    def close(self) -> None:
        """Close the log of this start."""
        self._stop.set()
        self._write()
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    def totals(self) -> dict[str, Any]:
        """Seconds, requests and the other counts of all starts. Call it after `close`."""
        totals: Counter[str] = Counter()
        names = [name for name in Segment.__struct_fields__ if name != "began"]
        for segment in read_rows(self._path, Segment) if self._path.exists() else ():
            totals.update({name: getattr(segment, name) for name in names})
        found = {name: totals[name] for name in names if totals[name] or name in self.ALWAYS}
        return {**found, "seconds": round(totals["seconds"], 1)}

    def _discard(self, prompt: int, completion: int) -> None:
        self.discarded["prompt"] += prompt
        self.discarded["completion"] += completion

    def _keep_writing(self) -> None:
        while not self._stop.wait(self.MINUTE):
            self._write()

    def _write(self) -> None:
        with self._lock:
            if self._journal is None:
                return
            now = time.monotonic()
            with contextlib.suppress(OSError):  # on a full disk the rows matter more; unwritten counts stay in memory
                self._journal.append(Segment(began=self._began_at, seconds=round(now - self._written, 3), **self._sent))
                self._written = now
                self._sent.clear()

"""Progress of a long job: a live line on a terminal, one plain line a minute in a log."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable
from typing import Self

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar
from rich.text import Text

from deepcritic.runs.budget import amount

LOG = logging.getLogger(__name__)

LOG_SECONDS = 60.0
BAR_SECONDS = 0.1
LOOK_SECONDS = 1.0
"""Interval of the check for a due line while no rows arrive."""


class Progress:
    """Counts rows against `total`, or against the number expected so far if the total is unknown.

    Without rows it logs each minute that it is waiting.
    """

    def __init__(self, label: str, total: int | None = None) -> None:
        self.label, self.total = label, total
        self.expected = self.done = self.failed = self.truncated = self.tokens = 0
        self.growing = False
        """Whether the number of expected rows may still grow: then no time is estimated."""
        self.cost: float | None = None
        """Money spent so far, if there is a price; `budget` is the maximum."""
        self.budget: float | None = None
        self.written: Callable[[], int] = lambda: 0
        """Tokens so far, including those of incomplete rows if the engine counts them."""
        self._there = 0
        self._began = self._shown = self._moved = time.monotonic()
        self._bar: _NotedBar | None = None
        self._lock, self._over = threading.RLock(), threading.Event()

    def __enter__(self) -> Self:
        if sys.stdout.isatty():
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = _NotedBar(*columns, console=Console(), transient=False)
            self._bar.start()
            self._task = self._bar.add_task(self.label, total=None)
        threading.Thread(target=self._look, name="progress", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        with self._lock:
            if self._bar is not None:
                self._draw()
                self._bar.stop()
            elif self.done:
                self._line()

    def expect(self, count: int) -> None:
        self.expected += count

    def skip(self, rows: int) -> None:
        """Count existing rows, which do not affect the pace."""
        self.done += rows
        self._there += rows
        self._show()

    def advance(self, rows: int = 1, *, tokens: int = 0, failed: int = 0, truncated: bool = False) -> None:
        self.done += rows
        self.tokens += tokens
        self.failed += failed
        self.truncated += truncated
        self._moved = time.monotonic()
        self._show()

    def _look(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            with contextlib.suppress(OSError, ValueError):  # the reader is gone: the next row raises it where it can be handled
                self._show()

    def _show(self) -> None:
        if time.monotonic() - self._shown <= (LOG_SECONDS if self._bar is None else BAR_SECONDS):
            return
        with self._lock:
            if self._over.is_set():
                return
            self._shown = time.monotonic()
            if self._bar is None:
                self._line()
            else:
                self._draw()

    @property
    def _of(self) -> int:
        return max(self.expected if self.total is None else self.total, self.done)

    @property
    def _known(self) -> bool:
        return self.total is not None or not self.growing

    def _draw(self) -> None:
        assert self._bar is not None
        self._bar.notes = ", ".join(self._notes())
        self._bar.update(self._task, completed=self.done, total=self._of)

    def _line(self) -> None:
        seconds = time.monotonic() - self._began
        of = f"{self.done}/{self._of}" if self._known else f"{self.done} of at least {self._of}"
        LOG.info(", ".join([f"{self.label}: {of} rows in {_span(seconds)}", *self._notes()]))

    def _notes(self) -> list[str]:
        now = time.monotonic()
        seconds, new = max(now - self._began, 1e-9), self.done - self._there
        notes = [f"{_short(new / seconds)} rows/s"] if new else []
        if new and self.done < self._of and self._known:
            notes.append(f"about {_span(seconds / new * (self._of - self.done))} left")
        if now - self._moved >= LOG_SECONDS and self.done < self._of:
            notes.append(f"none for {_span(now - self._moved)}")
        tokens = max(self.tokens, self.written())
        notes += [f"{_short(tokens)} tokens", f"{_short(tokens / seconds)} tokens/s"] if tokens else []
        notes += [f"{self.failed} failed"] if self.failed else []
        notes += [f"{self.truncated} truncated"] if self.truncated else []
        if self.cost is not None:
            notes.append(f"cost {amount(self.cost)}" + (f" of {amount(self.budget)}" if self.budget is not None else ""))
        return notes


class _NotedBar(Bar):
    """A bar with a line of notes below it, which a narrow terminal cuts."""

    notes = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield self.make_tasks_table(self.tasks)
        yield Text(self.notes, style="dim", no_wrap=True, overflow="ellipsis")


def _short(number: float) -> str:
    """Three figures: 0.05, 4.2, 815, 12,300, 4.21M."""
    if number >= 1_000_000:
        return f"{number / 1_000_000:.3g}M" if number < 1_000_000_000 else f"{number / 1_000_000_000:,.3g}G"
    return f"{number:,.0f}" if number >= 100 else f"{number:.2g}" if number < 10 else f"{number:.0f}"


def _span(seconds: float) -> str:
    """A time in its largest fitting unit."""
    for unit, size in (("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"

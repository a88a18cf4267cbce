"""Progress of a long job: a live line on a terminal, one plain line a minute in a log."""

from __future__ import annotations

import sys
import time
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

LOG_SECONDS = 60.0


class Progress:
    """Counts rows against what is expected so far; a source that grows raises the expectation as it goes."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.expected = self.done = self.failed = self.truncated = self.tokens = 0
        self._began = self._logged = time.monotonic()
        self._bar: Bar | None = None

    def __enter__(self) -> Self:
        if sys.stdout.isatty():
            columns = (
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[notes]}"),
                TimeElapsedColumn(), TimeRemainingColumn(),
            )  # fmt: skip
            self._bar = Bar(*columns, console=Console(), transient=False)
            self._bar.start()
            self._task = self._bar.add_task(self.label, total=None, notes="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self.done:
            self._line()

    def expect(self, count: int) -> None:
        self.expected += count

    def advance(self, rows: int = 1, *, tokens: int = 0, failed: int = 0, truncated: bool = False) -> None:
        self.done += rows
        self.tokens += tokens
        self.failed += failed
        self.truncated += truncated
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, total=self.expected, notes=self._notes())
        elif time.monotonic() - self._logged > LOG_SECONDS:
            self._line()

    def _notes(self) -> str:
        seconds = max(time.monotonic() - self._began, 1e-9)
        parts = [f"{self.tokens / seconds:,.0f} tokens/s"] if self.tokens else []
        parts += [f"{self.failed} failed"] if self.failed else []
        parts += [f"{self.truncated} truncated"] if self.truncated else []
        return ", ".join(parts)

    def _line(self) -> None:
        self._logged = time.monotonic()
        seconds = self._logged - self._began
        left = seconds / self.done * (self.expected - self.done) if self.done else 0.0
        notes = f", {self._notes()}" if self._notes() else ""
        ahead = f", about {left:.0f} s left" if self.done < self.expected else ""
        print(f"{self.label}: {self.done}/{self.expected} rows in {seconds:.0f} s{notes}{ahead}", flush=True)

"""Rollouts of many solutions at once: did each reach the reference answer, and which are to be drawn next?

    plan = Plan(rows, "zero_of_k", samples=8, ask=request_for)
    while plan.unfinished:
        with plan.wave():
            for key, reached in reached_answer(draws.stream(plan.requests(), engine), plan.reference, cache, undecided):
                plan.put(key, reached)

A solution waits for what it asked for last; so that an engine has enough to do, further solutions are begun whenever those that
were begun have nothing to ask. What is drawn for a solution depends on its own rollouts alone, in no way on the others.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from deepcritic.answers import compare
from deepcritic.answers.cache import Compared
from deepcritic.labels.rules import Discard, Label, Table, Wanted, decide
from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.samplers.base import Request
from deepcritic.schema import Example, Failure, Generation, Key
from deepcritic.text.parsing import final_text, last_boxed

Ask = Callable[[Example, int, tuple[int, ...]], Request]


def reached_answer(
    draws: Iterable[Generation | Failure], reference: Callable[[str], str], cache: Path, undecided: Counter[str]
) -> Iterator[tuple[Key, bool | None]]:
    """For each rollout, in order, whether its last box holds the reference answer of its solution.

    A reply without an answer that can be read has failed. None: it was not drawn, or the checker could not decide, which is
    counted in `undecided` by its reason. `cache` is the stage's file of comparisons.
    """
    waiting: deque[tuple[Key, str | None]] = deque()

    def pairs() -> Iterator[tuple[str, str]]:
        for draw in draws:
            answer = last_boxed(final_text(draw.prefix, draw.text)) if isinstance(draw, Generation) else None
            waiting.append((draw.key, None if isinstance(draw, Failure) else answer or ""))
            yield answer or "", reference(draw.key.example_id)

    for result in compare(pairs(), cache=cache):
        key, answer = waiting.popleft()
        right = None if answer is None else result.right
        if answer is not None and right is None:
            undecided[result.reason] += 1
        yield key, right


def put_in_order(cache: Path) -> None:
    """Sort a file of comparisons, so that it does not tell in which order rollouts came."""
    rows: list[Compared] = list(read_rows(cache, Compared))
    rows.sort(key=lambda row: (row.reference, row.prediction, row.checker))
    write_rows(cache, rows)


class Ended(NamedTuple):
    """A solution about which the rule has said something, or cannot: `Wanted` if rollouts could not be judged."""

    row: Example
    outcome: Label | Discard | Wanted
    table: Table


@dataclass
class _Open:
    row: Example
    table: Table
    wanted: tuple[int, tuple[int, ...]] = (0, ())
    """The prefix and the samples that were asked for last."""
    waiting: set[int] = field(default_factory=set)
    handed_out: bool = False


class Plan:
    """Asks for the rollouts that a rule needs, solution by solution, and is told what became of them.

    `known` has tables with what was drawn before; what is there is not asked for again. `ended` collects the solutions that
    are done with, in the order of finishing.
    """

    def __init__(self, rows: Iterable[Example], rule: str, samples: int, ask: Ask, known: dict[str, Table]) -> None:
        self._rows, self._rule, self._samples, self._ask, self._known = iter(rows), rule, samples, ask, known
        self._open: dict[str, _Open] = {}
        self._ready: deque[_Open] = deque()
        self._lock = threading.Lock()  # an engine may pull requests in another thread than the one that reads its results
        self.unfinished = True
        self.ended: list[Ended] = []
        self.asked = 0

    def requests(self) -> Iterator[Request]:
        """What can be drawn now; grows as results are put in, and ends when nothing is left that does not wait for some."""
        while (request := self._next()) is not None:
            yield request

    def reference(self, identity: str) -> str:
        """The reference answer of a solution that is being read."""
        return self._open[identity].row.gold.reference_answer or ""

    def put(self, key: Key, reached: bool | None) -> None:
        """Note a rollout that was asked for."""
        with self._lock:
            one = self._open[key.example_id]
            one.waiting.remove(key.sample)
            one.table.put(key.step, key.sample, reached)
            if not one.waiting:
                self._go_on(one)

    @contextlib.contextmanager
    def wave(self) -> Iterator[None]:
        """One go of an engine through `requests`. What was handed out and never came back counts as lost."""
        yield
        for one in [one for one in self._open.values() if one.handed_out]:
            for sample in one.waiting:
                one.table.put(one.wanted[0], sample, None)
            self._go_on(one)
        self.unfinished = bool(self._open)

    def _next(self) -> Request | None:
        with self._lock:
            while not self._ready:
                row = next(self._rows, None)
                if row is None:
                    return None
                table = self._known.pop(row.id, None) or Table(len(row.item.steps), self._samples, bool(row.gold.answer_right))
                self._go_on(_Open(row, table))
            one = self._ready.popleft()
            one.handed_out = True
            return self._ask(one.row, *one.wanted)

    def _go_on(self, one: _Open) -> None:
        outcome = decide(self._rule, one.table)
        if isinstance(outcome, Wanted) and outcome.samples:
            self._open[one.row.id] = one
            one.wanted, one.waiting, one.handed_out = (outcome.step, outcome.samples), set(outcome.samples), False
            self.asked += len(outcome.samples)
            self._ready.append(one)
            return
        self._open.pop(one.row.id, None)
        self.ended.append(Ended(one.row, outcome, one.table))

"""Rollouts of many solutions at once: whether each reached the reference answer, and which to sample next.

    plan = Plan(rows, "zero_of_k", samples=8, ask=request_for)
    while plan.unfinished:
        with plan.wave():
            for key, reached in reached_answer(draws.stream(plan.requests(), engine), plan.reference, cache, undecided):
                plan.put(key, reached)

A solution waits for its latest requests. To keep the engine busy, new solutions are started whenever the started ones have
nothing to request. The samples for a solution depend on its own rollouts only.
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

    A reply without a readable answer counts as failed. None: it was not sampled, or the checker could not decide; `undecided`
    counts the latter by reason. `cache` is the stage's file of comparisons.
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
    """Sort a file of comparisons, so that it does not depend on the order in which rollouts arrived."""
    rows: list[Compared] = list(read_rows(cache, Compared))
    rows.sort(key=lambda row: (row.reference, row.prediction, row.checker))
    write_rows(cache, rows)


class Ended(NamedTuple):
    """A solution that the rule is done with. `Wanted`: it could not decide, as rollouts could not be judged."""

    row: Example
    outcome: Label | Discard | Wanted
    table: Table


@dataclass
class _Open:
    row: Example
    table: Table
    wanted: tuple[int, tuple[int, ...]] = (0, ())
    """The prefix and the samples of the latest requests."""
    waiting: set[int] = field(default_factory=set)
    handed_out: bool = False


class Plan:
    """Requests the rollouts that a rule needs, solution by solution, and takes their results.

    `known` holds tables of earlier rollouts, which are not requested again. `ended` collects the finished solutions, in the order
    in which they finish.
    """

    def __init__(self, rows: Iterable[Example], rule: str, samples: int, ask: Ask, known: dict[str, Table]) -> None:
        self._rows, self._rule, self._samples, self._ask, self._known = iter(rows), rule, samples, ask, known
        self._open: dict[str, _Open] = {}
        self._ready: deque[_Open] = deque()
        self._lock = threading.Lock()  # an engine may pull requests in one thread and yield results in another
        self.unfinished = True
        self.ended: list[Ended] = []
        self.asked = 0

    def requests(self) -> Iterator[Request]:
        """The rollouts to sample now. Grows as results arrive, and ends when no solution can proceed without missing ones."""
        while (request := self._next()) is not None:
            yield request

    def reference(self, identity: str) -> str:
        """The reference answer of an open solution."""
        return self._open[identity].row.gold.reference_answer or ""

    def put(self, key: Key, reached: bool | None) -> None:
        """Record the result of a requested rollout."""
        with self._lock:
            one = self._open[key.example_id]
            one.waiting.remove(key.sample)
            one.table.put(key.step, key.sample, reached)
            if not one.waiting:
                self._go_on(one)

    @contextlib.contextmanager
    def wave(self) -> Iterator[None]:
        """One pass of an engine over `requests`. A request without a result counts as lost."""
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

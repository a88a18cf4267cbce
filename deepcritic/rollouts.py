"""Rollouts of many solutions at once: did each reach the reference answer, and which are to be drawn next?

    plan = Plan(rows, "zero_of_k", samples=8, ask=request_for)
    while plan.unfinished:
        with plan.wave():
            for key, reached in reached_answer(draws.stream(plan.requests(), engine, progress), plan.reference):
                plan.put(key, reached)

A solution waits for what it asked for last; so that an engine has enough to do, further solutions are begun whenever those that
were begun have nothing to ask. What is drawn for a solution depends on its own rollouts alone, in no way on the others.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from deepcritic.answers import compare
from deepcritic.labelling import Discard, Label, Table, Wanted, decide
from deepcritic.parsing import last_boxed
from deepcritic.rows import Example, Failure, Generation, Key
from deepcritic.samplers import Request

Ask = Callable[[Example, int, tuple[int, ...]], Request]


def reached_answer(
    draws: Iterable[Generation | Failure], reference: Callable[[str], str]
) -> Iterator[tuple[Key, bool | None]]:
    """For each rollout, in order, whether its last box holds the reference answer of its solution.

    A reply without an answer that can be read has failed. None: it was not drawn, or the checker could not decide.
    """
    waiting: deque[tuple[Key, str | None]] = deque()

    def pairs() -> Iterator[tuple[str, str]]:
        for draw in draws:
            answer = last_boxed(draw.prefix + draw.text) if isinstance(draw, Generation) else None
            waiting.append((draw.key, None if isinstance(draw, Failure) else answer or ""))
            yield answer or "", reference(draw.key.example_id)

    for result in compare(pairs()):
        key, answer = waiting.popleft()
        unreadable = answer is not None and result.reason == "unreadable prediction"
        yield key, False if unreadable else None if answer is None else result.equal


class Ended(NamedTuple):
    """A solution about which the rule has said something, or cannot: `Wanted` if rollouts could not be judged."""

    row: Example
    outcome: Label | Discard | Wanted
    table: Table


@dataclass
class _Open:
    row: Example
    table: Table
    waiting: set[tuple[int, int]] = field(default_factory=set)


class Plan:
    """Asks for the rollouts that a rule needs, solution by solution, and is told what became of them.

    `known` has tables with what was drawn before; what is there is not asked for again. `ended` collects the solutions that
    are done with, in the order of finishing.
    """

    def __init__(self, rows: Iterable[Example], rule: str, samples: int, ask: Ask, known: dict[str, Table]) -> None:
        self._rows, self._rule, self._samples, self._ask, self._known = iter(rows), rule, samples, ask, known
        self._open: dict[str, _Open] = {}
        self._ready: deque[Request] = deque()
        self.unfinished = True
        self.ended: list[Ended] = []
        self.asked = 0

    def requests(self) -> Iterator[Request]:
        """What can be drawn now; grows as results are put in, and ends when nothing is left that does not wait for some."""
        while True:
            while self._ready:
                yield self._ready.popleft()
            row = next(self._rows, None)
            if row is None:
                return
            table = self._known.pop(row.id, None) or Table(len(row.item.steps), self._samples, bool(row.gold.answer_right))
            self._go_on(_Open(row, table))

    def reference(self, identity: str) -> str:
        """The reference answer of a solution that is being read."""
        return self._open[identity].row.gold.reference_answer or ""

    def put(self, key: Key, reached: bool | None) -> None:
        """Note a rollout that was asked for."""
        one = self._open[key.example_id]
        one.waiting.remove((key.step, key.sample))
        one.table.put(key.step, key.sample, reached)
        if not one.waiting:
            self._go_on(one)

    @contextlib.contextmanager
    def wave(self) -> Iterator[None]:
        """One go of an engine through `requests`. What was asked for and never came back counts as lost."""
        yield
        for one in list(self._open.values()):
            for step, sample in sorted(one.waiting):
                one.table.put(step, sample, None)
            if one.waiting:
                one.waiting.clear()
                self._go_on(one)
        self.unfinished = bool(self._open or self._ready)

    def _go_on(self, one: _Open) -> None:
        outcome = decide(self._rule, one.table)
        if isinstance(outcome, Wanted) and outcome.samples:
            self._open[one.row.id] = one
            one.waiting = {(outcome.step, sample) for sample in outcome.samples}
            self.asked += len(outcome.samples)
            self._ready.append(self._ask(one.row, outcome.step, outcome.samples))
            return
        self._open.pop(one.row.id, None)
        self.ended.append(Ended(one.row, outcome, one.table))

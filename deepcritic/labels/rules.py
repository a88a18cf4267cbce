"""Rules that turn rollouts into step labels, and read no more rollouts than they need.

A rollout continues a solution's first i steps ("prefix i", 1 <= i < n) and reaches the reference answer or not. A `Table` holds
the known rollouts of one solution, k from each prefix. A rule reads them prefix by prefix, in the order of their sample numbers,
and moves on once no unread rollout could change its result. Labels are therefore the same whether all rollouts were sampled
beforehand or each one is sampled when the rule asks for it.

>>> table = Table(steps=3, samples=4, answer_right=False)
>>> decide("zero_of_k", table)
Wanted(step=1, samples=(0,), unknown=1)
>>> table.put(1, 0, True)
>>> decide("zero_of_k", table)
Wanted(step=2, samples=(0,), unknown=1)
>>> for sample in range(4): table.put(2, sample, False)
>>> decide("zero_of_k", table)
Label(first_error=2, ratings=(1, -1, None), values=None)

Wrong solutions are read from the left, towards the first error. Right ones are read from the right, as a hidden error makes late
prefixes fail. Bisection is no alternative: a rule must know every prefix before the error that it names, and success rates may
rise again, so a bisection could name another step. It does not pay off as the reading order of `deepcritic` either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, Example

_UNDRAWN, _REACHED, _FAILED, _UNJUDGED = range(4)
UNCONFIRMED: Final = frozenset({"deepcritic"})
"""Rules whose publication does not fully specify them."""


class Label(NamedTuple):
    """The label of a solution. `ratings` has 1, -1 or None (not judged) per step; `values` has soft labels."""

    first_error: int
    ratings: tuple[int | None, ...]
    values: tuple[float, ...] | None = None


class Discard(NamedTuple):
    """No label, with the reason."""

    reason: str


class Wanted(NamedTuple):
    """The rule needs rollouts from prefix `step`: at least those `samples`.

    `unknown` is the minimum number of missing rollouts. If `samples` is empty, all were sampled and some could not be judged.
    """

    step: int
    samples: tuple[int, ...]
    unknown: int


Outcome = Label | Discard | Wanted


class Count(NamedTuple):
    """The known rollouts from one prefix: how many reached the reference answer, of how many that were judged."""

    right: int
    judged: int


class Table:
    """The known rollouts of one solution: `samples` from each prefix of 1 .. steps - 1 steps, one byte each."""

    def __init__(self, steps: int, samples: int, answer_right: bool) -> None:
        self.steps, self.samples, self.answer_right = steps, samples, answer_right
        self._cells = bytearray(max(0, steps - 1) * samples)

    def put(self, step: int, sample: int, reached: bool | None) -> None:
        """Record a rollout. None: it was lost or could not be judged, through no fault of the model; it may be replaced once."""
        if not 1 <= step < self.steps:
            raise InputError("no such prefix", field="key.step", found=step, expected=f"1 to {self.steps - 1}")
        if not 0 <= sample < self.samples:
            raise InputError("no such sample", field="key.sample", found=sample, expected=f"0 to {self.samples - 1}")
        at = (step - 1) * self.samples + sample
        if self._cells[at] != _UNDRAWN:
            raise InputError("duplicate rollout", field="key.sample", found=sample, expected="one rollout per prefix and sample")
        self._cells[at] = _UNJUDGED if reached is None else _REACHED if reached else _FAILED

    def take(self, other: Table, step: int, sample: int) -> None:
        """Copy a rollout from another table."""
        state = other.state(step, sample)
        self.put(step, sample, None if state == _UNJUDGED else state == _REACHED)

    def state(self, step: int, sample: int) -> int:
        """0 if the rollout was not drawn."""
        return self._cells[(step - 1) * self.samples + sample]

    def counts(self) -> list[Count]:
        """For each prefix the known rollouts, read or not."""
        parts = (self._cells[at : at + self.samples] for at in range(0, len(self._cells), self.samples))
        return [Count(part.count(_REACHED), part.count(_REACHED) + part.count(_FAILED)) for part in parts]

    def drawn(self, step: int) -> int:
        """How many rollouts from a prefix are known, judged or not."""
        return sum(self.state(step, sample) != _UNDRAWN for sample in range(self.samples))


class _Stop(Exception):
    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted


class Reader:
    """One reading of a table by a rule. `low` and `high` bound how many of a prefix's k rollouts reach the answer."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self.steps, self.samples, self.answer_right = table.steps, table.samples, table.answer_right
        self._read: dict[int, tuple[int, int, int]] = {}  # prefix -> rollouts read, those that reached, those that failed

    @property
    def prefixes(self) -> range:
        return range(1, self.steps)

    @property
    def used(self) -> int:
        """How many rollouts have been read."""
        return sum(read for read, _, _ in self._read.values())

    def bounds(self, step: int) -> tuple[int, int]:
        _, reached, failed = self._read.get(step, (0, 0, 0))
        return reached, self.samples - failed

    def read(self, step: int, known: Callable[[int, int], bool], *, to_the_end: bool = False) -> tuple[int, int]:
        """Read rollouts of a prefix until `known(low, high)`. Returns the bounds.

        Raises `_Stop` if that needs rollouts that are not known. With `to_the_end`, insufficient bounds are returned once all
        rollouts of the prefix have been read.
        """
        read, reached, failed = self._read.get(step, (0, 0, 0))
        while not known(reached, self.samples - failed):
            if read == self.samples:
                if to_the_end:
                    break
                raise _Stop(Wanted(step, (), self.samples - failed - reached))
            state = self._table.state(step, read)
            if state == _UNDRAWN:
                least = self._least(known, reached, self.samples - failed, self.samples - read)
                missing = [at for at in range(read, read + least) if self._table.state(step, at) == _UNDRAWN]
                raise _Stop(Wanted(step, tuple(missing), len(missing)))
            read, reached, failed = read + 1, reached + (state == _REACHED), failed + (state == _FAILED)
            self._read[step] = read, reached, failed
        return reached, self.samples - failed

    @staticmethod
    def _least(known: Callable[[int, int], bool], low: int, high: int, left: int) -> int:
        """The minimum number of further rollouts: the fastest decision is when all of them agree."""
        return next((more for more in range(1, left) if known(low + more, high) or known(low, high - more)), left)

    def none(self, step: int) -> bool:
        """Whether no rollout from the prefix reaches the answer."""
        low, _ = self.read(step, lambda low, high: low > 0 or high == 0)
        return low == 0

    def most(self, step: int) -> bool:
        """Whether more than half of them do."""
        low, _ = self.read(step, lambda low, high: 2 * low > self.samples or 2 * high <= self.samples)
        return 2 * low > self.samples

    def rate(self, step: int) -> float:
        """The share that does; needs all of them."""
        low, _ = self.read(step, lambda low, high: low == high)
        return low / self.samples

    def halved(self, step: int) -> bool:
        """Whether fewer than half as many do as from the prefix before."""

        def known(low: int, high: int, below: int, above: int) -> bool:
            return 2 * low >= above or 2 * high < below

        low, high = self.read(step, lambda low, high: known(low, high, *self.bounds(step - 1)), to_the_end=True)
        below, above = self.read(step - 1, lambda below, above: known(low, high, below, above), to_the_end=low < high)
        self.read(step, lambda low, high: known(low, high, below, above))
        return 2 * high < below


def deepcritic(rollouts: Reader) -> Label | Discard:
    """DeepCritic's rule (arXiv 2505.00662; its exact form is unconfirmed).

    A wrong solution's first error is the first step from which on every rollout fails, while more than half succeed from
    every step before; the last step counts as failing, since the answer is wrong. A right solution is all correct if more
    than half succeed from every prefix. Right solutions are read from the right: one that hides an error fails late.
    """
    if rollouts.answer_right:
        if not all(rollouts.most(step) for step in reversed(rollouts.prefixes)):
            return Discard("right answer, but a prefix rarely succeeds")
        return _up_to(ALL_CORRECT, rollouts.steps)
    first = rollouts.steps
    for step in rollouts.prefixes:
        if first == rollouts.steps and rollouts.most(step):
            continue
        if not rollouts.none(step):
            return Discard("no clear first error")
        first = min(first, step)
    return _up_to(first, rollouts.steps)


def zero_of_k(rollouts: Reader) -> Label | Discard:
    """The first step from which no rollout succeeds is the first error (found best of all thresholds by arXiv 2501.07301).

    The last step has none: it is the first error of a wrong solution that has no other. A right solution with such a step is
    discarded.
    """
    if rollouts.answer_right:
        if any(rollouts.none(step) for step in reversed(rollouts.prefixes)):
            return Discard("right answer, but a prefix never succeeds")
        return _up_to(ALL_CORRECT, rollouts.steps)
    first = next((step for step in rollouts.prefixes if rollouts.none(step)), rollouts.steps)
    return _up_to(first, rollouts.steps)


def math_shepherd(rollouts: Reader) -> Label | Discard:
    """Math-Shepherd's hard labels (arXiv 2312.08935): a step is right if any rollout from it succeeds; the last one if the
    answer is right. Every step is rated, those after an error too, and no solution is discarded."""
    none = [rollouts.none(step) for step in rollouts.prefixes]
    return _rated([*none, not rollouts.answer_right])


def math_shepherd_soft(rollouts: Reader) -> Label | Discard:
    """Math-Shepherd's soft labels: the share of rollouts that succeed from each step, beside the hard ones. Needs all of them."""
    values = [*(rollouts.rate(step) for step in rollouts.prefixes), float(rollouts.answer_right)]
    return _rated([value == 0 for value in values])._replace(values=tuple(values))


def relative(rollouts: Reader) -> Label | Discard:
    """The first step after which fewer than half as many rollouts succeed as before it is the first error.

    The drop counts, so steps of hard problems, with few successes from the start, are not called wrong for that. The first step
    has nothing before it: it is wrong if no rollout succeeds after it. The threshold of one half is this package's choice. A
    right solution with such a step is discarded.
    """
    for step in rollouts.prefixes:
        if rollouts.none(step) if step == 1 else rollouts.halved(step):
            if rollouts.answer_right:
                return Discard("right answer, but a step halves the rate")
            return _up_to(step, rollouts.steps)
    return _up_to(ALL_CORRECT if rollouts.answer_right else rollouts.steps, rollouts.steps)


RULES: Final[dict[str, Callable[[Reader], Label | Discard]]] = {
    "deepcritic": deepcritic,
    "zero_of_k": zero_of_k,
    "math_shepherd": math_shepherd,
    "math_shepherd_soft": math_shepherd_soft,
    "relative": relative,
}


def decide(rule: str, table: Table) -> Outcome:
    """The label, or what the rule needs to decide."""
    return used(rule, table)[0]


def used(rule: str, table: Table) -> tuple[Outcome, int]:
    """The same, with the number of rollouts that the rule read."""
    reader = Reader(table)
    try:
        return RULES[rule](reader), reader.used
    except _Stop as stop:
        return stop.wanted, reader.used


def replay(rule: str, whole: Table) -> tuple[Outcome, Table]:
    """The result when rollouts are sampled as the rule asks, and the table after that. `whole` holds the result of each
    rollout."""
    part = Table(whole.steps, whole.samples, whole.answer_right)
    while isinstance(outcome := decide(rule, part), Wanted) and outcome.samples:
        for sample in outcome.samples:
            part.take(whole, outcome.step, sample)
    return outcome, part


def unusable(row: Example) -> str | None:
    """The reason if no rule can label a solution, else None."""
    if not row.item.steps:
        return "no steps"
    if not (row.gold.reference_answer or "").strip():
        return "no reference answer"
    return "its answer was not checked" if row.gold.answer_right is None else None


def _up_to(first_error: int, steps: int) -> Label:
    """Rated as by human annotators: every step up to the first wrong one, and none after it."""
    if first_error == ALL_CORRECT:
        return Label(ALL_CORRECT, (1,) * steps)
    return Label(first_error, (*(1,) * (first_error - 1), -1, *(None,) * (steps - first_error)))


def _rated(wrong: list[bool]) -> Label:
    first = next((step for step, bad in enumerate(wrong, start=1) if bad), ALL_CORRECT)
    return Label(first, tuple(-1 if bad else 1 for bad in wrong))

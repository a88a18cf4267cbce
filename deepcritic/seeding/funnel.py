"""Counts of the rows that are kept and dropped by each rule, in the order of the rules.

>>> from deepcritic.runs.folder import Ledger
>>> funnel = Funnel(Ledger())
>>> funnel.enter(10)
>>> funnel.drop("no rated step", 3)
>>> funnel.keep(7)
>>> funnel.rows
[FunnelRow(rule='read', dropped=0, left=10, failed=False), FunnelRow(rule='no rated step', dropped=3, left=7, failed=False)]
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from deepcritic.runs.folder import Ledger


class FunnelRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """How many rows a rule dropped, and how many remained. `failed`: lost to an error, not dropped by a rule."""

    rule: str
    dropped: int
    left: int
    failed: bool = False


class Funnel:
    """A ledger with its rules in order. Rules that dropped nothing are listed too."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.rows: list[FunnelRow] = []

    @property
    def left(self) -> int:
        """How many rows remain after the rules so far."""
        return self.rows[-1].left if self.rows else 0

    def enter(self, count: int) -> None:
        self._ledger.enter(count)
        self.rows.append(FunnelRow("read", 0, count))

    def drop(self, rule: str, count: int) -> None:
        self._ledger.drop(rule, count)
        self.rows.append(FunnelRow(rule, count, self.left - count))

    def fail(self, reason: str, count: int) -> None:
        """Count rows lost to an error, not dropped by a rule."""
        self._ledger.fail(reason, count)
        self.rows.append(FunnelRow(reason, count, self.left - count, failed=True))

    def keep(self, count: int) -> None:
        self._ledger.keep(count)


def read_funnel(values: Any) -> list[FunnelRow]:
    """The rows of a funnel from JSON values, such as `funnel` in `funnel.json` and in the manifest of `stage=seed`."""
    return msgspec.convert(values, list[FunnelRow])


def as_text(rows: Sequence[FunnelRow]) -> str:
    """The funnel as lines for a terminal, without the rules that dropped nothing.

    >>> print(as_text([FunnelRow("read", 0, 10), FunnelRow("no rated step", 3, 7)]))
          10           read
           7        -3 no rated step
    """
    shown = [row for position, row in enumerate(rows) if row.dropped or position == 0]
    return "\n".join(f"{row.left:>8,} {-row.dropped if row.dropped else '':>9} {row.rule}" for row in shown)

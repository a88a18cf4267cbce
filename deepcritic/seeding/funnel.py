"""Rows kept and dropped by each rule, in the order of the rules: a ledger that can be told as a story.

>>> from deepcritic.runs.folder import Ledger
>>> funnel = Funnel(Ledger())
>>> funnel.enter(10)
>>> funnel.drop("no rated step", 3)
>>> funnel.keep(7)
>>> funnel.rows
[{'rule': 'read', 'dropped': 0, 'left': 10}, {'rule': 'no rated step', 'dropped': 3, 'left': 7}]
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from deepcritic.runs.folder import Ledger


class Funnel:
    """Tells a ledger rule by rule. A rule that dropped nothing is told, too."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.rows: list[dict[str, Any]] = []

    @property
    def left(self) -> int:
        """How many rows are left after the rules so far."""
        return int(self.rows[-1]["left"]) if self.rows else 0

    def enter(self, count: int) -> None:
        self._ledger.enter(count)
        self.rows.append({"rule": "read", "dropped": 0, "left": count})

    def drop(self, rule: str, count: int) -> None:
        self._ledger.drop(rule, count)
        self.rows.append({"rule": rule, "dropped": count, "left": self.left - count})

    def fail(self, reason: str, count: int) -> None:
        """Rows lost for our own reasons, not by a rule."""
        self._ledger.fail(reason, count)
        self.rows.append({"rule": reason, "dropped": count, "left": self.left - count, "failed": True})

    def keep(self, count: int) -> None:
        self._ledger.keep(count)


def told(rows: Iterable[dict[str, Any]]) -> str:
    """The funnel as lines for a terminal, without the rules that dropped nothing.

    >>> print(told([{"rule": "read", "dropped": 0, "left": 10}, {"rule": "no rated step", "dropped": 3, "left": 7}]))
          10           read
           7        -3 no rated step
    """
    shown = [row for at, row in enumerate(rows) if row["dropped"] or at == 0]
    return "\n".join(f"{row['left']:>8,} {-row['dropped'] if row['dropped'] else '':>9} {row['rule']}" for row in shown)

"""Verdicts on two answers: True, False, or the reason why they are undecided; and how verdicts on parts combine.

>>> all_of([True, "unit"]), all_of(["unit", False]), any_of([False, "unit"]), unless(True, "names")
('unit', False, 'unit', 'names')
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias

Verdict: TypeAlias = bool | str
Formulas: TypeAlias = Callable[[str, str], Verdict]
"""Whether two formulas (reference, prediction) are equal."""

ALGEBRA: Final = "algebra"
"""The verdict on two formulas when no algebra is done."""


def all_of(verdicts: Iterable[Verdict]) -> Verdict:
    """False if any is False, else the reason if any is undecided, else True. `ALGEBRA` comes before other reasons."""
    reason = ""
    for verdict in verdicts:
        if verdict is False:
            return False
        if isinstance(verdict, str) and (not reason or verdict == ALGEBRA):
            reason = verdict
    return reason or True


def any_of(verdicts: Iterable[Verdict]) -> Verdict:
    """True if any is True, else the reason if any is undecided, else False."""
    reason = ""
    for verdict in verdicts:
        if verdict is True:
            return True
        if isinstance(verdict, str) and (not reason or verdict == ALGEBRA):
            reason = verdict
    return reason or False


def unless(verdict: Verdict, reason: str) -> Verdict:
    """`verdict`, but undecided for `reason` if it is True."""
    return reason if verdict is True else verdict

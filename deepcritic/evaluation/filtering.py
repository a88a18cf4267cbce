"""Decides from a critic's votes whether a solution is kept, dropped with a reason, or failed.

>>> fate_of([-1, -1, -1, 2], accept=0.75, min_votes=1)
Fate(reason=None, votes=4, all_correct_share=0.75, first_error=2, first_error_share=0.25)
>>> fate_of([-1, 3, 3, None], accept=0.5, min_votes=1).reason, fate_of([None], accept=0.5, min_votes=1).reason
('error', 'unparsed')
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final, NamedTuple

from deepcritic.schema import ALL_CORRECT

THRESHOLDS: Final = (0.25, 0.5, 0.75, 0.9, 1.0)
"""Thresholds for which a filter reports how many rows it would keep."""
KEPT: Final = None
ERROR: Final = "error"
UNPARSED: Final = "unparsed"
NO_STEPS: Final = "no steps"
DROPPED: Final = (ERROR, UNPARSED, NO_STEPS)
"""The reasons for dropping a row; with any other reason, the row failed."""


class Fate(NamedTuple):
    """`reason` is None for a kept row. `votes` counts readable verdicts, of which `all_correct_share` find every step
    right. `first_error` is the most frequent wrong step among the others, with its share."""

    reason: str | None
    votes: int = 0
    all_correct_share: float | None = None
    first_error: int | None = None
    first_error_share: float | None = None

    @property
    def failed(self) -> bool:
        return self.reason is not None and self.reason not in DROPPED


def fate_of(verdicts: Sequence[int | None], *, accept: float, min_votes: int) -> Fate:
    """The fate of a row with these verdicts (None: unparsed). It is kept if at least `accept` of the readable verdicts find every
    step right, and dropped as unparsed if fewer than `min_votes` are readable."""
    votes = Counter(verdict for verdict in verdicts if verdict is not None)
    total = votes.total()
    if total < max(1, min_votes):
        return Fate(UNPARSED, total)
    right = votes.pop(ALL_CORRECT, 0)
    first, count = min(votes.items(), key=lambda pair: (-pair[1], pair[0]), default=(None, 0))
    share = None if first is None else count / total
    return Fate(KEPT if right / total >= accept else ERROR, total, right / total, first, share)

"""Numbers, intervals and baselines as the page shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from deepcritic.metrics import baselines

MEANING: Final = {
    baselines.CONSTANT: "names the same step in every solution, or calls it all correct, in the mix with the highest F1",
    baselines.POSITION: "names a step by its position alone, by a rule fitted on other problems",
    baselines.STEPS: "gives the verdict that fits solutions with as many steps, by a table fitted on other problems",
    baselines.ANSWER: "calls all steps correct where the final answer is right, and the last step wrong where it is wrong",
}
"""What each baseline does."""


def shown(cell: Any) -> str:
    """A cell formatted for display.

    >>> shown(1234567), shown(0.25), shown(None)
    ('1,234,567', '0.2', '')
    """
    if cell is None:
        return ""
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return str(cell)
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.1f}"


def range_of(interval: Sequence[float | None] | None) -> str:
    """An interval for display; empty if unknown.

    >>> range_of((1.0, 2.25)), range_of((None, None))
    ('1.0 to 2.2', '')
    """
    return "" if not interval or None in interval else f"{interval[0]:.1f} to {interval[1]:.1f}"

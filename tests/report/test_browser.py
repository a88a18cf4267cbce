"""The outcome by which the browser sorts a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from deepcritic.report import browser


@pytest.mark.parametrize(
    ("gold", "verdicts", "vote", "expected"),
    [
        (2, [2], None, "right"), (2, [1], None, "too early"), (2, [3], None, "too late"), (2, [-1], None, "missed"),
        (-1, [1], None, "false alarm"), (-1, [-1], None, "right"), (2, [None], None, "no verdict"), (2, [], None, "no reply"),
        (2, [1, 2, 2], 2, "right"), (2, [None, None], None, "no verdict"),
    ],
)  # fmt: skip
def test_outcomes(gold: int, verdicts: list[Any], vote: Any, expected: str, judged: Callable[..., dict[str, Any]]) -> None:
    assert browser.outcome(judged("a", gold, verdicts, vote=vote)) == expected


def test_verdicts_of_another_task_are_right_or_wrong(judged: Callable[..., dict[str, Any]]) -> None:
    rows = [judged("a", 1, [[9, 3]]), judged("b", {"best": 2}, [[9, 3], None], vote=1, vote_correct=0.0)]
    assert [browser.outcome(row, stepwise=False) for row in rows] == ["right", "wrong"]
    tied = judged("c", 1, [[1, 1], [2, 2]], vote=1, vote_correct=0.5)
    assert browser.outcome(tied, stepwise=False) == "tie", "the figures do not count a tie as right"

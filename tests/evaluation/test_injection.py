"""Flip rates by hand."""

from __future__ import annotations

import pytest

from deepcritic.datasets.forged import KINDS, MARK
from deepcritic.evaluation.injection import attack_success_rate, attack_success_rates
from deepcritic.metrics.bootstrap import wilson
from deepcritic.schema import Judged
from deepcritic.tasks.first_error import FirstError


def _row(identity: str, *verdicts: int | None) -> Judged:
    vote = FirstError().vote(verdicts).verdict
    return Judged(id=identity, gold=1, stratum="with an error", cluster="c", verdicts=verdicts, correct=0.0, vote=vote)


def test_only_rows_that_did_not_say_so_before_can_flip() -> None:
    found = attack_success_rate([(3, -1), (2, 2), (1, 4), (1, None), (-1, -1), (-1, 2), (None, -1)], -1)
    assert (found.rows, found.rate, found.otherwise) == (4, 0.25, 0.5)
    assert found.interval == wilson(1, 4)


def test_nothing_to_flip_is_no_rate() -> None:
    assert attack_success_rate([(-1, -1)], -1).rows == 0
    assert attack_success_rates([_row("a", -1)], FirstError())["claim"] == {
        "rows": 0,
        "rate": None,
        "interval": [0, 100],
        "otherwise": None,
    }


def test_each_kind_against_the_plain_rows_by_their_votes() -> None:
    rows = [_row("a", 2, 2, -1), _row("b", -1, -1, -1), _row("c"), _row("d", 3)]
    rows += [_row(f"{name}{MARK}{kind}", -1) for name in "abc" for kind in KINDS]
    rows += [_row(f"d{MARK}claim", 3)]
    found = attack_success_rates(rows, FirstError())
    assert (found["claim"]["rows"], found["claim"]["rate"]) == (2, 50)  # a changes, d does not; b said so before, c had no reply
    assert (found["box_in_step"]["rows"], found["box_in_step"]["rate"]) == (1, 100)
    assert (found["box_in_problem"]["rows"], found["box_in_problem"]["rate"]) == (2, 0)  # it says 1; a has moved to -1
    assert found["box_in_problem"]["otherwise"] == 50
    assert found["claim"]["interval"] == pytest.approx([100 * bound for bound in wilson(1, 2)], abs=1e-3)


def test_what_was_forged_is_read_by_the_prompts_own_count() -> None:
    task = FirstError("deepcritic://templates/first_error_paragraphs.txt")
    rows = [_row("a", 5), _row(f"a{MARK}box_in_problem", 2)]  # "1" in a count from 0 is the second step
    assert attack_success_rates(rows, task)["box_in_problem"]["rate"] == 100

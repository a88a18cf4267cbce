"""The figures of judged preferences against their definitions, written out anew."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.errors import InputError
from deepcritic.evaluation.judging import judge
from deepcritic.schema import Generation, Judged, Key, Preference, Preferred, Responses
from deepcritic.tasks.pointwise import Pointwise
from deepcritic.tasks.pointwise_metrics import decided_figures, figures, lines, roc_auc, suite_figures, winner

TASK = Pointwise()


def _row(name: str, verdicts: list[tuple[int, ...] | None], best: int | None = 1, **more: Any) -> Judged:
    shown = len(next(verdict for verdict in verdicts if verdict is not None))
    gold = Preferred(best=best) if best is not None else Preferred(scores=(float(more["truth"]),))
    item = Responses(query=name, responses=("r",) * shown, meta={"domain": more.get("domain", "d")})
    replies = []
    for sample, verdict in enumerate(verdicts):
        order = more.get("orders", {}).get(sample, tuple(range(1, shown + 1)))
        text = "unsure" if verdict is None else TASK.format(tuple(verdict[at - 1] for at in order))
        replies.append(
            Generation(
                key=Key(example_id=name, request="critique", sample=sample),
                text=text,
                finish_reason="stop",
                model="m",
                fingerprint="",
                seed=0,
                context=order,
            )
        )
    row = Preference(id=name, item=item, gold=gold, source="made")
    return judge(row, replies, TASK, asked=len(verdicts), benchmark="made", meta_rm_scores=more.get("meta_rm_scores", ()))


def _share(sums: np.ndarray[Any, Any], best: int) -> float:
    first = np.flatnonzero(sums == sums.max()) + 1
    return 1 / len(first) if best in first else 0.0


def test_accuracy_strict_votes_and_groups() -> None:
    rows = [
        _row("a", [(9, 2), (5, 5), None], domain="x"),
        _row("b", [(2, 9), (2, 9), (9, 3)], domain="y"),
        _row("c", [(9, 2, 1), (1, 2, 3), (9, 1, 1)], domain="x"),
    ]
    found = figures(rows, TASK)
    one = [(1 + 0.5 + 0) / 3, 1 / 3, 2 / 3]
    assert found["accuracy"] == pytest.approx(100 * np.mean(one), abs=1.5)
    assert found["strict_accuracy"] == pytest.approx(100 * np.mean([1 / 3, 1 / 3, 2 / 3]), abs=1e-3)
    assert found["vote_accuracy"] == pytest.approx(100 * np.mean([1, 0, 1]), abs=1e-3)
    assert found["pairwise_accuracy"] == pytest.approx(100 * np.mean(one[:2]), abs=2)
    assert found["best_of_n_accuracy"] == pytest.approx(100 * one[2], abs=1e-3)
    assert found["chance_accuracy"] == pytest.approx(100 * np.mean([1 / 2, 1 / 2, 1 / 3]), abs=1e-3)
    assert found["unparsed_rate"] == pytest.approx(100 / 9, abs=1e-3)
    assert {name: group["rows"] for name, group in found["accuracy_by_domain"].items()} == {"x": 2, "y": 1}
    assert list(found["accuracy_by_votes"]) == ["1", "2", "3"]
    low, high = found["accuracy_interval"]
    assert low <= found["accuracy"] <= high
    assert rows[0].vote == 1
    assert rows[0].vote_correct == 1


def test_a_tie_for_the_first_place_is_shared_in_the_vote_and_lost_in_the_reward() -> None:
    row = _row("a", [(5, 5)])
    assert (row.correct, row.vote_correct) == (0.0, 0.5)
    found = figures([row], TASK)
    assert (found["accuracy"], found["strict_accuracy"]) == (50.0, 0.0)


def test_single_responses_have_a_roc_curve() -> None:
    chance = random.Random(1)
    rows, scores, truth = [], [], []
    for at in range(40):
        right = at % 2
        verdicts: list[tuple[int, ...] | None] = [(min(10, max(1, round(chance.gauss(4 + 2 * right, 2)))),) for _ in range(3)]
        scores.append(sum(verdict[0] for verdict in verdicts if verdict))
        truth.append(bool(right))
        rows.append(_row(f"s{at}", verdicts, best=None, truth=right))
    found = figures(rows, TASK)
    pairs = [
        (a, b) for a, good in zip(scores, truth, strict=True) if good for b, bad in zip(scores, truth, strict=True) if not bad
    ]
    assert found["roc_auc"] == pytest.approx(100 * np.mean([(a > b) + (a == b) / 2 for a, b in pairs]), abs=1e-3)
    assert found["singles"] == 40
    assert found["roc_auc_by_domain"] == {
        "d": {"rows": 40, "roc_auc": found["roc_auc"], "interval": pytest.approx(found["roc_auc_interval"])}
    }
    assert "accuracy" not in found
    low, high = found["roc_auc_interval"]
    assert low < found["roc_auc"] < high


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=20))
def test_roc_auc_is_the_share_of_pairs(cases: list[tuple[int, bool]]) -> None:
    good, bad = [score for score, right in cases if right], [score for score, right in cases if not right]
    found = roc_auc([score for score, _ in cases], [right for _, right in cases])
    if good and bad:
        assert found == pytest.approx(np.mean([(a > b) + (a == b) / 2 for a in good for b in bad]))
    else:
        assert np.isnan(found)


def test_position_bias_counts_changes_of_the_winner() -> None:
    """A judge that always likes what is shown first changes its mind with every change of the order; a steady one never."""
    swapped = {1: (2, 1), 3: (2, 1)}
    first = [_row(f"f{at}", [(9, 1), (1, 9), (9, 1), (1, 9)], orders=swapped) for at in range(5)]
    found = figures(first, TASK)["position"]
    assert (found["changed"], found["changed_by_chance"], found["first_shown"]) == (100, 0, 100)
    steady = [_row(f"s{at}", [(9, 1)] * 4, orders=swapped) for at in range(5)]
    found = figures(steady, TASK)["position"]
    assert (found["changed"], found["changed_by_chance"], found["first_shown"]) == (0, 0, 50)


def test_a_reply_without_one_winner() -> None:
    assert [winner(TASK, verdict) for verdict in ((3, 9), (9, 9), (7,))] == [2, None, 1]


def test_the_guided_vote_stands_beside_the_plain_one() -> None:
    rows = [_row(f"g{at}", [(9, 1), (1, 9), (1, 9), (1, 9)], meta_rm_scores=(0.9, 0.1, 0.2, 0.3)) for at in range(4)]
    rows.append(_row("left out", [(9, 1)] * 4))
    found = figures(rows, TASK)
    four = found["guided_by_votes"]["4"]
    assert (four["plain"], four["guided"], four["difference"], found["unguided"]) == (0, 50, 50, 1)


def test_recorded_judgments_follow_judgebench() -> None:
    """+1 for a decision equal to the label, -1 for the opposite, 0 for a tie or none; right above 0."""
    cases: list[tuple[list[tuple[int, ...] | None], bool]] = [
        ([(2, 1), (2, 1)], True), ([(2, 1), (1, 1)], True), ([(2, 1), None], True), ([(2, 1), (1, 2)], False),
        ([(1, 1), (1, 1)], False), ([(1, 2), (1, 1)], False),
    ]  # fmt: skip
    rows = [_row(f"j{at}", verdicts) for at, (verdicts, _) in enumerate(cases)]
    found = decided_figures(rows, TASK)
    assert found["right"] == sum(right for _, right in cases)
    assert found["accuracy"] == 50.0


def test_a_suite_has_a_mean() -> None:
    parts = {"a": [_row("a", [(9, 1)])], "b": [_row("b", [(1, 9)])]}
    found = suite_figures(parts, TASK)
    assert (found["mean_accuracy"], found["examples"]) == (50.0, 2)
    assert TASK.figures(parts) == found


def test_rows_without_a_reply_have_no_figure() -> None:
    row = Preference(id="a", item=Responses(query="q", responses=("x", "y")), gold=Preferred(best=1), source="made")
    with pytest.raises(InputError, match="no row has a reply"):
        figures([judge(row, [], TASK, asked=1)], TASK)


@pytest.mark.parametrize(("low", "shown"), [(49.9, True), (50.0, True), (50.1, False), (None, False)])
def test_an_interval_that_reaches_the_chance_level_does_not_beat_it(low: float | None, shown: bool) -> None:
    part = {"examples": 3, "accuracy": 60.0, "accuracy_interval": [low, 70.0], "chance_accuracy": 50.0, "unparsed_rate": 0.0}
    said = list(lines(part))
    assert ("  NOT SHOWN TO BEAT guessing: 60.0 against 50.0" in said) is shown
    assert "chance level 50.0" in said[0]
    del part["chance_accuracy"]
    assert list(lines(part)) == [said[0].replace("; chance level 50.0", "")]


def test_a_mean_over_benchmarks_has_four_places() -> None:
    parts = {name: [_row(name, [verdict])] for name, verdict in {"a": (9, 1), "b": (1, 9), "c": (2, 8)}.items()}
    assert suite_figures(parts, TASK)["mean_accuracy"] == 33.3333

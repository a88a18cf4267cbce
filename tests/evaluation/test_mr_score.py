"""MR-Score: by hand, against the formula of its authors' script, and the judge's question beside its reader."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.datasets import mr_ben
from deepcritic.evaluation.mr_score import ask, grade, matthews, mr_score
from deepcritic.samplers.base import Sampling
from deepcritic.schema import ALL_CORRECT, Example, Generation, Gold, Item, Judged, Key

ROW = Example(
    id="a", item=Item(problem="1 + 1?", steps=("1 + 1 = 3", "so 3")), source="made",
    gold=Gold(first_error=1, error_reasons=("The sum is 2.", "One and one make two.")),
)  # fmt: skip


def _judged(name: str, gold: int, *verdicts: int | None) -> Judged:
    correct = sum(verdict == gold for verdict in verdicts) / len(verdicts) if verdicts else None
    return Judged(id=name, gold=gold, stratum="", cluster=name, verdicts=verdicts, correct=correct)


def test_every_part_right_and_every_part_wrong() -> None:
    rows = [_judged("a", 1, 1), _judged("b", -1, -1)]
    best = mr_score(rows, {"a": (True,)})
    assert (best["score"], best["mcc"], best["step_accuracy"], best["reason_accuracy"]) == (100, 100, 100, 100)
    worst = mr_score([_judged("a", 1, -1), _judged("b", -1, 1)], {})
    assert (worst["score"], worst["mcc"], worst["step_accuracy"]) == (0, -100, 0)


def test_by_hand() -> None:
    # 4 wrong solutions: step right with a good reason, step right with a bad one, called wrong at another step, called right.
    # 2 right ones, one of them called wrong. MCC = (1 * 3 - 1 * 1) / sqrt(2 * 2 * 4 * 4) = 0.25
    rows = [_judged("a", 1, 1), _judged("b", 2, 2), _judged("c", 3, 1), _judged("d", 1, -1), _judged("e", -1, -1)]
    rows.append(_judged("f", -1, 2))
    found = mr_score(rows, {"a": (True,), "b": (False,)})
    assert found["mcc"] == pytest.approx(25)
    assert (found["step_accuracy"], found["reason_accuracy"]) == (50, 25)
    assert found["score"] == pytest.approx(0.2 * 25 + 0.3 * 50 + 0.5 * 25)


@given(
    st.lists(st.tuples(st.sampled_from([-1, 1, 2, 3]), st.sampled_from([-1, 1, 2, 3]), st.booleans()), min_size=1, max_size=30)
)
def test_as_the_authors_script_adds_it_up(cells: list[tuple[int, int, bool]]) -> None:
    rows = [_judged(str(at), gold, verdict) for at, (gold, verdict, _) in enumerate(cells)]
    grades = {str(at): (good,) for at, (gold, verdict, good) in enumerate(cells) if gold == verdict != -1}
    right = sum(gold == -1 for gold, _, _ in cells)
    wrong = len(cells) - right
    true_positive = sum(gold == verdict == -1 for gold, verdict, _ in cells)
    true_negative = sum(gold != -1 and verdict != -1 for gold, verdict, _ in cells)
    false_positive, false_negative = wrong - true_negative, right - true_positive
    below = math.sqrt(
        (true_positive + false_positive) * (true_positive + false_negative)
        * (true_negative + false_positive) * (true_negative + false_negative)
    )  # fmt: skip
    mcc = (true_positive * true_negative - false_positive * false_negative) / below if below else 0.0
    found = mr_score(rows, grades)
    assert found["mcc"] == pytest.approx(100 * mcc, abs=1e-3)
    if wrong:
        steps, reasons = len(grades) / wrong, sum(good for (good,) in grades.values()) / wrong
        assert found["score"] == pytest.approx(100 * (0.2 * max(0, mcc) + 0.3 * steps + 0.5 * reasons), abs=1e-3)
    else:
        assert found["score"] is None


def test_an_unparsed_verdict_is_a_wrong_one_of_either_kind() -> None:
    assert mr_score([_judged("a", 1, None), _judged("b", -1, None)], {})["mcc"] == -100


def test_what_could_not_be_graded_is_between_the_bounds() -> None:
    rows = [_judged("a", 1, 1), _judged("b", 1, 1), _judged("c", -1, -1)]
    found = mr_score(rows, {"a": (True,), "b": (None,)})
    assert found["ungraded"] == 1
    assert (found["score"], found["score_bounds"]) == (75, [75, 100])


def test_without_a_judge_there_are_two_parts_and_no_score() -> None:
    found = mr_score([_judged("a", 1, 1), _judged("b", -1, -1)], None)
    assert (found["score"], found["reason_accuracy"], found["step_accuracy"], found["mcc"]) == (None, None, 100, 100)


def test_several_samples_count_for_their_share_and_rows_that_failed_for_nothing() -> None:
    rows = [_judged("a", 1, 1, 1, 2, -1), _judged("b", -1, -1), _judged("c", 1)]
    found = mr_score(rows, {"a": (True, False)})
    assert (found["step_accuracy"], found["reason_accuracy"]) == (50, 25)
    assert found["mcc"] == pytest.approx(100 * matthews(1, 0.75, 0.25, 0), abs=1e-3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("It names the sum. \\boxed{yes}", True),
        ("\\boxed{No}", False),
        ("\\boxed{\\text{yes}}", True),
        ("\\boxed{yes} at first, but \\boxed{no}", False),
        ("<think>\\boxed{yes}", None),
        ("<think>\\boxed{yes}</think>\\boxed{no}.", False),
        ("yes", None),
        ("\\boxed{maybe}", None),
        ("", None),
    ],
)
def test_grades_are_read_and_never_guessed(text: str, said: bool | None) -> None:
    assert grade(text) is said


def test_the_question_shows_notes_and_critique_and_leaves_both_as_they_are() -> None:
    key = Key(example_id="a", request="critique", sample=3)
    text = "<think>hm</think>Step 1 is off: {{problem}} \\boxed{1}"
    critique = Generation(key=key, text=text, finish_reason="stop", model="m", fingerprint="f", seed=0)
    asked = ask(ROW, critique, Sampling(), seed=1)
    (message,) = asked.messages
    assert "- The sum is 2.\n- One and one make two." in message.content
    assert "Step 1 is off: {{problem}} \\boxed{1}" in message.content
    assert "hm</think>" not in message.content
    assert "first mistake in step 1" in message.content
    assert asked.keys == (Key(example_id="a", request="reason", step=1, sample=3, parent=key.text),)


def test_the_real_rows_of_mr_ben_have_reasons_to_ask_about(datasets_dir: Path) -> None:
    rows = list(mr_ben.read(datasets_dir / "mr_ben" / "math_part_a.json.gz"))
    wrong = [row for row in rows if row.gold.first_error != ALL_CORRECT]
    assert len(wrong) == 390
    for row in wrong:
        key = Key(example_id=row.id, request="critique")
        critique = Generation(key=key, text="c", finish_reason="stop", model="m", fingerprint="f", seed=0)
        (message,) = ask(row, critique, Sampling(), seed=0).messages
        assert all(reason in message.content for reason in row.gold.error_reasons)
    assert json.dumps([row.item.meta for row in rows]).count("reason") == 0


def test_every_part_has_its_interval() -> None:
    rows = [_judged(str(at), 1, *(1 if at % 3 else 2, -1)) for at in range(60)]
    rows += [_judged(f"r{at}", -1, -1, -1 if at % 4 else 3) for at in range(40)]
    found = mr_score(rows, {str(at): (at % 2 == 0,) for at in range(60) if at % 3})
    for name in ("score", "mcc", "step_accuracy", "reason_accuracy"):
        low, high = found[f"{name}_interval"]
        assert low < found[name] < high
    assert mr_score(rows, None)["score_interval"] == [None, None]

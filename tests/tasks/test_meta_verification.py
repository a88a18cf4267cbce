"""Judging whether the issues that a critique claims are real: what is asked, and of which critiques."""

from __future__ import annotations

import pytest

from deepcritic.errors import InputError
from deepcritic.schema import Item
from deepcritic.tasks.meta_verification import MetaVerification, claim, claims_issues
from deepcritic.tasks.proof import SCALES, Proof

PROOF = Item(
    problem="Prove that 2 + 2 = 4.",
    steps=("Count.", "So it is."),
    meta={"reference_solution": "It is known.", "rubric": "1 point for counting.", "generator": "model-x", "grade": "0.25"},
)
CRITIQUE = "<think>Is it 0.25?</think>Issues:\n1. Nobody counted.\n\n\\boxed{0}"


@pytest.mark.parametrize("scale", SCALES)
def test_the_judge_sees_the_proof_the_critique_and_the_critics_scale(scale: str) -> None:
    item = claim(PROOF, CRITIQUE, Proof(scale=scale))
    assert item.steps == ("Count.\n\nSo it is.",)
    text = MetaVerification().ask(item).messages[-1].content
    for part in (
        "2 + 2 = 4",
        "Count.\n\nSo it is.",
        "1. Nobody counted.",
        "It is known.",
        "1 point for counting.",
        SCALES[scale].rules,
    ):
        assert part in text
    for hidden in ("model-x", "0.25"):
        assert hidden not in text
    assert "such as \\boxed{0.5}" in text
    assert "It is known." not in MetaVerification(reference=False).ask(item).messages[-1].content


def test_a_rating_is_a_half_even_where_the_critic_gave_points() -> None:
    judge = MetaVerification()
    assert [judge.parse(f"So.\n\\boxed{{{rating}}}") for rating in ("0", "0.5", "1", "5/7", "2")] == [0, 0.5, 1, None, None]
    assert judge.scale.full == 1


@pytest.mark.parametrize(
    ("scale", "said", "claims"),
    [("halves", "1", False), ("halves", "0.5", True), ("halves", "0", True), ("points", "7", False), ("points", "6", True),
     ("points", "8", None), ("halves", "?", None)],
)  # fmt: skip
def test_only_a_grade_below_full_marks_claims_an_issue(scale: str, said: str, claims: bool | None) -> None:
    assert claims_issues(f"Well.\n\\boxed{{{said}}}", Proof(scale=scale)) is claims


@pytest.mark.parametrize(
    ("meta", "field"),
    [
        ({}, "critique"),
        ({"critique": " "}, "critique"),
        ({"critique": 3}, "critique"),
        ({"critique": "c", "scale": "tens"}, "scale"),
    ],
)
def test_what_cannot_be_judged_is_named(meta: dict[str, object], field: str) -> None:
    with pytest.raises(InputError, match=f"item.meta.{field}"):
        MetaVerification().ask(Item(problem="p", steps=("s",), meta=meta))


def test_a_critique_that_only_thinks_claims_nothing_and_cannot_be_judged() -> None:
    item = claim(PROOF, "<think>Is it right?", Proof())
    assert item.meta["critique"] == ""
    with pytest.raises(InputError, match="there is no critique"):
        MetaVerification().ask(item)

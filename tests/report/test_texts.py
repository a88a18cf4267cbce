"""The text of a row: that of its evaluation, else that of any stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deepcritic.report.texts import Texts

ROW = {"id": "a/s0", "item": {"problem": "1 + 1?", "steps": ["2"]}, "gold": {"first_error": -1}, "source": "made"}


def test_a_text_is_that_of_the_evaluation_or_of_any_stage(stage: Callable[..., Path]) -> None:
    query = {"id": "b", "item": {"query": "Which?", "responses": ["x", "y"]}, "gold": {}, "source": "made"}
    old = stage("prepare.test", files={"examples.jsonl": [ROW, "torn", query]})
    evaluation = stage("evaluate", files={"examples.jsonl": [{**ROW, "item": {"problem": "own", "steps": []}}]})
    texts = Texts(old.parent)
    own, other = texts.of(evaluation, "a/s0"), texts.of(old.parent / "evaluate.old", "b")
    assert own is not None
    assert own.problem == "own"
    assert texts.of(evaluation, "b") is None, "an evaluation that has its rows is asked alone"
    assert other is not None
    assert other.parts == ("x", "y")
    assert texts.anywhere("nowhere") is None

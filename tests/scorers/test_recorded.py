"""Scores that were kept are served again, and bad ones are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepcritic.errors import InputError
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import Failure, Item, Scores
from deepcritic.scorers.base import key_of
from deepcritic.scorers.recorded import RecordedScorer

ROW = Scores(key=key_of("a"), values=(0.9, 0.1), model="m", prompt_tokens=7)


def _file(folder: Path, *rows: Scores) -> Path:
    write_rows(folder / "scores.jsonl", rows)
    return folder / "scores.jsonl"


def test_scores_come_back_and_absent_ones_fail(tmp_path: Path) -> None:
    with RecordedScorer(_file(tmp_path, ROW)) as scorer:
        first, second = scorer.score([("a", Item(problem="p", steps=("s", "t"))), ("b", Item(problem="p"))])
    assert first == ROW
    assert isinstance(second, Failure)
    assert (second.key, second.reason, second.permanent) == (key_of("b"), "not_recorded", True)


def test_scores_of_another_solution(tmp_path: Path) -> None:
    scorer = RecordedScorer(_file(tmp_path, ROW))
    with pytest.raises(
        InputError, match=r"scores.jsonl: values: scores of another solution; found 2; expected 1, one for each step"
    ):
        list(scorer.score([("a", Item(problem="p", steps=("s",)))]))


def test_the_same_solution_twice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"scores.jsonl: example_id: duplicate scores; found 'a'"):
        RecordedScorer(_file(tmp_path, ROW, ROW))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="scores: no such file"):
        RecordedScorer(tmp_path / "none.jsonl")


def test_the_content_is_the_identity(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    first = RecordedScorer(_file(tmp_path, ROW)).model_id
    assert first == RecordedScorer(_file(tmp_path / "b", ROW)).model_id
    assert first != RecordedScorer(_file(tmp_path)).model_id

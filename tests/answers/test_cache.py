"""What algebra found is kept in a file: for a run that was killed, a longer deadline, another checker."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import deepcritic.answers as answers
from deepcritic.answers import Comparison, compare
from deepcritic.answers.cache import Cache, Compared, checker
from deepcritic.answers.decide import Question
from deepcritic.runs.jsonl import read_rows, write_rows


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every question put to the workers, which here find everything equal but what says `time` or `died`."""
    questions: list[Any] = []

    class Pool:
        def compare(self, question: Question, deadline: float) -> Comparison:
            questions.append(question)
            reason = next((word for word in ("time", "died") if word in question.reference + question.prediction), "")
            return Comparison(None if reason else True, reason)

    monkeypatch.setattr(answers, "workers", Pool)
    monkeypatch.setattr(answers, "_memory", Cache())
    return questions


def test_a_pair_is_compared_once(tmp_path: Path, asked: list[Any]) -> None:
    pairs = [("x+1", "1+x"), ("7", "7"), ("y", "z"), ("x+1", "1+x"), ("$x+1$", "1+x")]
    for _ in range(2):
        assert list(compare(pairs, cache=tmp_path / "compared.jsonl")) == [Comparison(True)] * 5
        assert asked == [Question("1+x", "x+1"), Question("z", "y")]
    rows = list(read_rows(tmp_path / "compared.jsonl", Compared))
    assert [(row.checker, row.reference, row.prediction, row.equal) for row in rows] == [
        (checker(), "1+x", "x+1", True),
        (checker(), "z", "y", True),
    ]


def test_a_pair_that_ran_out_of_time_is_tried_again_with_more(tmp_path: Path, asked: list[Any]) -> None:
    path = tmp_path / "compared.jsonl"
    for deadline in (1.0, 1.0, 0.5, 3.0, 2.0):
        assert list(compare([("time+1", "x")], cache=path, deadline=deadline)) == [Comparison(None, "time")]
    assert len(asked) == 2
    assert [row.deadline for row in read_rows(path, Compared)] == [1.0, 3.0]


def test_a_worker_that_was_killed_says_nothing_about_the_pair(tmp_path: Path, asked: list[Any]) -> None:
    for _ in range(2):
        assert list(compare([("died+1", "x")], cache=tmp_path / "compared.jsonl")) == [Comparison(None, "died")]
    assert len(asked) == 2


def test_another_checkers_rows_do_not_count(tmp_path: Path, asked: list[Any]) -> None:
    path = tmp_path / "compared.jsonl"
    write_rows(path, [Compared(checker="older", reference="1+x", prediction="x+1", equal=False)])
    assert list(compare([("x+1", "1+x")], cache=path)) == [Comparison(True)]
    assert [row.equal for row in read_rows(path, Compared)] == [False, True]


def test_a_torn_line_is_cut_and_found_again(tmp_path: Path, asked: list[Any]) -> None:
    path = tmp_path / "compared.jsonl"
    pairs = [(f"x+{number}", f"{number}+x") for number in range(5)]
    list(compare(pairs, cache=path))
    whole = path.read_bytes()
    for end in range(0, len(whole), 7):
        path.write_bytes(whole[:end])
        asked.clear()
        list(compare(pairs, cache=path))
        assert path.read_bytes() == whole
        assert len(asked) == 5 - whole[:end].count(b"\n")


def test_what_is_not_in_the_file_is_there_for_this_process(asked: list[Any]) -> None:
    for _ in range(2):
        assert list(compare([("p+q", "q+p")] * 3)) == [Comparison(True)] * 3
        assert answers.equivalent("p+q", "q+p")
    assert len(asked) == 1


def test_broken_characters_are_no_answer(tmp_path: Path, asked: list[Any]) -> None:
    pairs = [("x\ud800+1", "1+x"), ("1+x", "x\udfff")]
    found = list(compare(pairs, cache=tmp_path / "compared.jsonl"))
    assert [result.reason for result in found] == ["unreadable prediction", "unreadable reference"]
    assert not asked


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepcritic.answers.cache._MOST", 3)
    cache = Cache()
    for number in range(10):
        cache.add(Question(str(number), "x"), Comparison(True), 2.0)
        assert cache.get(Question(str(number), "x"), 2.0)
        assert len(cache._found) <= 3


KILLED = """
import os, signal, sys
from pathlib import Path
from deepcritic.answers import compare
pairs = [(f"x + {number}", f"{number} + x") for number in range(30)]
for number, result in enumerate(compare(pairs, cache=Path(sys.argv[1]), deadline=10)):
    assert result.equal
    if number == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_anywhere_it_ends_with_the_same_file(tmp_path: Path) -> None:
    pytest.importorskip("math_verify", reason="pip install 'deepcritic[answers]'")
    script = tmp_path / "script.py"
    script.write_text(KILLED, "utf-8")

    def run(path: Path, moment: int) -> int:
        return subprocess.run([sys.executable, script, path, str(moment)], timeout=120, check=False).returncode

    assert run(tmp_path / "whole.jsonl", -1) == 0
    for moment in (3, 17, 29):
        assert run(tmp_path / "killed.jsonl", moment) == -signal.SIGKILL
    assert run(tmp_path / "killed.jsonl", -1) == 0
    assert (tmp_path / "killed.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()

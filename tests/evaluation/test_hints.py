"""What looks wrong and is no error is said: copies in place of samples, empty replies, labels that count from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.evaluation.hints import Samples, label_hints
from deepcritic.schema import ALL_CORRECT, WITH_ERROR, WITHOUT_ERROR, Judged


def _hints(rows: list[list[str]], temperature: float | None = 1.0) -> list[str]:
    samples = Samples()
    for texts in rows:
        samples.see(texts)
    return samples.hints(temperature)


def test_copies_in_place_of_samples() -> None:
    assert len(_hints([["a", "a"], ["b", "b", "b"]])) == 1
    assert "at temperature 0.7, in all 2 rows" in _hints([["a", "a"], ["b", "b"], ["c"]], 0.7)[0]
    assert len(_hints([["a", "a"], ["b", "b"]], None)) == 1
    assert not _hints([["a", "a"], ["b", "b"]], 0)  # greedy: they have to be the same
    assert not _hints([["a", "a"], ["b", "c"]])
    assert not _hints([["a", "a"]])  # one row says little
    assert not _hints([["a"], ["b"]])
    assert not _hints([])


def test_replies_that_are_all_empty() -> None:
    (hint,) = _hints([["", " \n"], ["", ""]])
    assert hint.startswith("all 4 replies are empty")
    assert not _hints([["", ""], ["", "x"]])


def _judged(gold: int, vote: int | None, steps: int = 4) -> Judged:
    stratum = WITHOUT_ERROR if gold == ALL_CORRECT else WITH_ERROR
    return Judged(id="", gold=gold, stratum=stratum, cluster="", verdicts=(vote,), correct=0.0, vote=vote, steps=steps)


def test_labels_that_count_from_elsewhere() -> None:
    rows = [_judged(2, 1), _judged(3, 2), _judged(4, 3), _judged(ALL_CORRECT, ALL_CORRECT), _judged(2, None)]
    (hint,) = label_hints(rows, "mine")
    assert hint.startswith("mine: no label is the first step, and 3 of 4 verdicts are one step before the label")
    assert hint.endswith("benchmark.index_base=1)")
    (hint,) = label_hints([_judged(1, 2), _judged(2, 3), _judged(3, 4)], "mine")
    assert hint.startswith("mine: no label is the last step, and 3 of 3 verdicts are one step after the label")
    assert not label_hints([*rows, _judged(1, 1)], "mine")  # a label names the first step
    assert not label_hints([_judged(2, 2), _judged(3, 3), _judged(4, 3)], "mine")
    assert not label_hints(rows[:2], "mine")


@pytest.fixture
def from_one(tmp_path: Path) -> Path:
    """ProcessBench's form with labels that count from 1, and right verdicts about it."""
    labels = [2, -1, -1, -1, 2, -1, 2, -1, 2, -1]
    rows = [
        {"id": f"q-{at}", "problem": f"{at} + 1?", "steps": ["a", "b", "c"], "label": label} for at, label in enumerate(labels)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    verdicts = [(row["id"], row["label"]) for row in rows]
    replies = [
        {"example_id": name, "sample": sample, "text": f"so \\boxed{{{label}}}"} for name, label in verdicts for sample in (0, 1)
    ]
    (tmp_path / "replies.jsonl").write_text("".join(json.dumps(reply) + "\n" for reply in replies))
    return tmp_path


def test_an_evaluation_says_what_looks_wrong(command: Callable[..., Any], from_one: Path) -> None:
    words = ["stage=evaluate", "benchmark=processbench", f"benchmark.path={from_one}/rows.jsonl", "run=mine"]
    words.append(f"stage.generations={from_one}/replies.jsonl")
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    assert "warning: processbench/q: no label is the first step, and 4 of 4 verdicts are one step before" in outcome.out
    assert "warning: all samples of a row are identical, in all 10 rows" in outcome.out
    outcome = command(*words[:-2], "run=other", words[-1], "benchmark.index_base=1")
    assert "no label is" not in outcome.out
    assert "F1 100.0" in outcome.out

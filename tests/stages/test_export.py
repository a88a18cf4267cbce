"""The log of Inspect AI, read back by its own reader."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import Example

Command = Callable[..., Any]


def test_what_inspect_reads_is_what_was_measured(command: Command, make_solutions: Any, tmp_path: Path) -> None:
    log_of = pytest.importorskip("inspect_ai.log", reason="needs Inspect AI: pip install deepcritic[inspect]")
    rows: list[Example] = make_solutions(6)
    write_rows(tmp_path / "examples.jsonl", rows)
    lines = []
    for row in rows:
        texts = [f"\x1b <b>\\boxed{{{row.gold.first_error}}}", "\\boxed{9}", "none"]
        lines += [json.dumps({"example_id": row.id, "sample": at, "text": text}) for at, text in enumerate(texts)]
    (tmp_path / "replies.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    words = ["stage=evaluate", "benchmark=examples", "benchmark.path=examples.jsonl", "run=mine", "name=x"]
    outcome = command(*words, "stage.generations=replies.jsonl")
    assert outcome.code == 0, outcome.err
    outcome = command("stage=export", "run=mine", "stage.evaluation=evaluate.x")
    assert outcome.code == 0, outcome.err
    assert "18 samples" in outcome.out

    log = log_of.read_eval_log("runs/mine/export/evaluate.x.eval")
    metrics = json.loads(Path("runs/mine/evaluate.x/metrics.json").read_text("utf-8"))
    assert log.status == "success"
    assert log.eval.config.epochs == 3
    assert log.eval.dataset.samples == 6
    assert len(log.samples) == 18
    assert log.results.scores[0].metrics["f1"].value == pytest.approx(metrics["f1"])
    assert log.results.scores[0].metrics["f1"].metadata["interval"] == metrics["f1_interval"]
    by_id = {(sample.id, sample.epoch): sample for sample in log.samples}
    first = rows[0]
    assert [by_id[first.id, epoch].scores["first_error"].value for epoch in (1, 2, 3)] == ["C", "I", "N"]
    sample = by_id[first.id, 1]
    assert sample.output.completion == f"\x1b <b>\\boxed{{{first.gold.first_error}}}"
    assert sample.target == "all correct"
    assert first.item.problem in sample.input
    assert f"Step 1: {first.item.steps[0]}" in sample.input


def test_without_an_evaluation_it_says_so(command: Command) -> None:
    pytest.importorskip("inspect_ai.log", reason="needs Inspect AI: pip install deepcritic[inspect]")
    outcome = command("stage=export", "run=mine", "stage.evaluation=nothing")
    assert outcome.code == 1
    assert "no finished evaluation" in outcome.err

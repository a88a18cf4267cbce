"""A process reward model measured like any critic: the same rows and figures, a threshold from rows that are not measured."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from deepcritic.evaluation.load import read_judged
from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item, Scores
from deepcritic.scorers.base import key_of

pytest.importorskip("torch", reason="the models need torch: pip install deepcritic[train]")
pytestmark = pytest.mark.slow


class Outcome(Protocol):
    code: int
    out: str
    err: str


Command = Callable[..., Outcome]
Rows = Callable[[int, str, int], list[Example]]


@pytest.fixture
def files(tmp_path: Path, make_sums: Rows) -> tuple[Path, Path]:
    """Rows to be measured, and others."""
    write_rows(tmp_path / "test.jsonl", make_sums(120, "test", 5))
    write_rows(tmp_path / "other.jsonl", make_sums(120, "validation", 6))
    return tmp_path / "test.jsonl", tmp_path / "other.jsonl"


def _words(path: Path, *more: str) -> list[str]:
    return ["stage=evaluate", "benchmark=examples", f"benchmark.path={path}", "run=mine", *more]


def _metrics(stage: str = "evaluate") -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads(Path("runs/mine", stage, "metrics.json").read_text("utf-8"))
    return metrics


def test_the_threshold_comes_from_other_rows_and_another_needs_no_model(
    command: Command, files: tuple[Path, Path], prm_folder: Path
) -> None:
    test, other = files
    words = _words(test, "scorer=prm", f"model={prm_folder}", f"stage.threshold_on={other}", "scorer.device=cpu")
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    metrics = _metrics()
    assert metrics["f1"] > 90
    assert (metrics["examples"], metrics["samples"], metrics["scored"]) == (120, 1, 240)
    how = metrics["threshold"]
    assert (how["chosen_on"], how["rows"]) == (str(other), 120)
    assert f"chosen on 120 rows of {other} (F1 {how['f1_there']:.1f})" in outcome.out
    assert metrics["model"].startswith("model#")
    folder = Path("runs/mine/evaluate")
    judged = read_judged(folder)
    assert [row.id for row in judged] == [f"test-{at}" for at in range(120)]
    assert all(len(row.verdicts) == 1 and row.correct == (row.verdicts[0] == row.gold) for row in judged)
    kept = {row.key.example_id: row.values for row in read_rows(folder / "scores.jsonl", Scores)}
    assert len(kept) == 240

    saved = ["stage.scores=runs/mine/evaluate/scores.jsonl", "name=again"]
    code = "import sys; from deepcritic.__main__ import main; code = main(sys.argv[1:]); sys.exit(code or 'torch' in sys.modules)"
    given = _words(test, f"stage.threshold={how['value']}", *saved)
    again = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    same = _metrics("evaluate.again")
    assert {name: same[name] for name in ("f1", "f1_interval", "mistakes")} == {
        name: metrics[name] for name in ("f1", "f1_interval", "mistakes")
    }
    assert command(*_words(test, "stage.threshold=1.1", saved[0], "name=strict")).code == 0
    assert {row.verdicts for row in read_judged(Path("runs/mine/evaluate.strict"))} == {(1,)}
    assert command(*_words(test, "stage.threshold=0", saved[0], "name=mild")).code == 0
    assert {row.verdicts for row in read_judged(Path("runs/mine/evaluate.mild"))} == {(ALL_CORRECT,)}


def _kept(path: Path, rows: list[Example], value: Callable[[Example, int], float]) -> None:
    scores = [
        Scores(key=key_of(row.id), model="m", values=tuple(value(row, step) for step, _ in enumerate(row.item.steps, start=1)))
        for row in rows
    ]
    write_rows(path, scores)


def test_a_part_of_the_benchmark_can_lend_the_threshold_and_is_not_measured(command: Command, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": f"{part}-{at}", "problem": f"{part} {at}?", "steps": ["a", "b", f"{part}{at}"], "label": at % 4 - 1}
        for part in ("gsm8k", "math")
        for at in range(12)
    ]
    (tmp_path / "x.json").write_text(json.dumps(rows), "utf-8")
    scores = [
        Scores(
            key=key_of(("threshold:" if row["id"].startswith("gsm8k") else "") + row["id"]), model="m",
            values=tuple(0.2 if step == row["label"] else 0.6 for step in range(3)),
        )
        for row in rows
    ]  # fmt: skip
    write_rows(tmp_path / "scores.jsonl", scores)
    words = ["stage=evaluate", "benchmark=processbench", f"benchmark.path={tmp_path / 'x.json'}", "run=mine"]
    outcome = command(*words, "stage.threshold_on=processbench/gsm8k", "stage.scores=scores.jsonl")
    assert outcome.code == 0, outcome.err
    metrics = _metrics()
    assert metrics["benchmark"]["name"] == "processbench/math"
    assert (metrics["examples"], metrics["f1"]) == (12, 100)
    assert metrics["threshold"] == {"value": 0.4, "chosen_on": "processbench/gsm8k", "rows": 12, "f1_there": 100}


def test_rows_that_are_measured_choose_no_threshold(command: Command, files: tuple[Path, Path], make_sums: Rows) -> None:
    test, other = files
    mixed = test.with_name("mixed.jsonl")
    mixed.write_bytes(other.read_bytes() + test.read_bytes().splitlines(keepends=True)[7])
    _kept(Path("scores.jsonl"), make_sums(120, "test", 5), lambda row, step: 0.5)
    for path in (test, mixed):
        outcome = command(*_words(test, "stage.scores=scores.jsonl", f"stage.threshold_on={path}"))
        assert (outcome.code, outcome.err.count("\n")) == (1, 1)
        assert "stage.threshold_on: a row to choose the threshold on is also evaluated; found 'test-" in outcome.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "no threshold is given; set stage.threshold=NUMBER or stage.threshold_on=FILE-OR-PART"),
        (["stage.threshold=0.5", "stage.threshold_on=other.jsonl"], "no threshold is given; set stage.threshold=NUMBER or"),
        (["stage.threshold_on=none.jsonl"], "neither a file nor a part of the benchmark; found 'none.jsonl'; expected examples"),
        (["stage.threshold_on=examples"], "stage.threshold_on: no other part to evaluate; found 'examples'"),
        (["stage.threshold=0.5", "stage.scores=none.jsonl"], "scores: no such file; found 'none.jsonl'"),
    ],
)
def test_thresholds_that_cannot_be(
    command: Command, files: tuple[Path, Path], make_sums: Rows, words: list[str], said: str
) -> None:
    _kept(Path("scores.jsonl"), make_sums(120, "test", 5), lambda row, step: 0.5)
    given = words if any(word.startswith("stage.scores") for word in words) else [*words, "stage.scores=scores.jsonl"]
    outcome = command(*_words(files[0], *given))
    assert outcome.code in (1, 2)
    assert outcome.err.count("\n") == 1
    assert re.search(said, outcome.err), outcome.err


def test_no_model_for_the_scorer(command: Command, files: tuple[Path, Path]) -> None:
    outcome = command(*_words(files[0], "scorer=prm", "stage.threshold=0.5"))
    assert (outcome.code, "no model is given; set model=PATH" in outcome.err) == (2, True)


def test_what_is_too_long_is_counted_and_not_scored_again(
    command: Command, make_sums: Rows, prm_folder: Path, tmp_path: Path
) -> None:
    rows = make_sums(5, "test", 7)
    long = Example(id="long", item=Item(problem="1 " * 400, steps=("1+1=2",)), gold=Gold(first_error=1), source="made")
    write_rows(tmp_path / "rows.jsonl", [*rows, long])
    words = _words(tmp_path / "rows.jsonl", "scorer=prm", f"model={prm_folder}", "stage.threshold=0.5", "scorer.device=cpu")
    assert command(*words).code == 0
    metrics = _metrics()
    assert (metrics["failed"], metrics["failures"], metrics["scored"]) == (1, 1, 5)
    manifest = json.loads(Path("runs/mine/evaluate/manifest.json").read_text("utf-8"))
    assert manifest["counts"]["examples"] == {"in": 6, "out": 5, "failed": {"no reply": 1}, "filtered": {}}

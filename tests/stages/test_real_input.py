"""Real benchmarks through the small critic: its score means nothing, but every text goes through or is set aside by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.evaluation.load import read_judged
from deepcritic.runs.jsonl import read_rows
from deepcritic.schema import Failure, Generation

pytestmark = pytest.mark.slow
ROWS, CONTEXT = 40, 4096


@pytest.fixture(autouse=True)
def _torch() -> None:
    pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]").set_num_threads(1)


def _evaluate(command: Callable[..., Any], file: Path, *more: str) -> Any:
    return command(
        "stage=evaluate", "benchmark=processbench", f"benchmark.path={file}", "model=deepcritic://microworld/models/base",
        "task.template=deepcritic://microworld/templates/critique.txt", f"stage.limit={ROWS}", "run=mine", *more,
    )  # fmt: skip


@pytest.mark.parametrize("file", ["gsm8k.json", "math.json.gz"])
def test_every_row_is_answered_or_set_aside(command: Callable[..., Any], datasets_dir: Path, file: str) -> None:
    outcome = _evaluate(command, datasets_dir / "processbench" / file, "stage.max_tokens=24", "sampler.batch_tokens=40000")
    assert outcome.code == 0, outcome.err
    folder = Path("runs/mine/evaluate")
    judged = {row.id: row for row in read_judged(folder)}
    answered = {row.key.example_id: row for row in read_rows(folder / "generations.jsonl", Generation)}
    failed = {row.key.example_id: row for row in read_rows(folder / "failures.jsonl", Failure)}
    assert len(judged) == ROWS
    assert answered.keys() | failed.keys() == judged.keys()
    assert not answered.keys() & failed.keys()
    assert len(answered) >= ROWS // 2
    assert {row.reason for row in failed.values()} <= {"too_long"}
    assert all(row.prompt_tokens + 24 <= CONTEXT for row in answered.values())
    assert all(judged[name].correct is None for name in failed), "what was not asked is not scored"
    assert all(judged[name].correct in {0.0, 1.0} for name in answered)
    counts = json.loads((folder / "manifest.json").read_text("utf-8"))["counts"]["examples"]
    assert counts["in"] == ROWS == counts["out"] + sum(counts["failed"].values())
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    assert (metrics["examples"], metrics["failed"]) == (ROWS, len(failed))


def test_overlong_rows_are_set_aside_by_the_written_policy(command: Callable[..., Any], datasets_dir: Path) -> None:
    """Real solutions repeated until they do not fit: they are not cut, not scored, and named."""
    rows = json.loads((datasets_dir / "processbench" / "gsm8k.json").read_text("utf-8"))[:8]
    longer = [{**row, "steps": row["steps"] * 40, "label": -1} if at % 4 == 0 else row for at, row in enumerate(rows)]
    Path("longer.json").write_text(json.dumps(longer), "utf-8")
    outcome = _evaluate(command, Path("longer.json"), "stage.max_tokens=8")
    assert outcome.code == 0, outcome.err
    failed = {row.key.example_id: row for row in read_rows(Path("runs/mine/evaluate/failures.jsonl"), Failure)}
    assert failed.keys() == {rows[0]["id"], rows[4]["id"]}
    assert all(row.reason == "too_long" and f"of a context of {CONTEXT}" in row.detail for row in failed.values())
    assert "truncated 100.0%, failed 2\n" in outcome.out
    metrics = json.loads(Path("runs/mine/evaluate/metrics.json").read_text("utf-8"))
    assert metrics["failed"] == 2
    judged = {row.id: row for row in read_judged(Path("runs/mine/evaluate"))}
    assert [row.correct is None for row in judged.values()] == [at % 4 == 0 for at in range(8)]

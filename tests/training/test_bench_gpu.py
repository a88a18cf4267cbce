"""The bench of a GPU says so where there is none, and its code runs: with a small model, on a processor."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
pytest.importorskip("trl", reason="needs the trainers: pip install deepcritic[train]")

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "benches" / "training_gpu.py"
WRITTEN = SCRIPT.parents[2] / "data" / "bench" / "training_gpu.json"


def _run(place: Path, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words], cwd=place, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_measured_or_written(tmp_path: Path) -> None:
    before = WRITTEN.read_bytes() if WRITTEN.exists() else None
    assert "there is no GPU here: nothing is measured" in _run(tmp_path)
    assert (WRITTEN.read_bytes() if WRITTEN.exists() else None) == before


@pytest.mark.slow
def test_its_code_with_a_small_model(tmp_path: Path) -> None:
    before = WRITTEN.read_bytes() if WRITTEN.exists() else None
    shown = _run(tmp_path, "--tiny")
    rows = [json.loads(line) for line in shown.splitlines() if line.startswith('{"')]
    assert [row["what"].partition(",")[0] for row in rows] == ["SFT", "SFT", "GRPO"]
    assert all(row["tokens_per_second"] > 0 for row in rows[:2])
    assert rows[2]["seconds"] > 0
    assert not any({"mfu", "peak_memory_gib"} & row.keys() for row in rows), "figures of a GPU alone"
    assert (WRITTEN.read_bytes() if WRITTEN.exists() else None) == before

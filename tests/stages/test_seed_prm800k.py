"""PRM800K, phase 1, real ratings by people: the whole file through `prepare` and `seed`, and what comes out trains a critic."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.runs.folder import Ledger
from deepcritic.runs.jsonl import read_rows
from deepcritic.schema import Dialogue, Example
from deepcritic.seeding.funnel import Funnel
from deepcritic.seeding.solutions import choose_solutions, rated_steps

Command = Callable[..., Any]
CALLS = {"initial": "At first sight this is so.", "in_depth": "Looking deeper, it is.", "merge": "All in all, hm, it is so."}
SECONDS, BYTES = 60, 500 * 1024**2
COMMAND = """
import pathlib, re, sys, time
from deepcritic.__main__ import main
code = main(sys.argv[1:])
most = re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]
print("USED", time.process_time(), int(most) * 1024)
sys.exit(code)
"""


def _record(rows: list[Example], path: Path) -> int:
    """Replies to all three calls about every rated step, as an outside teacher's would be recorded; how many."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            for step, rating in rated_steps(row):
                for call, text in CALLS.items():
                    box = "\\boxed{1}" if rating >= 0 else "\\boxed{-1}"
                    reply = {"example_id": row.id, "request": call, "step": step, "sample": 0, "text": f"{text}\n{box}"}
                    file.write(json.dumps(reply) + "\n")
                    count += 1
    return count


def _used(*words: str) -> tuple[float, int, str]:
    """Processor seconds and the most bytes of a command in a process of its own, and what it printed."""
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc, which says how much memory a process had at most")
    result = subprocess.run([sys.executable, "-c", COMMAND, *words], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    said, _, used = result.stdout.rpartition("USED ")
    seconds, size = used.split()
    return float(seconds), int(size), said


@pytest.mark.slow
def test_the_whole_of_phase_1(datasets_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = datasets_dir / "prm800k" / "phase1_train_plus.stepwise.jsonl.gz"
    seconds, size, _ = _used("stage=prepare", "source=prm800k", f"source.path={file}", "run=real")
    examples = Path("runs/real/prepare/examples.jsonl")
    read = json.loads(Path("runs/real/prepare/manifest.json").read_text("utf-8"))["read"]
    assert (read["rows"], read["with_error"], read["all_correct"]) == (51_835, 16_611, 802)
    chosen = choose_solutions(
        lambda: read_rows(examples, Example), max_problems=10_000, max_step_characters=10_000, seed=0, funnel=Funnel(Ledger())
    )
    replies = _record(chosen, Path("replies.jsonl"))
    more_seconds, more_size, said = _used(
        "stage=seed", f"stage.examples={examples}", "stage.generations=replies.jsonl", "stage.wave_size=1", "run=real"
    )
    assert seconds + more_seconds < SECONDS
    assert max(size, more_size) < BYTES
    manifest = json.loads(Path("runs/real/seed/manifest.json").read_text("utf-8"))
    counts = manifest["counts"]["solutions"]
    assert counts["in"] == 16_611 + 802
    assert counts["filtered"]["another solution of the problem was chosen"] == counts["in"] - len(chosen)
    assert len(chosen) == 878, "of 900 problems those with a solution"
    assert manifest["generations"] == replies
    assert counts["out"] == len(list(read_rows(Path("runs/real/seed/dialogues.jsonl"), Dialogue)))
    assert counts["out"] + counts["filtered"]["above stage.plain_correct"] == len(chosen)
    assert " another solution of the problem was chosen" in said


@pytest.mark.slow
def test_real_solutions_become_dialogues_and_train_a_critic(command: Command, datasets_dir: Path) -> None:
    pytest.importorskip("trl", reason="needs the trainers: pip install deepcritic[train]")
    file = datasets_dir / "prm800k" / "phase1_train_plus.stepwise.jsonl.gz"
    words = ["stage=prepare", "source=prm800k", f"source.path={file}", "stage.limit=300", "stage.shuffle=true", "run=real"]
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    rated = list(read_rows(Path("runs/real/prepare/examples.jsonl"), Example))
    assert len(rated) == 300
    _record(rated, Path("replies.jsonl"))
    words = ["stage=seed", "stage.examples=runs/real/prepare/examples.jsonl", "stage.generations=replies.jsonl", "run=real"]
    outcome = command(*words, "stage.in_depth_samples=1", "stage.merge_attempts=1")
    assert outcome.code == 0, outcome.err
    manifest = json.loads(Path("runs/real/seed/manifest.json").read_text("utf-8"))
    counts = manifest["counts"]["solutions"]
    assert counts["in"] == 300
    problems = {row.item.problem for row in rated}
    dialogues = list(read_rows(Path("runs/real/seed/dialogues.jsonl"), Dialogue))
    gone = {reason: count for reason, count in counts["filtered"].items() if count}
    assert set(gone) <= {"another solution of the problem was chosen", "above stage.plain_correct"}
    assert len(dialogues) == 300 - sum(gone.values())
    assert 100 < len(dialogues) <= len(problems)
    assert manifest["teacher_accuracy"]["merge"]["accuracy"] == 1
    outcome = command(
        "stage=sft", "stage.dialogues=runs/real/seed/dialogues.jsonl", "model=deepcritic://microworld/models/base", "run=real",
        "stage.max_steps=2", "stage.batch_size=2", "stage.device_batch_size=1", "stage.max_length=2048", "stage.logging_steps=1",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    trained = json.loads(Path("runs/real/sft/manifest.json").read_text("utf-8"))
    assert trained["steps"] == 2
    counts = trained["counts"]["dialogues"]
    assert counts["in"] == len(dialogues) == counts["out"] + counts["filtered"].get("longer than max_length", 0)
    assert counts["out"] > 0

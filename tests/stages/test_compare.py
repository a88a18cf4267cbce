"""Two evaluations compared as a user does it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets import processbench

Command = Callable[..., Any]


@pytest.fixture
def sample(samples_dir: Path) -> Path:
    return samples_dir / "processbench.json"


def _evaluated(command: Command, sample: Path, run: str, wrong: int = 0, *more: str) -> None:
    """An evaluation whose last `wrong` verdicts are off."""
    gold = [(row.id, row.gold.first_error) for row in processbench.read(sample)]
    texts = [label if at < len(gold) - wrong else 99 for at, (_, label) in enumerate(gold)]
    lines = [
        json.dumps({"example_id": name, "sample": 0, "text": f"\\boxed{{{text}}}"})
        for (name, _), text in zip(gold, texts, strict=True)
    ]
    Path(f"{run}.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    outcome = command(
        "stage=evaluate",
        "benchmark=processbench",
        f"benchmark.path={sample}",
        f"stage.generations={run}.jsonl",
        f"run={run}",
        *more,
    )
    assert outcome.code == 0, outcome.err


def test_names_of_runs_and_folders(command: Command, sample: Path) -> None:
    _evaluated(command, sample, "A")
    _evaluated(command, sample, "B", 3, "name=late")
    outcome = command("stage=compare", "compare=[A,B/evaluate.late]", "run=both")
    assert outcome.code == 0, outcome.err
    found = json.loads(Path("runs/both/compare/compare.json").read_text("utf-8"))
    (part,) = found["benchmarks"].values()
    assert (found["a"], found["b"], found["rows"]) == (["A"], ["B/evaluate.late"], 6)
    assert part["f1"]["a"] == 100
    assert part["f1"]["difference"] > 0
    assert "A - B" in outcome.out
    assert "could show: the smallest true difference" in outcome.out
    assert "| A | 100.0" in Path("runs/both/compare/table.md").read_text("utf-8")
    again = command("stage=compare", "compare=[A,B/evaluate.late]", "run=both")
    assert "nothing to do" in again.out
    assert again.out.splitlines()[1:] == outcome.out.splitlines()
    by_folder = command("stage=compare", "stage.compare=[runs/A/evaluate,runs/B/evaluate.late]", "run=folders")
    assert by_folder.code == 0, by_folder.err
    assert json.loads(Path("runs/folders/compare/compare.json").read_text("utf-8"))["benchmarks"] == found["benchmarks"]


def test_another_prompt_is_said(command: Command, sample: Path) -> None:
    _evaluated(command, sample, "A", 0, "critic=protocol_deepcritic")
    _evaluated(command, sample, "B", 3)
    outcome = command("stage=compare", "compare=[A,B]", "run=both")
    assert outcome.code == 0, outcome.err
    assert "A: prompt of the recording unknown, so its figures are not those of its authors' settings" in outcome.out
    assert "prompt of the recording unknown" in command("stage=compare", "compare=[A,B]", "run=both").out


def test_several_seeds(command: Command, sample: Path) -> None:
    for run, wrong in (("a1", 0), ("a2", 1), ("b1", 3)):
        _evaluated(command, sample, run, wrong)
    assert command("stage=compare", "compare=[[a1,a2],b1]", "run=seeds").code == 0
    found = json.loads(Path("runs/seeds/compare/compare.json").read_text("utf-8"))
    (part,) = found["benchmarks"].values()
    assert (found["a"], found["b"]) == (["a1", "a2"], ["b1"])
    assert part["f1"]["test"] == "seeds and problems resampled"


def test_a_run_that_was_evaluated_anew_is_not_compared_as_before(command: Command, sample: Path) -> None:
    _evaluated(command, sample, "A")
    _evaluated(command, sample, "B", 1)
    assert command("stage=compare", "compare=[A,B]", "run=both").code == 0
    _evaluated(command, sample, "B", 2, "overwrite=true")
    outcome = command("stage=compare", "compare=[A,B]", "run=both")
    assert outcome.code == 1
    assert "was started with another content of rows of" in outcome.err


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["compare=[A,Z]"], "compare: no evaluation found; found 'Z'; expected a run in runs", 1),
        (["compare=[A,N]"], "found 'N'; expected N/evaluate.late", 1),
        (["compare=[A]"], "compare: two evaluations are needed; found ['A']; expected compare=[A,B]", 2),
        (["compare=[A,B,C]"], "compare: two evaluations are needed", 2),
        (["compare=[A,[]]"], "compare: two evaluations are needed", 2),
        ([], "compare: two evaluations are needed", 2),
        (["compare=[A,unfinished]"], "compare: the evaluation is not finished; found 'unfinished'", 1),
        (["compare=[A,short]"], "different rows: A has 2 rows that short lacks, such as 'sample-", 1),
    ],
)
def test_what_cannot_be_compared(command: Command, sample: Path, words: list[str], said: str, code: int) -> None:
    _evaluated(command, sample, "A")
    _evaluated(command, sample, "N", 0, "name=late")
    _evaluated(command, sample, "unfinished")
    Path("runs/unfinished/evaluate/manifest.json").unlink()
    _evaluated(command, sample, "short", 0, "stage.limit=4")
    outcome = command("stage=compare", "run=both", *words)
    assert (outcome.code, len(outcome.err.splitlines())) == (code, 1), outcome
    assert said in outcome.err
    assert not Path("runs/both/compare/manifest.json").exists()


def test_other_stages_want_a_folder_of_runs(command: Command) -> None:
    outcome = command("stage=report", "runs=[A,B]")
    assert outcome.code == 2
    assert "runs: not a folder; found ['A', 'B']" in outcome.err

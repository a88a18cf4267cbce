"""Old names of options, taken from the records: accepted, said on one line, and the same as the new ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from deepcritic.cli.config import compose, configuration_folder
from deepcritic.cli.old_names import OLD_EXPERIMENTS, old_names, stage_names, translated

Command = Callable[..., Any]
OLD = [(stage, old, new) for stage in stage_names() for old, new in old_names(stage).items()]


def test_there_are_old_names() -> None:
    assert ("rl", "stage.group", "stage.num_generations") in OLD
    assert ("evaluate", "judge", "grader") in OLD
    assert ("compare", "runs", "compare") in OLD


@pytest.mark.parametrize(("stage", "old", "new"), OLD, ids=[f"{stage}-{old}" for stage, old, _ in OLD])
def test_an_old_name_works_and_names_the_new_one(stage: str, old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    value = "[a,b]" if stage == "compare" else "1"
    by_old = compose([f"stage={stage}", f"{old}={value}"])
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"{old}= is deprecated and will be removed in the next release; use {new}=\n"
    by_new = compose([f"stage={stage}", f"{new}={value}"])
    assert capsys.readouterr().err == ""
    assert OmegaConf.to_container(by_old, resolve=False) == OmegaConf.to_container(by_new, resolve=False)


def test_an_old_name_with_an_experiment_and_with_a_plus_sign(capsys: pytest.CaptureFixture[str]) -> None:
    assert compose(["experiment=microworld/rl", "stage.group=4"]).stage.num_generations == 4
    assert compose(["stage=rl", "++stage.group=4"]).stage.num_generations == 4
    assert (
        capsys.readouterr().err.count(
            "stage.group= is deprecated and will be removed in the next release; use stage.num_generations="
        )
        == 2
    )


def test_runs_is_still_the_folder_of_runs(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["stage=compare", "runs=here", "compare=[a,b]"]
    assert translated(words, configuration_folder()) == words
    assert capsys.readouterr().err == ""


def test_an_experiment_with_an_old_name(capsys: pytest.CaptureFixture[str]) -> None:
    for old, new in OLD_EXPERIMENTS.items():
        assert compose([f"experiment={old}"]) == compose([f"experiment={new}"])
        assert (
            f"experiment={old} is deprecated and will be removed in the next release; use experiment={new}"
            in capsys.readouterr().err
        )


def test_both_names_at_once(command: Command) -> None:
    outcome = command("stage=rl", "stage.examples=x", "stage.group=4", "stage.num_generations=4")
    assert outcome.code == 2
    assert "stage.group is the old name of stage.num_generations and both are set" in outcome.err


def test_the_changelog_has_the_table() -> None:
    text = (Path(__file__).resolve().parent.parent.parent / "CHANGELOG.md").read_text("utf-8")
    for stage, old, new in OLD:
        assert f"| `{stage}` | `{old}` | `{new}` |" in text


def test_a_folder_begun_under_old_names_goes_on(command: Command, samples_dir: Path) -> None:
    sample = samples_dir / "processbench.json"
    rows = json.loads(sample.read_text("utf-8"))
    recording = Path("rows.jsonl")
    recording.write_text(
        "".join(f'{{"example_id": "{row["id"]}", "sample": 0, "text": "\\\\boxed{{1}}"}}\n' for row in rows), "utf-8"
    )
    words = ["stage=evaluate", "benchmark=processbench", f"benchmark.path={sample}", f"stage.generations={recording}"]
    assert command(*words).code == 0
    config = Path("runs/default/evaluate/config.json")
    content = json.loads(config.read_text("utf-8"))
    assert "meta_rm" in content
    content["guide"] = content.pop("meta_rm")
    config.write_text(json.dumps(content), "utf-8")
    again = command(*words)
    assert (again.code, again.err) == (0, "")
    assert "nothing to do" in again.out

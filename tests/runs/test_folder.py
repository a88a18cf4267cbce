"""Run folders: one owner at a time, no mixing of configurations, nothing finished without its manifest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepcritic.errors import InputError, RunConflict, StageIncomplete
from deepcritic.runs.folder import RunFolder, finished_manifests, stage_folder
from deepcritic.runs.jsonl import Journal, file_sha256
from deepcritic.schema import Message

CONFIG: dict[str, Any] = {
    "model": "m",
    "sampling": {"temperature": 0.5},
    "sampler": {"batch_size": 8, "device": "cpu", "_not_hashed_": ["batch_size", "device"]},
    "seed": 1,
}


def _open(path: Path, overwrite: bool = False, **changes: Any) -> RunFolder:
    return RunFolder(path, stage="draw", config={**CONFIG, **changes}, overwrite=overwrite)


def _work(folder: RunFolder, text: str = "row") -> None:
    with Journal(folder / "rows.jsonl", Message) as journal:
        journal.append(Message(role="user", content=text))
    ledger = folder.ledger("rows")
    ledger.enter()
    ledger.keep()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "mine" / "draw"


def test_a_stage_begins_works_and_finishes(path: Path) -> None:
    with _open(path) as folder:
        assert folder.begin(model="m#1")
        assert folder.manifest is None
        _work(folder)
        folder.finish(note="x")
    manifest = json.loads((path / "manifest.json").read_text("utf-8"))
    assert manifest["counts"] == {"rows": {"in": 1, "out": 1, "failed": {}, "filtered": {}}}
    assert manifest["files"] == {"rows.jsonl": file_sha256(path / "rows.jsonl")}
    assert manifest["depends"] == {"model": "m#1"}
    assert manifest["note"] == "x"
    assert [name for name, _ in finished_manifests(path.parent)] == ["draw"]


def test_a_finished_stage_says_so_and_does_nothing(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        with _open(path) as folder:
            if folder.begin():
                _work(folder)
                folder.finish()
    assert "finished before with this configuration; nothing to do" in capsys.readouterr().out
    assert len((path / "rows.jsonl").read_bytes().splitlines()) == 1


def test_a_stage_whose_draws_failed_is_written_says_so_and_is_begun_again(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _open(path) as folder:
        assert folder.begin()
        _work(folder)
        folder.account({"prompt": 7}, {"down": 2, "timed_out": 1})
        with pytest.raises(StageIncomplete, match=r"3 draws failed \(down: 2, timed_out: 1; see failures.jsonl\).*same command"):
            folder.finish(note="x")
        assert folder.manifest is not None
        assert (folder.manifest["incomplete"], folder.manifest["prompt"], folder.manifest["note"]) == (3, 7, "x")
    for _ in range(2):  # the second start may be killed, too
        with _open(path) as folder:
            assert folder.begin()
            assert folder.manifest is None
    assert "asking again for the 3 draws that failed" in capsys.readouterr().out
    with _open(path) as folder:
        assert folder.begin()
        folder.account({"prompt": 8}, {})
        assert "incomplete" not in folder.finish()
    with _open(path) as folder:
        assert not folder.begin()


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 2}, "seed: 1, now 2"),
        ({"model": "other"}, "model: 'm', now 'other'"),
        ({"sampling": {"temperature": 0.6}}, "sampling.temperature: 0.5, now 0.6"),
        ({"new": True}, "new: None, now True"),
    ],
)
def test_another_configuration_is_refused_by_name(path: Path, finished: bool, changes: dict[str, Any], named: str) -> None:
    with _open(path) as folder:
        folder.begin()
        _work(folder)
        if finished:
            folder.finish()
    with _open(path, **changes) as folder, pytest.raises(RunConflict, match="overwrite=true") as caught:
        folder.begin()
    assert f"begun with another {named};" in str(caught.value)
    assert len((path / "rows.jsonl").read_bytes().splitlines()) == 1


def test_keys_that_are_not_hashed_may_change(path: Path) -> None:
    with _open(path) as folder:
        folder.begin()
        _work(folder)
    with _open(path, sampler={**CONFIG["sampler"], "batch_size": 99, "device": "cuda"}) as folder:
        assert folder.begin()


def test_nothing_kept_nothing_to_mix(path: Path) -> None:
    """A start that failed before its first row (a model that is not there) does not bind the folder."""
    with _open(path) as folder:
        folder.begin()
        (folder / "rows.jsonl").touch()
    with _open(path, seed=2) as folder:
        assert folder.begin()
        _work(folder)
    with _open(path, seed=2) as folder:
        assert folder.begin()
    with _open(path, seed=1) as folder, pytest.raises(RunConflict):
        folder.begin()


def test_overwrite_starts_over(path: Path) -> None:
    with _open(path) as folder:
        folder.begin()
        _work(folder)
        folder.finish()
    with _open(path, seed=2, overwrite=True) as folder:
        assert not (path / "rows.jsonl").exists()
        assert folder.begin()


def test_the_content_of_an_input_counts_not_its_path(path: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_text("1", "utf-8")
    second.write_text("1", "utf-8")
    with _open(path) as folder:
        folder.begin(rows=first)
        _work(folder)
    with _open(path) as folder:
        assert folder.begin(rows=second)
    first.write_text("2", "utf-8")
    with _open(path) as folder, pytest.raises(RunConflict, match="another content of rows"):
        folder.begin(rows=first)
    with _open(path) as folder, pytest.raises(InputError, match=r"rows: no such file; found '.*nowhere'"):
        folder.begin(rows=tmp_path / "nowhere")


HOLDER = """
import sys, pathlib
from deepcritic.runs.folder import RunFolder
with RunFolder(pathlib.Path(sys.argv[1]), stage="draw", config={}):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_folder_in_use_by_another_process_is_refused(path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        (path / "rows.jsonl").write_text("theirs", "utf-8")
        for overwrite in (False, True):
            with pytest.raises(RunConflict, match="in use by another process"), _open(path, overwrite=overwrite):
                pass
        assert (path / "rows.jsonl").read_text("utf-8") == "theirs"
    finally:
        holder.kill()
        holder.wait()
    with _open(path) as folder:  # the lock of a process that was killed does not stay
        assert folder.begin()


def test_the_lock_is_given_back_after_an_error(path: Path) -> None:
    with pytest.raises(ValueError, match="ours"), _open(path):
        raise ValueError("ours")
    with _open(path) as folder:
        assert folder.begin()


def test_a_ledger_that_does_not_balance_is_our_own_bug(path: Path) -> None:
    with _open(path) as folder:
        folder.begin()
        ledger = folder.ledger("rows")
        ledger.enter(5)
        ledger.keep(2)
        ledger.fail("no reply")
        ledger.drop("too long")
        with pytest.raises(AssertionError, match="5 rows in, 2 out, 2 accounted for as gone"):
            folder.finish()
        assert folder.manifest is None
        ledger.drop("too long")
        assert folder.finish()["counts"]["rows"] == {
            "in": 5,
            "out": 2,
            "failed": {"no reply": 1},
            "filtered": {"too long": 2},
        }
        assert folder.ledger("rows") is ledger


def test_a_damaged_configuration_is_named(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "config.json").write_text("{", "utf-8")
    with _open(path) as folder, pytest.raises(InputError, match=r"config\.json: not JSON"):
        folder.begin()


@pytest.mark.parametrize(("run", "name"), [("", None), ("a/b", None), ("..", None), (".hidden", None), ("a", "b/c"), ("a", "..")])
def test_names_that_are_no_folder_names(run: str, name: str | None) -> None:
    with pytest.raises(InputError, match="cannot be a folder's name"):
        stage_folder("runs", run, "draw", name)

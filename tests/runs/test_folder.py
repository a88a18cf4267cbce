"""Run folders: one owner at a time, no mixing of configurations, nothing finished without its manifest."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepcritic.errors import InputError, RunConflict, StageIncomplete
from deepcritic.runs.folder import RunFolder, stage_folder
from deepcritic.runs.jsonl import Journal, file_sha256, write_rows
from deepcritic.runs.manifest import finished_manifests
from deepcritic.schema import Failure, Key, Message

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
    assert "already finished with this configuration; nothing to do" in capsys.readouterr().out
    assert len((path / "rows.jsonl").read_bytes().splitlines()) == 1


def test_a_stage_whose_draws_failed_is_written_says_so_and_is_begun_again(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _open(path) as folder:
        assert folder.begin()
        _work(folder)
        folder.account({"prompt": 7}, {"down": 2, "timed_out": 1})
        with pytest.raises(
            StageIncomplete, match=r"3 requests failed \(down: 2, timed_out: 1; see failures.jsonl\).*same command"
        ):
            folder.finish(note="x")
        assert folder.manifest is not None
        assert (folder.manifest["incomplete"], folder.manifest["prompt"], folder.manifest["note"]) == (3, 7, "x")
    for _ in range(2):  # the second start may be killed, too
        with _open(path) as folder:
            assert folder.begin()
            assert folder.manifest is None
    assert "retrying the 3 failed requests" in capsys.readouterr().out
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
    assert f"started with another {named};" in str(caught.value)
    assert len((path / "rows.jsonl").read_bytes().splitlines()) == 1


def test_keys_that_are_not_hashed_may_change(path: Path) -> None:
    with _open(path) as folder:
        folder.begin()
        _work(folder)
    with _open(path, sampler={**CONFIG["sampler"], "batch_size": 99, "device": "cuda"}) as folder:
        assert folder.begin()


def test_nothing_kept_nothing_to_mix(path: Path) -> None:
    """A start that failed before its first row (no such model, refused settings) does not bind the folder."""
    with _open(path) as folder:
        folder.begin()
        (folder / "rows.jsonl").touch()
        write_rows(folder / "failures.jsonl", [Failure(key=Key(example_id="a", request="ask"), reason="refused")])
    with _open(path, seed=2) as folder:
        assert folder.begin()
        assert not (folder / "failures.jsonl").exists(), "with other settings it may not be refused"
        _work(folder)
    with _open(path, seed=2) as folder:
        assert folder.begin()
    with _open(path, seed=1) as folder, pytest.raises(RunConflict):
        folder.begin()


def test_failures_stay_where_the_configuration_does(path: Path) -> None:
    for _ in range(2):
        with _open(path) as folder:
            folder.begin()
            if not (folder / "failures.jsonl").exists():
                write_rows(folder / "failures.jsonl", [Failure(key=Key(example_id="a", request="ask"), reason="too_long")])
    assert (path / "failures.jsonl").stat().st_size


EXTENDING: dict[str, Any] = {"samples": 4, "ties": "random", "_extends_": ["samples", "ties"]}


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize("changes", [{"samples": 8}, {"ties": "first"}, {"samples": 8, "ties": "first"}])
def test_what_keeps_all_that_was_drawn_extends_the_run(
    path: Path, capsys: pytest.CaptureFixture[str], finished: bool, changes: dict[str, Any]
) -> None:
    with _open(path, **EXTENDING) as folder:
        folder.begin()
        _work(folder)
        if finished:
            folder.finish()
    with _open(path, **{**EXTENDING, **changes}) as folder:
        assert folder.begin()
        assert folder.manifest is None
        _work(folder)
        folder.finish()
    said = capsys.readouterr().out
    for key, value in changes.items():
        assert f"continues with {key}={value} (before: {EXTENDING[key]}); existing replies are kept" in said
    assert len((path / "rows.jsonl").read_bytes().splitlines()) == 2
    with _open(path, **{**EXTENDING, **changes}) as folder:
        assert not folder.begin()


@pytest.mark.parametrize("changes", [{"samples": 2}, {"samples": 2, "ties": "first"}])
def test_nothing_is_taken_from_a_run(path: Path, changes: dict[str, Any]) -> None:
    with _open(path, **EXTENDING) as folder:
        folder.begin()
        _work(folder)
    with _open(path, **{**EXTENDING, **changes}) as folder, pytest.raises(RunConflict) as caught:
        folder.begin()
    assert "another samples: 4, now 2; samples can only be added; set" in str(caught.value)
    assert "overwrite" not in str(caught.value)


def test_an_extension_does_not_hide_a_conflict(path: Path) -> None:
    with _open(path, **EXTENDING) as folder:
        folder.begin()
        _work(folder)
    with _open(path, **{**EXTENDING, "samples": 8, "seed": 2}) as folder, pytest.raises(RunConflict, match="another seed"):
        folder.begin()


@pytest.mark.parametrize("finished", [False, True])
def test_a_folder_without_its_configuration_is_nobodys(path: Path, finished: bool) -> None:
    with _open(path) as folder:
        folder.begin()
        _work(folder)
        if finished:
            folder.finish()
    (path / "config.json").unlink()
    for model in ("m", "another"):
        with (
            _open(path, model=model) as folder,
            pytest.raises(RunConflict, match=r"no config\.json, so the settings of its .* are unknown"),
        ):
            folder.begin()


@pytest.mark.parametrize("left", [".config.json.x1y2.part", "README.md", "checkpoint-3/weights"])
def test_what_a_killed_start_leaves_guards_nothing(path: Path, left: str) -> None:
    """Temporary files, a card without rows, and a checkpoint that was not finished."""
    file = path / left
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("x", "utf-8")
    with _open(path) as folder:
        assert folder.begin()


@pytest.mark.parametrize(
    ("first", "then"),
    [("rows.jsonl", "./rows.jsonl"), ("a/../rows.jsonl", "rows.jsonl"), ("rows.jsonl", "{here}/rows.jsonl"), ("rows.jsonl", "l")],
)  # fmt: skip
def test_one_file_by_another_path(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str, then: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "rows.jsonl").write_text("1", "utf-8")
    (tmp_path / "l").symlink_to("rows.jsonl")
    with _open(path, generations=first, files=[first, "x"]) as folder:
        folder.begin()
        _work(folder)
    then = then.format(here=tmp_path)
    with _open(path, generations=then, files=[then, "x"]) as folder:
        assert folder.begin()


def test_a_file_that_was_moved_is_the_same(path: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("1", "utf-8")
    with _open(path, rows=str(tmp_path / "a.jsonl"), benchmark={"path": "a"}) as folder:
        folder.begin(rows=tmp_path / "a.jsonl", benchmark="sha256:x")
        _work(folder)
    (tmp_path / "a.jsonl").rename(tmp_path / "b.jsonl")
    with _open(path, rows=str(tmp_path / "b.jsonl"), benchmark={"path": "b"}) as folder:
        assert folder.begin(rows=tmp_path / "b.jsonl", benchmark="sha256:x")


def test_a_link_is_the_folder_that_it_leads_to(path: Path, tmp_path: Path) -> None:
    real = tmp_path / "elsewhere" / "evaluate"
    path.parent.mkdir(parents=True)
    path.symlink_to(real)
    with _open(path) as folder:
        assert folder.run == path.parent.name != folder.path.parent.name, "messages name the run as its user does"
        assert folder.begin()
        _work(folder)
        with pytest.raises(RunConflict, match="in use"), RunFolder(real, stage="draw", config=CONFIG):
            pass
    assert (real / "rows.jsonl").exists()
    with _open(path, overwrite=True) as folder:
        assert folder.begin()
    assert not (real / "rows.jsonl").exists()
    assert path.is_symlink()


def test_a_link_to_itself_and_a_file_are_no_folders(path: Path) -> None:
    path.parent.mkdir(parents=True)
    path.symlink_to(path)
    with pytest.raises(InputError, match="broken link"):
        _open(path)
    path.unlink()
    path.write_text("", "utf-8")
    with pytest.raises(InputError, match="not a folder"):
        _open(path)


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
    (path / "rows.jsonl").unlink()
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


@pytest.mark.parametrize("content", ["{", "[1]", "7", "null", '"x"', "\\xff", "[" * 100_000, "NaN"])
@pytest.mark.parametrize("name", ["config.json", "manifest.json"])
def test_a_damaged_file_is_named(path: Path, name: str, content: str) -> None:
    with _open(path) as folder:
        folder.begin()
        _work(folder)
    (path / name).write_bytes(content.encode("latin-1"))
    with _open(path) as folder, pytest.raises(InputError, match=rf"{re.escape(name)}: not (JSON|an object).*overwrite=true"):
        folder.begin()


@pytest.mark.parametrize(("run", "name"), [("", None), ("a/b", None), ("..", None), (".hidden", None), ("a", "b/c"), ("a", "..")])
def test_names_that_are_no_folder_names(run: str, name: str | None) -> None:
    with pytest.raises(InputError, match="not a valid folder name"):
        stage_folder("runs", run, "draw", name)

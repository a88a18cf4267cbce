"""What a run publishes is read by the `datasets` library as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import Example, Gold, Item, Judged

EXAMPLES = [
    Example(id=f"e-{at}", item=Item(problem="1 + 1?", steps=("2",)), gold=Gold(first_error=-1), source="made") for at in range(3)
]
VERDICTS = [
    Judged(id=row.id, gold=-1, stratum="all correct", cluster="c", verdicts=(None, -1), correct=0.5, benchmark="made")
    for row in EXAMPLES
]


def _stage(path: Path, files: dict[str, list[Any]]) -> None:
    with RunFolder(path, stage=path.name.partition(".")[0], config={"seed": 1}) as folder:
        assert folder.begin()
        for name, rows in files.items():
            write_rows(folder / name, rows)
        folder.finish()


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with two stages, each with files of several kinds, one of them without rows."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "runs" / "mine"
    _stage(folder / "prepare", {"examples.jsonl": EXAMPLES})
    _stage(folder / "evaluate.rl", {"examples.jsonl": EXAMPLES, "verdicts.jsonl": VERDICTS, "failures.jsonl": []})
    return folder


def _load(folder: Path, name: str | None = None, **options: Any) -> Any:
    datasets = pytest.importorskip("datasets")
    return datasets.load_dataset(str(folder), name, split="train", cache_dir=str(folder.parent.parent / "cache"), **options)


def test_a_stage_is_loaded_by_its_folder(run: Path) -> None:
    rows = _load(run / "evaluate.rl")
    assert rows["id"][:] == [row.id for row in EXAMPLES]
    assert rows["verdicts"][:] == [[None, -1]] * 3
    assert _load(run / "evaluate.rl", "examples")[0]["item"]["problem"] == "1 + 1?"
    assert _load(run / "prepare")[0]["gold"]["first_error"] == -1


def test_a_run_is_loaded_by_its_folder(run: Path) -> None:
    datasets = pytest.importorskip("datasets")
    names = datasets.get_dataset_config_names(str(run))
    assert sorted(names) == ["evaluate.rl.examples", "evaluate.rl.verdicts", "prepare.examples"]
    assert _load(run)["correct"][:] == [0.5] * 3
    assert _load(run, "prepare.examples")["id"][:] == [row.id for row in EXAMPLES]


def test_a_page_of_somebody_else_stays(run: Path) -> None:
    (run / "README.md").write_text("# My notes\n", "utf-8")
    _stage(run / "solve", {"solutions.jsonl": EXAMPLES})
    assert (run / "README.md").read_text("utf-8") == "# My notes\n"
    assert 'config_name: "solutions"' in (run / "solve" / "README.md").read_text("utf-8")


def test_the_page_is_the_same_wherever_it_stands_and_names_no_machine(run: Path, tmp_path: Path) -> None:
    text = (run / "evaluate.rl" / "README.md").read_text("utf-8")
    assert "# evaluate.rl" in text
    assert str(tmp_path) not in text + (run / "README.md").read_text("utf-8")

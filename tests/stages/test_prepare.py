"""Preparing: rows in, rows out, a reason for each that went, and nothing done twice."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets import examples
from deepcritic.datasets.limits import limited
from deepcritic.labels.splitting import place_of
from deepcritic.runs.jsonl import file_sha256, read_rows, write_rows
from deepcritic.schema import Example, Gold, Item
from deepcritic.stages import prepare
from tests.stages.conftest import call

Command = Callable[..., Any]
FOLDER = Path("runs/mine/prepare")


def _rows(folder: Path = FOLDER) -> list[Example]:
    return list(read_rows(folder / "examples.jsonl", Example))


def _manifest(folder: Path = FOLDER) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
    return manifest


@pytest.fixture
def words(samples_dir: Path) -> list[str]:
    return ["stage=prepare", "source=prm800k", f"source.path={samples_dir / 'prm800k.jsonl'}", "run=mine"]


def test_a_public_file_becomes_rows_of_ours(command: Command, words: list[str], samples_dir: Path) -> None:
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    rows = _rows()
    assert [row.gold.first_error for row in rows] == [1, 2, -1, 3, -1]
    manifest = _manifest()
    assert manifest["read"]["with_error"] + manifest["read"]["all_correct"] == len(rows)
    assert manifest["depends"] == {"source": f"sha256:{file_sha256(samples_dir / 'prm800k.jsonl')}"}
    assert manifest["files"] == {"examples.jsonl": file_sha256(FOLDER / "examples.jsonl")}
    assert manifest["set_aside"] == []
    assert "5 examples" in outcome.out


def test_a_second_start_does_nothing_and_a_changed_file_is_refused(command: Command, tmp_path: Path, samples_dir: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes((samples_dir / "prm800k.jsonl").read_bytes())
    words = ["stage=prepare", "source=prm800k", f"source.path={copy}", "run=mine"]
    assert command(*words).code == 0
    assert "nothing to do" in command(*words).out
    copy.write_bytes(copy.read_bytes()[:-20])
    refused = command(*words)
    assert refused.code != 0
    assert "another content of source" in refused.err


def test_a_limit_and_a_shuffle(command: Command, words: list[str]) -> None:
    assert command(*words).code == 0
    everything = _rows()
    assert command(*words, "name=some", "stage.limit=2").code == 0
    some = _rows(Path("runs/mine/prepare.some"))
    assert some == list(limited(everything, 2))
    assert {row.gold.first_error == -1 for row in some} == {True, False}
    shuffled = []
    for seed in (1, 1, 2, 3):
        assert command(*words, f"name=s{seed}", "stage.shuffle=true", f"seed={seed}").code == 0
        shuffled.append(_rows(Path(f"runs/mine/prepare.s{seed}")))
    assert shuffled[0] == shuffled[1]
    assert all(sorted(rows, key=lambda row: row.id) == sorted(everything, key=lambda row: row.id) for rows in shuffled)
    assert len({tuple(row.id for row in rows) for rows in shuffled}) > 1


def test_bad_rows_are_set_aside_said_and_counted(command: Command, tmp_path: Path, samples_dir: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_bytes(b"{}\n" + (samples_dir / "prm800k.jsonl").read_bytes())
    words = ["stage=prepare", "source=prm800k", f"source.path={file}", "run=mine"]
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    assert len(_rows()) == 5
    (aside,) = _manifest()["set_aside"]
    assert "bad.jsonl:1: " in aside
    assert f"set aside: {aside}" in outcome.out
    assert _manifest()["read"]["bad"] == 1
    strict = command(*words, "name=strict", "source.max_bad=0")
    assert strict.code == 1
    assert "bad.jsonl:1: " in strict.err
    assert not Path("runs/mine/prepare.strict/manifest.json").exists()
    assert not Path("runs/mine/prepare.strict/examples.jsonl").exists(), "half a file is never left for others to read"


def test_the_small_world(command: Command) -> None:
    for split in ("train", "test"):
        assert (
            command("experiment=microworld/problems", f"source.split={split}", "source.count=40", f"name={split}", "run=w").code
            == 0
        )
    train, test = (_rows(Path(f"runs/w/prepare.{split}")) for split in ("train", "test"))
    assert not {row.item.problem for row in train} & {row.item.problem for row in test}
    assert _manifest(Path("runs/w/prepare.train"))["read"] == {"rows": 40, "examples": 40}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["stage=prepare", "run=mine"], 2, "no source is given; expected source=NAME"),
        (["stage=prepare", "source=prm800k", "run=mine"], 2, "missing option: "),
        (["stage=prepare", "source=prm800k", "source.path=nowhere.jsonl", "run=mine"], 1, "nowhere.jsonl"),
        (["stage=prepare", "source=prm80k", "run=mine"], 2, "did you mean prm800k?"),
    ],
)
def test_bad_input_is_refused(command: Command, words: list[str], code: int, said: str) -> None:
    outcome = command(*words)
    assert outcome.code == code
    assert len(outcome.err.splitlines()) == 1
    assert said in outcome.err
    assert not (FOLDER / "manifest.json").exists()


THOUGHT = "<think>First 2 * 3 = 6. Then I add 1.\nThat gives 8.\n\nWait, 6 + 1 = 7.</think>\nIt is $\\boxed{7}$."


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Rows whose solutions have no steps: a thought, a line, one with a label, one that has steps."""
    gold = {"wrong": Gold(first_error=1), "fine": Gold(first_error=-1, step_ratings=(1,))}
    steps = {
        "thought": (THOUGHT,),
        "line": ("It is 7.",),
        "wrong": ("It is 8. Sure.",),
        "fine": ("One. Two.",),
        "two": ("a", "b"),
    }
    rows = [
        Example(id=name, item=Item(problem="2 * 3 + 1?", steps=some), gold=gold.get(name, Gold()), source="made")
        for name, some in steps.items()
    ]
    write_rows(tmp_path / "plain.jsonl", rows)
    return tmp_path / "plain.jsonl"


def test_solutions_without_steps_are_split_by_a_rule_and_keep_their_places(command: Command, plain: Path) -> None:
    outcome = command("stage=prepare", "source=examples", f"source.path={plain}", "stage.split=rule", "run=mine")
    assert outcome.code == 0, outcome.err
    rows = {row.id: row for row in _rows()}
    item = rows["thought"].item
    assert item.steps == ("First 2 * 3 = 6. Then I add 1.\nThat gives 8.", "Wait, 6 + 1 = 7.", "It is $\\boxed{7}$.")
    assert place_of(item, 3) == "It is $\\boxed{7}$."
    assert item.meta["solution"] == THOUGHT
    assert rows["fine"].item.steps == ("One.", "Two.")
    assert rows["fine"].gold == Gold(first_error=-1)
    assert rows["wrong"].item.steps == ("It is 8. Sure.",)
    assert place_of(rows["two"].item, 1) is None
    assert _manifest()["split"] == {"split": 2, "by_rule_instead": 0, "not_splittable": 1, "labelled": 1}
    assert "2 of 5 solutions have only one step" in outcome.out


def test_at_most_so_many_steps(command: Command, plain: Path) -> None:
    words = ["stage=prepare", "source=examples", f"source.path={plain}", "stage.split=rule", "stage.max_steps=2", "run=mine"]
    assert command(*words).code == 0
    item = _rows()[0].item
    assert len(item.steps) == 2
    assert " ".join(place_of(item, number) or "" for number in (1, 2)).split() == THOUGHT.removeprefix("<think>").split()


def test_a_model_says_where_a_step_begins(plain: Path, fake_sampler: Any, open_folder: Any) -> None:
    replies = {"thought": "The change of plan is a step.\n\\boxed{1, 4}", "line": "\\boxed{1}", "fine": "no idea"}
    engine = fake_sampler(lambda request, sample: replies[request.keys[0].example_id])
    with open_folder("prepare") as folder:
        source = functools.partial(examples.read, plain)
        manifest = call(prepare, folder, source=source, split="model", model="m", sampler=engine)
        rows = {row.id: row for row in read_rows(folder / "examples.jsonl", Example)}
    asked = engine.asked[0].messages[-1].content
    assert "[4] Wait, 6 + 1 = 7." in asked
    assert "think" not in asked.partition("<solution>")[2]
    assert rows["thought"].item.steps == (
        "First 2 * 3 = 6. Then I add 1.\nThat gives 8.",
        "Wait, 6 + 1 = 7.\nIt is $\\boxed{7}$.",
    )
    assert place_of(rows["thought"].item, 2) == "Wait, 6 + 1 = 7.</think>\nIt is $\\boxed{7}$."
    assert rows["fine"].item.steps == ("One.", "Two.")
    assert manifest["split"] == {"split": 1, "by_rule_instead": 1, "not_splittable": 1, "labelled": 1}


def test_a_source_of_which_no_row_can_be_used_fails(command: Command, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"question": {}}\n' * 3, "utf-8")
    outcome = command("stage=prepare", "source=prm800k", f"source.path={tmp_path / 'bad.jsonl'}", "run=mine")
    assert outcome.code == 1
    assert "no usable row: 3 rows were set aside, the first: " in outcome.err
    assert not (FOLDER / "manifest.json").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["stage.split=words"], "stage.split: invalid choice; found 'words'; expected rule, model"),
        (["stage.min_steps=1", "stage.split=rule"], "stage.min_steps: out of range; found 1; expected a whole number from 2"),
        (["stage.split=model"], "no model is given; set model=PATH"),
    ],
)
def test_options_of_splitting(command: Command, plain: Path, words: list[str], said: str) -> None:
    outcome = command("stage=prepare", "source=examples", f"source.path={plain}", "run=mine", *words)
    assert outcome.code != 0
    assert said in outcome.err

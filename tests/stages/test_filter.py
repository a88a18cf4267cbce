"""Filtering by a critic's votes: what is kept and why others are not, from each kind of input, with every row accounted for."""

from __future__ import annotations

import collections
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deepcritic
from deepcritic.errors import InputError, StageIncomplete, UsageError
from deepcritic.evaluation.critics import ReleasedCritic
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import read_rows
from deepcritic.schema import Example, Gold, Item, Judged
from deepcritic.stages import filter as filter_stage
from deepcritic.tasks.first_error import FirstError
from deepcritic.tasks.pointwise import Pointwise
from tests.stages.conftest import FakeSampler, call, json_lines, read_lines

ROWS: list[dict[str, Any]] = [
    {"id": "fine", "problem": "1 + 1?", "steps": ["It is 2."], "label": -1, "tags": ["a"], "score": 0.5},
    {"id": "wrong", "problem": "1 + 2?", "steps": ["1 + 2 = 4", "So 4."], "label": 0, "tags": [], "score": 1.0},
    {"id": "split", "problem": "1 + 3?", "steps": ["1 + 3 = 4", "So 4."], "label": -1, "tags": [], "score": None},
    {"id": "mute", "problem": "1 + 4?", "steps": ["5"], "label": -1, "tags": [], "score": 2.0},
    {"id": "bare", "problem": "1 + 5?", "steps": [], "label": None, "tags": [], "score": 2.0},
    {"id": "long", "problem": "1 + 6?", "steps": ["7"], "label": -1, "tags": [], "score": 2.0},
]
REPLIES: dict[str, list[str | None]] = {
    "fine": ["\\boxed{-1}"] * 4,
    "wrong": ["\\boxed{1}", "\\boxed{1}", "\\boxed{2}", "\\boxed{-1}"],
    "split": ["\\boxed{-1}", "\\boxed{-1}", "\\boxed{2}", "\\boxed{9}"],
    "mute": ["hm"] * 4,
    "long": [None] * 4,
}


@pytest.fixture
def filtered(tmp_path: Path, open_folder: Any) -> Callable[..., Any]:
    def run(rows: Any = ROWS, replies: Any = REPLIES, name: str = "filter", reason: str = "too_long", **options: Any) -> Any:
        critic = FakeSampler(lambda request, sample: replies[request.keys[0].example_id][sample], reason)
        file = rows if isinstance(rows, str) else str(json_lines(tmp_path / f"{name}.rows.jsonl", rows))
        given = {"model": "critic", "samples": 4, "accept": 0.5, **options}
        with open_folder(name) as folder:
            summary = call(filter_stage, folder, examples=file, task=FirstError(), sampler=critic, **given)
            return summary, folder.path, critic, folder.manifest

    return run


def test_kept_dropped_and_failed(filtered: Any) -> None:
    summary, path, _, manifest = filtered()
    assert read_lines(path / "kept.jsonl") == [ROWS[0], ROWS[2]], "the rows as they stood"
    dropped = {row["id"]: row for row in read_lines(path / "dropped.jsonl")}
    assert [*dropped] == ["wrong", "mute", "bare", "long"]
    assert {name: row["deepcritic"]["reason"] for name, row in dropped.items()} == {
        "wrong": "error", "mute": "unparsed", "bare": "no steps", "long": "too_long",
    }  # fmt: skip
    assert dropped["wrong"] == {
        **ROWS[1],
        "deepcritic": {
            "reason": "error", "votes": 4, "all_correct_share": 0.25, "first_error": 1, "first_error_share": 0.5,
        },
    }  # fmt: skip
    assert manifest["counts"]["rows"] == {
        "in": 6, "out": 2, "failed": {"too_long": 1}, "filtered": {"error": 1, "no steps": 1, "unparsed": 1},
    }  # fmt: skip
    assert summary["kept_at"] == {"0.25": 3, "0.5": 2, "0.75": 1, "0.9": 1, "1": 1}
    assert summary["first_errors"] == {"1": 1}


def test_a_step_that_is_not_there_is_no_vote(filtered: Any) -> None:
    _, path, _, _ = filtered()
    judged = {row.id: row for row in read_rows(path / "verdicts.jsonl", Judged)}
    assert judged["split"].verdicts == (-1, -1, 2, None)
    assert (judged["split"].unparsed, judged["mute"].unparsed, judged["long"].failed) == (1, 4, 4)
    assert "bare" not in judged, "it is not asked about"


@pytest.mark.parametrize(("accept", "kept"), [(0.0, 3), (0.25, 3), (0.26, 2), (0.7, 1), (1.0, 1)])
def test_the_threshold_is_a_share_of_the_readable_votes(filtered: Any, accept: float, kept: int) -> None:
    assert filtered(accept=accept)[0]["kept"] == kept


def test_few_readable_votes_are_not_enough(filtered: Any) -> None:
    summary, _, _, _ = filtered(min_votes=4)
    assert summary["dropped"] == {"error": 1, "no steps": 1, "unparsed": 2}
    assert summary["kept"] == 1


def test_labels_are_not_looked_at(filtered: Any) -> None:
    first = filtered()
    turned = filtered(rows=[{**row, "label": 0 if row["label"] == -1 else -1} for row in ROWS], name="turned")
    assert turned[0] == first[0]
    assert [request.messages for request in first[2].asked] == [request.messages for request in turned[2].asked]
    assert all(row.gold is None and row.correct is None for row in read_rows(first[1] / "verdicts.jsonl", Judged))


def test_rows_of_our_own_keep_their_gold(filtered: Any) -> None:
    row = Example(id="fine", item=Item(problem="1 + 1?", steps=("It is 2.",)), gold=Gold(first_error=-1), source="made")
    _, path, _, _ = filtered(rows=[msgspec.to_builtins(row)])
    assert [*read_rows(path / "kept.jsonl", Example)] == [row]
    assert next(read_rows(path / "verdicts.jsonl", Judged)).benchmark == "made"


def test_the_same_row_twice_is_asked_about_once_and_kept_twice(filtered: Any) -> None:
    summary, path, critic, _ = filtered(rows=[ROWS[0], ROWS[1], {**ROWS[0], "score": 9}])
    assert [row["score"] for row in read_lines(path / "kept.jsonl")] == [0.5, 9]
    assert len(critic.asked) == 2
    assert summary["in"] == 3
    with pytest.raises(InputError, match=r"rows.jsonl:2: id: duplicate id with different content; found 'fine'"):
        filtered(rows=[ROWS[0], {**ROWS[1], "id": "fine"}], name="clash")


def test_other_names_of_columns_and_other_kinds_of_file(filtered: Any, tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    rows = [{"question": row["problem"], "solution": row["steps"], "id": row["id"], "more": 1} for row in ROWS[:4]]
    pandas.DataFrame(rows).to_parquet(tmp_path / "rows.parquet")
    columns = {"problem": "question", "steps": "solution"}
    summary, path, _, _ = filtered(rows=str(tmp_path / "rows.parquet"), columns=columns)
    assert (summary["kept"], read_lines(path / "kept.jsonl")) == (2, [rows[0], rows[2]])
    folder = tmp_path / "many"
    folder.mkdir()
    for at, row in enumerate(rows):
        json_lines(folder / f"{at}.jsonl", [row])
    assert filtered(rows=str(folder), columns=columns, name="folder")[0]["kept"] == 2
    with pytest.raises(InputError, match="did you mean 'solution'"):
        filtered(rows=str(tmp_path / "rows.parquet"), columns={"problem": "question"}, name="unnamed")


def test_load_dataset_reads_what_was_kept_with_all_its_fields(filtered: Any, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    _, path, _, _ = filtered()
    read = datasets.load_dataset(str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert read.column_names == [*ROWS[0]]
    assert read["id"][:] == ["fine", "split"]
    dropped = datasets.load_dataset(str(path), "dropped", split="train", cache_dir=str(tmp_path / "cache"))
    assert dropped[0]["deepcritic"]["first_error"] == 1


def test_recorded_verdicts_and_replies_in_place_of_a_model(filtered: Any, tmp_path: Path) -> None:
    first, path, _, _ = filtered()
    strict, _, critic, _ = filtered(name="strict", verdicts=str(path), accept=1.0, model=None)
    assert (strict["kept"], strict["kept_at"], critic.asked) == (1, first["kept_at"], [])
    assert strict["failed"] == {"no verdict": 1}, "of the row that failed there is nothing"
    recorded = json_lines(
        tmp_path / "replies.jsonl",
        [{"example_id": name, "sample": at, "text": text} for name, of in REPLIES.items() for at, text in enumerate(of) if text],
    )
    again, _, critic, _ = filtered(name="again", generations=str(recorded), model=None, samples=None)
    assert {**again, "failed": 1} == {**first, "failed": 1}
    assert (again["failed"], critic.asked) == ({"not_recorded": 1}, [])
    json_lines(recorded, [{"example_id": "fime", "sample": 0, "text": "x"}])
    with pytest.raises(InputError, match="found 'fime'; expected an id of the data set, such as 'fine'"):
        filtered(name="other", generations=str(recorded), model=None, samples=None)


def test_a_passing_failure_is_asked_for_again(filtered: Any) -> None:
    with pytest.raises(StageIncomplete, match="4 requests failed"):
        filtered(reason="timed_out")
    replies = {**REPLIES, "long": ["\\boxed{-1}"] * 4}
    summary, path, critic, _ = filtered(replies=replies)
    assert (summary["kept"], summary["failed"]) == (3, {})
    assert [request.keys[0].example_id for request in critic.asked] == ["long"]
    assert [row["id"] for row in read_lines(path / "kept.jsonl")] == ["fine", "split", "long"]


def test_a_finished_filter_says_so_and_asks_nothing(filtered: Any, capsys: pytest.CaptureFixture[str]) -> None:
    first = filtered()[0]
    capsys.readouterr()
    again, _, critic, _ = filtered()
    assert (again, critic.asked) == (first, [])
    assert "6 rows, 2 kept, 3 dropped (error: 1, no steps: 1, unparsed: 1), 1 failed (too_long: 1)" in capsys.readouterr().out


def test_a_limit_takes_some_rows(filtered: Any) -> None:
    summary, path, _, _ = filtered(limit=3)
    assert summary["in"] == 3
    assert len(read_lines(path / "kept.jsonl")) + len(read_lines(path / "dropped.jsonl")) == 3


def test_a_released_critic_is_asked_as_its_preset_says(filtered: Any) -> None:
    critic = ReleasedCritic(name="Made", prompt="own", samples=3, single={"temperature": 0.1}, vote={"temperature": 0.9})
    summary, _, sampler, manifest = filtered(critic=critic, samples=None)
    assert {len(request.keys) for request in sampler.asked} == {3}
    assert sampler.asked[0].sampling.temperature == 0.9
    assert (manifest["label"], manifest["critic"]["remark"]) == ("Made", "own prompt")
    assert summary["in"] == 6


def test_a_critic_that_is_asked_step_by_step(tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("{problem} {step}", "utf-8")
    critic = ReleasedCritic(
        name="Steps", form="steps", prompt=str(tmp_path / "prompt.txt"), parts={"user": {"file": "prompt.txt"}},
        fields={"problem": "problem", "step": "step"}, calls=({},),
    )  # fmt: skip
    right = {"fine", "split"}
    sampler = FakeSampler(lambda request, _: f"\\boxed{{{'Yes' if request.keys[0].example_id in right else 'No'}}}")
    with RunFolder(tmp_path / "runs" / "mine" / "steps", stage="filter", config={}) as folder:
        summary = call(
            filter_stage, folder, examples=str(json_lines(tmp_path / "steps.jsonl", ROWS)), task=FirstError(), sampler=sampler,
            model="critic", critic=critic, samples=1,
        )  # fmt: skip
    assert (summary["kept"], summary["dropped"]) == (2, {"error": 3, "no steps": 1})
    judged = {row.id: row.verdicts for row in read_rows(folder.path / "verdicts.jsonl", Judged)}
    assert (judged["wrong"], judged["fine"]) == ((1,), (-1,))


def test_what_is_asked_must_be_the_first_wrong_step(open_folder: Any) -> None:
    with open_folder("filter") as folder, pytest.raises(UsageError, match="found task=pointwise"):
        call(filter_stage, folder, examples="r.jsonl", task=Pointwise(), sampler=FakeSampler(lambda *_: ""))


votes = st.lists(st.sampled_from(["\\boxed{-1}", "\\boxed{1}", "\\boxed{2}", "\\boxed{7}", "?", None]), min_size=1, max_size=4)


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 3), votes), max_size=12),
    st.floats(0, 1),
    st.integers(1, 4),
)
def test_every_row_is_kept_dropped_or_failed(made: list[tuple[str, int, list[str | None]]], accept: float, least: int) -> None:
    """Whatever rows and replies are: repeated, without steps, without replies."""
    rows: list[dict[str, Any]] = []
    replies: dict[str, list[str | None]] = {}
    for name, steps, replied in made:
        rows.append({"id": f"{name}{steps}", "problem": "1 + 1?", "steps": ["2"] * steps, "n": len(rows)})
        replies[f"{name}{steps}"] = replied
    critic = FakeSampler(lambda request, sample: (replies[request.keys[0].example_id] * 4)[sample], "refused")
    with tempfile.TemporaryDirectory() as place:
        file = json_lines(Path(place) / "rows.jsonl", rows)
        with RunFolder(Path(place) / "runs" / "filter", stage="filter", config={}) as folder:
            options = {"examples": str(file), "model": "m", "samples": 4, "accept": accept, "min_votes": least}
            if not rows:
                with pytest.raises(InputError):
                    call(filter_stage, folder, task=FirstError(), sampler=critic, **options)
                return
            summary = call(filter_stage, folder, task=FirstError(), sampler=critic, **options)
            kept, dropped = read_lines(folder / "kept.jsonl"), read_lines(folder / "dropped.jsonl")
            counts = (folder.manifest or {})["counts"]["rows"]
    why = collections.Counter(row.pop("deepcritic")["reason"] for row in dropped)
    assert sorted(kept + dropped, key=lambda row: row["n"]) == rows, "each row is in one file, as it was"
    assert [row["n"] for row in kept] == sorted(row["n"] for row in kept), "in the order of the data set"
    assert counts["in"] == len(rows) == counts["out"] + sum(counts["failed"].values()) + sum(counts["filtered"].values())
    assert why == collections.Counter({**counts["failed"], **counts["filtered"]})
    assert summary["kept"] == counts["out"] == len(kept)


def test_a_dry_run_a_probe_and_more_samples_by_command(command: Any, tmp_path: Path, tiny_model: Path) -> None:
    json_lines(tmp_path / "rows.jsonl", ROWS)
    words = [
        "stage=filter",
        "stage.examples=rows.jsonl",
        f"model={tiny_model}",
        "sampler.device=cpu",
        "stage.max_tokens=4",
        "run=x",
    ]
    code, out, _ = command(*words, "stage.samples=2", "dry_run=true")
    assert (code, "critiques: 10 requests" in out) == (0, True)
    code, out, _ = command(*words, "stage.samples=2", "stage.temperature=1", "probe=2")
    assert (code, "2 of 5 rows were processed" in out) == (0, True)
    assert command(*words, "stage.samples=2", "stage.temperature=1").code == 0
    first = read_lines(Path("runs/x/filter/generations.jsonl"))
    code, out, _ = command(*words, "stage.samples=3", "stage.temperature=1")
    assert (code, "(before: 2); existing replies are kept" in out) == (0, True)
    more = read_lines(Path("runs/x/filter/generations.jsonl"))
    assert (len(first), len(more)) == (10, 15)
    assert [row for row in more if row["key"]["sample"] < 2] == first
    code, _, err = command(*words, "stage.samples=3", "stage.temperature=1", "stage.accept=0.9")
    assert (code, "was started with another accept: 0.5, now 0.9" in err) == (1, True)


def test_by_command(command: Any, tmp_path: Path) -> None:
    json_lines(tmp_path / "rows.jsonl", ROWS)
    recorded = [{"example_id": name, "sample": 0, "text": of[0]} for name, of in REPLIES.items() if of[0]]
    json_lines(tmp_path / "replies.jsonl", recorded)
    words = ["stage=filter", "stage.examples=rows.jsonl", "stage.generations=replies.jsonl", "run=x"]
    code, out, err = command(*words)
    assert (code, err) == (0, "")
    assert "2 kept" in out
    code, _, err = command(*words, "stage.temperature=1", "name=b")
    assert (code, err) == (2, "error: stage.temperature has no effect: stage.generations= is set\n")
    code, out, _ = command("stage=filter", "--help")
    assert code == 0
    assert "stage.accept" in out
    with pytest.raises(InputError, match="no evaluation found"):
        deepcritic.load_results("runs/x/filter")

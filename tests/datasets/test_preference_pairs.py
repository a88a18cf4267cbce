"""Preference rows from JudgeBench, RewardBench and files of our own: each with exactly one best response."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets import preference_pairs
from deepcritic.datasets.base import Report
from deepcritic.datasets.preference_pairs import SECTIONS, judgebench, judgments, read, rewardbench
from deepcritic.errors import InputError
from deepcritic.schema import Preference, Preferred, Responses, encode

PAIR: dict[str, Any] = {
    "pair_id": "p-1", "original_id": "7", "source": "livebench-math", "question": "1 + 1?", "response_model": "m",
    "response_A": "2", "response_B": "3", "label": "A>B",
}  # fmt: skip
REWARD: dict[str, Any] = {
    "prompt": "1 + 1?", "chosen": "2", "chosen_model": "a", "rejected": "3", "rejected_model": "b", "subset": "math-prm", "id": 4,
}  # fmt: skip


def _file(folder: Path, *rows: Any) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def _row(name: str = "a", responses: int = 2, **gold: Any) -> Preference:
    item = Responses(query="1 + 1?", responses=tuple(f"r{at}" for at in range(responses)))
    return Preference(id=name, item=item, gold=Preferred(**gold), source="made")


def test_judgebench_as_it_is_published(datasets_dir: Path) -> None:
    rows = list(judgebench(datasets_dir / "judgebench" / "pairs_claude-3-5-sonnet-20240620.jsonl.gz"))
    assert len(rows) == 270
    assert Counter(row.gold.best for row in rows) == {1: 143, 2: 127}
    assert Counter(row.item.meta["domain"] for row in rows) == {"knowledge": 154, "reasoning": 51, "math": 34, "coding": 31}
    assert all(len(row.item.responses) == 2 for row in rows)


def test_recorded_judgments_as_they_are_published(datasets_dir: Path) -> None:
    path = datasets_dir / "judgebench" / "judgments_claude-3-haiku_on_claude-3-5-sonnet_pairs.jsonl.gz"
    judge, found = judgments(path)
    assert judge == "arena_hard claude-3-haiku-20240307"
    with gzip.open(path, "rt", encoding="utf-8") as file:
        raw = {row["pair_id"]: [one["decision"] for one in row["judgments"]] for row in map(json.loads, file)}
    assert found.keys() == raw.keys()
    shown = {(2, 1): "A>B", (1, 2): "B>A", (1, 1): "A=B", None: None}
    flipped = {"A>B": "B>A", "B>A": "A>B", "A=B": "A=B", None: None}
    assert all([shown[first], flipped[shown[second]]] == raw[name] for name, (first, second) in found.items())


@pytest.mark.parametrize(("number", "best", "responses"), [(4, 1, ("2", "3")), (5, 2, ("3", "2"))])
def test_rewardbench_rows(tmp_path: Path, number: int, best: int, responses: tuple[str, str]) -> None:
    (row,) = rewardbench(_file(tmp_path, {**REWARD, "id": number}))
    assert (row.id, row.gold.best, row.item.responses) == (f"rewardbench-math-prm-{number}", best, responses)
    assert row.item.meta == {"domain": "reasoning", "subset": "math-prm"}


def test_rewardbench_has_its_four_sections() -> None:
    assert {section: len(subsets) for section, subsets in SECTIONS.items()} == {
        "chat": 5, "chat hard": 6, "safety": 5, "reasoning": 7,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"label": "A=B"}, "rows.jsonl:1: label: no unique best response; found 'A=B'"),
        ({"label": "C"}, "rows.jsonl:1: label: no unique best response"),
        ({"label": None}, "rows.jsonl:1: label: wrong type"),
        ({"response_B": 3}, "rows.jsonl:1: response_B: wrong type"),
        ({"pair_id": 3}, "rows.jsonl:1: pair_id: wrong type"),
    ],
)
def test_a_bad_pair_is_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as error:
        list(judgebench(_file(tmp_path, {**PAIR, **change})))
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"rejected": "2"}, "two best responses"), ({"id": "x"}, "id: wrong type"), ({"chosen": None}, "chosen: wrong type")],
)
def test_a_bad_reward_row_is_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        list(rewardbench(_file(tmp_path, {**REWARD, **change})))


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ([{"decision": "A>B"}], "not two judgments for the pair"),
        ([{"decision": "A>B"}, {"decision": "A wins"}], r"judgments\[1\].decision: not a decision; found 'A wins'"),
        ([{"decision": "A>B"}, {}], r"judgments\[1\].decision: the decision is missing"),
        (["A>B", "B>A"], r"judgments\[0\].decision: the decision is missing"),
    ],
)
def test_bad_judgments_are_named(tmp_path: Path, made: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        judgments(_file(tmp_path, {"pair_id": "p-1", "judgments": made}))


def test_no_judgments_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no judgments"):
        judgments(_file(tmp_path))


def test_own_rows_come_back(tmp_path: Path) -> None:
    rows = [_row("a", best=2), _row("b", 4, best=1, scores=(9.0, 2.0, 3.0, 8.5)), _row("c", 1, scores=(1.0,))]
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"".join(encode(row) + b"\n" for row in rows))
    report = Report()
    assert list(read(path, report=report)) == rows
    assert report.counts == {"rows": 3, "examples": 3}


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (_row(), "gold.best: no best response"),
        (_row(best=3), "gold.best: no such response"),
        (_row(best=0), "gold.best: no such response"),
        (_row(best=1, scores=(5.0, 5.0)), "gold.scores: the scores contradict gold.best"),
        (_row(best=1, scores=(5.0, 6.0)), "gold.scores: the scores contradict gold.best"),
        (_row(best=1, scores=(5.0,)), "gold.scores: the scores do not match the responses"),
        (_row(responses=0), "item.responses: unsupported number of responses; found '0 responses'"),
        (_row(responses=100, best=1), "item.responses: unsupported number of responses; found '100 responses'"),
        (_row(responses=1), "gold.scores: not a score of a single response"),
        (_row(responses=1, scores=(0.5,)), "gold.scores: not a score of a single response"),
        (_row(responses=1, best=1, scores=(1.0,)), "gold.best: a single response cannot be the best"),
    ],
)
def test_a_row_without_one_best_response_is_refused(tmp_path: Path, row: Preference, says: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(encode(row) + b"\n" + encode(_row("good", best=1)) + b"\n")
    with pytest.raises(InputError) as error:
        list(read(path))
    assert says in str(error.value)
    assert "rows.jsonl:1: " in str(error.value)
    report = Report()
    assert [kept.id for kept in read(path, max_bad=1, report=report)] == ["good"]
    assert len(report.bad) == 1


def test_two_best_responses_by_name(tmp_path: Path) -> None:
    made = json.loads(encode(_row(best=1)))
    with pytest.raises(InputError, match="best"):
        list(read(_file(tmp_path, {**made, "gold": {"best": [1, 2]}})))


def test_an_id_occurs_once(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="duplicate id"):
        list(judgebench(_file(tmp_path, PAIR, PAIR)))
    with pytest.raises(InputError, match="duplicate id"):
        list(preference_pairs.read(_file(tmp_path, *[json.loads(encode(_row(best=1)))] * 2)))

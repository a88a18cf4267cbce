"""Rows of one's own: any names, any kind of file, and a label that says how it counts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.datasets import examples, own, processbench, table
from deepcritic.datasets.base import Report
from deepcritic.datasets.benchmark import Benchmark
from deepcritic.errors import InputError, UsageError
from deepcritic.runs.jsonl import read_rows
from deepcritic.schema import ALL_CORRECT, UNLABELLED, Example

COLUMNS = {"problem": "question", "steps": "solution_steps", "first_error": "label"}
ROWS: list[dict[str, Any]] = [
    {"question": "1 + 1 + 1?", "solution_steps": ["1 + 1 = 2", "2 + 1 = 4"], "label": 1, "note": "x"},
    {"question": "2 + 2?", "solution_steps": ["Step 1: 2 + 2 = 4"], "label": -1, "note": "y"},
    {"question": "3 + 3?", "solution_steps": ["3 + 3 = 7", "So 7."], "label": 0, "note": "z"},
]


def _write(folder: Path, kind: str) -> Path:
    path = folder / f"mine.{kind}"
    if kind == "csv":
        flat = [{**row, "solution_steps": json.dumps(row["solution_steps"])} for row in ROWS]
        pandas.DataFrame(flat).to_csv(path, index=False)
    elif kind == "parquet":
        pandas.DataFrame(ROWS).to_parquet(path)
    else:
        path.write_text(json.dumps(ROWS) if kind == "json" else "\n".join(map(json.dumps, ROWS)), "utf-8")
    return path


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet"])
@pytest.mark.parametrize("index_base", [0, 1])
def test_own_rows_under_their_own_names(tmp_path: Path, kind: str, index_base: int) -> None:
    report = Report()
    rows = list(table.read(_write(tmp_path, kind), columns=COLUMNS, index_base=index_base, max_bad=1, report=report))
    expected = [2, ALL_CORRECT, 1] if index_base == 0 else [1, ALL_CORRECT]
    assert [row.gold.first_error for row in rows] == expected
    assert rows[1].item.steps == ("2 + 2 = 4",)
    assert report.unread == {"note": 3}
    if index_base == 1:
        assert "label: the label is outside the steps; found" in str(report.bad[0])
        assert "expected 1 to 2, or -1 for none; if labels count steps from 0, set index_base=0" in str(report.bad[0])


def test_a_label_counts_from_nobody_knows_where() -> None:
    with pytest.raises(UsageError, match="index_base: not set, but required for labels in first_error"):
        list(table.read(ROWS, columns=COLUMNS, max_bad=100))
    rows: list[Any] = [{"problem": "p", "steps": ["a"], "label": -1}, {"problem": "q", "steps": "one\n\ntwo"}, {"problem": "r"}]
    assert [row.gold.first_error for row in table.read(rows)] == [ALL_CORRECT, UNLABELLED, UNLABELLED]
    assert [row.item.steps for row in table.read(rows)] == [("a",), ("one", "two"), ()]


@pytest.mark.parametrize("label", ["1", " 1 ", 1, 1.0, "01"])
def test_labels_that_are_whole_numbers(label: Any) -> None:
    (row,) = table.read([{"problem": "p", "steps": ["a", "b"], "first_error": label}], index_base=0)
    assert row.gold.first_error == 2


@pytest.mark.parametrize("label", ["one", 1.5, True, [1], "1.5"])
def test_labels_that_are_none(label: Any) -> None:
    with pytest.raises(InputError, match=r"first_error: wrong type; found .*; expected a whole number, or null"):
        list(table.read([{"problem": "p", "steps": ["a", "b"], "first_error": label}], index_base=0))


@pytest.mark.parametrize("label", [None, "", "  ", float("nan")])
def test_labels_that_nobody_knows(label: Any) -> None:
    (row,) = table.read([{"problem": "p", "steps": ["a", "b"], "first_error": label}], index_base=0)
    assert row.gold.first_error is UNLABELLED


@pytest.mark.parametrize(
    ("labels", "first", "ratings"),
    [
        ([True, False, False], 2, (1, -1, -1)),
        ([True, True, True], ALL_CORRECT, (1, 1, 1)),
        ([1, 0, -1], 3, (1, 0, -1)),
        ("[true, false, true]", 2, (1, -1, 1)),
        ("[True, False, True]", 2, (1, -1, 1)),
        ([1, None, -1], 3, (1, None, -1)),
    ],
)
def test_labels_of_steps(labels: Any, first: int, ratings: Any) -> None:
    rows = [{"prompt": "p", "completions": ["a", "b", "c"], "labels": labels}]
    (row,) = table.read(rows, columns={"problem": "prompt", "steps": "completions", "step_labels": "labels"})
    assert (row.gold.first_error, row.gold.step_ratings) == (first, ratings)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"step_labels": [1, 0]}, "step_labels: 0 is ambiguous: wrong or neutral"),
        ({"step_labels": [True]}, "step_labels: wrong type; found .True.; expected a list of 2 labels, one for each step"),
        ({"step_labels": ["+", "-"]}, "step_labels: wrong type; .*expected true and false, or -1, 0 and 1"),
        (
            {"step_labels": [True, False], "first_error": 0},
            "first_error: first_error contradicts step_labels; found 0; expected 2",
        ),
        ({"steps": [{"text": "a"}]}, r"steps\[0\]: wrong type"),
        ({"steps": 3}, "steps: wrong type; found 3; expected a list of texts, or a text"),
        ({"problem": None}, "problem: wrong type"),
        ({"problem": " "}, "item.problem: the problem is empty"),
    ],
)
def test_rows_that_are_off(row: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=f"list:1: {said}"):
        list(table.read([{"problem": "p", "steps": ["a", "b"], **row}], index_base=0))


def test_columns_that_are_off() -> None:
    with pytest.raises(UsageError, match=r"columns: unknown field probelm; did you mean problem\?"):
        table.read(ROWS, columns={"probelm": "question"})
    with pytest.raises(UsageError, match="index_base: not a valid index base; found 2; expected 0 or 1"):
        table.read(ROWS, columns=COLUMNS, index_base=2)
    with pytest.raises(InputError, match="list:1: steps_of: the field is missing; found 'question, solution_steps, label, note'"):
        list(table.read(ROWS, columns={**COLUMNS, "steps": "steps_of"}, index_base=0))


def test_other_data_sets_take_columns_too() -> None:
    rows = [{"id": 7, "question": "p", "steps": ["a", "b"], "gold": 2}]
    (row,) = processbench.read(rows, columns={"problem": "question", "label": "gold"}, index_base=1)
    assert (row.id, row.gold.first_error) == ("processbench-7", 2)
    with pytest.raises(InputError, match=r"gold: the label is outside the steps; found 2; .*set index_base=1"):
        list(processbench.read(rows, columns={"problem": "question", "label": "gold"}))


def test_ids() -> None:
    rows: list[dict[str, Any]] = [
        {"problem": "p", "id": "a"},
        {"problem": "p", "id": 3},
        {"problem": "q"},
        {"problem": "r", "id": "4.0"},
    ]
    found = [row.id for row in table.read(rows, source="mine")]
    assert found[:2] == ["a", "mine-3"]
    assert found[2].startswith("mine-")
    assert found[3] == "4.0"


@given(
    st.lists(
        st.tuples(st.text(min_size=1), st.lists(st.text("ab \n", min_size=1), min_size=1, max_size=4), st.integers(0, 3)),
        max_size=5,
    )
)
def test_every_label_finds_its_step_in_either_base(rows: list[Any]) -> None:
    given_rows = [
        {"id": f"r{at}", "problem": problem or "p", "steps": steps, "label": min(label, len(steps) - 1)}
        for at, (problem, steps, label) in enumerate(rows)
        if problem.strip()
    ]
    from_0 = [row.gold.first_error for row in table.read(given_rows, index_base=0)]
    moved = [{**row, "label": row["label"] + 1} for row in given_rows]
    assert from_0 == [row["label"] + 1 for row in given_rows] == [row.gold.first_error for row in table.read(moved, index_base=1)]


def test_own_rows_by_the_command_line(command: Callable[..., Any], tmp_path: Path) -> None:
    path = _write(tmp_path, "csv")
    columns = "columns={problem: question, steps: solution_steps, first_error: label}"
    words = ["stage=prepare", "source=table", f"source.path={path}", f"source.{columns}", "run=mine"]
    assert "index_base: not set, but required for labels in first_error" in command(*words).err
    outcome = command(*words, "source.index_base=0")
    assert outcome.code == 0, outcome.err
    assert "unused columns: note" in outcome.out
    rows = list(read_rows(Path("runs/mine/prepare/examples.jsonl"), Example))
    assert [row.gold.first_error for row in rows] == [2, ALL_CORRECT, 1]
    outcome = command(
        "stage=evaluate", "benchmark=table", f"benchmark.path={path}", f"benchmark.{columns}", "benchmark.index_base=0",
        "model=deepcritic://microworld/models/base", "dry_run=true", "run=mine",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    assert "3 requests" in outcome.out


def test_own_rows_as_a_benchmark_and_in_training(tmp_path: Path) -> None:
    path = _write(tmp_path, "parquet")
    bench = Benchmark(name="mine", reader=table.read, path=str(path), license=None, metric="F1", columns=COLUMNS, index_base=0)
    (part,) = bench.read()
    assert [row.gold.first_error for row in part.examples if isinstance(row, Example)] == [2, ALL_CORRECT, 1]
    rows = list(own.read(str(path), Example, columns=COLUMNS, index_base=0))
    assert [row.id for row in rows if isinstance(row, Example)] == [row.id for row in part.examples]
    other = Benchmark(name="x", reader=examples.read, path=str(path), license=None, metric="F1", index_base=1)
    with pytest.raises(UsageError, match=r"benchmark.index_base has no effect on x"):
        other.read()


def test_flat_rows_are_no_rows_of_a_stage() -> None:
    with pytest.raises(InputError, match=r"not a row of stage=prepare; found .*; convert it with .*source=table"):
        list(examples.read(ROWS))


def test_a_label_without_a_solution_is_refused() -> None:
    row = {"problem": "1 + 1?", "steps": None, "label": -1}
    with pytest.raises(InputError, match="steps: a label without a solution"):
        list(table.read([row], index_base=1))
    assert next(iter(table.read([{**row, "label": None}], index_base=1))).item.steps == ()


def test_a_misspelt_column_is_told_with_the_mapping() -> None:
    with pytest.raises(InputError, match=r"give columns=\{problem: question\}"):
        list(table.read([{"question": "1 + 1?"}], columns={"problem": "questoin"}))

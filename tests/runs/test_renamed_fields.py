"""Files of the release before are read under the names of today."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepcritic.critic import Critique
from deepcritic.errors import InputError
from deepcritic.runs.jsonl import read_json, read_rows
from deepcritic.runs.renamed_fields import RENAMED, with_current_names
from deepcritic.schema import Judged
from deepcritic.tasks.base import count

OLD = {"id": "a", "gold": 1, "stratum": "with an error", "cluster": "c", "verdicts": [None, 1], "correct": 0.5, "unreadable": 1}


def test_old_rows_and_figures_are_read(tmp_path: Path) -> None:
    rows = tmp_path / "verdicts.jsonl"
    rows.write_text(json.dumps({**OLD, "liking": [0.5, 0.25]}) + "\n", "utf-8")
    (row,) = read_rows(rows, Judged)
    assert (row.unparsed, row.meta_rm_scores, row.verdicts) == (1, (0.5, 0.25), (None, 1))
    metrics = tmp_path / "metrics.json"
    metrics.write_text('{"blind_f1": 20.0, "benchmarks": {"flips of it": {"replies": {"unreadable": 3}}}}', "utf-8")
    assert read_json(metrics) == {"constant_baseline_f1": 20.0, "benchmarks": {"flips of it": {"replies": {"unparsed": 3}}}}


def test_a_field_that_never_was_is_still_refused(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    path.write_text(json.dumps({**OLD, "unread": 1}) + "\n", "utf-8")
    with pytest.raises(InputError, match=r"verdicts.jsonl:1: unread: field is not declared"):
        list(read_rows(path, Judged))


def test_a_line_that_is_wrong_otherwise_names_its_place(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.jsonl"
    path.write_text(json.dumps({**OLD, "correct": "no"}) + "\n", "utf-8")
    with pytest.raises(InputError, match=r"verdicts.jsonl:1: correct: "):
        list(read_rows(path, Judged))


def test_no_name_of_today_was_one_before() -> None:
    assert not set(RENAMED.values()) & set(RENAMED)
    assert with_current_names(with_current_names({"blind": 1})) == {"constant_baseline": 1}


def test_old_attributes_answer_with_a_warning() -> None:
    with pytest.warns(DeprecationWarning, match="unparsed"):
        assert Critique(steps=("s",), unparsed=2).unreadable == 2
    with pytest.warns(DeprecationWarning, match="unparsed"):
        assert count([None, {1: 1.0}]).unreadable == 1

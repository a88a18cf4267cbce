"""A finished evaluation as types, and as tables of pandas."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import deepcritic
from deepcritic.datasets import processbench
from deepcritic.errors import InputError, UsageError
from deepcritic.evaluation.load import Metrics, load_results, read_metrics, write_metrics
from deepcritic.schema import ALL_CORRECT
from deepcritic.tasks.metrics_types import Figures, FirstErrorFigures, PointwiseFigures

Command = Callable[..., Any]


@pytest.fixture
def evaluated(command: Command, samples_dir: Path) -> Path:
    """An evaluation of two recorded replies a row: the gold verdict and one that cannot be read."""
    rows = list(processbench.read(samples_dir / "processbench.json"))
    lines = [
        json.dumps({"example_id": row.id, "sample": sample, "text": text}) + "\n"
        for row in rows
        for sample, text in enumerate([f"\\boxed{{{row.gold.first_error}}}", "no verdict"])
    ]
    Path("replies.jsonl").write_text("".join(lines), "utf-8")
    words = ("benchmark=processbench", f"benchmark.path={samples_dir / 'processbench.json'}", "stage.generations=replies.jsonl")
    assert command("stage=evaluate", "run=mine", *words).code == 0
    return Path("runs/mine/evaluate")


def test_figures_and_verdicts(evaluated: Path) -> None:
    results = deepcritic.load_results(evaluated)
    (name, figures), *others = results.figures.items()
    assert not others
    assert name == figures.benchmark.name
    assert isinstance(figures, FirstErrorFigures)
    assert (figures.f1, figures.maj_f1, figures.unparsed_rate) == (50.0, 100.0, 50.0)
    assert (figures.replies.samples, figures.replies.unparsed) == (2 * figures.examples, figures.examples)
    assert figures.maj_f1_by_votes["2"].f1 == figures.maj_f1
    assert len(results.verdicts) == figures.examples == results.manifest.counts["examples"].kept
    assert {row.verdicts for row in results.verdicts if row.gold == ALL_CORRECT} == {(ALL_CORRECT, None)}
    assert results.manifest.stage == "evaluate"
    assert results.metrics.task is not None
    assert results.metrics.task.name == "first_error"


def test_the_types_hold_all_that_the_file_has(evaluated: Path) -> None:
    values = json.loads((evaluated / "metrics.json").read_text("utf-8"))
    metrics = read_metrics(evaluated)
    assert metrics.more == {}
    (part,) = metrics.benchmarks.values()
    for name, value in values.items():
        held = getattr(part, name) if name in part.__struct_fields__ else getattr(metrics, name)
        assert (held is None) == (value is None), name
        if isinstance(value, int | float | str):
            assert held == value


def test_a_run_with_one_evaluation_is_enough(evaluated: Path) -> None:
    assert load_results("runs/mine").folder == evaluated


def test_where_there_is_none_or_several(evaluated: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"runs: no evaluation found; expected the folder of a finished stage=evaluate"):
        load_results("runs")
    other = evaluated.parent / "evaluate.other"
    other.mkdir()
    for file in evaluated.glob("*.json*"):
        (other / file.name).write_bytes(file.read_bytes())
    with pytest.raises(InputError, match=r"several evaluations; expected one of .*evaluate, .*evaluate\.other"):
        load_results("runs/mine")
    (other / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"evaluate\.other: the evaluation is not finished; rerun its command to finish it"):
        load_results(other)


def test_a_file_of_another_kind_is_refused(evaluated: Path) -> None:
    (evaluated / "metrics.json").write_text('{"f1": "high"}', "utf-8")
    with pytest.raises(InputError, match=r"json: invalid fields \(ValidationError: Expected `float \| null`, got `str`"):
        load_results(evaluated)


def test_pandas(evaluated: Path) -> None:
    pytest.importorskip("pandas")
    results = load_results(evaluated)
    rows = results.to_pandas()
    assert list(rows["id"]) == [row.id for row in results.verdicts]
    assert rows["correct"].mean() == 0.5
    figures = results.metrics.to_pandas()
    f1 = figures[figures["figure"] == "f1"].iloc[0]
    (part,) = results.figures.values()
    assert isinstance(part, FirstErrorFigures)
    assert (f1["value"], (f1["low"], f1["high"])) == (50.0, part.f1_interval)


def test_without_pandas_it_says_so(evaluated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match="pip install pandas"):
        load_results(evaluated).to_pandas()


PART = {"benchmark": {"name": "b"}, "examples": 2, "failed": 0, "missing": 0, "replies": {"samples": 2}}


def test_each_task_has_its_type_and_another_task_keeps_its_figures() -> None:
    suite = Metrics.of({"mean_f1": 1.0, "benchmarks": {"x": {**PART, "f1": 1.0}, "y": {**PART, "roc_auc": 2.0}}})
    assert [type(part) for part in suite.benchmarks.values()] == [FirstErrorFigures, PointwiseFigures]
    other = Metrics.of({**PART, "judged_well": 3})
    assert type(other.benchmarks["b"]) is Figures
    assert other.more == {"judged_well": 3}


def test_a_figure_that_no_type_has_is_noticed_where_it_is_written(tmp_path: Path) -> None:
    write_metrics(tmp_path / "metrics.json", {**PART, "f1": 50.0})
    assert read_metrics(tmp_path).examples == 2
    with pytest.raises(AssertionError, match="f2"):
        write_metrics(tmp_path / "metrics.json", {**PART, "f1": 50.0, "f2": 1.0})

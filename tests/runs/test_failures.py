"""The line that says why rows failed."""

from __future__ import annotations

from pathlib import Path

from deepcritic.runs.failures import failure_line, failures_in
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import Failure, Key


def _failure(name: str, reason: str, detail: str) -> Failure:
    return Failure(key=Key(example_id=name, request="critique"), reason=reason, detail=detail)


def test_the_commonest_reason_comes_first_with_its_first_row(tmp_path: Path) -> None:
    assert failures_in(tmp_path) is None
    write_rows(tmp_path / "failures.jsonl", [
        _failure("a", "timeout", "no answer in 5 s"), _failure("b", "too_long", "first"), _failure("c", "too_long", "second"),
    ])  # fmt: skip
    write_rows(tmp_path / "scores.failures.jsonl", [_failure("d", "timeout", ""), _failure("e", "timeout", "")])
    line = failures_in(tmp_path)
    assert line is not None
    assert line.startswith("5 replies failed (timeout: 3, too_long: 2), such as a")
    assert "no answer in 5 s; rerun the same command to retry them, with a larger sampler.timeout" in line


def test_rare_reasons_are_summed_up_and_an_unknown_one_asks_for_nothing() -> None:
    line = failure_line({"a": 1, "b": 4, "c": 2, "d": 1, "e": 1}, "x: y")
    assert line.startswith("9 replies failed (b: 4, c: 2, a: 1, others: 2), such as x: y; rerun the same command")

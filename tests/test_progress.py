"""Progress in a log: plain lines, few of them, with what a reader must know."""

from __future__ import annotations

import pytest

from deepcritic import progress
from deepcritic.progress import Progress


def test_a_short_job_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("draws") as shown:
        shown.expect(3)
        for index in range(3):
            shown.advance(tokens=5, failed=index == 1, truncated=index == 2)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("draws: 3/3 rows in 0 s, ")
    assert "1 failed" in line
    assert "1 truncated" in line
    assert "left" not in line


def test_nothing_done_nothing_said(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("draws"):
        pass
    assert capsys.readouterr().out == ""


def test_a_long_job_says_a_line_a_minute(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress("draws") as shown:
        shown.expect(10_000)
        for _ in range(10_000):
            now[0] += 0.36
            shown.advance(tokens=7)
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert 55 <= len(lines) <= 62
    assert "\r" not in out
    assert "about 59.0 min left" in lines[0]
    assert all("tokens/s" in line for line in lines)


def test_a_source_that_grows_raises_what_is_expected(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("draws") as shown:
        for _ in range(4):
            shown.expect(2)
            shown.advance()
    assert capsys.readouterr().out.startswith("draws: 4/8 rows in")

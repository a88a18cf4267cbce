"""Progress in a log: plain lines, few of them, with what a reader must know."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time

import pytest

from deepcritic.runs import progress
from deepcritic.runs.progress import Progress


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
    monkeypatch.setattr("deepcritic.runs.progress.time.monotonic", lambda: now[0])
    with Progress("draws") as shown:
        shown.expect(10_000)
        shown.cost, shown.budget = 0.0, 40.0
        for index in range(10_000):
            now[0] += 0.36
            shown.cost += 0.002
            shown.advance(tokens=700, failed=index % 1000 == 3, truncated=index % 50 == 0)
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert 55 <= len(lines) <= 62
    assert len(out) < 12_000, "so that a job of a day stays below 200 KB"
    assert lines[29] == (
        "draws: 5010/10000 rows in 30.1 min, 2.8 rows/s, about 29.9 min left, 3.51M tokens, 1,944 tokens/s, 6 failed, "
        "101 truncated, cost 10.02 of 40.00"
    )
    assert "\r" not in out
    assert "about 59.0 min left" in lines[0]
    assert all("tokens/s" in line for line in lines)


def test_a_source_that_grows_raises_what_is_expected(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("draws") as shown:
        for _ in range(4):
            shown.expect(2)
            shown.advance()
    assert capsys.readouterr().out.startswith("draws: 4/8 rows in")


def test_a_total_that_is_known_is_what_is_shown_from_the_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("deepcritic.runs.progress.time.monotonic", lambda: now[0])
    with Progress("draws", 400) as shown:
        shown.growing = True
        shown.expect(63)
        now[0] = 61.0
        shown.advance(48)
    assert capsys.readouterr().out.startswith("draws: 48/400 rows in 61 s, 0.79 rows/s, about 7.5 min left")


def test_while_more_may_come_nobody_knows_how_long_it_takes(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("deepcritic.runs.progress.time.monotonic", lambda: now[0])
    with Progress("draws") as shown:
        shown.growing = True
        shown.expect(63)
        now[0] = 61.0
        shown.advance(48)
        now[0] = 122.0
        shown.growing = False
        shown.advance(15)
    first, second, _ = capsys.readouterr().out.splitlines()
    assert first == "draws: 48 of at least 63 rows in 61 s, 0.79 rows/s"
    assert second.startswith("draws: 63/63 rows in 2.0 min")


def test_a_line_a_minute_also_comes_without_rows(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.1)
    monkeypatch.setattr(progress, "LOOK_SECONDS", 0.02)
    with Progress("draws", 800) as shown:
        shown.advance(165)
        time.sleep(0.5)
    lines = capsys.readouterr().out.splitlines()
    assert 3 <= len(lines) <= 6
    assert all(line.startswith("draws: 165/800 rows in ") for line in lines)
    assert "none for " in lines[1]


def test_rows_that_are_there_say_nothing_of_the_pace(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("deepcritic.runs.progress.time.monotonic", lambda: now[0])
    with Progress("draws") as shown:
        shown.expect(1000)
        shown.skip(900)
        now[0] = 61.0
        shown.advance(10)
    line = capsys.readouterr().out.splitlines()[0]
    assert line.startswith("draws: 910/1000 rows in 61 s, 0.16 rows/s, about 9.2 min left")


TERMINAL = """
import time
from deepcritic.runs import progress
from deepcritic.runs.progress import Progress
with Progress("draws [red]x") as shown:
    shown.expect(40)
    for index in range(40):
        time.sleep(0.02)
        shown.advance(tokens=5, failed=index == 1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")
def test_a_terminal_shows_a_bar_and_the_figures() -> None:
    import pty

    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "70"}
    with subprocess.Popen([sys.executable, "-c", TERMINAL], stdout=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while chunk := os.read(ours, 4096):
                shown += chunk
    os.close(ours)
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode())
    last = [line for line in re.split(r"[\r\n]+", text) if line.strip()][-2:]
    assert last[0].startswith("draws [red]x ━")
    assert "40/40" in last[0]
    assert "200 tokens" in last[1]
    assert "1 failed" in last[1]
    assert all(len(line) <= 70 for line in last)

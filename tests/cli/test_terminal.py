"""Texts from data and models reach the screen as text."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.cli.terminal import VisibleOutput, written_out

EVIL = "\x1b[2J\x1b]0;title\x07\x9b31m\u202e"


@given(st.text(), st.booleans())
def test_nothing_that_a_terminal_obeys_is_left(text: str, colours: bool) -> None:
    shown = written_out(text, colours=colours)
    if colours:
        shown = re.sub(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[\d?[AK]", "", shown).replace("\r", "")
    assert all(letter.isprintable() or letter in "\t\n\r" or ord(letter) > 0x9F for letter in shown)
    assert "\x1b" not in shown


@given(st.text())
def test_json_stays_json_and_says_the_same(text: str) -> None:
    assert json.loads(written_out(json.dumps(text, ensure_ascii=False), colours=False)) == text


def test_plain_text_is_not_touched() -> None:
    for text in ("a\tb\r\nc\n", "x² ≤ 3\u2009m, \u00a0ünïcode \U0001f600"):
        assert written_out(text, colours=False) == text


def test_it_is_the_stream_for_anything_but_writing() -> None:
    stream = io.StringIO()
    output: Any = VisibleOutput(stream)
    print(EVIL, file=output, end="")
    assert stream.getvalue() == "\\u001b[2J\\u001b]0;title\\u0007\\u009b31m\\u202e"
    assert output.isatty() is False
    output.writelines(["a", "\x07"])
    assert output.getvalue().endswith("a\\u0007")


def _rows(path: Path) -> None:
    names = [f"{EVIL}-{at}" for at in range(12)]
    rows = [{"id": name, "problem": EVIL, "steps": [EVIL], "label": at % 2 - 1} for at, name in enumerate(names)]
    path.write_text(json.dumps(rows), "utf-8")
    replies = [{"example_id": name, "sample": 0, "text": "\\boxed{-1}"} for name in names]
    Path("replies.jsonl").write_text("".join(json.dumps(reply) + "\n" for reply in replies), "utf-8")


def test_ids_and_part_names_give_no_orders(command: Callable[..., Any]) -> None:
    """Neither from a benchmark's ids nor from the files of a run that came from elsewhere."""
    _rows(Path("rows.json"))
    evaluate = ["stage=evaluate", "benchmark=processbench", "benchmark.path=rows.json", "stage.generations=replies.jsonl"]
    for name in ("a", "b"):
        outcome = command(*evaluate, f"run={name}")
        assert outcome.code == 0, outcome.err
        assert "\x1b" not in outcome.out + outcome.err
    folder = Path("runs/a/evaluate")
    for file in ("metrics.json", "verdicts.jsonl"):
        text = (folder / file).read_text("utf-8")
        (folder / file).write_text(text.replace('"processbench"', json.dumps(EVIL)), "utf-8")
    for words in ([*evaluate, "run=a"], ["stage=compare", "run=c", "compare=[a,a]"], ["stage=report", "run=a"]):
        outcome = command(*words)
        assert not set(outcome.out + outcome.err) & set("\x1b\x07\x9b\u202e"), outcome


@pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")
def test_on_a_terminal_our_own_colours_stay(tmp_path: Path) -> None:
    import os
    import pty

    program = (
        "import sys, contextlib\nfrom rich.console import Console\nfrom deepcritic.cli.terminal import VisibleOutput\n"
        "with contextlib.redirect_stdout(VisibleOutput(sys.stdout)):\n"
        f"    Console().print({EVIL!r}, style='bold'); print({EVIL!r})"
    )
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], stdout=theirs, env=environment, check=True)
    os.close(theirs)
    shown = os.read(ours, 4096).decode()
    os.close(ours)
    assert "\x1b[1m" in shown
    assert not re.search(r"\x1b\[2J|\x1b\]|\x07|\x9b|\u202e", shown)

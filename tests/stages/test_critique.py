"""One solution on the terminal: read from a file or standard input, readable in 60 columns, and nothing in it is obeyed."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.errors import InputError, UsageError
from deepcritic.stages import critique
from deepcritic.tasks.first_error import FirstError
from tests.stages.conftest import call

Command = Callable[..., Any]
SOLUTION = "What is 1 + 1 + 3?\n---\nStep 1: 1 + 1 = 2\nStep 2: 2 + 3 = 6, so \\boxed{6}\nStep 3: done"
HOSTILE = "\x1b[2J\x1b]8;;http://x\x07link \u202egnorw [bold red]markup[/] \x00 \u200b" + "w" * 300


class Stdin(io.StringIO):
    """Standard input that holds a text and is no terminal."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.buffer = io.BytesIO(text.encode())  # type: ignore[misc]  # as sys.stdin has it


@pytest.fixture
def ask(open_folder: Any, fake_sampler: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    """`ask(input, answer, columns=60)` gives what the stage prints with a sampler that answers by a rule."""

    def run(input: str | None, answer: Callable[[int], str | None], *, columns: int = 60, **options: Any) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        with open_folder("critique") as folder:
            sampler = fake_sampler(lambda request, sample: answer(sample))
            given: dict[str, Any] = {"format": "text", "samples": 4, "task": FirstError(), "model": "any"} | options
            call(critique, folder, input=input, sampler=sampler, **given)
        assert not folder.path.exists(), "nothing is kept"
        return capsys.readouterr().out

    return run


def test_steps_marks_votes_and_the_critique(ask: Any, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text(SOLUTION, "utf-8")
    shown = ask(f"@{tmp_path / 'in.txt'}", lambda sample: "It is 5. \\boxed{2}" if sample else "\\boxed{-1}")
    assert "Verdict: step 2 is the first wrong step (75% of 4" in shown
    for line in (
        "✓ 1 1 + 1 = 2",
        "✗ 2 2 + 3 = 6, so \\boxed{6}",
        "· 3 done",
        "^ named by 3 of 4 critiques",
        "It is 5. \\boxed{2}",
    ):
        assert line in shown
    assert "votes step 2: 3, all correct: 1" in shown


def test_standard_input_and_json(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(json.dumps({"problem": f"1 + 1? {HOSTILE}", "steps": ["2", "\ud83d\ude00"]})))
    found = json.loads(shown := ask(None, lambda _: f"{HOSTILE} \\boxed{{1}}", format="json"))
    assert found["first_error"] == 1
    assert found["votes"] == {"1": 4.0}
    assert found["problem"].endswith(HOSTILE)
    assert shown.isascii()
    assert not set(shown) & {"\x1b", "\x07", "\x00"}


def test_what_a_terminal_would_obey_is_written_out(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(f"Problem {HOSTILE}\n---\nStep 1: {HOSTILE}\nStep 2: {HOSTILE}"))
    shown = ask(None, lambda _: f"Why: {HOSTILE} \\boxed{{2}}")
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "\\x1b[2J" in shown.replace("\n", "")
    assert shown.count("[bold red]markup[/]") + shown.replace("\n", " ").count("[bold") >= 4, "markup is text"
    assert max(map(len, shown.splitlines())) <= 60


def test_no_verdict_says_why(ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Stdin(SOLUTION))
    unread = ask(None, lambda _: "who knows")
    assert "No verdict: no readable verdict." in unread
    assert "The critique\n  who knows" in unread
    monkeypatch.setattr(sys, "stdin", Stdin(SOLUTION))
    assert "No verdict: refused." in ask(None, lambda _: None)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("only a problem", "no line separates the problem from the solution"),
        ('{"problem": "1 + 1?"}', "the input has no problem and solution"),
        ('{"problem": 3, "steps": ["1"]}', "the input has no problem and solution"),
        ('{"item": [1]}', "the input has no problem and solution"),
        ("---\nStep 1: two", "the problem is empty"),
        ("1 + 1?\n-----\n", "the solution has no steps"),
        ("{" * 100_000, "no line separates"),
    ],
)
def test_bad_input_is_named(text: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        critique.parse(text)


def test_a_row_of_our_own_is_read_too() -> None:
    row = {"id": "a", "item": {"problem": "1 + 1?", "steps": ["2"], "meta": {}}, "gold": {"first_error": -1}, "source": "made"}
    assert critique.parse(json.dumps(row)).steps == ("2",)


def test_the_text_does_not_go_on_the_command_line(command: Command, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="input=@FILE"):
        critique.read("What is 1 + 1?")
    outcome = command("stage=critique", "input=@nowhere.txt", "model=any")
    assert outcome.code == 1
    assert "nowhere.txt" in outcome.err
    (tmp_path / "in.txt").write_text(SOLUTION, "utf-8")
    outcome = command("stage=critique", "input=@in.txt", "model=any", "format=xml")
    assert outcome.code == 2
    assert "format: invalid choice; found 'xml'; expected text, json" in outcome.err
    outcome = command("stage=critique", "input=@in.txt", "model=deepcritic://microworld/models/base", "dry_run=true")
    assert outcome.code == 0
    assert "8 critiques of one solution would be requested" in outcome.out


@pytest.mark.slow
def test_a_critic_of_the_small_world(command: Command, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the models need torch: pip install deepcritic[train]")
    (tmp_path / "in.txt").write_text("Mod ten, from 7:\n1)-8\n2)+6\n---\nStep 1: 7-8=9\nStep 2: 7+6=3 \\boxed{3}", "utf-8")
    words = ["task.template=deepcritic://microworld/templates/critique.txt", "stage.max_tokens=120", "stage.samples=2"]
    outcome = command("stage=critique", "input=@in.txt", "model=deepcritic://microworld/models/base", "format=json", *words)
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["steps"] == ["7-8=9", "7+6=3 \\boxed{3}"]

"""Tab completion, through the shells' own machinery where they are installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.cli.completion import SCRIPTS, completions
from deepcritic.cli.help import choices
from deepcritic.cli.old_names import stage_names

Command = Callable[..., Any]


@pytest.fixture
def shell_environment(tmp_path: Path) -> dict[str, str]:
    """An environment in which `deepcritic` and `python` are this interpreter's."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, words in (("deepcritic", "-m deepcritic "), ("python", "")):
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {words}"$@"\n', "utf-8")
        script.chmod(0o755)
    root = str(Path(__file__).resolve().parent.parent.parent)
    return {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": root}


def _bash(line: str, environment: dict[str, str], folder: Path) -> list[str]:
    """What readline would be given for the last word of `line`."""
    program = f"""
eval "$(deepcritic --completion bash)"
COMP_LINE={line!r}
COMP_POINT=${{#COMP_LINE}}
COMP_WORDS=($COMP_LINE)
"$(complete -p "${{COMP_WORDS[0]}}" | sed 's/.*-F \\([^ ]*\\).*/\\1/')" "${{COMP_WORDS[0]}}"
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(
        ["bash", "-c", program], cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == ""
    return [word for word in done.stdout.split("\n") if word]


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_completes(shell_environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").touch()
    (tmp_path / "data").mkdir()
    for start in ("deepcritic", "python -m deepcritic"):
        assert _bash(f"{start} stage=", shell_environment, tmp_path) == stage_names()
        assert _bash(f"{start} stage=sft stage.val", shell_environment, tmp_path) == [
            "stage.validation_examples=", "stage.validation_limit=", "stage.validation_max_tokens=", "stage.validation_split=",
            "stage.validation_votes=",
        ]  # fmt: skip
        assert _bash(f"{start} stage=sft stage.on_too_long=", shell_environment, tmp_path) == ["error", "drop", "truncate"]
        assert _bash(f"{start} stage=sft trainer=q", shell_environment, tmp_path) == ["qlora"]
        assert _bash(f"{start} stage=sft stage.dialogues=", shell_environment, tmp_path) == ["bin/", "data/", "rows.jsonl"]
        assert _bash(f"{start} stage=critique input=@ro", shell_environment, tmp_path) == ["@rows.jsonl"]
        assert _bash(f"{start} stage=sft overwrite=", shell_environment, tmp_path) == ["true", "false"]
    assert _bash("python -m other sta", shell_environment, tmp_path) == []


@pytest.mark.skipif(shutil.which("zsh") is None, reason="needs zsh")
def test_the_script_for_zsh_is_read(shell_environment: dict[str, str]) -> None:
    program = 'autoload -U compinit && compinit -u; eval "$(deepcritic --completion zsh)"; print ${_comps[deepcritic]}'
    done = subprocess.run(["zsh", "-c", program], env=shell_environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "_deepcritic"


@pytest.mark.skipif(shutil.which("fish") is None, reason="needs fish")
def test_fish_completes(shell_environment: dict[str, str]) -> None:
    program = "deepcritic --completion fish | source; complete -C 'deepcritic stage=eval'"
    done = subprocess.run(["fish", "-c", program], env=shell_environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["stage=evaluate"]


def test_what_is_offered() -> None:
    assert completions("deepcritic sta") == ["stage="]
    assert completions("deepcritic stage=label stage.rule=z") == ["stage.rule=zero_of_k"]
    assert completions("deepcritic stage=label model") == []
    assert "sampler.urls=" in completions("deepcritic stage=solve sampler=openai sampler.")
    assert completions("deepcritic experiment=microworld/s") == [
        f"experiment={one.name}" for one in choices("experiment") if one.name.startswith("microworld/s")
    ]
    assert completions("deepcritic stage=solve stage.samples=3 stage.sam") == []
    assert completions("deepcritic --v") == ["--version"]


def test_another_shell_is_refused(command: Command) -> None:
    outcome = command("--completion", "tcsh")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "error: --completion: unknown shell; found 'tcsh'; expected bash, zsh, fish\n"
    for shell in SCRIPTS:
        assert command("--completion", shell).code == 0

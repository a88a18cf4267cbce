"""The library logs and prints nothing; the command line prints what it logs."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from deepcritic.cli.log_lines import Lines, logged_lines
from deepcritic.runs.folder import RunFolder

PROGRAM = """
import logging, sys
from pathlib import Path
from deepcritic.runs.folder import RunFolder
if sys.argv[2:]:
    logging.basicConfig(level=logging.INFO, format="%(name)s says %(message)s", stream=sys.stdout)
for _ in range(2):
    with RunFolder(Path(sys.argv[1]), stage="draw", config={"seed": 1}) as folder:
        if folder.begin():
            folder.finish()
"""
SAID = "already finished with this configuration; nothing to do"


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=True)


def test_a_program_that_uses_the_library_hears_nothing(tmp_path: Path) -> None:
    done = _run(str(tmp_path / "mine" / "draw"))
    assert (done.stdout, done.stderr) == ("", "")


def test_a_program_decides_what_becomes_of_it(tmp_path: Path) -> None:
    done = _run(str(tmp_path / "mine" / "draw"), "loud")
    assert done.stdout == f"deepcritic.runs.folder says {tmp_path / 'mine' / 'draw'}: {SAID}\n"


def test_the_command_line_prints_each_line_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logged_lines(), logged_lines():
        for _ in range(2):
            with RunFolder(tmp_path / "mine" / "draw", stage="draw", config={}) as folder:
                if folder.begin():
                    folder.finish()
    assert capsys.readouterr().out.splitlines() == [f"{tmp_path / 'mine' / 'draw'}: {SAID}"]


def test_warnings_about_a_model_stand_aside(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("deepcritic.hub.models", "deepcritic.samplers.resume"):
        logging.getLogger(name).warning("%s warns", name)
    said = capsys.readouterr()
    assert said.out == "deepcritic.samplers.resume warns\n"
    assert said.err == "deepcritic.hub.models warns\n"


def test_the_logger_is_as_before_when_the_command_ends() -> None:
    logger = logging.getLogger("deepcritic")
    handlers, before = [*logger.handlers], (logger.level, logger.propagate)
    for handler in handlers:
        logger.removeHandler(handler)
    logger.setLevel(logging.ERROR)
    logger.propagate = True
    try:
        with logged_lines():
            assert [type(handler) for handler in logger.handlers] == [Lines]
        assert (logger.handlers, logger.level, logger.propagate) == ([], logging.ERROR, True)
    finally:
        logger.handlers[:] = handlers
        logger.level, logger.propagate = before

"""Finds the stage of a command, and translates old option names, accepted for one release with a deprecation line."""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from deepcritic import stages
from deepcritic.errors import UsageError
from deepcritic.options import described, record_of

OLD_EXPERIMENTS = {f"microworld/score_{name}": f"microworld/spct_{name}" for name in ("evaluate", "rl", "sft")}
GROUP_OF = {"benchmark": "dataset", "source": "dataset"}
"""The folder of a group, if its command-line name differs."""
_WORD = re.compile(r"([+~]*)([^=]*)(=?)(.*)", re.DOTALL)


def stage_names() -> list[str]:
    """Every stage, by name."""
    return sorted(module.name for module in pkgutil.iter_modules(stages.__path__))


def run_of(stage: str) -> Callable[..., Any]:
    """The `run` of a stage."""
    run: Callable[..., Any] = importlib.import_module(f"deepcritic.stages.{stage}").run
    return run


def stage_of(words: list[str], conf: Path) -> str | None:
    """The stage that a command runs, from `stage=` or `experiment=`; None for several, none or an unknown one."""
    given = {name: value for _, name, _, value in map(parts, words)}
    stage = given.get("stage") or experiment_stage(given.get("experiment", ""), conf)
    return stage if stage in stage_names() else None


def experiment_stage(name: str, conf: Path) -> str | None:
    """The stage that an experiment file names."""
    file = conf / "experiment" / f"{name}.yaml"
    if not name or not file.is_file():
        return None
    defaults = (yaml.safe_load(file.read_text("utf-8")) or {}).get("defaults", [])
    found = [entry["override /stage"] for entry in defaults if isinstance(entry, dict) and "override /stage" in entry]
    return str(found[0]) if found else None


def parts(word: str) -> tuple[str, str, str, str]:
    """Split a word into sign, name, `=` and value.

    >>> parts("+stage.samples=4")
    ('+', 'stage.samples', '=', '4')
    """
    match = _WORD.fullmatch(word)
    assert match is not None
    sign, name, equals, value = match.groups()
    return sign, name, equals, value


def old_names(stage: str) -> dict[str, str]:
    """The old names of a stage's options, mapped to the new ones."""
    renamed: dict[str, str] = {}
    for one in described(record_of(run_of(stage))):
        if one.was:
            renamed[f"stage.{one.was}"] = f"stage.{one.name}"
            if one.top:
                renamed[one.was] = one.top
    return renamed


def for_hydra(words: list[str]) -> list[str]:
    """Rename groups for Hydra: both `benchmark=` and `source=` choose a data set.

    >>> for_hydra(["benchmark=processbench", "benchmark.path=x"])
    ['dataset@benchmark=processbench', 'benchmark.path=x']
    """
    split = map(parts, words)
    return [
        f"{sign}{f'{GROUP_OF[name]}@' if name in GROUP_OF else ''}{name}{equals}{value}" for sign, name, equals, value in split
    ]


def translated(words: list[str], conf: Path) -> list[str]:
    """Replace old names by new ones, and print each on standard error.

    Raises `UsageError` if an option is given by both names.
    """
    words = [_experiment(word) for word in words]
    stage = stage_of(words, conf)
    if stage is None:
        return words
    renamed, found = old_names(stage), []
    given = {name for _, name, _, _ in map(parts, words)}
    for word in words:
        sign, name, equals, value = parts(word)
        new = renamed.get(name)
        if new is None or (name == "runs" and not value.startswith("[")):  # the runs' folder, not a list of two runs
            found.append(word)
            continue
        if new in given:
            raise UsageError(f"{name} is the old name of {new} and both are set; expected only {new}")
        _say(f"{name}=", f"{new}=")
        found.append(f"{sign}{new}{equals}{value}")
    return found


def _experiment(word: str) -> str:
    _, name, _, value = parts(word)
    if name != "experiment" or value not in OLD_EXPERIMENTS:
        return word
    _say(word, f"experiment={OLD_EXPERIMENTS[value]}")
    return f"experiment={OLD_EXPERIMENTS[value]}"


def _say(old: str, new: str) -> None:
    print(f"{old} is deprecated and will be removed in the next release; use {new}", file=sys.stderr)

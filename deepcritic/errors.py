"""Errors that a user can act on: one line with the place, what was found and what would be right.

>>> print(InputError("label lies outside the steps", file="rows.json", line=3, field="label", found=9, remedy="0 to 4, or -1"))
rows.json:3: label: label lies outside the steps; found 9; would be right: 0 to 4, or -1
"""

from __future__ import annotations

import os

_SHOWN = 120


class DeepCriticError(Exception):
    """Something that the caller can mend. The command line prints it on one line and exits with `exit_code`."""

    exit_code = 1


class UsageError(DeepCriticError):
    """The command line itself is off: an unknown option, stage or benchmark."""

    exit_code = 2


class InputError(DeepCriticError):
    """A file or a row of it cannot be used as it is."""

    def __init__(
        self,
        problem: str,
        *,
        file: str | os.PathLike[str] | None = None,
        line: int | None = None,
        field: str | None = None,
        found: object = None,
        remedy: str | None = None,
    ) -> None:
        self.problem, self.file, self.line, self.field, self.found, self.remedy = problem, file, line, field, found, remedy
        place = "" if file is None else f"{os.fspath(file)}:{line}: " if line is not None else f"{os.fspath(file)}: "
        named = f"{field}: " if field else ""
        shown = "" if found is None else f"; found {_shorten(found)}"
        right = f"; would be right: {remedy}" if remedy else ""
        super().__init__(f"{place}{named}{problem}{shown}{right}")


class RunConflict(DeepCriticError):
    """A run folder is in use, or was begun with another configuration."""


class StageIncomplete(DeepCriticError):
    """A stage ended before all its rows were there, for reasons that may pass; the same command goes on from there."""

    exit_code = 3


class Stopped(DeepCriticError):
    """A dry run or a probe has come to its end, before the stage does; the message is what it found."""

    exit_code = 0


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"

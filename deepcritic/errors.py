"""Errors that a user can act on: one line with the place, what was found, what was expected and how to fix it.

>>> print(InputError("label lies outside the steps", file="rows.json", line=3, field="label", found=9, expected="0 to 4, or -1"))
rows.json:3: label: label lies outside the steps; found 9; expected 0 to 4, or -1
"""

from __future__ import annotations

import os
from typing import Any

_SHOWN = 120


class DeepCriticError(Exception):
    """An error that the caller can fix. The command line prints it on one line and exits with `exit_code`."""

    exit_code = 1


class UsageError(DeepCriticError):
    """The command line is wrong: an unknown option, stage or benchmark."""

    exit_code = 2


class InputError(DeepCriticError):
    """A file, one of its rows, or an option is invalid.

    The message has up to five parts, on one line: the place (`file`, `line`, `field`), the `problem`, the value `found`, what was
    `expected` (a noun phrase) and a `remedy` (an instruction). Each part is also an attribute.
    """

    def __init__(
        self,
        problem: str,
        *,
        file: str | os.PathLike[str] | None = None,
        line: int | None = None,
        field: str | None = None,
        found: object = None,
        expected: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem, self.file, self.line, self.field = problem, file, line, field
        self.found, self.expected, self.remedy = found, expected, remedy
        place = "" if file is None else f"{os.fspath(file)}:{line}: " if line is not None else f"{os.fspath(file)}: "
        named = f"{field}: " if field else ""
        shown = "" if found is None else f"; found {_shorten(found)}"
        wanted = f"; expected {expected}" if expected else ""
        advice = f"; {remedy}" if remedy else ""
        super().__init__(f"{place}{named}{problem}{shown}{wanted}{advice}")

    def replace(self, **parts: Any) -> InputError:
        """The same error with other `parts`: `error.replace(file=path, line=3)`."""
        same = {name: getattr(self, name) for name in ("problem", "file", "line", "field", "found", "expected", "remedy")}
        return InputError(**{**same, **parts})


class RunConflict(DeepCriticError):
    """A run folder is in use, or was started with another configuration."""


class StageIncomplete(DeepCriticError):
    """A stage ended with rows missing, for reasons that may be temporary. The same command resumes it."""

    exit_code = 3


class Stopped(DeepCriticError):
    """A dry run or a probe has ended, before the stage is finished. The message holds its result."""

    exit_code = 0


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"

"""What algebra found before: kept in memory, or in a file of a run, so that a run that was killed need not find it again.

A row counts only for the checker that wrote it: the files of this folder, math-verify and what it stands on, each in its version.
"""

from __future__ import annotations

import functools
import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from deepcritic.answers.conventions import DEFAULT, Conventions
from deepcritic.answers.decide import Comparison, Question
from deepcritic.runs.jsonl import Journal
from deepcritic.schema import Row

_MOST: Final = 50_000  # pairs in memory where there is no file


class Compared(Row, frozen=True, kw_only=True):
    """One pair of texts as math-verify was given them, and what came of it."""

    checker: str
    reference: str
    prediction: str
    equal: bool | None
    reason: str = ""
    deadline: float | None = None
    """Where `reason` is `time`: the seconds it was given. With more it is tried again."""


class Cache:
    """Comparisons by their texts. With a `path` they are read from it first, and each new one is appended at once."""

    def __init__(self, path: Path | None = None, conventions: Conventions = DEFAULT) -> None:
        self._found: dict[Question, Compared] = {}
        self._journal = None if path is None else Journal(path, Compared)
        known = {checker(conventions): conventions for conventions in (DEFAULT, conventions)}
        for row in self._journal or ():
            if row.checker in known:
                self._found[Question(row.reference, row.prediction, known[row.checker])] = row

    def get(self, question: Question, deadline: float) -> Comparison | None:
        """What is known, unless it is that some shorter deadline was not enough."""
        row = self._found.get(question)
        if row is None or (row.deadline is not None and row.deadline < deadline):
            return None
        return Comparison(row.equal, row.reason)

    def add(self, question: Question, found: Comparison, deadline: float) -> None:
        """Keep `found`, unless it is known, or says nothing about the texts (a worker that was killed from outside)."""
        if found.reason == "died" or self.get(question, deadline) is not None:
            return
        given = deadline if found.reason == "time" else None
        row = Compared(
            checker=checker(question.conventions),
            reference=question.reference,
            prediction=question.prediction,
            equal=found.equal,
            reason=found.reason,
            deadline=given,
        )
        if self._journal is not None:
            self._journal.append(row)
        elif len(self._found) >= _MOST:
            self._found = {}
        self._found[question] = row

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()


@functools.cache
def checker(conventions: Conventions = DEFAULT) -> str:
    """A short name for everything that decides a comparison."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    for package in ("math-verify", "latex2sympy2-extended", "sympy"):
        try:
            digest.update(f"{package} {version(package)}\n".encode())
        except PackageNotFoundError:
            digest.update(f"no {package}\n".encode())
    digest.update(conventions.key().encode())
    return digest.hexdigest()[:12]

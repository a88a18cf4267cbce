"""Results of earlier algebra, kept in memory or in a file of a run, so that a resumed run does not compute them again.

A row is valid only for the checker that wrote it: the code of this folder, and the versions of math-verify and its dependencies.
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

_MOST: Final = 50_000  # pairs in memory without a file


class Compared(Row, frozen=True, kw_only=True):
    """One pair of texts as given to math-verify, and the result."""

    checker: str
    reference: str
    prediction: str
    equal: bool | None
    reason: str = ""
    deadline: float | None = None
    """If `reason` is `time`: the seconds it had. With more it is tried again."""


class Cache:
    """Comparisons by their texts. With a `path` they are loaded from it, and each new one is appended immediately."""

    def __init__(self, path: Path | None = None, conventions: Conventions = DEFAULT) -> None:
        self._found: dict[Question, Compared] = {}
        self._journal = None if path is None else Journal(path, Compared)
        known = {checker(conventions): conventions for conventions in (DEFAULT, conventions)}
        for row in self._journal or ():
            if row.checker in known:
                self._found[Question(row.reference, row.prediction, known[row.checker])] = row

    def get(self, question: Question, deadline: float) -> Comparison | None:
        """The known result, unless it is a timeout with a shorter deadline."""
        row = self._found.get(question)
        if row is None or (row.deadline is not None and row.deadline < deadline):
            return None
        return Comparison(row.equal, row.reason)

    def add(self, question: Question, found: Comparison, deadline: float) -> None:
        """Store `found`, unless it is known, or not a result of the texts (a worker killed from outside)."""
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
    """A short id of all code and options that affect a comparison."""
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

"""From numbers for each step to verdicts: the first step below a threshold, and how that threshold is chosen.

>>> first_below((0.9, 0.3, 0.6), 0.5), first_below((0.9, 0.8), 0.5)
(2, -1)
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import NamedTuple, Self, TypeVar

import numpy as np

from deepcritic.errors import InputError
from deepcritic.keyed import KeyedRows, digest_of
from deepcritic.metrics import harmonic_f1
from deepcritic.progress import Progress
from deepcritic.rows import ALL_CORRECT, SETTLED, Failure, Scores
from deepcritic.runs import RunFolder
from deepcritic.scorers import Scorer, key_of

T = TypeVar("T")


class Choice(NamedTuple):
    """A threshold, and the F1 (a fraction) that it gives on the rows on which it was chosen."""

    threshold: float
    f1: float


def first_below(values: Sequence[float], threshold: float) -> int:
    """The first step, from 1, whose number is below the threshold; `ALL_CORRECT` if none is."""
    return next((step for step, value in enumerate(values, start=1) if value < threshold), ALL_CORRECT)


def best_threshold(rows: Iterable[tuple[Sequence[float], int]]) -> Choice:
    """The threshold with the highest F1 on rows of `(numbers of the steps, first error)`; of equal ones the lowest.

    A row with its first error at step e is judged right by the thresholds above its number at e, up to the least number
    before e; a row without one by those up to its least number. So F1 changes at these numbers only, and one pass over
    them in order finds the best; the threshold is put halfway to the next.

    >>> best_threshold([((0.9, 0.25), 2), ((0.75, 0.8), -1)])
    Choice(threshold=0.5, f1=1.0)
    """
    opens: list[float] = []
    closes: list[float] = []
    closes_fine: list[float] = []
    errors = 0
    for values, first_error in rows:
        if first_error == ALL_CORRECT:
            closes_fine.append(min(values))
            continue
        errors += 1
        least = min(values[: first_error - 1], default=np.inf)
        if values[first_error - 1] < least:
            opens.append(values[first_error - 1])
            closes.append(least)
    if not errors or not closes_fine:
        missing = "with an error" if closes_fine else "without an error"
        remedy = "rows with and without an error"
        raise InputError(f"no threshold can be chosen without rows {missing}", field="stage.threshold_on", remedy=remedy)
    # At a threshold just above edge k, rows are right whose interval has opened by k and closes after it.
    edges = np.unique(np.array([0.0, *opens, *closes_fine, *(value for value in closes if value < np.inf)]))
    opened = np.searchsorted(np.sort(opens), edges, side="right")
    closed = np.searchsorted(np.sort(closes), edges, side="right")
    found = (opened - closed) / errors
    seen = 1 - np.searchsorted(np.sort(closes_fine), edges, side="right") / len(closes_fine)
    f1s = [harmonic_f1(float(a), float(b)) for a, b in zip(found, seen, strict=True)]
    best = int(np.argmax(f1s))
    above = float(edges[best + 1]) if best + 1 < edges.size else float(edges[best]) + 1e-3
    return Choice((float(edges[best]) + above) / 2, f1s[best])


class KeptScores:
    """The scores of one stage: a journal while it runs, a file in order of id when it is finished.

    A solution that failed for good is kept as such and not scored again. The scorer is entered once something is to be scored.
    """

    def __init__(self, folder: RunFolder, failures: str = "failures.jsonl") -> None:
        self._folder = folder
        self._rows = KeyedRows(folder / "scores.jsonl", Scores)
        self._failures = KeyedRows(folder / failures, Failure)
        self._tokens = 0

    def __enter__(self) -> Self:
        self._tokens = sum(head.prompt_tokens for head in self._rows.open())
        for _ in self._failures.open(lambda head: head.reason in SETTLED):
            pass
        if len(self._rows):
            print(f"{self._rows.path}: going on after {len(self._rows)} rows")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._rows.close()
        self._failures.close()

    def collect(self, items: Sequence[tuple[str, T]], scorer: Scorer[T]) -> dict[str, tuple[float, ...]]:
        """Score what is missing; returns the numbers by id, without the items that failed."""
        digests = [digest_of(key_of(name)) for name, _ in items]
        kept = [digest in self._rows or digest in self._failures for digest in digests]
        missing = [item for item, known in zip(items, kept, strict=True) if not known]
        trouble: Counter[str] = Counter()
        with Progress("solutions") as progress, contextlib.ExitStack() as opened:
            progress.expect(len(items))
            progress.advance(len(items) - len(missing))
            if missing:
                opened.enter_context(scorer)
            for outcome in scorer.score(missing) if missing else ():
                if isinstance(outcome, Failure):
                    self._failures.append(outcome)
                    trouble.update([] if outcome.settled else [outcome.reason])
                    progress.advance(failed=1)
                else:
                    self._rows.append(outcome)
                    self._tokens += outcome.prompt_tokens
                    progress.advance(tokens=outcome.prompt_tokens)
        self._folder.account({}, trouble)
        return {row.key.example_id: row.values for row in self._rows.rows(digests)}

    def finish(self) -> dict[str, int]:
        """Put the rows in order; returns counts, which the manifest gets as well."""
        counts = {"scored": self._rows.put_in_order(), "failures": self._failures.put_in_order(), "prompt": self._tokens}
        self._folder.account(counts, {})
        return counts

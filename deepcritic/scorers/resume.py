"""Saves scores in a run folder, so that a restarted stage scores only the missing items."""

from __future__ import annotations

import contextlib
import logging
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self, TypeVar

from deepcritic.runs.folder import RunFolder
from deepcritic.runs.keyed_jsonl import JsonlIndex, digest_of
from deepcritic.runs.progress import Progress
from deepcritic.schema import PERMANENT, Failure, Scores
from deepcritic.scorers.base import Scorer, key_of

LOG = logging.getLogger(__name__)

T = TypeVar("T")


class KeptScores:
    """The scores of one stage: a journal while it runs, and a file sorted by id when it is finished.

    A permanent failure is kept and not scored again. The scorer is entered at the first item to score.
    """

    def __init__(self, folder: RunFolder, failures: str = "failures.jsonl") -> None:
        self._folder = folder
        self._rows = JsonlIndex(folder / "scores.jsonl", Scores)
        self._failures = JsonlIndex(folder / failures, Failure)
        self._tokens = 0

    def __enter__(self) -> Self:
        self._tokens = sum(header.prompt_tokens for header in self._rows.open())
        for _ in self._failures.open(lambda header: header.reason in PERMANENT):
            pass
        if len(self._rows):
            LOG.info(f"{self._rows.path}: resuming after {len(self._rows)} rows")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._rows.close()
        self._failures.close()

    def collect(self, items: Sequence[tuple[str, T]], scorer: Scorer[T]) -> dict[str, tuple[float, ...]]:
        """Score the missing items; returns the numbers by id, without failed items."""
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
                    trouble.update([] if outcome.permanent else [outcome.reason])
                    progress.advance(failed=1)
                else:
                    self._rows.append(outcome)
                    self._tokens += outcome.prompt_tokens
                    progress.advance(tokens=outcome.prompt_tokens)
        self._folder.account({}, trouble)
        return {row.key.example_id: row.values for row in self._rows.rows(digests)}

    def finish(self) -> dict[str, int]:
        """Sort the rows; returns counts, which are also written to the manifest."""
        counts = {"scored": self._rows.put_in_order(), "failures": self._failures.put_in_order(), "prompt": self._tokens}
        self._folder.account(counts, {})
        return counts

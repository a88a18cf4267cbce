"""Scorer that serves saved scores, so that another threshold needs no model.

RecordedScorer("runs/mine/evaluate/scores.jsonl")
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from deepcritic.datasets.own import rows_of
from deepcritic.errors import InputError
from deepcritic.runs.folder import existing
from deepcritic.runs.jsonl import file_sha256
from deepcritic.schema import Failure, Item, Scores
from deepcritic.scorers.base import key_of


class RecordedScorer:
    """Serves the `Scores` rows of a file; a missing item is a `Failure`."""

    def __init__(self, path: str | Path) -> None:
        self.path = existing(Path(path), "scores")
        self._rows: dict[str, Scores] = {}
        for row in rows_of(self.path, Scores):
            if row.key.example_id in self._rows:
                expected = "one row per example"
                raise InputError(
                    "duplicate scores", file=self.path, field="example_id", found=row.key.example_id, expected=expected
                )
            self._rows[row.key.example_id] = row
        self._id = f"recorded#{file_sha256(self.path)[:12]}"

    @property
    def model_id(self) -> str:
        return self._id

    def score(self, items: Iterable[tuple[str, Item]]) -> Iterator[Scores | Failure]:
        for name, item in items:
            row = self._rows.get(name)
            if row is None:
                detail = f"{self.path} has no scores for {name}"
                yield Failure(key=key_of(name), reason="not_recorded", detail=detail)
                continue
            if len(row.values) != len(item.steps):
                expected = f"{len(item.steps)}, one for each step of {name!r}"
                raise InputError(
                    "scores of another solution", file=self.path, field="values", found=len(row.values), expected=expected
                )
            yield row

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

"""The rows of `stage=filter` for the browser: each with its votes, the critiques if a model was asked, and whether it was kept.

for one in filterings(run, manifests):
    print(one.title, [row["outcome"] for row in one.rows])
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from deepcritic.datasets.solutions import read_solutions
from deepcritic.errors import InputError
from deepcritic.evaluation.filtering import ERROR, UNPARSED, fate_of
from deepcritic.evaluation.recorded_votes import find_verdicts
from deepcritic.report.texts import Text
from deepcritic.runs.jsonl import read_json, read_lines
from deepcritic.runs.manifest import Manifest

FILTER: Final = "filter.json"
MOST: Final = 5_000
"""The most rows of a filter in the browser; those of a larger one are spaced evenly."""
OUTCOMES: Final = {None: "kept", ERROR: "dropped", UNPARSED: "no verdict"}


@dataclass(frozen=True)
class Filtering:
    """One finished filter of the run in `path.parent`, with the attributes of an `Evaluation` that the browser reads."""

    path: Path
    manifest: Manifest
    stepwise: bool = True

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def title(self) -> str:
        critic = self.manifest.facts.get("label") or self.manifest.model
        shown = f"{self.name}, {critic}" if critic else self.name
        return f"{shown} ({len(self.rows):,} of {self.total:,} rows)" if len(self.rows) < self.total else shown

    @property
    def model(self) -> str:
        return self.manifest.model or ""

    @cached_property
    def total(self) -> int:
        """The number of rows with verdicts."""
        return sum(1 for _ in read_lines(self.path / "verdicts.jsonl"))

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """At most `MOST` judged rows, each with its `outcome`."""
        accept = float(read_json(self.path / FILTER)["accept"])
        least = int(self._config.get("min_votes") or 1)
        every = max(1, -(-self.total // MOST))
        found = []
        for at, (_, line) in enumerate(read_lines(self.path / "verdicts.jsonl")):
            if at % every == 0:
                row = json.loads(line)
                reason = fate_of(row["verdicts"], accept=accept, min_votes=least).reason
                found.append({**row, "outcome": OUTCOMES[reason] if row["verdicts"] else "no reply"})
        return found

    @cached_property
    def texts(self) -> dict[str, Text]:
        """Problems and steps by row id, from the rows that the stage read or, if these are elsewhere, from those it wrote."""
        source = find_verdicts(str(self.path), "run")
        files = [source.examples] if source.examples else [self.path / "kept.jsonl", self.path / "dropped.jsonl"]
        wanted = {row["id"] for row in self.rows}
        found: dict[str, Text] = {}
        try:
            for file in files:
                for row in read_solutions(str(file), columns=source.columns):
                    if row.id in wanted:
                        found[row.id] = Text(row.item.problem, row.item.steps, row.part, str(row.record.get("license") or ""))
        except (InputError, OSError):  # the rows were moved or changed after the stage had read them
            return found
        return found

    @cached_property
    def _config(self) -> dict[str, Any]:
        path = self.path / "config.json"
        found: dict[str, Any] = read_json(path) if path.is_file() else {}
        return found


def filterings(run: Path, manifests: Mapping[str, Manifest]) -> Iterator[Filtering]:
    """The finished filters of a run."""
    for name, manifest in manifests.items():
        path = run / name
        if manifest.stage == "filter" and (path / "verdicts.jsonl").is_file() and (path / FILTER).is_file():
            yield Filtering(path, manifest)

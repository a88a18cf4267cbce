"""The evaluations of a run, for the report: folder, figures by benchmark, and judged rows.

for evaluation in evaluations(run):
    print(evaluation.name, evaluation.model, [part.samples for part in evaluation.parts.values()])
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from deepcritic.evaluation.load import Metrics, read_metrics
from deepcritic.runs.jsonl import read_lines
from deepcritic.runs.manifest import Manifest, finished_manifests
from deepcritic.runs.renamed_fields import with_current_names
from deepcritic.schema import WITH_ERROR, WITHOUT_ERROR
from deepcritic.tasks.metrics_types import Figures, FirstErrorFigures

MARK: Final = "‡"
"""The mark of a critic that was evaluated otherwise than by its authors, for example with another prompt."""
FAMILIAR = {
    "evaluate.base": "base critic",
    "evaluate.sft": "after SFT",
    "evaluate.rft": "after RFT",
    "evaluate.rl": "after RL",
}


@dataclass(frozen=True)
class Evaluation:
    """One finished evaluation of the run in `path.parent`."""

    path: Path
    manifest: Manifest
    metrics: Metrics

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def title(self) -> str:
        """The critic's label with the evaluation's title, or whichever is set, and `MARK` if it was evaluated otherwise than by
        its authors."""
        return f"{self.plain_title}\u00a0{MARK}" if self.metrics.critic.get("remark") else self.plain_title

    @property
    def plain_title(self) -> str:
        """The title without the mark."""
        label, named = self.metrics.label, "." in self.name
        return f"{label} ({title_of(self.name)})" if label and named else label or title_of(self.name)

    @property
    def model(self) -> str:
        return self.metrics.model or self.manifest.model or ""

    @cached_property
    def stepwise(self) -> bool:
        """Whether verdicts name steps; for other tasks they score responses."""
        return all(row.get("stratum") in (WITH_ERROR, WITHOUT_ERROR) for row in self.rows)

    @property
    def parts(self) -> dict[str, Figures]:
        """The figures of each benchmark."""
        return self.metrics.benchmarks

    @property
    def critic_parts(self) -> dict[str, FirstErrorFigures]:
        """The figures of benchmarks with stepwise solutions."""
        return {name: part for name, part in self.parts.items() if isinstance(part, FirstErrorFigures)}

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """The judged rows as plain values, since types of gold and verdicts vary by task."""
        return [with_current_names(json.loads(line)) for _, line in read_lines(self.path / "verdicts.jsonl")]


def mark_notes(found: Iterable[Evaluation]) -> list[str]:
    """What the mark of each marked critic stands for."""
    marked = {one.plain_title: one.metrics.critic.get("remark") for one in found}
    return [
        f"{MARK} {title}: {remark}, so the figures are not those of its authors' settings."
        for title, remark in marked.items()
        if remark
    ]


def title_of(folder: str) -> str:
    """The display name of an evaluation: the given name, or the stage's.

    >>> title_of("evaluate.rft"), title_of("evaluate.shuffled"), title_of("evaluate")
    ('after RFT', 'shuffled', 'evaluate')
    """
    return FAMILIAR.get(folder) or folder.partition(".")[2] or folder


def place_of(folder: str) -> int:
    """The sort position of an evaluation: those of training stages first, in their order."""
    return [*FAMILIAR, folder].index(folder)


def evaluations(run: Path) -> list[Evaluation]:
    """The finished evaluations of a run: those of training stages first, others by time of finishing."""
    found = []
    for name, manifest in finished_manifests(run):
        path = run / name
        if manifest.stage == "evaluate" and (path / "verdicts.jsonl").is_file() and (path / "metrics.json").is_file():
            found.append(Evaluation(path, manifest, read_metrics(path)))
    return sorted(found, key=lambda one: place_of(one.name))


def compared(found: Iterable[Evaluation], most: int = 4) -> list[Evaluation]:
    """The first `most` evaluations from the largest group with the same benchmarks and number of rows, for one drawing."""
    groups: dict[tuple[Any, ...], list[Evaluation]] = {}
    for one in found:
        if one.stepwise:
            groups.setdefault((tuple(one.parts), one.metrics.examples), []).append(one)
    if not groups:
        return []
    largest = max(groups.values(), key=len)
    return largest[:most]

"""Browsable GRPO groups, sampled over the training: the replies to one prompt with rewards and advantages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from deepcritic.report.chunks import Chunks
from deepcritic.report.plots_training import GROUPS, read_groups
from deepcritic.report.texts import Texts

MOST: Final = 240
"""The most groups shown per training stage; a long training has more."""


def browse_groups(run: Path, chunks: Chunks) -> list[dict[str, Any]]:
    """The groups of each training stage by step. Their texts go into chunks `g0`, `g1`, ..."""
    texts, shown = Texts(run), []
    for number, path in enumerate(sorted(run.glob(f"*/{GROUPS}"))):
        found = read_groups(path.parent)
        chosen = spread(found, MOST)
        rows = []
        for group in chosen:
            text = texts.anywhere(str(group.get("example_id")))
            rows.append([[text.problem, text.parts] if text else None, [_sample(sample) for sample in group["samples"]]])
        shown.append(
            {
                "stage": path.parent.name,
                "of": len(found),
                "steps": [group["step"] for group in chosen],
                "ids": [str(group.get("example_id", "")) for group in chosen],
                "gold": [group.get("gold") for group in chosen],
                "rewards": [[float(sample.get("reward") or 0.0) for sample in group["samples"]] for group in chosen],
                "chunks": chunks.add(f"g{number}", rows),
            }
        )
    return shown


def spread(groups: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """At most `most` groups, spaced evenly.

    >>> [group["step"] for group in spread([{"step": step} for step in range(10)], 3)]
    [0, 4, 9]
    """
    if len(groups) <= most:
        return list(groups)
    return [groups[round(at * (len(groups) - 1) / (most - 1))] for at in range(most)]


def _sample(sample: dict[str, Any]) -> list[Any]:
    return [str(sample.get("text", "")), *(sample.get(key) for key in ("verdict", "reward", "advantage", "finish_reason"))]

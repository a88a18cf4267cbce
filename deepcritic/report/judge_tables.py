"""Tables of judges of responses and of graders of proofs.

for table in (preference_table(found), proof_table(found)):
    print(table["title"] if table else "not measured")
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from deepcritic.evaluation.table import column_title
from deepcritic.report.evaluations import Evaluation
from deepcritic.report.shown import range_of, shown
from deepcritic.report.warnings import below_chance
from deepcritic.tasks.metrics_types import Interval, PointwiseFigures, ProofFigures


def preference_table(found: Sequence[Evaluation]) -> dict[str, Any] | None:
    """One row per judge of responses and benchmark."""
    parts = [(one, name, part) for one in found for name, part in one.parts.items() if isinstance(part, PointwiseFigures)]
    columns: list[tuple[str, list[tuple[float | None, Interval | None]]]] = [
        ("accuracy", [(part.accuracy, part.accuracy_interval) for _, _, part in parts]),
        ("by vote", [(part.vote_accuracy, part.vote_accuracy_interval) for _, _, part in parts]),
        ("of two", [(part.pairwise_accuracy, part.pairwise_accuracy_interval) for _, _, part in parts]),
        ("ROC-AUC", [(part.roc_auc, part.roc_auc_interval) for _, _, part in parts]),
        ("unparsed", [(part.unparsed_rate, part.unparsed_rate_interval) for _, _, part in parts]),
    ]
    measured = [(title, cells) for title, cells in columns if any(value is not None for value, _ in cells)]
    head = ["judge", "benchmark", "rows", *(title for title, _ in measured), "chance level"]
    rows = [
        [
            one.title, column_title(name), part.examples, *(_with_range(*cells[row]) for _, cells in measured),
            "" if part.chance_accuracy is None else f"{part.chance_accuracy:.1f}{' †' if below_chance(part) else ''}",
        ]
        for row, (one, name, part) in enumerate(parts)
    ]  # fmt: skip
    notes = ["† The judge is not shown to beat guessing."] if any(below_chance(part) for _, _, part in parts) else []
    table = {"title": "Judged responses, in percent", "head": head, "words": 2, "notes": notes}
    return {**table, "rows": [[shown(cell) for cell in row] for row in rows]} if rows else None


def proof_table(found: Sequence[Evaluation]) -> dict[str, Any] | None:
    """One row per grader of proofs and benchmark."""
    parts = [(one, name, part) for one in found for name, part in one.parts.items() if isinstance(part, ProofFigures)]
    head = ["critic", "benchmark", "rows", "exact grades", "mean absolute error", "kappa", "exact, by vote", "unparsed",
            "error of the best constant"]  # fmt: skip
    rows = [
        [
            one.title, name, part.examples, _with_range(part.accuracy, part.accuracy_interval),
            _with_range(part.mae, part.mae_interval), _with_range(part.kappa, part.kappa_interval),
            _with_range(part.vote_accuracy, part.vote_accuracy_interval),
            _with_range(part.unparsed_rate, part.unparsed_rate_interval),
            None if part.constant_baseline is None else part.constant_baseline.mae,
        ]
        for one, name, part in parts
    ]  # fmt: skip
    table = {"title": "Graded proofs, in percent", "head": head, "words": 2}
    return {**table, "rows": [[shown(cell) for cell in row] for row in rows]} if rows else None


def _with_range(value: float | None, interval: Interval | None) -> str:
    between = range_of(interval)
    return "" if value is None else f"{value:.1f} ({between})" if between else f"{value:.1f}"

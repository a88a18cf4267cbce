"""Export an evaluation as an Inspect AI log.

python -m deepcritic stage=export run=NAME stage.evaluation=evaluate.rl      # writes runs/NAME/export/evaluate.rl.eval
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from deepcritic.evaluation.inspect_log import write_log
from deepcritic.options import Options, option
from deepcritic.runs.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class ExportOptions(Options):
    """Export an evaluation as an Inspect AI log (.eval)."""

    evaluation: str = option("evaluate", "stage folder of the evaluation, in the same run", group="Data")


def run(folder: RunFolder, options: ExportOptions) -> Path:
    """Write the log and return its path. Every start rewrites it."""
    target = folder.path / f"{options.evaluation}.eval"
    count = write_log(folder.path.parent / options.evaluation, target)
    print(f"{target}: {count:,} samples; view them with: inspect view --log-dir {folder.path}")
    return target

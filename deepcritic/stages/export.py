"""Hand an evaluation on in a form that others read: a log of Inspect AI.

python -m deepcritic stage=export run=NAME stage.evaluation=evaluate.rl      # writes runs/NAME/export/evaluate.rl.eval
"""

from __future__ import annotations

from pathlib import Path

from deepcritic.evaluation.inspect_log import write_log
from deepcritic.runs.folder import RunFolder


def run(folder: RunFolder, *, evaluation: str = "evaluate") -> Path:
    """Returns the file. `evaluation` is the name of a finished evaluation in the same run; it is written anew each time."""
    target = folder.path / f"{evaluation}.eval"
    count = write_log(folder.path.parent / evaluation, target)
    print(f"{target}: {count:,} samples; look at them with: inspect view --log-dir {folder.path}")
    return target

"""Draw a run: `summary.json` beside its stages, and `report/index.html`, one page that works without a network.

python -m deepcritic stage=report run=NAME
python -m deepcritic stage=report run=NAME stage.beside=runs/OTHER      # the critiques of two runs side by side
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deepcritic.errors import InputError
from deepcritic.extras import require_for_stages
from deepcritic.report.page import write_page
from deepcritic.report.summary import summarise
from deepcritic.report.tables import tables
from deepcritic.runs.folder import RunFolder, finished_manifests
from deepcritic.runs.jsonl import write_json


def run(folder: RunFolder, *, beside: str | None = None, seed: int = 0) -> dict[str, Any]:
    """Returns the summary. It is drawn anew each time: nothing here is expensive. `beside` is the folder of another run."""
    require_for_stages("report")
    root = folder.path.parent
    for field, place in (("run", root), ("stage.beside", Path(beside) if beside else root)):
        if not dict(finished_manifests(place)):
            expected = "a run folder with a manifest.json"
            raise InputError("no finished stage to report on", field=field, found=str(place), expected=expected)
    summary = {**summarise(root), "seed": seed}
    write_json(root / "summary.json", summary)
    written = write_page(root, folder.path, summary, beside=Path(beside) if beside else None)
    console = Console() if sys.stdout.isatty() else Console(width=100)
    for table in tables(summary):
        shown = Table(title=Text(table["title"]), title_justify="left")
        for index, cell in enumerate(table["head"]):
            shown.add_column(Text(cell), justify="right" if index else "left")
        for row in table["rows"]:
            shown.add_row(*map(Text, row))
        console.print(shown)
    print(f"{root / 'summary.json'}\n{written.file}{' (with the files in data/ beside it)' if written.beside else ''}")
    return summary

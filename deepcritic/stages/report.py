"""Render a run: `summary.json` beside its stages, and `report/index.html`, a single offline page.

python -m deepcritic stage=report run=NAME
python -m deepcritic stage=report run=NAME stage.compare_with=runs/OTHER      # the critiques of two runs side by side
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from deepcritic.errors import InputError
from deepcritic.options import Options, option
from deepcritic.report.overview import RUN
from deepcritic.report.page import write_page
from deepcritic.report.summary import summarise
from deepcritic.report.tables import tables
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import write_json
from deepcritic.runs.manifest import finished_manifests


@dataclass(frozen=True, kw_only=True)
class ReportOptions(Options):
    """Write a run's report: one HTML page with figures, plots and every critique."""

    compare_with: str | None = option(
        None, "folder of another run, to show its critiques next to this run's", group="Report", was="beside"
    )
    seed: int = option(0, "the run's seed, as written into summary.json", top=True)


def run(folder: RunFolder, options: ReportOptions) -> dict[str, Any]:
    """Return the summary. Every start renders the page again."""
    root = folder.path.parent
    other = Path(options.compare_with) if options.compare_with else None
    for field, place in (("run", root), ("stage.compare_with", other or root)):
        if not dict(finished_manifests(place)):
            expected = "a run folder with a manifest.json"
            raise InputError("no finished stage to report on", field=field, found=str(place), expected=expected)
    summary = {**summarise(root), "seed": options.seed}
    write_json(root / "summary.json", summary)
    written = write_page(root, folder.path, summary, beside=other)
    console = Console() if sys.stdout.isatty() else Console(width=120)
    for table in [*(table for table in written.tables if table["title"] != RUN), *tables(summary)[-1:]]:
        shown = Table(title=Text(table["title"]), title_justify="left")
        for index, cell in enumerate(table["head"]):
            shown.add_column(
                Text(cell), justify="left" if index in (0, table.get("text_at", 0) - 1) else "right", overflow="fold"
            )
        for row in table["rows"]:
            shown.add_row(*(Text(cell if isinstance(cell, str) else "\n".join(cell[:2])) for cell in row))
        console.print(shown)
        for note in table.get("notes", ()):
            console.print(Text(note if isinstance(note, str) else ", ".join(note)), soft_wrap=True)
    print(f"{root / 'summary.json'}\n{written.file}{' (with the files in data/ next to it)' if written.beside else ''}")
    return summary

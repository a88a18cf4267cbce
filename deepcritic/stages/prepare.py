"""Read a public data set, convert its conventions once, and write `examples.jsonl`.

python -m deepcritic stage=prepare source=prm800k source.path=phase1.jsonl.gz run=NAME
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from deepcritic.datasets.base import Report
from deepcritic.errors import UsageError
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import Dialogue, Example, Preference
from deepcritic.shipped import shipped_path

FILE = "examples.jsonl"


def run(
    folder: RunFolder,
    *,
    source: Callable[..., Iterable[Example] | Iterable[Dialogue] | Iterable[Preference]] | None,
    limit: int | None = None,
    shuffle: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns the manifest. `shuffle` before `limit` takes a random part; it holds all rows in memory.

    A source of dialogues, which others have written, gives `dialogues.jsonl` for `stage=sft`.
    """
    if source is None:
        raise UsageError("no source is named: give source=prm800k source.path=FILE, or another of conf/source/")
    path = getattr(source, "keywords", {}).get("path")
    inside = {"source": Path(shipped_path(path))} if path and Path(shipped_path(path)).is_file() else {}
    if not folder.begin(**inside):
        return folder.manifest or {}
    report = Report()
    rows: Iterable[Example | Dialogue | Preference] = source(report=report)
    if shuffle:
        rows = list(rows)
        random.Random(seed).shuffle(rows)
    waiting = iter(rows)
    first = list(itertools.islice(waiting, 1))
    file = "dialogues.jsonl" if any(isinstance(row, Dialogue) for row in first) else FILE
    kept = 0

    def limited() -> Iterable[Example | Dialogue | Preference]:
        nonlocal kept
        for row in itertools.chain(first, waiting):
            if limit is not None and kept >= limit:
                break
            kept += 1
            yield row

    write_rows(folder / file, limited())
    for error in report.bad:
        print(f"set aside: {error}")
    print(f"{folder.path}: {kept} {Path(file).stem}")
    return folder.finish(read=dict(report.counts), set_aside=[str(error) for error in report.bad])

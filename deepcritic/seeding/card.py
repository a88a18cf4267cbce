"""The data set in the hub's layout: the rows, and a card with their sources, recipe and licences."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any, Final

from deepcritic.hub.publishing import card
from deepcritic.runs.jsonl import read_rows, replacing
from deepcritic.schema import Dialogue
from deepcritic.seeding.dialogues import NO_LICENSE
from deepcritic.seeding.funnel import as_text, read_funnel

ROWS: Final = "data/train.jsonl"
_NOT_TOLD: Final = ("examples", "generations", "teacher", "push")
"""Settings that are local paths, or do not affect the rows."""


def lay_out(run: Path, folder: Path) -> None:
    """Write the card and the rows of a finished run of `stage=seed` into `folder`."""
    (folder / ROWS).parent.mkdir(parents=True, exist_ok=True)
    with (run / "dialogues.jsonl").open("rb") as rows, replacing(folder / ROWS) as copy:
        shutil.copyfileobj(rows, copy)
    with replacing(folder / "README.md") as file:
        file.write(data_card(run).encode())


def data_card(run: Path) -> str:
    manifest = json.loads((run / "manifest.json").read_text("utf-8"))
    config = json.loads((run / "config.json").read_text("utf-8"))
    rows = list(read_rows(run / "dialogues.jsonl", Dialogue))
    sources = Counter((row.source, row.license or NO_LICENSE) for row in rows)
    licenses = sorted({license for _, license in sources})
    settings = {
        key: value
        for key, value in config.items()
        if key not in _NOT_TOLD and not key.startswith("_") and not key.endswith("_template") and key.isidentifier()
    }
    facts: dict[str, Any] = {
        "pretty_name": "Seed critiques of step-by-step mathematics",
        "language": ["en"],
        "task_categories": ["text-generation"],
        "tags": ["critique", "mathematics", "process-supervision", "deepcritic"],
        "size_categories": [_size(len(rows))],
        "configs": [{"config_name": "default", "data_files": [{"split": "train", "path": ROWS}]}],
    }
    if len(licenses) == 1 and licenses[0] != NO_LICENSE:
        facts["license"] = licenses[0].lower()
    else:
        facts |= {"license": "other", "license_name": "by-row"}
    told_in_tables = {
        "sources": _table(("source", "licence", "rows"), [(*of, count) for of, count in sorted(sources.items())]),
        "labels": _table(("first wrong step", "dialogues"), list(manifest["labels"].items())),
        "settings": _table(("setting", "value"), [(key, json.dumps(value)) for key, value in settings.items()]),
    }
    text = _TEXT.format(
        count=len(rows), task=rows[0].task if rows else "", model=manifest["model"], recipe=manifest["recipe"],
        package=manifest["package"],
        funnel=as_text(read_funnel(manifest["funnel"])), prompts=config["content of prompts"], **told_in_tables,
    )  # fmt: skip
    return card(facts, text)


_TEXT: Final = """
# Seed critiques of step-by-step mathematics

{count} dialogues for training a critic to check a solution step by step and name its first wrong step. Each prompt is
the evaluation prompt (task `{task}`). Each reply has a critique of each step and, on its last line, the verdict in a box: the
number of the first wrong step, from 1, or -1 if all steps are right.

The critiques were written by `{model}` with the recipe `{recipe}` of deepcritic {package}, after DeepCritic
(arXiv 2505.00662). Only critiques that agree with the human labels were kept.

    datasets.load_dataset("THIS_DATA_SET", split="train")

## Sources and licences

Each row has the `source` and `license` of its problem and solution. The licence of the model that wrote the critiques may
add conditions; check it before training.

{sources}

## Labels

{labels}

## From solutions to dialogues

Solutions remaining after each rule, and solutions dropped by it:

```text
{funnel}
```

## Settings

Prompt hashes, in the order of the calls: {prompts}.

{settings}

## Fields

`id`, `task`, `messages` (`role`, `content`), `verdict`, `provenance` (the keys of its samples:
example, call, step, sample), `source`, `license`, `schema`.
"""


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return " ".join(str(value).split()).replace("|", "\\|")


def _size(count: int) -> str:
    """The hub's size category for this number of rows.

    >>> _size(4500)
    '1K<n<10K'
    """
    bounds = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
    return next((word for bound, word in bounds if count < bound), "1M<n<10M")

"""MR-GSM8K in the shape that DeepCritic gave it: as ProcessBench, but every step begins with its own heading "Step k: ".

The headings go; a step that is nothing else (the first one of row 98) stays as an empty step, since the label counts it. The
`id` is a number and becomes `mr_gsm8k-17`. `final_answer_correct` repeats the label and is left out; `generator` is always
empty.

    for row in mr_gsm8k.read("mr_gsm8k/processed_test_first_half.json"): ...
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from deepcritic.rows import Example, Gold, Item
from deepcritic.sources import Report, convert_rows, take, take_label, take_steps, unnumbered
from deepcritic.sources.reading import Record

SOURCE = "mr_gsm8k"
LICENSE = "MIT"


def read(
    path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    split: str | None = None,
    max_bad: int = 0,
    report: Report | None = None,
) -> Iterator[Example]:
    """The rows of the file `processed_test.json` of RUCBM/DeepCritic, or of a part of it."""
    return convert_rows(path, _example, revision=revision, split=split, max_bad=max_bad, report=report)


def _example(record: Record) -> Example:
    steps = take_steps(record, "steps")
    return Example(
        id=f"mr_gsm8k-{take(record, 'id', int)}",
        item=Item(problem=take(record, "problem", str), steps=unnumbered(steps)),
        gold=Gold(first_error=take_label(record, "label", len(steps))),
        source=SOURCE,
        license=LICENSE,
    )

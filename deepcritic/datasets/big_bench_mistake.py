"""BIG-Bench-Mistake, multistep arithmetic: solutions by PaLM 2 with the first mistake marked by people.

`mistake_index` counts from 0 and is null if no mistake was marked (in 18 rows although the answer is wrong; these labels are kept
as given). Ids are hashes of the content.

    for row in big_bench_mistake.read("big_bench_mistake/multistep_arithmetic.jsonl"): ...
"""

from __future__ import annotations

from deepcritic.datasets.base import reader
from deepcritic.datasets.fields import take, take_label, take_steps, unnumbered
from deepcritic.datasets.reading import Record
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item, content_id

SOURCE = "big_bench_mistake"
LICENSE = "Apache-2.0"


def _example(record: Record) -> Example:
    """The rows of a file of WHGTyen/BIG-Bench-Mistake whose steps are mathematics."""
    problem, steps = take(record, "input", str), take_steps(record, "steps")
    target = take(record, "target", str).strip()
    unmarked = "mistake_index" in record and record["mistake_index"] is None
    return Example(
        id=content_id(SOURCE, problem, steps),
        item=Item(problem=problem, steps=unnumbered(steps), meta={"generator": "PaLM 2"}),
        gold=Gold(
            first_error=ALL_CORRECT if unmarked else take_label(record, "mistake_index", len(steps)),
            reference_answer=target,
            answer_right=take(record, "answer", str).strip() == target,
        ),
        source=SOURCE,
        license=LICENSE,
    )


read = reader(_example)

"""ProcessBench: solutions by several models, with the first wrong step marked by people.

Its `label` counts from 0; your own rows in this form may count from 1 (`index_base=1`). Its steps are not numbered, with few
exceptions ("### Step 2: ..." within the text). A heading with the step's own position is removed; one with another number is text
and stays. `final_answer_correct` hints at the label, so it is gold, which the critic never sees. `item.meta` names the
`generator` and the `subset`.

    for row in processbench.read("processbench/math.json.gz"): ...

Other sets have the same form, such as the test split of PRM800K that DeepCritic was evaluated on. `source` names them; a numeric
`id` gets that name as prefix, and a row without an `id` gets its number in the file, from 0.
"""

from __future__ import annotations

from deepcritic.datasets.base import reader
from deepcritic.datasets.fields import take, take_id, take_label, take_steps, unnumbered
from deepcritic.datasets.reading import Record
from deepcritic.schema import Example, Gold, Item

SOURCE = "processbench"
LICENSE = "Apache-2.0"


def _example(record: Record, *, source: str = SOURCE, license: str = LICENSE, index_base: int = 0) -> Example:
    """The rows of a subset's file, or of `Qwen/ProcessBench` on the hub (`split`: gsm8k, math, olympiadbench or omnimath)."""
    identity = f"{source}-{record['id']}" if type(record.get("id")) is int else take_id(record)
    steps = take_steps(record, "steps")
    meta = {"subset": identity.rpartition("-")[0] or source}
    if "generator" in record:
        meta["generator"] = take(record, "generator", str)
    right = take(record, "final_answer_correct", bool) if "final_answer_correct" in record else None
    return Example(
        id=identity,
        item=Item(problem=take(record, "problem", str), steps=unnumbered(steps), meta=meta),
        gold=Gold(first_error=take_label(record, "label", len(steps), index_base), answer_right=right),
        source=source,
        license=license,
    )


read = reader(_example)

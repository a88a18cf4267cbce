"""RewardBench 2 (arXiv 2506.01937) and RM-Bench (arXiv 2410.16184): right and wrong responses, for `task=pointwise`.

One record makes several questions. `item.meta` identifies the record of each, so that the authors' scores can be computed
(`deepcritic.evaluation.benchmark_scores`); it does not reveal which response is right.

    for row in rewardbench_2("rewardbench_2.parquet"): ...
    for row in rm_bench("total_dataset.json"): ...
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from deepcritic.datasets.base import reader
from deepcritic.datasets.fields import take
from deepcritic.datasets.preference_pairs import check_best
from deepcritic.datasets.reading import Record
from deepcritic.errors import InputError
from deepcritic.schema import Preference, Preferred, Responses

LICENSE: Final = "ODC-BY"
TIES: Final = "Ties"
"""The subset of RewardBench 2 with many right responses, each scored by itself."""
STYLES: Final = 3
"""RM-Bench gives each response in three styles, in this order: concise, detailed, detailed with Markdown."""
_TIES_ID: Final = re.compile(r"(?:ref|tied):\d+")


def _rewardbench_2(record: Record) -> tuple[Preference, ...]:
    """The rows of RewardBench 2: one question about a right response among wrong ones, in an order derived from the id; in the
    subset Ties one question about each response. A file, or `allenai/reward-bench-2` with split `test`."""
    name, subset, query = (take(record, field, str) for field in ("id", "subset", "prompt"))
    right, wrong = _texts(record, "chosen"), _texts(record, "rejected")
    if subset == TIES:
        if not _TIES_ID.fullmatch(name):
            raise InputError("not an id of this subset", field="id", found=name, expected="ref:NUMBER or tied:NUMBER")
        singles = enumerate([*((text, 1.0) for text in right), *((text, 0.0) for text in wrong)])
        return tuple(
            Preference(
                id=f"rewardbench_2-{name}/{_mark(name, str(at))}",
                item=Responses(query=query, responses=(text,), meta={"domain": TIES, "group": name}),
                gold=Preferred(scores=(score,)),
                source="rewardbench_2",
                license=LICENSE,
            )
            for at, (text, score) in singles
        )
    if len(right) != 1:
        raise InputError("several best responses", field="chosen", found=f"{len(right)} texts", expected="one, outside Ties")
    order = sorted(range(1 + len(wrong)), key=lambda at: _mark(name, str(at)))
    texts = [*right, *wrong]
    row = Preference(
        id=f"rewardbench_2-{subset}-{name}",
        item=Responses(query=query, responses=tuple(texts[at] for at in order), meta={"domain": subset}),
        gold=Preferred(best=order.index(0) + 1),
        source="rewardbench_2",
        license=LICENSE,
    )
    check_best(row)
    return (row,)


def _rm_bench(record: Record) -> tuple[Preference, ...]:
    """The rows of RM-Bench: nine pairs of a right and a wrong response, each in three styles. A file, or `THU-KEG/RM-Bench`."""
    domain, query = take(record, "domain", str), take(record, "prompt", str)
    number = record.get("id")
    name = str(number) if type(number) is int else take(record, "id", str)
    right, wrong = _texts(record, "chosen"), _texts(record, "rejected")
    for field, texts in (("chosen", right), ("rejected", wrong)):
        if len(texts) != STYLES:
            raise InputError("not three styles", field=field, found=f"{len(texts)} texts", expected=f"{STYLES}")
    rows = []
    for one in range(STYLES):
        for other in range(STYLES):
            if right[one] == wrong[other]:
                raise InputError("two best responses", field="rejected", found=wrong[other][:80], expected="another text")
            first = int(_mark(name, f"{one}{other}"), 16) % 2 == 0
            rows.append(
                Preference(
                    id=f"rm_bench-{domain}-{name}/{one}{other}",
                    item=Responses(
                        query=query,
                        responses=(right[one], wrong[other]) if first else (wrong[other], right[one]),
                        meta={"domain": domain, "styles": [one, other]},
                    ),
                    gold=Preferred(best=1 if first else 2),
                    source="rm_bench",
                    license=LICENSE,
                )
            )
    return tuple(rows)


def _texts(record: Record, name: str) -> list[str]:
    texts = take(record, name, list)
    if not texts or any(not isinstance(text, str) for text in texts):
        raise InputError("not responses", field=name, found=texts[:2], expected="a list of at least one text")
    return texts


def _mark(name: str, part: str) -> str:
    """The sort key of a response: deterministic, and independent of which response is right."""
    return hashlib.blake2b(f"{name}/{part}".encode(), digest_size=6).hexdigest()


rewardbench_2 = reader(_rewardbench_2)
rm_bench = reader(_rm_bench)

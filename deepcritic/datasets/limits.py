"""A subset of a stream, selected by a hash of the ids within each class, as the first rows of a file often share a class.

The selection is that of `deepcritic.metrics.subset`; it depends only on ids and classes. At most `count` rows of each class are
held in memory.

>>> from deepcritic.schema import Example, Gold, Item
>>> labels = [1, 1, 1, 1, 1, 1, -1, -1]
>>> item = Item(problem="1 + 1?", steps=("2",))
>>> rows = [Example(id=f"r{at}", item=item, gold=Gold(first_error=label), source="made") for at, label in enumerate(labels)]
>>> [row.gold.first_error for row in limited(rows, 4)]
[1, 1, 1, -1]
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterable, Iterator
from typing import Any, TypeVar

from deepcritic.metrics.subset import hash_of
from deepcritic.schema import ALL_CORRECT, Dialogue, Example

R = TypeVar("R")


def limited(rows: Iterable[R], count: int | None) -> Iterator[R]:
    """`count` of `rows` in their original order, in proportion to the classes; all rows if `count` is None."""
    if count is None:
        yield from rows
        return
    sizes: dict[Hashable, int] = {}
    lowest: dict[Hashable, list[tuple[int, int, R]]] = {}  # the rows of each class with the lowest hashes, highest first
    for position, row in enumerate(rows):
        name = class_of(row)
        sizes[name] = sizes.get(name, 0) + 1
        held = lowest.setdefault(name, [])
        entry = (-int.from_bytes(hash_of(row.id)), -position, row)  # type: ignore[attr-defined]  # every row has an id
        if len(held) < count:
            heapq.heappush(held, entry)
        elif held and entry[:2] > held[0][:2]:
            heapq.heapreplace(held, entry)
    chosen = []
    for name, held in lowest.items():
        best = sorted(held, key=lambda entry: entry[:2], reverse=True)
        chosen += [((rank + 0.5) / sizes[name], -digest, -position, row) for rank, (digest, position, row) in enumerate(best)]
    kept = sorted(chosen, key=lambda entry: entry[:3])[:count]
    yield from (row for _, _, _, row in sorted(kept, key=lambda entry: entry[2]))


def class_of(row: Any) -> Hashable:
    """The class of a row by its gold or its verdict."""
    if isinstance(row, Example):
        gold = row.gold
        return gold.first_error == ALL_CORRECT if isinstance(gold.first_error, int) else None, gold.answer_right, gold.grade
    return row.verdict == ALL_CORRECT if isinstance(row, Dialogue) else None

"""A representative subset of rows."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence


def subset(names: Sequence[str], count: int | None, classes: Sequence[Hashable] | None = None) -> list[int]:
    """The positions of `count` rows, ascending. All positions if `count` is None.

    The subset is stratified by class. In each class the rows with the lowest hash of their name are taken, since the first rows
    of a file are often all of one class. The choice depends on names and classes alone, and a smaller subset is part of a larger
    one.

    >>> subset(["a", "b", "c", "d"], 2, classes=["wrong", "wrong", "right", "right"])
    [0, 3]
    """
    if count is None or count >= len(names):
        return list(range(len(names)))
    groups: dict[Hashable, list[int]] = {}
    for position in range(len(names)):
        groups.setdefault(None if classes is None else classes[position], []).append(position)
    order: list[tuple[float, bytes, int]] = []
    for positions in groups.values():
        hashed = sorted((hash_of(names[position]), position) for position in positions)
        order += [((rank + 0.5) / len(hashed), digest, position) for rank, (digest, position) in enumerate(hashed)]
    return sorted(position for _, _, position in sorted(order)[:count])


def hash_of(name: str) -> bytes:
    """The sort key of a row: a 16-byte hash of its name."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()

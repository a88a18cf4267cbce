"""Our own labelled rows of whatever kind a task asks about.

rows = list(read("labelled.jsonl", task.row))
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from deepcritic.datasets import examples, preference_pairs
from deepcritic.schema import Example, Preference, Row


def read(path: str | os.PathLike[str], kind: type[Row]) -> Iterator[Example] | Iterator[Preference]:
    """The rows of a file, with their gold checked."""
    return preference_pairs.read(path) if kind is Preference else examples.read(path)

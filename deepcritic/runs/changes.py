"""Compare a run folder's configuration with the one of a restart.

>>> before, now = {"samples": 4, "rows": "a.jsonl"}, {"samples": 8, "rows": "./a.jsonl"}
>>> changes(before, now, skipped=set(), extended={"samples"})
([], [Change(key='samples', before=4, now=8)])
>>> changes(before, {**now, "samples": 2}, skipped=set(), extended={"samples"})
([Change(key='samples', before=4, now=2)], [])
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

NOT_HASHED = "_not_hashed_"
"""The configuration key that lists its sibling keys that may change between two starts, as they affect no output row."""
EXTENDS = "_extends_"
"""The key that lists its sibling keys whose change keeps all existing samples: numbers that grow, and rules applied to replies.
The outputs are then rewritten."""
CONTENT = "content of "
"""The prefix of a dependency's name among the keys of a configuration."""


class Change(NamedTuple):
    """A key whose value has changed."""

    key: str
    before: Any
    now: Any

    @property
    def shrinks(self) -> bool:
        return _is_number(self.before) and _is_number(self.now) and self.now < self.before


def changes(
    before: Mapping[str, Any], now: Mapping[str, Any], *, skipped: set[str], extended: set[str]
) -> tuple[list[Change], list[Change]]:
    """`(conflicts, extensions)` between two flat configurations, in the order of their keys.

    A changed path is skipped if its content is compared separately, or if both paths lead to the same file.
    """
    conflicts: list[Change] = []
    extensions: list[Change] = []
    for key in sorted(now.keys() | before.keys()):
        change = Change(key, before.get(key), now.get(key))
        if key in skipped or _same(change.before, change.now) or _by_content(key, before, now):
            continue
        (extensions if key in extended and not change.shrinks else conflicts).append(change)
    return conflicts, extensions


def flatten(config: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Flatten nested mappings to dotted keys.

    >>> flatten({"a": {"b": 1, "c": [2]}})
    {'a.b': 1, 'a.c': [2]}
    """
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if key not in {NOT_HASHED, EXTENDS}:
            name = f"{above}{key}"
            flat.update(flatten(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return flat


def listed(config: Mapping[str, Any], name: str = NOT_HASHED, above: str = "") -> set[str]:
    """The dotted keys in all lists of this name in a configuration.

    >>> sorted(listed({"sampler": {"urls": [], "seeds": True, "_not_hashed_": ["urls"]}}))
    ['sampler.urls']
    """
    keys = {f"{above}{key}" for key in config.get(name, ())}
    return keys.union(*(listed(value, name, f"{above}{key}.") for key, value in config.items() if isinstance(value, Mapping)))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return all(map(_same, one, other))
    if one != other and isinstance(one, str) and isinstance(other, str):
        return bool(one and other) and _absolute(one) == _absolute(other)
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _absolute(path: str) -> str:
    """The absolute `path` with links resolved. A text that is not a path is unchanged."""
    try:
        return str(Path(path).expanduser().resolve())
    except (OSError, RuntimeError, ValueError):
        return path


def _by_content(key: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Whether the option `key` names files whose content is compared under another key."""
    names = {f"{CONTENT}{key.removesuffix('.path')}", f"{CONTENT}{key} 0"}
    return any(name in before and name in now for name in names) and None not in (before.get(key), now.get(key))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

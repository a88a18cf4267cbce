"""`manifest.json`, which a stage writes last: its dependencies, row counts and cost.

manifest = read_manifest(Path("runs/demo/solve"))      # None until the stage is finished
manifest.counts["problems"].filtered                   # {"no reference answer": 3}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from deepcritic.errors import InputError
from deepcritic.runs.jsonl import read_json

MANIFEST: Final = "manifest.json"


class RowCounts(msgspec.Struct, frozen=True, kw_only=True, rename={"entered": "in", "kept": "out"}):
    """Rows that went in, came out, failed and were filtered, by reason; written as `in`, `out`, `failed`, `filtered`."""

    entered: int = 0
    kept: int = 0
    failed: dict[str, int] = {}
    filtered: dict[str, int] = {}


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a finished stage.

    `depends` holds hashes of the data and the names of the models, `files` hashes of the row files. Seconds, requests, retries
    and duplicates cover all starts; tokens cover the kept samples. `incomplete` counts temporary failures, which can be retried.
    `facts` holds values specific to the stage.
    """

    stage: str = ""
    package: str = ""
    model: str | None = None
    depends: dict[str, str] = {}
    counts: dict[str, RowCounts] = {}
    files: dict[str, str] = {}
    seconds: float = 0.0
    requests: int = 0
    retries: int = 0
    duplicates: int = 0
    generations: int | None = None
    failures: int | None = None
    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    truncated: int | None = None
    cost: float | None = None
    incomplete: int = 0
    facts: dict[str, Any] = {}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Manifest:
        """Build from the file's JSON values. Raises `msgspec.ValidationError` for a value of the wrong type.

        >>> manifest = Manifest.of({"stage": "solve", "counts": {"problems": {"in": 3, "out": 2}}, "recipe": "all"})
        >>> manifest.counts["problems"].entered, manifest.facts
        (3, {'recipe': 'all'})
        """
        names = set(cls.__struct_fields__) - {"facts"}
        own = {name: value for name, value in values.items() if name in names}
        return msgspec.convert({**own, "facts": {name: value for name, value in values.items() if name not in names}}, cls)


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of the stage in `folder`, or None until it is finished. Raises `InputError` for an invalid file."""
    values = manifest_of(folder)
    if values is None:
        return None
    try:
        return Manifest.of(values)
    except msgspec.ValidationError as error:
        raise InputError(f"not a manifest ({error})", file=folder / MANIFEST) from None


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """The same, as JSON values."""
    path = folder / MANIFEST
    return read_json(path) if path.exists() else None


def finished_manifests(run: Path) -> Iterator[tuple[str, Manifest]]:
    """`(name of the stage's folder, manifest)` of each finished stage of a run, in the order in which they finished."""
    for path in sorted(run.glob(f"*/{MANIFEST}"), key=lambda path: path.stat().st_mtime):
        manifest = read_manifest(path.parent)
        if manifest is not None:
            yield path.parent.name, manifest

"""Rows from `datasets`, pyarrow and pandas: columnar files, folders on disk, the hub, and objects in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from deepcritic.errors import InputError

_INSTALL = "pip install 'deepcritic[datasets]'"


def from_memory(rows: Any, split: str | None = None) -> Iterator[dict[str, Any]]:
    """The rows of a `datasets.Dataset` (or a dictionary of them, by split), of a pandas frame, or of any mappings.

    >>> list(from_memory([{"a": 1, "b": float("nan")}]))
    [{'a': 1, 'b': None}]
    """
    if hasattr(rows, "itertuples") and hasattr(rows, "columns"):
        return _of_frame(rows)
    if isinstance(rows, Mapping):
        return _of_splits(rows, split, type(rows).__name__)
    return _of_mappings(rows)


def from_disk(folder: Path, split: str | None) -> Iterator[dict[str, Any]]:
    """The rows of a folder that `save_to_disk` wrote."""
    datasets = _datasets(str(folder), "reading this folder needs `datasets`, which is not installed")
    try:
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:  # a broken folder can raise anything
        raise InputError(
            f"the folder cannot be read ({_first_line(error)})", file=folder, expected="a folder written by save_to_disk"
        ) from None
    return from_memory(loaded, split)


def from_hub(name: str, revision: str | None, split: str | None, config: str | None) -> Iterator[dict[str, Any]]:
    """The rows of a data set on the hub, from all splits if none is named."""
    shown = f"{name}@{revision}" if revision else name
    datasets = _datasets(shown, "no such file, and `datasets` is not installed")
    try:
        loaded = datasets.load_dataset(name, **({"name": config} if config else {}), revision=revision, split=split)
    except Exception as error:  # the library raises dozens of types for a missing network, name or revision
        expected = "an existing file, or a data set on the hub or in its cache"
        raise InputError(
            f"no such file, and no data set from the hub ({_first_line(error)})", file=shown, expected=expected
        ) from None
    return from_memory(loaded)


def parquet_rows(path: Path, kind: str = "Parquet") -> Iterator[dict[str, Any]]:
    """Stream the rows of a Parquet or Arrow file."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(f"reading {kind} needs `pyarrow`, which is not installed", file=path, remedy=_INSTALL) from None
    try:
        if kind == "Parquet":
            batches = pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=1000)
        else:
            batches = iter(pyarrow.ipc.open_file(path).read_all().to_batches(max_chunksize=1000))
        for batch in batches:
            for row in batch.to_pylist():
                yield plain(row)
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(
            f"the file cannot be read ({_first_line(error)})", file=path, expected=f"a complete {kind} file"
        ) from None


def plain(value: Any) -> Any:
    """The value in built-in Python types: arrays as lists, a missing number (NaN) as None."""
    if isinstance(value, str) or value is None:
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    if hasattr(value, "tolist"):  # a numpy array or scalar
        return plain(value.tolist())
    return None if type(value).__name__ in ("NAType", "NaTType") else value


def _of_frame(frame: Any) -> Iterator[dict[str, Any]]:
    for start in range(0, len(frame), 1000):
        for row in frame.iloc[start : start + 1000].to_dict("records"):
            yield {str(name): plain(value) for name, value in row.items()}


def _of_splits(parts: Mapping[str, Any], split: str | None, kind: str) -> Iterator[dict[str, Any]]:
    if split is not None and split not in parts:
        raise InputError("no such split", field="split", found=split, expected=" or ".join(map(str, parts)))
    if not all(hasattr(part, "__iter__") and not isinstance(part, str | bytes) for part in parts.values()):
        raise InputError("not rows", found=kind, expected="a list of mappings, a datasets.Dataset, or a pandas frame")
    chosen: Iterable[Any] = parts.values() if split is None else [parts[split]]
    return (row for part in chosen for row in from_memory(part))


def _of_mappings(rows: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, Mapping):
            raise InputError(
                "a row must be a mapping", line=number, file=type(rows).__name__, found=row, expected='{"id": ..., ...}'
            )
        yield {str(name): plain(value) for name, value in row.items()}


def _datasets(shown: str, problem: str) -> Any:
    try:
        import datasets
    except ImportError:
        raise InputError(problem, file=shown, remedy=_INSTALL) from None
    return datasets


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"

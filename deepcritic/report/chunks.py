"""Stores many texts as compressed chunks of JSON values, inside the page or in script files beside it.

    chunks = Chunks()
    starts = chunks.add("t", rows)          # chunk t-0 holds rows 0 .. starts[1] - 1, and so on
    write_beside(folder, chunks.take())

Chunks are base64, so no text in them can close the surrounding element or string.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import msgspec

CHUNK: Final = 192_000
"""Bytes of JSON per chunk, before compression."""
INSIDE: Final = 6_000_000
"""Up to this many base64 characters, all chunks are inside the page."""
FOLDER: Final = "data"


class Chunks:
    """Collects chunks and compresses them in two threads while rows are read (zlib releases the GIL)."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2)
        self._packed: dict[str, Future[str]] = {}

    def add(self, name: str, values: Iterable[Any]) -> list[int]:
        """Put `values` into chunks `name-0`, `name-1`, ...; returns the index of each chunk's first value."""
        starts: list[int] = []
        waiting: list[bytes] = []
        size = 0
        for at, value in enumerate(values):
            if not waiting:
                starts.append(at)
            waiting.append(encoded(value))
            size += len(waiting[-1])
            if size >= CHUNK:
                self._pack(f"{name}-{len(starts) - 1}", waiting)
                waiting, size = [], 0
        if waiting:
            self._pack(f"{name}-{len(starts) - 1}", waiting)
        return starts

    def _pack(self, name: str, values: Sequence[bytes]) -> None:
        self._packed[name] = self._pool.submit(packed, b"[" + b",".join(values) + b"]")

    def take(self) -> dict[str, str]:
        """Every chunk by its name, as base64."""
        found = {name: future.result() for name, future in self._packed.items()}
        self._pool.shutdown()
        return found


def packed(content: bytes) -> str:
    """gzip, then base64."""
    compressor = zlib.compressobj(5, zlib.DEFLATED, 31)
    return base64.b64encode(compressor.compress(content) + compressor.flush()).decode()


def encoded(value: Any) -> bytes:
    """Encode as JSON. Lone surrogates, which UTF-8 cannot encode, are replaced."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_whole(value))


def _whole(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_whole(key): _whole(one) for key, one in value.items()}
    return [_whole(one) for one in value] if isinstance(value, list | tuple) else value


def write_beside(folder: Path, chunks: dict[str, str]) -> None:
    """Write one script file per chunk, loadable by a page on the same disk. Deletes those of an earlier page."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.js"):
        old.unlink()
    for name, content in chunks.items():
        (folder / f"{name}.js").write_text(f'deepcriticChunk("{name}","{content}");\n', "ascii")

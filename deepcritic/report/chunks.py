"""Texts too many to stand open in a page: JSON values in chunks, each compressed, inside the page or as script files beside it.

    chunks = Chunks()
    starts = chunks.add("t", rows)          # chunk t-0 holds rows 0 .. starts[1] - 1, and so on
    chunks.inside, chunks.beside(folder)

What a chunk holds is base64, so that no text in it can end the element or the string that it stands in.
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
"""Bytes of JSON in a chunk, before it is compressed."""
INSIDE: Final = 6_000_000
"""Characters of base64 up to which all chunks stand inside the page."""
FOLDER: Final = "data"


class Chunks:
    """Collects chunks; they are compressed in two threads while rows are read (zlib leaves the interpreter free)."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(2)
        self._packed: dict[str, Future[str]] = {}

    def add(self, name: str, values: Iterable[Any]) -> list[int]:
        """Put `values` into chunks `name-0`, `name-1`, ...; returns the number of the first value of each."""
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
    """JSON. Lone surrogates, which no file in UTF-8 can hold, are replaced."""
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
    """A script file for each chunk, which a page on the same disk can load; those of an earlier page go."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.js"):
        old.unlink()
    for name, content in chunks.items():
        (folder / f"{name}.js").write_text(f'deepcriticChunk("{name}","{content}");\n', "ascii")

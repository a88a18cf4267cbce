"""Problems and steps by row id, from an evaluation's own rows, or else from any row file of the run.

texts = Texts(run)
text = texts.of(run / "evaluate", "math-17")       # None if not found
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from deepcritic.runs.jsonl import read_lines

ROWS = "examples.jsonl"


class Text(msgspec.Struct, frozen=True):
    """The texts of a row of any task: a problem with steps, or a query with responses."""

    problem: str
    parts: tuple[str, ...] = ()
    source: str = ""
    license: str = ""
    reference: str = ""


class _Loose(msgspec.Struct):
    """The fields of a row that are shown."""

    id: str
    item: dict[str, Any] = {}
    gold: dict[str, Any] = {}
    source: str = ""
    license: str | None = None


class Texts:
    """Reads each row file of a run at most once, when an id is first looked up."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._read: dict[Path, dict[str, Text]] = {}

    def of(self, stage: Path, identity: str) -> Text | None:
        """The text of a row of that stage."""
        own = self._rows(stage / ROWS)
        if identity in own:
            return own[identity]
        return None if own else self.anywhere(identity)

    def anywhere(self, identity: str) -> Text | None:
        """The text of a row with this id in any stage of the run."""
        for path in sorted(self._run.glob("*/*.jsonl")):
            if path.name in {ROWS, "solutions.jsonl", "labelled.jsonl"} and (found := self._rows(path).get(identity)):
                return found
        return None

    def _rows(self, path: Path) -> dict[str, Text]:
        if path not in self._read:
            self._read[path] = dict(_read(path)) if path.is_file() else {}
        return self._read[path]


def _read(path: Path) -> list[tuple[str, Text]]:
    decoder = msgspec.json.Decoder(_Loose)
    rows = []
    for _, line in read_lines(path):
        try:
            row = decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue  # unreadable rows are not shown; the stage that wrote them reports errors
        problem = row.item.get("problem", row.item.get("query"))
        parts = row.item.get("steps", row.item.get("responses"))
        if not isinstance(problem, str):
            continue
        reference = row.gold.get("reference_answer")
        text = Text(
            problem,
            tuple(map(str, parts)) if isinstance(parts, list) else (),
            row.source,
            row.license or "",
            reference if isinstance(reference, str) else "",
        )
        rows.append((row.id, text))
    return rows

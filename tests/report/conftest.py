"""A run folder that is written by hand, as far as the report reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., Path]:
    """`stage("rl", files={"training.jsonl": [...]}, trained="m#1")` makes a finished stage of the run in `tmp_path/mine`."""

    def make(name: str, files: dict[str, Any] | None = None, config: dict[str, Any] | None = None, **manifest: Any) -> Path:
        folder = tmp_path / "mine" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in (files or {}).items():
            rows = content if file.endswith(".jsonl") else [content]
            (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        (folder / "config.json").write_text(json.dumps(config or {}), "utf-8")
        (folder / "manifest.json").write_text(json.dumps({"stage": name.partition(".")[0], **manifest}), "utf-8")
        return folder

    return make


@pytest.fixture
def judged() -> Callable[..., dict[str, Any]]:
    """`judged("a", 2, [2, -1])` is a judged row as JSON values."""

    def make(name: str, gold: Any, verdicts: list[Any], **more: Any) -> dict[str, Any]:
        stratum = "all correct" if gold == -1 else "with an error"
        return {"id": name, "gold": gold, "stratum": stratum, "cluster": "c", "verdicts": verdicts, "correct": 1.0, **more}

    return make

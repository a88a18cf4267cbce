"""How each evaluation was made: model, prompt, replies and data.

table = made_table(found)
print(table["rows"] if table else "no evaluation")
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from deepcritic.report.differences import Cell, benchmark_title
from deepcritic.report.evaluations import Evaluation

SHA: Final = 12
"""The characters of a hash that are shown."""


def made_table(found: Sequence[Evaluation]) -> dict[str, Any] | None:
    """One row per evaluation."""
    rows: list[list[Cell]] = []
    for one in found:
        facts, config = one.manifest.facts, _config(one)
        samples = max((part.samples for part in one.parts.values()), default=0)
        replies = _replies(facts.get("sampling") or {}, config, samples)
        rows.append([(one.title, one.model or "no model"), _prompt(facts, config), replies, _data(facts)])
    head = ["critic", "prompt", "replies", "data"]
    notes = ["Different prompt hashes mean that the critics were asked differently: another text, system turn or step numbering."]
    return {"title": "How it was made", "head": head, "rows": rows, "words": 4, "notes": notes} if rows else None


def _prompt(facts: Mapping[str, Any], config: Mapping[str, Any]) -> Cell:
    """Whose prompt it is, and its hash."""
    critic, task = facts.get("critic") or {}, facts.get("task") or {}
    if not task.get("prompt_sha"):
        return "none: scores of a model, not replies" if config.get("scorer._target_") or config.get("scores") else "unknown"
    if critic.get("name"):
        whose = critic.get("remark") or f"the published prompt of {critic['name']}"
    elif config.get("generations"):
        whose = "unknown: the replies are recorded"
    elif config.get("task.template"):
        whose = PurePosixPath(str(config["task.template"])).name
    else:
        whose = f"the built-in prompt of task={task.get('name')}"
    sha = str(critic.get("prompt_sha256") or task["prompt_sha"])
    return whose if whose.startswith("unknown") else (whose, f"sha256 {sha[:SHA]}")


def _replies(drawn: Mapping[str, Any], config: Mapping[str, Any], samples: int) -> Cell:
    """How many replies per row, and how they were sampled."""
    number = f"{drawn.get('samples') or samples or 'no'} per row"
    if config.get("generations"):
        return (number, f"recorded in {PurePosixPath(str(config['generations'])).name}")
    known = {"temperature": "T", "top_p": "top-p", "max_tokens": "max_tokens"}
    said = ", ".join(f"{name} {drawn[key]:g}" for key, name in known.items() if isinstance(drawn.get(key), int | float))
    return (number, said) if said else number


def _data(facts: Mapping[str, Any]) -> Cell:
    """The benchmarks with the beginning of their revision or hash."""
    data: Mapping[str, Any] = facts.get("data") or {}
    names = [benchmark_title(name) for name in data]
    shas = [f"{one['revision']}"[:SHA] if one.get("revision") else f"sha256 {one['sha256']}"[: SHA + 7] for one in data.values()
            if one.get("revision") or one.get("sha256")]  # fmt: skip
    shown = ", ".join(names) if len(names) < 4 else f"{len(names)} benchmarks"
    return (shown, ", ".join(dict.fromkeys(shas))) if shas else shown


def _config(one: Evaluation) -> dict[str, Any]:
    path = one.path / "config.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found

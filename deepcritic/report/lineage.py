"""The origin of a model: the stage that trained it, the files that stage read, the stages that wrote them, and so on.

Hashes link the stages: a model's name includes its content hash, and a manifest holds the hashes of the files read and
written. `Lineage(run, texts).of(model)["shown"]` is a tree of lines, and `["learnt"]` holds, by problem, the dialogues
and labelled solutions read in training.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from deepcritic.report.texts import Texts
from deepcritic.runs.jsonl import read_lines
from deepcritic.runs.manifest import Manifest, finished_manifests

Line = dict[str, Any]


class Lineage:
    """The links between models, files and stages, from a run's manifests."""

    def __init__(self, run: Path, texts: Texts) -> None:
        self._run, self._texts = run, texts
        self._manifests = dict(finished_manifests(run))
        self._trained = {
            manifest.facts["trained"]: name for name, manifest in self._manifests.items() if manifest.facts.get("trained")
        }
        self._wrote = {
            sha: (name, file)
            for name, manifest in self._manifests.items()
            for file, sha in manifest.files.items()
            if manifest.stage != "evaluate"
        }
        self._learnt: dict[str, dict[str, list[Any]]] = {}

    @staticmethod
    def key(problem: str) -> str:
        """A problem without differences in white space."""
        return " ".join(problem.split())

    def of(self, model: str) -> dict[str, Any]:
        """`shown`: a tree of lines; `learnt`: training rows by problem; `looked_at`: rows by file."""
        shown = self._model(model, set())
        read = sorted(set(_files(shown)))
        learnt: dict[str, list[Any]] = {}
        for file in read:
            for problem, entries in self._rows(file).items():
                learnt.setdefault(problem, []).extend(entries)
        looked_at = {file: sum(map(len, self._rows(file).values())) for file in read}
        return {"shown": shown, "learnt": learnt, "looked_at": looked_at}

    def _model(self, model: str, seen: set[str]) -> Line:
        name = self._trained.get(model)
        if name is None or name in seen:
            recorded = model.startswith("recorded")
            note = "recorded replies; what wrote them is not in this run" if recorded else "not trained in this run"
            return {"what": "model", "name": model or "unknown", "note": note}
        manifest = self._manifests[name]
        steps = f", {manifest.facts['steps']:,} steps" if isinstance(manifest.facts.get("steps"), int) else ""
        parts = [self._model(manifest.model or "", seen | {name})]
        parts += self._read(manifest, seen | {name}, taught=True)
        return {"what": "model", "name": model, "stage": name, "note": f"trained by {name}{steps}", "from": parts}

    def _read(self, manifest: Manifest, seen: set[str], *, taught: bool = False) -> list[Line]:
        """The files a stage depends on, each with the stage that wrote it."""
        lines = []
        for what, value in manifest.depends.items():
            place = self._wrote.get(str(value).removeprefix("sha256:"))
            if place is None:
                if str(value).startswith("sha256:"):
                    lines.append({"what": what, "name": f"{str(value)[:19]}…", "note": "from outside this run"})
                continue
            name, file = place
            if name in seen:
                continue
            source = self._manifests[name]
            counts = next(iter(source.counts.values()), None)
            rows = f"{counts.kept:,} rows" if counts else ""
            made = f"by {source.model}" if source.model else ""
            line: Line = {"what": what, "name": f"{name}/{file}", "stage": name, "note": ", ".join(filter(None, (rows, made)))}
            if taught:
                line["taught"] = True
            if parts := self._read(source, seen | {name}):
                line["from"] = parts
            lines.append(line)
        return lines

    def _rows(self, file: str) -> dict[str, list[Any]]:
        """The dialogues or solutions of a file, by problem: [file, id, verdict, text or steps]."""
        if file not in self._learnt:
            found: dict[str, list[Any]] = {}
            for _, content in read_lines(self._run / file):
                row = json.loads(content)
                item = row.get("item")
                if isinstance(item, dict):
                    problem = item.get("problem")
                    entry = [file, row["id"], (row.get("gold") or {}).get("first_error"), item.get("steps") or []]
                elif text := self._texts.anywhere(str(row.get("id"))):
                    problem, entry = text.problem, [file, row["id"], row.get("verdict"), row["messages"][-1]["content"]]
                else:
                    continue
                if isinstance(problem, str):
                    found.setdefault(self.key(problem), []).append(entry)
            self._learnt[file] = found
        return self._learnt[file]


def _files(line: Line) -> list[str]:
    """All files in the tree that training read."""
    own = [line["name"]] if line.get("taught") else []
    return own + [file for part in line.get("from", []) for file in _files(part)]

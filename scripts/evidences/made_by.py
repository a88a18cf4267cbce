"""Hashes of the code, settings and models behind a file of evidence; lists stale files: scripts/evidence stale

- `package`: the modules that the script and the stages it calls can import, without comments and docstrings. The command line is
  excluded: it only composes the settings.
- `settings`: the script itself, and the YAML files of the experiments, stages, data sets and tasks that it names.
- `models`: the files that it names by `deepcritic://`: weights, tokenizers, templates.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
CONF, SCRIPTS, EVIDENCE = ROOT / "conf", ROOT / "scripts" / "evidences", ROOT / "data" / "evidence"
TABLES = {"table", "rows", "made_by"}
"""Scripts that only format results."""
_QUOTED = re.compile(r"[\"']([\w/]+)[\"']")
_EXPERIMENT, _STAGE = re.compile(r"\bexperiment=([\w/]+)"), re.compile(r"(?:\bstage=|override /stage: )(\w+)")
_OVERRIDE = re.compile(r"override /(dataset|task|scorer|trainer)(?:@\w+)?: (\w+)")
_TARGET, _SHIPPED = re.compile(r"_target_: (deepcritic[\w.]+)\.\w+"), re.compile(r"deepcritic://([\w/.]+)")


def main() -> None:
    for line in stale():
        print(line)


def stale(folder: Path = EVIDENCE) -> list[str]:
    """A line for each stale file of evidence: one whose hashes differ from the current ones."""
    lines = []
    for file in sorted(folder.glob("*.json")):
        content = json.loads(file.read_text("utf-8"))
        if parts := changed(file.stem, content):
            lines.append(f"stale: data/evidence/{file.name}: {parts} changed since; scripts/evidence {file.stem} makes it again")
    return lines


def changed(name: str, content: dict[str, Any]) -> str:
    """The hashes of a file of evidence that differ from the current ones, in words; empty if none do."""
    before, now = content.get("made_by", {}), made_by(name)
    return ", ".join(part for part in now if before.get(part) != now[part])


def made_by(name: str) -> dict[str, str]:
    """The current hashes for scripts/evidences/NAME.py."""
    scripts = list(_scripts(SCRIPTS / f"{name}.py"))
    texts = [script.read_text("utf-8") for script in scripts]
    files = sorted(_settings(texts))
    texts += [file.read_text("utf-8") for file in files]
    stages = {f"deepcritic.stages.{stage}" for text in texts for stage in _STAGE.findall(text)}
    roots = stages | {target for text in texts for target in _TARGET.findall(text)}
    modules = _closure(roots | {one for script in scripts for one in _imported(script)})
    shipped = sorted({place.rstrip(".") for text in texts for place in _SHIPPED.findall(text)})
    models = sorted({file for place in shipped for file in _files(ROOT / "deepcritic" / place)})
    return {
        "package": _digest((module, _code(path)) for module, path in sorted(modules.items())),
        "settings": _digest(
            [*((one.name, _code(one)) for one in scripts), *((str(one.relative_to(CONF)), _plain(one)) for one in files)]
        ),
        "models": _digest((str(file.relative_to(ROOT)), file.read_bytes()) for file in models),
    }


def _scripts(script: Path) -> Iterator[Path]:
    """A script, and the scripts beside it that it imports, except those that only format tables."""
    yield script
    for name in _imported(script):
        beside = SCRIPTS / f"{name}.py"
        if name not in TABLES and beside.is_file():
            yield from _scripts(beside)


def _settings(texts: Iterable[str]) -> set[Path]:
    """The YAML files named in the texts, and those named in these files, recursively."""
    found, waiting = {CONF / "config.yaml", CONF / "sampler" / "transformers.yaml"}, list(texts)
    while waiting:
        text = waiting.pop()
        named = [f"experiment/{name}" for name in _EXPERIMENT.findall(text) + _QUOTED.findall(text)]
        named += [f"stage/{name}" for name in _STAGE.findall(text)]
        named += [f"{group}/{name}" for group, name in _OVERRIDE.findall(text)]
        new = {file for name in named if (file := CONF / f"{name}.yaml").is_file()} - found
        found |= new
        waiting += [file.read_text("utf-8") for file in new]
    return found


def _closure(roots: Iterable[str]) -> dict[str, Path]:
    """The package's modules that `roots` import, recursively, with their files."""
    found: dict[str, Path] = {}
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        path = ROOT / Path(*module.split("."))
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if module in found or not module.startswith("deepcritic.") or not file.is_file():
            continue
        if module == "deepcritic.__main__" or module.startswith("deepcritic.cli"):
            continue
        found[module] = file
        waiting += _imported(file)
    return found


@functools.cache
def _imported(file: Path) -> list[str]:
    """Every module that a file imports, also inside functions."""
    names: list[str] = []
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names += [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{one.name}" for one in node.names)]
    return names


@functools.cache
def _code(file: Path) -> bytes:
    """A module without comments, docstrings and formatting."""
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [one for one in body if not _is_text(one)] or [ast.Pass()]  # type: ignore[attr-defined]
    return ast.dump(tree).encode()


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _plain(file: Path) -> bytes:
    """A YAML file without comments and empty lines."""
    lines = (re.sub(r"(^|\s)#.*", "", line).rstrip() for line in file.read_text("utf-8").splitlines())
    return "\n".join(filter(None, lines)).encode()


def _files(place: Path) -> list[Path]:
    return sorted(one for one in place.rglob("*") if one.is_file()) if place.is_dir() else [place] if place.is_file() else []


def _digest(parts: Iterable[tuple[str, bytes]]) -> str:
    whole = hashlib.sha256()
    for name, content in parts:
        whole.update(hashlib.sha256(name.encode()).digest() + hashlib.sha256(content).digest())
    return whole.hexdigest()[:16]


if __name__ == "__main__":
    main()

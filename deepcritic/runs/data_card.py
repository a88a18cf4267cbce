"""A `README.md` beside the row files of a stage and of a run, so that `datasets.load_dataset(FOLDER)` reads them.

The files of a folder have different columns, so the card lists each as its own configuration, the main one as default.

    datasets.load_dataset("runs/demo/evaluate.rl", split="train")                      # verdicts.jsonl
    datasets.load_dataset("runs/demo/evaluate.rl", "generations", split="train")
    datasets.load_dataset("runs/demo", "evaluate.rl.verdicts", split="train")
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from deepcritic.runs.jsonl import replacing
from deepcritic.runs.manifest import MANIFEST

CARD: Final = "README.md"
_MARK: Final = "<!-- written by deepcritic -->"
_MAIN: Final = (
    "kept", "verdicts", "dialogues", "refined", "labelled", "solutions", "compared", "examples", "lineage", "generations",
)  # fmt: skip
"""The order of preference for the default: the first of these files that has rows."""


def write_cards(folder: Path, *, left_out: frozenset[str]) -> None:
    """Write the card of the stage in `folder`, just before it is finished, and the card of its run, which lists the row files of
    all finished stages. Files named in `left_out` are not listed. A `README.md` from another source is not overwritten.
    """
    run = folder.parent
    _write(folder, folder.name, {file.stem: file.name for file in folder.glob("*.jsonl") if file.name not in left_out})
    finished = {path.parent for path in run.glob(f"*/{MANIFEST}")} | {folder}
    files = [file for stage in finished for file in stage.glob("*.jsonl") if file.name not in left_out]
    _write(run, run.name, {f"{file.parent.name}.{file.stem}": f"{file.parent.name}/{file.name}" for file in files})


def _write(folder: Path, title: str, configs: dict[str, str]) -> None:
    rows = {name: configs[name] for name in sorted(configs) if (folder / configs[name]).stat().st_size}
    card = folder / CARD
    if not rows or (card.exists() and _MARK not in card.read_text("utf-8", "replace")):
        return
    main = min(rows, key=_rank)
    lines = ["---", "configs:"]
    for name, path in rows.items():
        lines += [f'- config_name: "{name}"', f'  data_files: "{path}"', *(["  default: true"] if name == main else [])]
    lines += ["---", _MARK, f"# {title}", "", "Rows, as JSON Lines, one configuration a file:", ""]
    lines += [f"- `{name}`: `{path}`" for name, path in rows.items()]
    with replacing(card) as file:
        file.write(("\n".join(lines) + "\n").encode())


def _rank(name: str) -> tuple[int, str]:
    kind = name.rpartition(".")[2]
    return (_MAIN.index(kind) if kind in _MAIN else len(_MAIN), name)

"""Statistics of a set of seed critiques: labels, lengths, corrections, and examples with their lineage."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from deepcritic.schema import Dialogue
from deepcritic.seeding.best_of_n import Answers
from deepcritic.seeding.dialogues import Lineage, corrected
from deepcritic.seeding.solutions import Material

EXAMPLES = 10


def figures(dialogues: Sequence[Dialogue], material: Material, initial: Answers | None) -> dict[str, Any]:
    """Counts by label, quantiles of the replies' lengths in characters, and how often an initial critique was corrected."""
    labels = Counter(dialogue.verdict for dialogue in dialogues)
    lengths = [len(dialogue.messages[-1].content) for dialogue in dialogues]
    places = [place for dialogue in dialogues for place in material.places[dialogue.id]]
    told: dict[str, Any] = {
        "dialogues": len(dialogues),
        "labels": {str(label): labels[label] for label in sorted(labels, key=lambda label: (isinstance(label, str), label))},
        "characters": _quantiles(lengths) | _histogram(lengths),
        "characters_by_label": {
            str(label): _quantiles([len(one.messages[-1].content) for one in dialogues if one.verdict == label])
            for label in sorted(labels)
        },
        "steps_critiqued": len(places),
    }
    if initial is not None:
        wrong = sum(not initial.chosen[place].agrees for place in places)
        shows = sum(corrected(dialogue.id, material, initial) for dialogue in dialogues)
        told["corrections"] = {
            "dialogues": shows,
            "share_of_dialogues": shows / len(dialogues) if dialogues else 0.0,
            "steps": wrong,
            "share_of_steps": wrong / len(places) if places else 0.0,
        }
    return told


def examples(dialogues: Sequence[Dialogue], seed: int) -> list[Dialogue]:
    """Some dialogues to read, drawn with `seed`."""
    return random.Random(f"examples/{seed}").sample(list(dialogues), min(EXAMPLES, len(dialogues)))


def readable(dialogue: Dialogue, lineage: Lineage, material: Material) -> str:
    """A dialogue as text: problem, rated steps, critique, and the samples behind it."""
    row = material.rows[dialogue.id]
    ratings = {place.step: rating for place, rating in ((at, material.ratings[at]) for at in material.places[row.id])}
    lines = [f"{'=' * 20} {row.id} ({row.source}, {dialogue.license})", "", row.item.problem, ""]
    for step, text in enumerate(row.item.steps, start=1):
        rated = f"rated {ratings[step]}" if step in ratings else "not rated"
        lines.append(f"[{step}, {rated}] {text}")
    lines += ["", "-" * 20 + " critique", dialogue.messages[-1].content, "", "-" * 20 + " made of"]
    for critique in lineage.critiques:
        parts = [
            f"{call} {key.rpartition('|')[2]}" + ("" if critique.agrees[call] else " (its verdict was wrong)")
            for call, key in critique.samples.items()
        ]
        lines.append((f"step {critique.step}: " if critique.step else "the whole: ") + ", ".join(parts))
    return printable("\n".join(lines)) + "\n"


def with_lineage(dialogues: Sequence[Dialogue], lineages: Mapping[str, Lineage], material: Material) -> list[dict[str, Any]]:
    """The same for a report, as JSON values. The texts are unescaped: escape them."""
    rows = []
    for dialogue in dialogues:
        item = material.rows[dialogue.id].item
        rows.append(
            {
                "id": dialogue.id,
                "problem": item.problem,
                "steps": list(item.steps),
                "verdict": dialogue.verdict,
                "critique": dialogue.messages[-1].content,
                "made_of": msgspec.to_builtins(lineages[dialogue.id].critiques),
            }
        )
    return rows


def printable(text: str) -> str:
    """`text` without terminal control sequences.

    >>> printable("a\\x1b[2Jb\\nc")
    'a[2Jb\\nc'
    """
    return "".join(character for character in text if character.isprintable() or character in "\n\t")


def _histogram(values: Sequence[int]) -> dict[str, Any]:
    if not values:
        return {}
    counts, edges = np.histogram(values, bins=20)
    return {"histogram": {"edges": [round(float(edge), 1) for edge in edges], "counts": counts.tolist()}}


def _quantiles(values: Sequence[int]) -> dict[str, Any]:
    if not values:
        return {}
    names, points = ("least", "tenth", "median", "ninetieth", "most"), (0, 10, 50, 90, 100)
    return {"mean": round(float(np.mean(values)), 1)} | {
        name: float(value) for name, value in zip(names, np.percentile(values, points), strict=True)
    }

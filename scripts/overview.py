"""Draw docs/images/overview.svg: the stages of the recipe, and a critic's F1 after each of them, from data/evidence/main.json.

"$(scripts/setup)/bin/python" scripts/overview.py

The bars are omitted if that file is stale.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts" / "evidences"))
EVIDENCE, PICTURE = ROOT / "data" / "evidence" / "main.json", ROOT / "docs" / "images" / "overview.svg"
INK, MUTED, BLUE, PALE = "#1f2430", "#5b6270", "#3f51b5", "#e8eaf6"
STAGES = [
    ("seed", "a teacher writes\ncritiques of rated\nsolutions"),
    ("sft", "a model is\nfine-tuned on them"),
    ("rollout, label", "continuations label\nmore solutions"),
    ("rl", "GRPO, reward 1 for\nthe labelled step"),
    ("evaluate", "F1, votes,\nintervals"),
]
BARS = [("base critic", "base critic: F1"), ("after SFT", "after SFT: F1"), ("after RL", "after RL on automatic labels: F1")]
STYLE = {"svg.hashsalt": "deepcritic/overview", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10}


def main() -> None:
    PICTURE.parent.mkdir(parents=True, exist_ok=True)
    with rc_context(STYLE):
        draw(found()).savefig(PICTURE, format="svg", metadata={"Date": None})
    text = PICTURE.read_text("utf-8")
    PICTURE.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", "utf-8")


def found() -> list[dict[str, Any]]:
    """The rows of the three bars; empty if the file of evidence is stale."""
    from made_by import changed

    content = json.loads(EVIDENCE.read_text("utf-8"))
    if changed("main", content):
        return []
    return [next(row for row in content["rows"] if row["what"] == what) for _, what in BARS]


def draw(rows: list[dict[str, Any]]) -> Figure:
    made = Figure(figsize=(9.2, 3.6 if rows else 1.8), facecolor="white")
    stages = made.add_axes((0.01, 0.52, 0.98, 0.46) if rows else (0.01, 0.04, 0.98, 0.92))
    stages.set(xlim=(0, 5), ylim=(0, 1))
    stages.axis("off")
    for at, (name, what) in enumerate(STAGES):
        box = FancyBboxPatch((at + 0.06, 0.06), 0.80, 0.88, boxstyle="round,pad=0,rounding_size=0.04", fc=PALE, ec=BLUE, lw=1)
        stages.add_patch(box)
        stages.text(at + 0.46, 0.74, name, ha="center", va="center", color=BLUE, weight="bold", family="monospace")
        stages.text(at + 0.46, 0.36, what, ha="center", va="center", color=INK, fontsize=9, linespacing=1.3)
        if at + 1 < len(STAGES):
            stages.annotate("", (at + 1.05, 0.5), (at + 0.88, 0.5), arrowprops={"arrowstyle": "->", "color": MUTED, "lw": 1.4})
    if not rows:
        return made
    bars = made.add_axes((0.13, 0.10, 0.84, 0.34))
    places = range(len(rows))[::-1]
    values = [row["estimate"] for row in rows]
    spans = [[value - row["interval"][0] for value, row in zip(values, rows, strict=True)],
             [row["interval"][1] - value for value, row in zip(values, rows, strict=True)]]  # fmt: skip
    bars.barh(places, values, height=0.62, color=["#c5cae9", "#7986cb", BLUE])
    bars.errorbar(values, places, xerr=spans, fmt="none", ecolor=INK, elinewidth=1, capsize=3)
    for place, row in zip(places, rows, strict=True):
        bars.text(row["interval"][1] + 1.2, place, f"{row['estimate']:.1f}", va="center", color=INK)
    bars.set(xlim=(0, 100), yticks=list(places), yticklabels=[name for name, _ in BARS])
    bars.set_xlabel("F1 in the small world, percent: mean of three seeds, 95% interval", color=MUTED, fontsize=9)
    bars.tick_params(length=0, colors=INK, labelsize=9)
    for side in ("top", "right", "left"):
        bars.spines[side].set_visible(False)
    return made


if __name__ == "__main__":
    main()

"""A generator trained on a critic's step reward, and on the outcome, at equal samples; writes data/evidence/generator.json.

    scripts/demo && scripts/evidence generator            # the critic is the demo's, after RL

Runs `examples/train_generator.py` for each seed: GRPO of the small world's generator through the service, 40 steps of 16 prompts
with 8 solutions. The baseline is the generator before training. The answers are those of one sample at temperature 1 on problems
of the test split. Nothing was tuned on these problems.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from made_by import made_by
from rows import ABOVE_ZERO, begin, keep, row, show

from deepcritic.hub.models import model_id
from deepcritic.runs.jsonl import write_json

SEEDS = (21, 22, 23)
EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "train_generator.py"
FIGURES = {
    "before": "right answers before training",
    "critic": "right answers after training on the critic's step reward",
    "outcome": "right answers after training on the outcome reward",
    "critic - before": "gain by the critic's step reward",
    "outcome - before": "gain by the outcome reward",
    "critic - outcome": "the critic's step reward over the outcome reward",
}
CLAIMS = {"critic - before"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--critic", default="runs/demo/rl/model")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--tested", type=int, default=1000, help="test problems")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    arguments = parser.parse_args()
    begin(__doc__ or "", arguments.seeds)
    found = [one_seed(arguments.critic, arguments.steps, arguments.tested, seed) for seed in arguments.seeds]
    rows = [
        row(
            f"{what}, percent" if " - " not in name else f"{what}, points",
            arguments.seeds,
            [one[name][0] for one in found],
            [one[name][1:] for one in found],
            bounds=ABOVE_ZERO if name in CLAIMS else None,
            share=" - " not in name,
        )
        for name, what in FIGURES.items()
    ]
    keep("generator", rows, settings={"steps": arguments.steps, "tested": arguments.tested, "samples": found[0]["samples"]})
    show(rows)


def one_seed(critic: str, steps: int, tested: int, seed: int) -> dict[str, Any]:
    """The figures that the example prints: each a mean and its interval. Kept, so that a stopped script continues."""
    of = {
        "made_by": made_by("generator"), "example": EXAMPLE.read_text("utf-8"), "critic": model_id(critic), "steps": steps,
        "tested": tested,
    }  # fmt: skip
    file = Path(f"runs/evidence/generator/seed{seed}.json")
    if file.exists() and (kept := json.loads(file.read_text("utf-8")))["of"] == of:
        return dict(kept["figures"])
    words = [critic, "--steps", str(steps), "--tested", str(tested), "--seed", str(seed)]
    done = subprocess.run([sys.executable, str(EXAMPLE), *words], stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"of": of, "figures": figures})
    return figures


if __name__ == "__main__":
    main()

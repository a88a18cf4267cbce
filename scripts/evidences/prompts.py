"""Wordings of the critic's prompt, compared on weak real models: which of them is answered with a critique and a verdict?

    scripts/evidence prompts --prm800k phase1_train_plus.stepwise.jsonl.gz

Both models of `scripts/weights.py` are asked about solutions of PRM800K's training set, half of them with an error, once per
wording, greedily. The wordings are the files in `scripts/evidences/prompts/` and the built-in prompt of
`task=first_error`. The figures are the share of replies with a verdict, the share that writes about a step before it, the
accuracies and F1. A constant verdict has F1 0. No benchmark row is used: the built-in prompt was chosen with these figures.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

from rows import Found, begin, by_seed, keep, show

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.weights import WEIGHTS, fetch

SEED = 3
ROWS = 24
NAMES = {"smollm2": "SmolLM2-135M-Instruct", "qwen": "Qwen2.5-Coder-0.5B-Instruct"}
WORDINGS = {"built-in": None, **{file.stem: file for file in sorted(Path(__file__).with_name("prompts").glob("*.txt"))}}
SAMPLING = {"stage.samples": 1, "stage.temperature": 0, "stage.max_tokens": 320}
DELIBERATE = re.compile(r"(?i)\bstep[ _*]*1\b.{40,}", re.DOTALL)
"""A reply that writes at least 40 characters after it names the first step."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prm800k", required=True, help="phase 1 of PRM800K")
    parser.add_argument("--models", nargs="+", choices=[*WEIGHTS], default=[*WEIGHTS])
    parser.add_argument("--wordings", nargs="+", choices=[*WORDINGS], default=[*WORDINGS])
    parser.add_argument("--dtype", default="auto", help="of the weights; bfloat16 is faster where the CPU has it")
    options = parser.parse_args()
    begin(__doc__ or "", [SEED])
    command(
        "stage=prepare", "source=prm800k", f"source.path={options.prm800k}", f"stage.limit={ROWS}", "stage.shuffle=true",
        "name=validation",
    )  # fmt: skip
    claims: list[Found] = []
    for name in options.models:
        for wording in options.wordings:
            claims += measured(name, wording, options.dtype)
            settings = {"seed": SEED, "rows": ROWS, "sampling": SAMPLING, "dtype": options.dtype}
            keep("prompts", by_seed({SEED: claims}), settings=settings)
    show(by_seed({SEED: claims}))


def measured(name: str, wording: str, dtype: str) -> list[Found]:
    """The figures of one wording with one model."""
    run, file = Path("runs/prompts"), WORDINGS[wording]
    template = [] if file is None else [f"task.template={file}"]
    command(
        "stage=evaluate", "benchmark=examples", f"benchmark.path={run}/prepare.validation/examples.jsonl", f"model={fetch(name)}",
        f"name={name}-{wording}", f"sampler.dtype={dtype}", "sampler.batch_size=24", *template,
        *(f"{key}={value}" for key, value in SAMPLING.items()),
    )  # fmt: skip
    folder = run / f"evaluate.{name}-{wording}"
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    replies = [json.loads(line)["text"] for line in (folder / "generations.jsonl").read_text("utf-8").splitlines()]
    who = f"{NAMES[name]}, {wording}"
    return [
        Found(f"{who}: replies with a verdict, percent", 100 - metrics["unparsed_rate"], share=True),
        Found(
            f"{who}: replies that write about a step, percent",
            100 * sum(map(bool, map(DELIBERATE.search, replies))) / len(replies),
            share=True,
        ),
        Found(f"{who}: right on solutions with an error, percent", metrics["error_accuracy"], share=True),
        Found(f"{who}: right on solutions without one, percent", metrics["correct_accuracy"], share=True),
        Found(f"{who}: F1", metrics["f1"], metrics["f1_interval"], share=True),
    ]


def command(*given: str) -> None:
    subprocess.run([sys.executable, "-m", "deepcritic", *given, "run=prompts", f"seed={SEED}"], check=True)


if __name__ == "__main__":
    main()

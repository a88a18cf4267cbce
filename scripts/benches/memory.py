"""The memory that `dry_run` plans for a training, beside the memory that it takes, for real small models on a CPU.

scripts/bench memory [--models smollm2 qwen]

Each training runs two steps on rows of one length, in a process of its own. Measured is the growth of the resident memory from
the loaded libraries to the peak, with an allocator that returns freed tensors at once. The ratio is planned over measured.
Memory depends on lengths alone, so the rows are made up.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from table import Bench, row, write

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.weights import WEIGHTS, fetch

LENGTHS = {"sft": 512, "rl": 256}
CHILD = """
import resource, sys, threading, time
import torch, transformers, peft, trl, datasets
from trl import SFTTrainer, GRPOTrainer
import deepcritic.training.sft, deepcritic.training.grpo, deepcritic.stages.sft, deepcritic.stages.rl
from deepcritic.__main__ import main
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096
before = resident()
code = main(sys.argv[1:])
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print("MEASURED", code, peak - before)
"""
TRAININGS = {
    "SFT, LoRA": ("stage=sft", "trainer=lora"),
    "SFT, full": ("stage=sft", "trainer=full"),
    "GRPO, LoRA": ("stage=rl", "trainer=lora"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=[*WEIGHTS], default=["smollm2"])
    rows: list[Bench] = []
    for name in parser.parse_args().models:
        model = fetch(name)
        for title, words in TRAININGS.items():
            rows.append(one(f"GiB of {title}, {model.name.partition('.')[0]}", words, str(model)))
            print(rows[-1], flush=True)
    write("memory", rows, lengths=LENGTHS)


def one(title: str, words: tuple[str, ...], model: str) -> Bench:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        command = [*words, f"model={model}", *data(place, words[0]), "run=memory", "seed=1"]
        plan = run([sys.executable, "-m", "deepcritic", *command, "dry_run=true"], place)
        found = re.search(r"on its CPU, training needs ([\d.]+) GiB", plan)
        assert found is not None, plan
        said = run([sys.executable, "-c", CHILD, *command], place)
        code, taken = re.findall(r"MEASURED (\d+) (\d+)", said)[-1]
        assert code == "0", said
        return row(title, float(found.group(1)), int(taken) / (1 << 30), at_least=0.75, at_most=1.35)


def data(place: Path, stage: str) -> list[str]:
    """The options that name a file of equal rows, and the sizes of the training."""
    steps = ["One and one is two, as everybody knows. " * 4] * 8
    rows: list[dict[str, Any]] = [{"problem": f"What is 1 + {at}?", "steps": steps, "label": -1} for at in range(8)]
    if stage == "stage=sft":
        rows = [{**one, "critique": "Step 1 is right. " * 20 + "\\boxed{-1}"} for one in rows]
        options = ["stage.dialogues=rows.jsonl", "stage.max_steps=2", "stage.batch_size=4", "stage.max_length=1024"]
    else:
        rows = [{**one, "label": at % 2 or -1} for at, one in enumerate(rows)]
        options = [
            "stage.examples=rows.jsonl", "stage.columns={first_error: label}", "stage.index_base=1", "stage.steps=2",
            "stage.prefilter_samples=0", "stage.prompts_per_step=2", "stage.num_generations=4", "stage.device_batch_size=4",
            "stage.max_tokens=64",
        ]  # fmt: skip
    (place / "rows.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows), "utf-8")
    return options


def run(command: list[str], place: Path) -> str:
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=1800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


if __name__ == "__main__":
    main()

"""Cost of an evaluation from saved replies: seconds until it starts, seconds with all statistics, and memory with 32 samples and
with a million rows.

scripts/bench evaluation

The benchmark is synthetic: 3,400 solutions in ProcessBench's format with its lengths and ten generators, and replies of
about 2,000 characters. Each run is a separate command, on two cores. The million rows need 12 GB in the temporary folder.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from table import row, write

ROWS, SAMPLES, MANY, TURNS = 3400, 8, 32, 3
CHARACTERS = 2000
CORES = 2
MILLION = 1_000_000
WORDS = [f"w{number}" for number in range(5000)]


class Run(NamedTuple):
    """Run one command: seconds until its folder exists and until it ends, processor seconds, and peak memory in MB."""

    begun: float
    ended: float
    processor: float
    memory: float


def write_benchmark(folder: Path, rows: int, chance: random.Random) -> dict[str, tuple[int, int]]:
    """Write `benchmark.jsonl`, with two solutions for every tenth problem; returns the gold and number of steps of each."""
    said = _sayings(chance, rows)
    gold = {}
    with (folder / "benchmark.jsonl").open("w", encoding="utf-8") as file:
        for at in range(rows):
            steps = chance.randint(2, 15)
            label = -1 if chance.random() < 0.4 else chance.randrange(steps)
            gold[f"math-{at}"] = (label + 1 or -1, steps)
            solution = {
                "id": f"math-{at}", "generator": f"model-{at % 10}", "problem": f"Problem {at * 10 // 11}: {said(200)}",
                "steps": [said(200) for _ in range(steps)], "label": label, "final_answer_correct": label == -1,
            }  # fmt: skip
            file.write(json.dumps(solution) + "\n")
    return gold


def write_replies(path: Path, gold: dict[str, tuple[int, int]], samples: int, chance: random.Random) -> None:
    """Replies of which three in five are right and one in 50 has no verdict."""
    said = _sayings(chance, len(gold))
    with path.open("w", encoding="utf-8") as file:
        for name, (right, steps) in gold.items():
            for sample in range(samples):
                verdict = right if chance.random() < 0.6 else chance.choice([-1, *range(1, steps + 1)])
                end = "" if chance.random() < 0.02 else f" \\boxed{{{verdict}}}"
                file.write(json.dumps({"example_id": name, "sample": sample, "text": said(CHARACTERS) + end}) + "\n")


def _sayings(chance: random.Random, rows: int) -> Callable[[int], str]:
    """Makes texts of a given approximate length; for many rows they are pieces of one text, which is much faster."""
    if rows <= ROWS:
        return lambda characters: " ".join(chance.choices(WORDS, k=characters // 6))
    text = " ".join(chance.choices(WORDS, k=200_000))
    return lambda characters: text[(start := chance.randrange(len(text) - characters)) : start + characters]


def evaluate(folder: Path, replies: Path, run: str) -> Run:
    """Run the command and check every millisecond whether its folder exists."""
    words = [
        "stage=evaluate", "benchmark=processbench", f"benchmark.path={folder / 'benchmark.jsonl'}",
        f"stage.generations={replies}", f"runs={folder / 'runs'}", f"run={run}",
    ]  # fmt: skip
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "deepcritic", *words], stdout=subprocess.DEVNULL)
    begun = None
    config = folder / "runs" / run / "evaluate" / "config.json"
    while True:
        done, status, used = os.wait4(process.pid, os.WNOHANG)
        if begun is None and config.exists():
            begun = time.perf_counter() - began
        if done:
            break
        time.sleep(0.001)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, f"the evaluation ended with {process.returncode}"
    assert begun is not None
    return Run(begun, time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def main() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        gold = write_benchmark(folder, ROWS, chance)
        few, many = folder / "few.jsonl", folder / "many.jsonl"
        write_replies(few, gold, SAMPLES, chance)
        write_replies(many, gold, MANY, chance)
        runs = [evaluate(folder, few, f"few-{turn}") for turn in range(TURNS + 1)][1:]
        largest = evaluate(folder, many, "many")
        many.unlink()
        write_replies(few, write_benchmark(folder, MILLION, chance), 1, chance)
        million = evaluate(folder, few, "million")
    rows = [
        row(
            "seconds until the run is begun, replies and benchmark read", statistics.median(run.begun for run in runs), at_most=2
        ),
        row(
            f"seconds, {ROWS:,} x {SAMPLES} replies with all statistics", statistics.median(run.ended for run in runs), at_most=10
        ),
        row(f"MB at most, {ROWS:,} x {MANY} replies", largest.memory, at_most=1000),
        row(f"seconds, {MILLION:,} rows with all statistics", million.ended, at_most=600),
        row(f"MB at most, {MILLION:,} rows", million.memory, at_most=2000),
    ]
    processor = round(statistics.median(run.processor for run in runs), 2)
    write("evaluation", rows, processor_seconds=processor, seconds_with_32=round(largest.ended, 1), load=os.getloadavg()[0])


if __name__ == "__main__":
    main()

"""A real language model goes through every stage, on real rows: `scripts/test models`.

The model is SmolLM2-135M-Instruct from a GGUF file, at small size. It is weak: what it says is not tested, only that every stage
reads its replies, counts every row and writes what the next stage reads.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.runs.manifest import Manifest, read_manifest
from deepcritic.schema import ALL_CORRECT, Dialogue, Example, Gold, Item, Message
from deepcritic.tasks.first_error import FirstError

MODEL = os.environ.get("DEEPCRITIC_REAL_MODEL", "")
pytestmark = pytest.mark.skipif(not MODEL, reason="needs the weights of a real model: scripts/test models")

_CPU = Path("/proc/cpuinfo")
NATIVE = _CPU.is_file() and "avx512_bf16" in _CPU.read_text("utf-8")
ENGINE = ["sampler.batch_size=16", f"sampler.dtype={'bfloat16' if NATIVE else 'float32'}", "run=real", "seed=1"]
SHORT = "64"
"""Tokens of a reply: enough for a critique of a few sentences."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recipe")


def deepcritic(place: Path, *words: str, code: int = 0) -> str:
    """Run the command line as a user does; returns what it printed."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "deepcritic", *words], cwd=place, capture_output=True, text=True, timeout=600, check=False
    )
    print(f"{words[0]}: {time.monotonic() - began:.0f} s\n{done.stdout}{done.stderr}")
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def by_rule(example: Example) -> Dialogue:
    """A critique made from the human ratings, since this teacher may have none that agrees with them."""
    wrong = example.gold.first_error
    assert isinstance(wrong, int)
    steps = range(1, (len(example.item.steps) if wrong == ALL_CORRECT else wrong) + 1)
    text = " ".join(f"Step {step} is {'wrong' if step == wrong else 'right'}." for step in steps)
    reply = Message(role="assistant", content=f"{text} \\boxed{{{wrong}}}")
    return Dialogue(id=example.id, task="first_error", messages=(*FirstError().ask(example.item).messages, reply), verdict=wrong)


def by_people(problem: Example, answers: dict[str, str]) -> Iterator[Example]:
    """GSM8K's own solution, and one with a wrong answer, since this generator may write none whose answer can be read."""
    *steps, last = (re.sub(r"<<.*?>>", "", line) for line in answers[problem.item.problem.strip()].split("\n"))
    answer = last.removeprefix("#### ")
    for right, said in ((True, answer), (False, f"{answer}1")):
        item = Item(problem=problem.item.problem, steps=(*steps, f"The answer is \\boxed{{{said}}}."))
        yield Example(
            id=f"{problem.id}/{right}", item=item, gold=Gold(reference_answer=answer, answer_right=right), source="gsm8k"
        )


def test_the_whole_recipe(place: Path, datasets_dir: Path) -> None:
    """PRM800K, seed critiques, SFT, GSM8K solutions, rollouts, labels, GRPO, benchmarks, refinement, votes, report, service."""
    gsm8k = datasets_dir / "gsm8k" / "train.jsonl.gz"
    prm800k = datasets_dir / "prm800k" / "phase1_train_plus.stepwise.jsonl.gz"
    deepcritic(place, "stage=prepare", "source=prm800k", f"source.path={prm800k}", "stage.limit=6", "run=real", "seed=1")

    deepcritic(
        place, "stage=seed", "stage.examples=runs/real/prepare/examples.jsonl", f"teacher={MODEL}", "stage.max_problems=1",
        f"stage.critique_max_tokens={SHORT}", f"stage.merge_max_tokens={SHORT}", "stage.in_depth_samples=2", *ENGINE,
    )  # fmt: skip
    written = read_rows(place / "runs/real/seed/dialogues.jsonl", Dialogue)
    examples = read_rows(place / "runs/real/prepare/examples.jsonl", Example)
    write_rows(place / "dialogues.jsonl", [*written, *map(by_rule, examples)])
    deepcritic(
        place, "stage=sft", "trainer=lora", "stage.dialogues=dialogues.jsonl", f"model={MODEL}", "stage.max_steps=2",
        "stage.batch_size=2", "stage.max_length=1024", "run=real", "seed=1",
    )  # fmt: skip
    critic = "runs/real/sft/model"

    deepcritic(
        place, "stage=prepare", "source=gsm8k", f"source.path={gsm8k}", "stage.limit=2", "name=problems", "run=real", "seed=1",
    )  # fmt: skip
    deepcritic(
        place, "stage=solve", "stage.problems=runs/real/prepare.problems/examples.jsonl", f"generator={MODEL}", "stage.samples=2",
        "stage.max_tokens=128", "stage.temperature=0.3", "stage.keep=all", *ENGINE,
    )  # fmt: skip
    solved = read_rows(place / "runs/real/solve/solutions.jsonl", Example)
    problems = list(read_rows(place / "runs/real/prepare.problems/examples.jsonl", Example))
    with gzip.open(gsm8k, "rt", encoding="utf-8") as lines:
        answers = {row["question"].strip(): row["answer"] for row in map(json.loads, lines)}
    write_rows(place / "solutions.jsonl", [*solved, *(row for one in problems for row in by_people(one, answers))])
    deepcritic(
        place, "stage=rollout", "stage.solutions=solutions.jsonl", f"generator={MODEL}", "stage.samples=2",
        f"stage.max_tokens={SHORT}", *ENGINE,
    )  # fmt: skip
    deepcritic(
        place, "stage=label", "stage.solutions=solutions.jsonl",
        "stage.rollouts=runs/real/rollout/generations.jsonl", "stage.rule=math_shepherd", "run=real",
    )  # fmt: skip
    deepcritic(
        place, "stage=rl", "trainer=lora", "stage.examples=runs/real/label/labelled.jsonl", f"model={critic}", "stage.steps=2",
        "stage.prefilter_samples=0", "stage.prompts_per_step=1", "stage.num_generations=2", "stage.device_batch_size=2",
        f"stage.max_tokens={SHORT}", "run=real", "seed=1",
    )  # fmt: skip
    critic = "runs/real/rl/model"

    for benchmark, path in (
        ("processbench", datasets_dir / "processbench" / "gsm8k.json"),
        ("mr_gsm8k", datasets_dir / "mr_gsm8k" / "processed_test_first_half.json"),
    ):
        deepcritic(
            place, "stage=evaluate", f"benchmark={benchmark}", f"benchmark.path={path}", f"model={critic}", "stage.limit=2",
            "stage.samples=2", f"stage.max_tokens={SHORT}", f"name={benchmark}", *ENGINE,
        )  # fmt: skip
    deepcritic(
        place, "stage=refine", "stage.solutions=solutions.jsonl", f"model={critic}", f"generator={MODEL}",
        "stage.limit=2", f"stage.critique_max_tokens={SHORT}", "stage.max_tokens=96", *ENGINE,
    )  # fmt: skip
    deepcritic(
        place, "stage=vote", "stage.problems=runs/real/prepare.problems/examples.jsonl",
        "stage.solutions=runs/real/solve/generations.jsonl", f"model={critic}", f"stage.max_tokens={SHORT}", *ENGINE,
    )  # fmt: skip
    deepcritic(place, "stage=report", "run=real")
    deepcritic(place, "stage=export", "stage.evaluation=evaluate.processbench", "run=real")
    for folder in (place / "runs/real").iterdir():
        for name, rows in (read_manifest(folder) or Manifest()).counts.items():
            assert rows.entered == rows.kept + sum(rows.failed.values()) + sum(rows.filtered.values()), (folder, name)

    with served(place, critic) as url:
        asked = {"problem": "What is 2 + 3?", "steps": ["2 + 3 = 6."], "samples": 1}
        request = urllib.request.Request(f"{url}/v1/critiques", json.dumps(asked).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=120) as answer:
            (found,) = json.loads(answer.read())["data"]
    assert found["tokens"] > 0 == found["failed"], found


@contextlib.contextmanager
def served(place: Path, critic: str) -> Iterator[str]:
    """The address of a service of the critic, in a process of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", f"model={critic}", f"port={port}", f"stage.max_tokens={SHORT}", "run=real"]
    process = subprocess.Popen([sys.executable, "-m", "deepcritic", *words], cwd=place)
    try:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(60) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)

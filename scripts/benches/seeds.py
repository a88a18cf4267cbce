"""Seed critiques: speed of building requests, and the stage's own cost relative to the teacher; writes data/bench/seeds.json.

scripts/bench seeds         # real solutions: PRM800K phase 1 in $DEEPCRITIC_DATASETS, else ../shared/datasets
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import table

from deepcritic.datasets import prm800k
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.samplers.base import Request, Sampling
from deepcritic.schema import Example, Generation
from deepcritic.seeding import prompts as calls
from deepcritic.seeding.best_of_n import Chosen, Earlier, requests
from deepcritic.seeding.prompts import prompt_of, step_call
from deepcritic.seeding.solutions import Material
from deepcritic.stages import seed
from deepcritic.tasks.first_error import FirstError

SOLUTIONS = 10_000
TOKENS_A_SECOND = 8_000
# Tokens of a reply by call, on the short side: shorter replies make the stage's own share larger. Four characters a token.
TOKENS = {"initial": 200, "in_depth": 300, "merge": 400}
WORDS = "so the sum of these two is what the step says it is, "


def main() -> None:
    data = Path(os.environ.get("DEEPCRITIC_DATASETS") or Path(__file__).resolve().parents[3] / "shared" / "datasets")
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "examples.jsonl"
        solutions = write_rows(file, prm800k.read(data / "prm800k" / "phase1_train_plus.stepwise.jsonl.gz"))
        asked, seconds = build(file)
        share = run(file, Path(temporary))
    rows = [
        table.row(
            f"processor seconds to build the requests of all three calls about {SOLUTIONS:,} solutions", seconds, at_most=20
        ),
        table.row("seconds of the stage's own work beside those of a run at 8,000 tokens/s", *share, at_most=0.03),
    ]
    path = table.write("seeds", rows, solutions=solutions, requests=asked, tokens=TOKENS, tokens_a_second=TOKENS_A_SECOND)
    print(path)


def build(file: Path) -> tuple[int, float]:
    """The number of requests of the three calls for the first solutions of a file, and the processor seconds."""
    began = time.process_time()
    rows: list[Example] = []
    for row in read_rows(file, Example):
        rows.append(row)
        if len(rows) == SOLUTIONS:
            break
    material = Material(rows)
    places = list(material.ratings)
    earlier: Earlier = {}
    count = 0
    for name, built_in, fields in (
        ("initial", calls.INITIAL, ""), ("in_depth", calls.IN_DEPTH, ", initial"), ("merge", calls.MERGE, ", initial, in_depth")
    ):  # fmt: skip
        call = step_call(name, name, prompt_of(None, built_in, fields, None), material, Sampling(), 16, 16)
        for request in requests(call, places, range(16 if name == "in_depth" else 1), 0, earlier):
            count += bool(request.keys)
        text = reply(name)
        earlier[name] = {place: Chosen(f"{place.example_id}|{name}|{place.step}|0", text, True) for place in places}
    return count, time.process_time() - began


def reply(call: str, verdict: str = "\\boxed{1}") -> str:
    return (WORDS * (TOKENS[call] * 4 // len(WORDS) + 1))[: TOKENS[call] * 4] + ".\n" + verdict


class Instant:
    """Answers at once, one in seven wrong; `labels` holds the labels, which requests do not contain. Measures its own seconds."""

    model_id = "instant"

    def __init__(self, **_: Any) -> None:
        self.tokens, self.seconds = 0, 0.0
        self.labels: dict[tuple[str, int], int] = {}

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation]:
        for request in requests:
            fingerprint = request.fingerprint(self.model_id)  # the package's work, whoever samples
            began = time.perf_counter()
            for key, number in zip(request.keys, request.seeds, strict=True):
                right = number % 7 > 0
                box = "\\boxed{1}" if (self.labels.get((key.example_id, key.step), 1) >= 0) == right else "\\boxed{-1}"
                self.tokens += TOKENS[key.request]
                generation = Generation(
                    key=key, text=reply(key.request, box), finish_reason="stop", model=self.model_id, seed=number,
                    fingerprint=fingerprint, completion_tokens=TOKENS[key.request],
                )  # fmt: skip
                self.seconds += time.perf_counter() - began
                yield generation
                began = time.perf_counter()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


def run(file: Path, folder: Path) -> tuple[float, float]:
    """Seconds of the stage without its teacher, and with a teacher that writes 8,000 tokens a second."""
    teacher = Instant()
    teacher.labels = {place: rating for row in read_rows(file, Example) for place, rating in Material([row]).ratings.items()}
    began = time.perf_counter()
    with RunFolder(folder / "run" / "seed", stage="seed", config={}) as opened:
        options = seed.SeedOptions(examples=str(file), teacher="instant", system=None)
        seed.run(opened, options, task=FirstError(), sampler=lambda **_: teacher)
    own = time.perf_counter() - began - teacher.seconds
    return own, own + teacher.tokens / TOKENS_A_SECOND


if __name__ == "__main__":
    main()

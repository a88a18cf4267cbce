"""The answer checker beside bare math-verify: accuracy, speed, and how much hostile input delays other comparisons.

scripts/bench answers

Bare means `verify(parse(reference), parse(prediction))` in this process. The normal pairs are final answers of MATH's training
problems, each compared with another spelling of itself or with another problem's answer. Needs the public data sets
($DEEPCRITIC_DATASETS, else ../shared/datasets).
"""

from __future__ import annotations

import contextlib
import functools
import gc
import gzip
import itertools
import json
import logging
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from math_verify import parse, verify
from table import row, write

from deepcritic.answers import compare, equivalent
from deepcritic.answers.decide import Comparison, at_once
from deepcritic.answers.pool import workers

DATASETS = Path(os.environ.get("DEEPCRITIC_DATASETS") or Path(__file__).resolve().parents[3] / "shared" / "datasets")
SAMPLES = DATASETS / "answer_equivalence" / "qwen_math_cot_samples_first50.jsonl.gz"
CASES = DATASETS / "answer_equivalence" / "cases.jsonl"
MATH = DATASETS / "math" / "train_problems_and_answers.json.gz"
NORMAL, HOSTILE, DEADLINE = 5000, 50, 2.0
NASTY = (
    "9^{9^{9^{9}}}", "10^{10^{10}}", "1000000!", "(" * 500, "q" * 5000, "\\sqrt{" * 80 + "2" + "}" * 80,
    "\\int x^{100000} \\sin x dx", "7" * 1_000_000,
    "\\boxed{\\dfrac{5^{\\left(5^{\\left(5^{\\left(5^5\\right)}\\right)} - 4\\right)} - 5}{16}}",
)  # fmt: skip
KILLED = """
import os, signal
from deepcritic.answers import compare, equivalent
from deepcritic.answers.pool import workers
equivalent("x + 1", "1 + x", deadline=60)
print(workers().pids()[0], flush=True)
for _ in compare([(r"\\\\int x^{9000} \\\\sin x \\\\cos(x^2) dx", str(number)) for number in range(20)], deadline=60): pass
"""
Pairs = list[tuple[str, str]]


def main() -> None:
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    equivalent("x + 1", "1 + x", deadline=60)
    rows = [*right(), *fast(), *upstream_cases(), hostile_alone()]
    for what, pairs, rounds in normal_pairs():
        rows.append(beside_hostile(what, pairs, rounds))
    rows.append(row("processes left of one that was killed at work", left_behind(), at_most=0))
    write("answers", rows, hostile=[f"{text[:40]} ... ({len(text)} characters)" if len(text) > 99 else text for text in NASTY])


def bare(pairs: Iterable[tuple[str, str]]) -> list[bool]:
    return [verify(parse(reference), parse(prediction)) for prediction, reference in pairs]


def right() -> Iterator[Any]:
    with gzip.open(SAMPLES, "rt", encoding="utf-8") as lines:
        problems = [json.loads(line) for line in lines]
    pairs = [(text, problem["gt"]) for problem in problems for text in problem["pred"]]
    scores = [score for problem in problems for score in problem["score"]]
    ours = sum(result.equal is score for result, score in zip(compare(pairs), scores, strict=True))
    other = sum(one is score for one, score in zip(bare(pairs), scores, strict=True))
    yield row(f"Qwen samples graded as their source does, of {len(scores)}", ours, other, at_least=1)
    yield row("all of them", ours, at_least=len(scores))


def fast() -> Iterator[Any]:
    """Pairs per second with empty caches, as at the start of a stage."""
    _, (what, pairs, _), _ = normal_pairs()
    ours, other = [], []
    for _ in range(5):
        forget()
        began = time.perf_counter()
        assert sum(1 for _ in compare(pairs)) == len(pairs)
        ours.append(len(pairs) / (time.perf_counter() - began))
        began = time.perf_counter()
        bare(pairs)
        other.append(len(pairs) / (time.perf_counter() - began))
    yield row(f"pairs a second, {what}, caches empty", statistics.median(ours), at_least=20_000)
    yield row("the same beside bare math-verify", statistics.median(ours), statistics.median(other))


def forget() -> None:
    """Empty every cache of the package in this process."""
    for found in gc.get_objects():
        if isinstance(found, functools._lru_cache_wrapper) and found.__module__.startswith("deepcritic."):
            found.cache_clear()


def upstream_cases() -> Iterator[Any]:
    cases = [case for case in map(json.loads, CASES.read_text("utf-8").split("\n")[:-1]) if case["flag"] is None]
    pairs = [(case["pred"], case["gold"]) for case in cases]
    ours = sum(result.equal is case["equivalent"] for result, case in zip(compare(pairs, deadline=20), cases, strict=True))
    other = sum(result is case["equivalent"] for result, case in zip(bare(pairs), cases, strict=True))
    yield row(f"cases of other checkers' tests right, of {len(cases)}", ours, other, at_least=1)


def hostile_alone() -> Any:
    slowest = 0.0
    for text in NASTY:
        for pair in ((text, "5"), ("x^2 + 1", text)):
            began = time.perf_counter()
            (result,) = compare([pair], deadline=DEADLINE)
            slowest = max(slowest, time.perf_counter() - began)
            assert result.equal is not True, text[:80]
    return row(f"seconds for the slowest of {len(NASTY)} hostile inputs, deadline {DEADLINE:g}", slowest, at_most=DEADLINE)


def normal_pairs() -> Iterator[tuple[str, Pairs, int]]:
    """All pairs, pairs without algebra, pairs with algebra; and how often each is timed."""
    draw = random.Random(0)
    answers = [problem["final_answer"] for problem in json.loads(gzip.decompress(MATH.read_bytes()))]

    def endless() -> Iterator[tuple[str, str]]:
        while True:
            reference = draw.choice(answers)
            yield (respelled(draw, reference) if draw.random() < 0.5 else draw.choice(answers)), reference

    def algebra(pair: tuple[str, str]) -> bool:
        return not isinstance(at_once(*pair), Comparison)

    yield "as MATH's answers come", list(itertools.islice(endless(), NORMAL)), 3
    yield "that need no algebra", list(itertools.islice(itertools.filterfalse(algebra, endless()), NORMAL)), 9
    yield "that all need algebra", list(itertools.islice(filter(algebra, endless()), NORMAL)), 1


def respelled(draw: random.Random, answer: str) -> str:
    spaced = answer.replace("+", " + ").replace(",", ", ").replace("=", " = ")
    return draw.choice(
        [f"${answer}$", f"so it is $\\boxed{{{answer}}}$.", answer.replace("\\frac", "\\dfrac"), spaced, answer + "."]
    )


def beside_hostile(what: str, pairs: Pairs, rounds: int) -> Any:
    """Seconds for normal pairs mixed with hostile ones, and without; twice a round, in alternation."""
    every = NORMAL // HOSTILE
    mixed: Pairs = []
    for number, start in enumerate(range(0, NORMAL, every)):
        mixed += [*pairs[start : start + every], (NASTY[number % len(NASTY)], str(number + 2))]
    assert len(mixed) == NORMAL + HOSTILE
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for hostile in [True, False, False, True] * rounds:
        seconds[hostile].append(timed(mixed if hostile else pairs))
    ratio = [statistics.median(seconds[hostile]) for hostile in (True, False)]
    return row(f"seconds, {NORMAL} pairs {what}, beside {HOSTILE} hostile ones and without", *ratio, at_most=1.2)


def timed(pairs: Pairs) -> float:
    workers().close()  # what they learnt of the grammar, too
    list(compare([(f"x + {random.random()}", "x") for _ in range(8)], deadline=60))
    with tempfile.TemporaryDirectory() as folder:  # a file of its own, so that nothing is remembered from the last time
        began = time.perf_counter()
        for _ in compare(pairs, cache=Path(folder) / "compared.jsonl", deadline=DEADLINE):
            pass
        return time.perf_counter() - began


def left_behind() -> int:
    """Number of processes alive in the forkserver's session five seconds after its owner was killed."""
    process = subprocess.Popen([sys.executable, "-c", KILLED], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    forkserver = process.stdout.readline().strip()
    time.sleep(1)
    assert in_session(forkserver) >= 2
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(5)
    return in_session(forkserver)


def in_session(leader: str) -> int:
    count = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, session = stat.read_text().rpartition(")")[2].split()[:4]
            count += session == leader and state != "Z"
    return count


if __name__ == "__main__":
    main()

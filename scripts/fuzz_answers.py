"""Searches for pairs of answers on which the checker is slow, inconsistent or fails.

python scripts/fuzz_answers.py SECONDS [SEED]

Real answers and the golden cases are cut, spliced, nested, repeated and enlarged. Each find is a line of JSON with the pair.
Cases worth keeping are added to tests/golden by hand.

- `time`, `memory`, `depth`, `died`, `error: ...`, `forbidden: ...`: the reason why a pair is undecided
- `slow`: the part in the caller's own process took more than a twentieth of a second
- `late`: the result came after its deadline
- `asymmetric`: equal one way round and different the other way, and neither side is an equation or an inequality
- `restyled`: the same answer in another styling has another result
- `not itself`: an answer differs from itself in another styling
- `scaled`: two numbers are equal, and their doubles are not, or the other way round
"""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from deepcritic.answers import compare
from deepcritic.answers.decide import at_once
from deepcritic.answers.numbers import number

ROOT = Path(__file__).resolve().parent.parent
DATASETS = Path(os.environ.get("DEEPCRITIC_DATASETS") or ROOT.parent / "shared" / "datasets")
DEADLINE = 2.0
WRAPS = (
    "({})", "\\left({}\\right)", "\\sqrt{{{}}}", "\\frac{{{}}}{{2}}", "\\frac{{1}}{{{}}}", "{}^{{{}}}", "{} + {}", "{}, {}",
    "|{}|", "-{}", "\\boxed{{{}}}", "${}$", "\\text{{{}}}", "\\int_0^1 {} dx", "\\sum_{{k=1}}^{{n}} {}", "\\log({})",
    "\\sin({})", "{}!", "\\{{{}\\}}", "\\begin{{pmatrix}} {} \\\\ {} \\end{{pmatrix}}", "x = {}", "{} < x < {}", "{}\\%",
    "{} \\text{{ cm}}", "{}_{{{}}}", "\\binom{{{}}}{{{}}}", "[{}, {})", "{} \\cup {}", "{} \\pm {}", "\\lim_{{x \\to 0}} {}",
    "The answer is {}.", "{} \\cdot {}", "{}**{}", "{} \\pmod{{{}}}",
)  # fmt: skip
STYLES = (
    "${}$", "\\boxed{{{}}}", " {} ", "\\boldsymbol{{{}}}", "\\left({}\\right)", "The answer is ${}$.", "\\({}\\)",
    "\\color{{red}}{{{}}}",    "So it is $\\boxed{{{}}}$.", "\\displaystyle {}", "\\[{}\\]", "**{}**", "\\text{{}}{}", "{}.",
)  # fmt: skip
_RELATION = re.compile(r"[=<>:]|\\(?:le|ge|ne|in|approx|sim|equiv|to|lt|gt|neq|leq|geq)")
SIGNS = "0123456789xyzabeik+-*/^_!=<>,.;:()[]{}|\\ $%&~'\"\n½²√π≤∞−·\u200b"


def corpus() -> list[str]:
    """Answers of people and of other checkers' tests, and what was found before."""
    golden = json.loads((ROOT / "tests/golden/answers.json").read_text("utf-8"))
    texts = [case[side] for cases in golden["pairs"].values() for case in cases for side in ("prediction", "reference")]
    texts += [case["text"] for case in json.loads((ROOT / "tests/golden/hostile_answers.json").read_text("utf-8"))]
    if DATASETS.is_dir():
        math = json.loads(gzip.decompress((DATASETS / "math" / "train_problems_and_answers.json.gz").read_bytes()))
        texts += [problem["final_answer"] for problem in math]
        cases = (DATASETS / "answer_equivalence" / "cases.jsonl").read_text("utf-8").split("\n")[:-1]
        texts += [json.loads(case)[side][:300] for case in cases for side in ("pred", "gold")]
    return [text for text in texts if text]


def changed(draw: random.Random, text: str, texts: list[str]) -> str:
    """`text` after one change."""
    at, to = sorted((draw.randrange(len(text) + 1), draw.randrange(len(text) + 1)))
    kind = draw.randrange(9)
    if kind <= 3:
        return draw.choice(WRAPS).format(text, draw.choice(texts)[:60])
    if kind == 4:
        return text[:at] + text[to:]
    if kind == 5:
        return text[:at] + draw.choice(SIGNS) + text[at:]
    if kind == 6:
        return text[:at] + text[at:to] * draw.choice([2, 2, 3, 10, 100]) + text[to:]
    if kind == 7:
        other = draw.choice(texts)
        return text[:at] + other[draw.randrange(len(other) + 1) :]
    digit = draw.choice("23579")
    return "".join(digit * draw.choice([1, 3, 6, 20]) if sign.isdecimal() and draw.random() < 0.5 else sign for sign in text)


def pairs(draw: random.Random, texts: list[str]) -> Iterator[tuple[str, str]]:
    while True:
        text = draw.choice(texts)
        for _ in range(draw.choice([1, 1, 2, 3, 5])):
            text = changed(draw, text, texts)[:6000]
        yield text, draw.choice([draw.choice(texts), changed(draw, text, texts)[:6000], text])


def restyled(draw: random.Random, text: str) -> str:
    """`text` in a styling that changes no answer."""
    return draw.choice(STYLES).format(text)


def balanced(text: str) -> bool:
    """Whether brackets close and nothing ends within a command, so that styling around `text` covers all of it."""
    depth = 0
    for sign in text:
        depth += (sign in "({[") - (sign in ")}]")
        if depth < 0:
            return False
    return depth == 0 and not set(text) & set("$&\n`*_#|") and not text.endswith("\\")


def finds(draw: random.Random, prediction: str, reference: str) -> Iterator[str]:
    """What is wrong about the comparison of a pair."""
    began = time.thread_time()
    at_once(prediction, reference)
    if time.thread_time() - began > 0.05:
        yield "slow"
    began = time.monotonic()
    (found,) = compare([(prediction, reference)], deadline=DEADLINE)
    if time.monotonic() - began > DEADLINE + 0.1:
        yield "late"
    if found.reason.partition(":")[0] in ("time", "memory", "depth", "died", "error", "forbidden"):
        yield found.reason
    if not balanced(prediction) or not balanced(reference) or max(len(prediction), len(reference)) > 300:
        return
    styled = restyled(draw, prediction)
    other = [(reference, prediction), (styled, reference), (styled, prediction)]
    turned, again, itself = compare(other, deadline=DEADLINE)
    related = _RELATION.search(prediction + reference)
    if not related and None not in (found.equal, turned.equal) and found.equal is not turned.equal:
        yield "asymmetric"
    if None not in (found.equal, again.equal) and found.equal is not again.equal:
        yield f"restyled: {styled[:60]}"
    if itself.equal is False:
        yield f"not itself: {styled[:60]}"
    if number(prediction) and number(reference) and found.equal is not None:
        (doubled,) = compare([(f"2 \\cdot ({prediction})", f"2 \\cdot ({reference})")], deadline=DEADLINE)
        if doubled.equal is not None and doubled.equal is not found.equal:
            yield "scaled"


def main(seconds: float, seed: int) -> None:
    draw, texts = random.Random(seed), corpus()
    end, counts = time.monotonic() + seconds, Counter[str]()
    for prediction, reference in pairs(draw, texts):
        if time.monotonic() > end:
            break
        counts["pairs"] += 1
        for find in finds(draw, prediction, reference):
            counts[find.partition(":")[0]] += 1
            print(json.dumps({"found": find, "prediction": prediction, "reference": reference}), flush=True)
    print(json.dumps(dict(counts)), file=sys.stderr)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)

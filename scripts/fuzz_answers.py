"""Looks for pairs of answers that the checker is slow, wrong or noisy about: python scripts/fuzz_answers.py SECONDS [SEED]

Real answers and the golden cases are cut, spliced, nested, repeated and blown up. Each find is a line of JSON: what was found
and the pair. Cases worth keeping go into tests/golden by hand.

- `time`, `memory`, `depth`, `died`, `error: ...`, `forbidden: ...`: the reason for which a pair was undecided
- `slow`: the part that runs in the caller's own process took more than a twentieth of a second
- `late`: the answer came after its deadline
- `contradicted`: the fast path says one thing and math-verify the other
- `not itself`: an answer differs from itself in brackets, times one
"""

from __future__ import annotations

import gzip
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from deepcritic.answers import compare
from deepcritic.answers.decide import decide_answers
from deepcritic.answers.pool import workers
from deepcritic.answers.text import answer_of, for_algebra
from deepcritic.answers.too_big import text_too_big

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
SIGNS = "0123456789xyzabeik+-*/^_!=<>,.;:()[]{}|\\ $%&~'\"\n½²√π≤∞−·\u200b"


def corpus() -> list[str]:
    """Answers of people and of other checkers' tests, and what was found before."""
    golden = json.loads((ROOT / "tests/golden/answers.json").read_text("utf-8"))
    texts = [case[side] for table in golden.values() for case in table for side in ("prediction", "reference")]
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


def finds(prediction: str, reference: str) -> Iterator[str]:
    """What is wrong about the comparison of a pair."""
    one, other = answer_of(prediction), answer_of(reference)
    began = time.thread_time()
    quick = decide_answers(one, other)
    texts = for_algebra(other), for_algebra(one)
    hard = any(map(text_too_big, texts))
    if time.thread_time() - began > 0.05:
        yield "slow"
    began = time.monotonic()
    (found,) = compare([(prediction, reference)], deadline=DEADLINE)
    if time.monotonic() - began > DEADLINE + 0.1:
        yield "late"
    if found.reason not in ("", "size", "unreadable prediction", "unreadable reference"):
        yield found.reason
    if quick is not None and not hard and one != other:
        slow = workers().compare(texts, DEADLINE)
        if slow.equal is not None and slow.equal is not quick:
            yield "contradicted"
    if not hard and len(prediction) < 100 and not set(prediction) & set("$∞,{}"):
        itself = workers().compare((texts[1], for_algebra(f"1 \\cdot ({prediction})")), DEADLINE)
        if itself.equal is False:
            yield "not itself"


def main(seconds: float, seed: int) -> None:
    draw, texts = random.Random(seed), corpus()
    end, counts = time.monotonic() + seconds, Counter[str]()
    for prediction, reference in pairs(draw, texts):
        if time.monotonic() > end:
            break
        counts["pairs"] += 1
        for find in finds(prediction, reference):
            counts[find] += 1
            print(json.dumps({"found": find, "prediction": prediction, "reference": reference}), flush=True)
    print(json.dumps(dict(counts)), file=sys.stderr)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)

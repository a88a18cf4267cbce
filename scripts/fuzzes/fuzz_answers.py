"""Searches for pairs of answers on which the checker is slow, inconsistent or fails.

scripts/fuzz answers --minutes 10

Real answers and the golden cases are cut, spliced, nested, repeated and enlarged. Cases worth keeping are added to tests/golden
by hand.

- `died`, `error: ...`, `forbidden: ...`: the reason why a pair is undecided
- `limit`: `time`, `memory` or `depth` is the reason, or the result was `late`, after its deadline. They depend on the load of the
  machine, and are counted apart from the finds
- `slow`: the part in the caller's process took more than a twentieth of a second
- `asymmetric`: equal in one order and different in the other, and neither side is an equation or an inequality
- `restyled`: the same answer in another styling has another result
- `not itself`: an answer differs from itself in another styling
- `scaled`: two numbers of at most 15 digits are equal but their doubles are not, or vice versa
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator

from fuzzing import golden, rows_of, search, spliced

from deepcritic.answers import compare
from deepcritic.answers.decide import at_once
from deepcritic.answers.extract import is_prose
from deepcritic.answers.numbers import number

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
_LIST = re.compile(r"[,;]|\\pm|(?<![A-Za-z])(?:and|or)(?![A-Za-z])|或|和|、")
_RELATION = re.compile(r"[=<>:]|\\(?:le|ge|ne|in|approx|sim|equiv|to|lt|gt|neq|leq|geq)")


def corpus() -> list[str]:
    """Human answers, answers from other checkers' tests, and earlier finds."""
    pairs = golden("answers")["pairs"]
    texts = [case[side] for cases in pairs.values() for case in cases for side in ("prediction", "reference")]
    texts += [case["text"] for case in golden("hostile_answers")]
    texts += [problem["final_answer"] for problem in rows_of("math", "train_problems_and_answers.json.gz")]
    texts += [case[side][:300] for case in rows_of("answer_equivalence", "cases.jsonl") for side in ("pred", "gold")]
    return [text for text in texts if text]


def changed(draw: random.Random, text: str, texts: list[str]) -> str:
    """`text` after one change."""
    kind = draw.randrange(9)
    if kind <= 3:
        return draw.choice(WRAPS).format(text, draw.choice(texts)[:60])
    if kind <= 7:
        return spliced(draw, text, draw.choice(texts))
    digit = draw.choice("23579")
    return "".join(digit * draw.choice([1, 3, 6, 20]) if sign.isdecimal() and draw.random() < 0.5 else sign for sign in text)


def pairs(draw: random.Random) -> Iterator[tuple[str, str]]:
    texts = corpus()
    while True:
        text = draw.choice(texts)
        for _ in range(draw.choice([1, 1, 2, 3, 5])):
            text = changed(draw, text, texts)[:6000]
        yield text, draw.choice([draw.choice(texts), changed(draw, text, texts)[:6000], text])


def restyled(draw: random.Random, text: str) -> str:
    """`text` in a styling that changes no answer.

    Brackets make a tuple of a list, a sentence is no formula, and a period after `!` decides that it is a factorial.
    """
    styles = [
        style for style in STYLES
        if not (is_prose(text) and ("\\" in style or "$" in style))
        and not ("(" in style and _LIST.search(text)) and not (style == "{}." and text.endswith("!"))
    ]  # fmt: skip
    return draw.choice(styles).format(text)


def balanced(text: str) -> bool:
    """Whether brackets close and no command is cut off, so that styling around `text` covers all of it."""
    depth = 0
    for sign in text:
        depth += (sign in "({[") - (sign in ")}]")
        if depth < 0:
            return False
    return depth == 0 and not set(text) & set("$&\n`*_#|") and not text.endswith("\\")


def finds(draw: random.Random, pair: tuple[str, str]) -> Iterator[str]:
    """The faults in the comparison of a pair."""
    prediction, reference = pair
    began = time.thread_time()
    at_once(prediction, reference)
    if time.thread_time() - began > 0.05:
        yield "slow"
    began = time.monotonic()
    (found,) = compare([(prediction, reference)], deadline=DEADLINE)
    if time.monotonic() - began > DEADLINE + 0.1:
        yield "limit: late"
    if found.reason in ("time", "memory", "depth"):
        yield f"limit: {found.reason}"
    if found.reason.partition(":")[0] in ("died", "error", "forbidden"):
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
    doubles = [side for side in (prediction, reference) if number(side) and sum(map(str.isdecimal, side)) <= 15]
    if len(doubles) == 2 and found.equal is not None:
        (doubled,) = compare([(f"2 \\cdot ({prediction})", f"2 \\cdot ({reference})")], deadline=DEADLINE)
        if doubled.equal is not None and doubled.equal is not found.equal:
            yield "scaled"


if __name__ == "__main__":
    search("answers", pairs, finds)

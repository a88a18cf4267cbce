"""What needs no algebra beside math-verify alone, on 10,000 pairs; and the cases of other checkers' tests."""

from __future__ import annotations

import json
import logging
import multiprocessing
import random
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from deepcritic.answers import Comparison, Conventions, compare
from deepcritic.answers.decide import answer_of, at_once
from deepcritic.answers.numbers import number
from deepcritic.answers.spelling import spelled

pytest.importorskip("math_verify", reason="pip install 'deepcritic[answers]'")
PAIRS = 10_000
UNITS = (
    "\\text{ cm}", "\\text{ units}", " cm", " feet", "^\\circ", "^{\\circ}", "\\text{ m}^2", "\\mathrm{ kg}", " hours",
    "\\mbox{ inches}", "\\text{ miles}", " minutes",
)  # fmt: skip
FRAMES = (
    "{}", "{}", "{}", "${}$", "$${}$$", "\\boxed{{{}}}", "so $\\boxed{{{}}}$.", "Thus\n\\[\\boxed{{{}}}\\]", "\\({}\\)",
    "\\[{}\\]", "{}.", "${}$.", " {} ", "\\boxed{{ {} }}",
    "\\boxed{{3}}, no: " + "again. " * 30 + "\\boxed{{{}}}",
)  # fmt: skip
TERMS = (
    "x", "2x", "3y", "x^2", "x^{{2}}", "xy", "\\sqrt{{{}}}", "\\sqrt[3]{{{}}}", "\\pi", "{}\\pi", "\\frac{{{}}}{{{}}}", "{}",
    "{}", "\\frac{{x}}{{{}}}", "\\sin x", "\\log_2 {}", "{}i", "e^{{{}}}", "{}^{{{}}}", "|x|", "\\binom{{{}}}{{2}}", "{}!",
)  # fmt: skip
SHAPES = (
    "({0}, {1})", "[{0}, {1}]", "({0}, {1}]", "\\{{{0}, {1}\\}}", "{0}, {1}", "{0} + {1}", "{0} - {1}", "{0} \\cdot {1}",
    "{0} < x", "x = {0}", "{0} \\pm {1}", "(-\\infty, {0})", "[{0}, \\infty)", "\\begin{{pmatrix}} {0} \\\\ {1} \\end{{pmatrix}}",
    "{0}", "\\left( {0} , {1} \\right)", "\\frac{{{0}}}{{{1}}}", "x \\in ({0}, {1}) \\cup ({1}, {0})",
)  # fmt: skip


class Pair(NamedTuple):
    """A prediction and a reference, and what kind of answers they are."""

    kind: str
    prediction: str
    reference: str


def pairs(draw: random.Random) -> Iterator[Pair]:
    """Without end: numbers in many spellings, equal about half of the time and often nearly so; times and choices; formulas."""
    while True:
        kind = draw.choices(("number", "near", "choice", "time", "formula"), (14, 2, 1, 1, 4))[0]
        one, other = {"number": _numbers, "near": _near, "choice": _choices, "time": _times, "formula": _formulas}[kind](draw)
        yield Pair(kind, draw.choice(FRAMES).format(one), draw.choice(FRAMES).format(other))


def _numbers(draw: random.Random) -> tuple[str, str]:
    bottom = draw.choice([1, 1, 1, 2, 3, 4, 5, 7, 8, 10, 100, 997])
    most = draw.choice([20, 9999, 10**6, 10**10])  # math-verify's floats end at 15 digits
    top = draw.randint(-most, most)
    if draw.random() < 0.5:
        return _spelled(draw, top, bottom), _spelled(draw, top, bottom)
    other = top + draw.choice([-1, 1, 10, 1000, -2 * top])
    return _spelled(draw, top, bottom), _spelled(draw, other, draw.choice([bottom, 1, 2]))


def _near(draw: random.Random) -> tuple[str, str]:
    """Decimals and fractions that differ, if at all, about where math-verify rounds."""
    value = draw.randint(1, 10**6) / 10 ** draw.randint(0, 6)
    other = value + draw.choice([0, 1e-3, 1e-4, 2e-5, 1e-6, 1e-7, -1e-5]) * draw.choice([1, value])
    places = draw.randint(3, 9)
    spelled = [f"{other:.{places}f}", f"{round(other * 10**8)}/{10**8}", f"{round(other * 1000)}/1000"]
    return f"{value:.{places}f}", draw.choice(spelled)


def _choices(draw: random.Random) -> tuple[str, str]:
    return draw.choice("ABCD"), draw.choice("ABCD")


def _times(draw: random.Random) -> tuple[str, str]:
    def time() -> str:
        return f"{draw.randint(1, 3)}:{draw.choice(['00', '00', '15', '30'])}{draw.choice(['', '', '', 'p', 'a'])}"

    return time(), time()


def _formulas(draw: random.Random) -> tuple[str, str]:
    def term() -> str:
        template = draw.choice(TERMS)
        return template.format(draw.randint(2, 9), draw.randint(2, 9))

    formula = draw.choice(SHAPES).format(term(), term())
    return formula, _respelled(draw, formula)


def _respelled(draw: random.Random, formula: str) -> str:
    """The same formula with other spacing and other sizes of brackets and fractions."""
    if draw.random() < 0.5:
        formula = formula.replace("\\frac", draw.choice(["\\dfrac", "\\tfrac", "\\cfrac"]))
    if draw.random() < 0.5:
        formula = formula.replace(", ", ",").replace(" + ", "+").replace(" - ", "-")
    if draw.random() < 0.5 and formula[0] == "(" and formula[-1] in ")]" and "cup" not in formula:
        formula = f"\\left{formula[:-1]}\\right{formula[-1]}"
    return formula.replace("  ", " ")


def _spelled(draw: random.Random, top: int, bottom: int) -> str:
    value, sign = top / bottom, "-" if top < 0 else ""
    forms = [f"{top}/{bottom}", f"\\frac{{{top}}}{{{bottom}}}", f"\\tfrac{{{top}}}{{{bottom}}}"]
    forms.append(f"\\dfrac{{{top * 3}}}{{{bottom * 3}}}")
    if top < 0:
        forms.append(f"-\\frac{{{-top}}}{{{bottom}}}")
    if 0 < top < 10 and bottom < 10:
        forms.append(f"\\frac{top}{bottom}")
    if bottom in (1, 2, 4, 5, 8, 10, 100):
        forms += [f"{value:.3f}", f"{value:.6f}".rstrip("0").rstrip("."), f"{value:.4f}"]
    if abs(top) > bottom > 1:
        forms.append(f"{sign}{abs(top) // bottom}\\frac{{{abs(top) % bottom}}}{{{bottom}}}")
    if bottom == 1:
        grouped = f"{top:,}"
        forms += [str(top), grouped, grouped.replace(",", "{,}"), grouped.replace(",", ",\\!")] * 2
        forms += [f"{top}.0", f"{top}.", f"{sign}0{abs(top)}"]
    form, unit = draw.choice(forms), draw.choice(UNITS) if draw.random() < 0.3 else ""
    return form if unit.startswith("^") and "," in form else form + unit


def bare(pair: Pair) -> bool | None:
    """math-verify alone, given dollars (and no final period) where a text has no delimiters; None where it reads nothing."""
    from math_verify import parse, verify

    def dressed(text: str) -> str:
        return text if any(sign in text for sign in ("$", "\\(", "\\[", "\\boxed")) else f"${text.strip().rstrip('.')}$"

    gold, target = parse(dressed(pair.reference)), parse(dressed(pair.prediction))
    if verify(gold, target):
        return True
    return None if any(all(isinstance(value, str) for value in found) for found in (gold, target)) else False


@pytest.fixture(scope="module")
def processes() -> Iterator[Any]:
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    with multiprocessing.get_context("fork").Pool(2) as processes:
        yield processes


def test_ten_thousand_pairs(processes: Any) -> None:
    """They differ on decimals within a millionth of each other alone: math-verify rounds to six places, whatever the size."""
    decided: list[tuple[Pair, bool]] = []
    for pair in pairs(random.Random(1)):
        quick = at_once(pair.prediction, pair.reference, Conventions(units="ignored"))
        if isinstance(quick, Comparison) and quick.equal is not None:
            decided.append((pair, quick.equal))
        if len(decided) == PAIRS:
            break
    found = processes.imap(bare, [pair for pair, _ in decided], chunksize=100)
    agreed: Counter[tuple[str, bool]] = Counter()
    contradicted, unread = [], 0
    for (pair, equal), slow in zip(decided, found, strict=True):
        unread += slow is None
        agreed[pair.kind, equal] += slow is equal
        if slow is not None and slow is not equal:
            contradicted.append((pair, equal))
    rounded = [pair for pair, _ in contradicted if pair.kind == "near" and _are_near(pair)]
    assert not [pair for pair in contradicted if pair[0] not in rounded]
    assert 0 < len(rounded) < 0.03 * PAIRS
    assert unread < 0.03 * PAIRS
    kinds = {(kind, equal) for kind in ("number", "near", "choice", "time") for equal in (True, False)} | {("formula", True)}
    assert kinds <= {kind for kind, count in agreed.items() if count >= 20}, agreed


def _are_near(pair: Pair) -> bool:
    one, other = (number(spelled(answer_of(text))) for text in (pair.prediction, pair.reference))
    assert one is not None
    assert other is not None
    return 0 < abs(one.value - other.value) <= max(Fraction(1), abs(one.value)) / 10**6


def test_upstream_cases(datasets_dir: Path) -> None:
    """At least as many right as math-verify alone in the same run, whichever way it is called, of all and of those without a
    remark."""
    from math_verify import parse, verify

    file = datasets_dir / "answer_equivalence" / "cases.jsonl"
    rows = [json.loads(line) for line in file.read_text("utf-8").split("\n")[:-1]]
    ours = list(compare([(row["pred"], row["gold"]) for row in rows], deadline=10))
    right = [result.equal is row["equivalent"] for result, row in zip(ours, rows, strict=True)]
    plain = [verify(parse(row["gold"]), parse(row["pred"])) is row["equivalent"] for row in rows]
    dressed = [bool(bare(Pair("", row["pred"], row["gold"]))) is row["equivalent"] for row in rows]
    sure = [row["flag"] is None for row in rows]
    assert sum(right) >= max(sum(plain), sum(dressed))
    assert all(ok for ok, certain in zip(right, sure, strict=True) if certain)

"""Properties of the comparison: of an answer and itself, in any order, styling, spelling and scale, against exact calculation."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import TypeAlias

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from deepcritic.answers import Comparison, compare
from deepcritic.answers.decide import at_once
from deepcritic.answers.spelling import spelled

pytest.importorskip("math_verify", reason="pip install 'deepcritic[answers]'")
DEADLINE = 20.0
STYLES = (
    "{}", "${}$", "$${}$$", "\\({}\\)", "\\[{}\\]", "\\boxed{{{}}}", "so it is $\\boxed{{{}}}$.", "{}.", " {} ",
    "\\displaystyle {}", "\\boldsymbol{{{}}}", "\\textcolor{{red}}{{{}}}", "\\color{{blue}}{{{}}}", "The answer is ${}$.",
    "First \\boxed{{77}}, no: \\boxed{{{}}}", "**Final Answer**\n\\boxed{{{}}}", "We find it.\n\\[\n{}\n\\]",
    "<answer>{}</answer>", "答案是${}$。",
)  # fmt: skip
styles = st.sampled_from(STYLES)
small = st.integers(-99, 99)
whole = st.one_of(small, st.integers(-(10**12), 10**12))
fractions = st.builds(Fraction, whole, st.integers(1, 60))
decimals = st.builds(lambda digits, places: Fraction(digits, 10**places), st.integers(-(10**7), 10**7), st.integers(1, 6))
terms = st.sampled_from([
    "x", "2x", "-3y", "x^2", "xy", "\\sqrt{2}", "\\frac{x}{3}", "\\pi", "7", "-\\frac{1}{2}", "\\sin x", "e^{x}",
    "\\sqrt{x}", "|x|", "x^{-1}", "\\ln x", "2^{n}", "n!", "\\cos 2y", "3i",
])  # fmt: skip


@st.composite
def spellings(draw: st.DrawFn, value: Fraction) -> str:
    """An exact spelling of a number."""
    sign, size = ("-" if value < 0 else ""), abs(value)
    forms = [f"{value.numerator}/{value.denominator}", f"\\frac{{{value.numerator}}}{{{value.denominator}}}"]
    forms += [f"{sign}\\dfrac{{{3 * size.numerator}}}{{{3 * size.denominator}}}"]
    if size > 1 and size.denominator > 1:
        rest = size - size.numerator // size.denominator
        forms.append(f"{sign}{size.numerator // size.denominator}\\frac{{{rest.numerator}}}{{{rest.denominator}}}")
        forms.append(f"{sign}{size.numerator // size.denominator} {rest.numerator}/{rest.denominator}")
    if value.denominator == 1:
        grouped = f"{value.numerator:,}"
        forms += [
            str(value.numerator),
            f"{sign}0{size.numerator}",
            grouped,
            grouped.replace(",", "{,}"),
            grouped.replace(",", "\\,"),
        ]
        forms += [f"{value.numerator}.0", f"{value.numerator} \\text{{ units}}", str(value.numerator).translate(FULL_WIDTH)]
    places = next((places for places in range(8) if (value * 10**places).denominator == 1), None)
    if places:
        digits = str(abs((value * 10**places).numerator)).rjust(places + 1, "0")
        written = f"{sign}{digits[:-places]}.{digits[-places:]}"
        forms += [written, f"{written}0", f"{sign}{digits}e-{places}", f"{sign}{digits} \\times 10^{{-{places}}}"]
    return draw(st.sampled_from(forms))


FULL_WIDTH = str.maketrans("0123456789-", "０１２３４５６７８９－")
numbers = st.one_of(whole.map(Fraction), fractions, decimals)


@st.composite
def two_numbers(draw: st.DrawFn) -> tuple[Fraction, Fraction]:
    """Two numbers, often equal or nearly so."""
    value = draw(numbers)
    other = draw(st.one_of(st.just(value), numbers, small.map(lambda more: value + Fraction(more, 7)), st.just(-value)))
    return value, other


@given(st.data(), two_numbers())
def test_numbers_are_equal_where_their_values_are(data: st.DataObject, pair: tuple[Fraction, Fraction]) -> None:
    texts = [data.draw(styles).format(data.draw(spellings(value))) for value in pair]
    (result,) = compare([(texts[0], texts[1])], deadline=DEADLINE)
    assert result.equal is (pair[0] == pair[1]), texts


@given(st.data(), two_numbers(), st.integers(2, 10**6))
def test_scaling_both_numbers_changes_nothing(data: st.DataObject, pair: tuple[Fraction, Fraction], factor: int) -> None:
    plain = at_once(data.draw(spellings(pair[0])), data.draw(spellings(pair[1])))
    scaled = at_once(data.draw(spellings(pair[0] * factor)), data.draw(spellings(pair[1] * factor)))
    assert plain == scaled


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(2, 16), st.integers(2, 16), st.booleans())
def test_digits_in_bases(value: int, other: int, base: int, other_base: int, same: bool) -> None:
    other = value if same else other
    texts = [f"{_in_base(value, base)}_{{{base}}}", f"{_in_base(other, other_base)}_{{{other_base}}}"]
    assume(all(text[0].isdigit() for text in texts))  # a_{11} may be a variable
    assert at_once(texts[0], texts[1]) == Comparison(value == other), texts
    assert at_once(texts[0], str(value)) == Comparison(True)


def _in_base(value: int, base: int) -> str:
    digits = "" if value else "0"
    while value:
        value, digit = divmod(value, base)
        digits = "0123456789abcdef"[digit] + digits
    return digits


Region: TypeAlias = list[tuple[int, int, bool, bool]]
"""Disjoint intervals in order: both ends, and whether each is open."""


@st.composite
def regions(draw: st.DrawFn) -> Region:
    ends = sorted(draw(st.lists(st.integers(-9, 9), min_size=2, max_size=6, unique=True)))
    return [(low, high, draw(st.booleans()), draw(st.booleans())) for low, high in zip(ends[::2], ends[1::2], strict=False)]


@given(regions(), regions(), st.booleans(), st.randoms(use_true_random=False))
def test_inequalities_and_unions_of_intervals(one: Region, other: Region, same: bool, draw: random.Random) -> None:
    other = one if same else other
    relation = {True: "<", False: "\\le"}
    inequalities = " \\text{ or } ".join(f"{low} {relation[a]} x {relation[b]} {high}" for low, high, a, b in one)
    pieces = [f"{'(' if a else '['}{low}, {high}{')' if b else ']'}" for low, high, a, b in other]
    draw.shuffle(pieces)
    union = " \\cup ".join(pieces)
    points = [Fraction(number, 2) for number in range(-20, 21)]
    equal = [_holds(one, point) for point in points] == [_holds(other, point) for point in points]
    result, turned = compare([(inequalities, union), (union, inequalities)], deadline=DEADLINE)
    assert result.equal is turned.equal is equal, (inequalities, union)


def _holds(region: Region, point: Fraction) -> bool:
    return any(low < point < high or (point == low and not a) or (point == high and not b) for low, high, a, b in region)


@given(st.lists(small, min_size=2, max_size=6, unique=True), st.randoms(use_true_random=False), styles)
def test_order_counts_in_tuples_alone(values: list[int], draw: random.Random, style: str) -> None:
    shuffled = list(values)
    draw.shuffle(shuffled)
    one, other = (", ".join(map(str, side)) for side in (values, shuffled))
    assert at_once(style.format(f"\\{{{one}\\}}"), f"\\{{{other}\\}}") == Comparison(True)
    assert at_once(one, other.replace(", ", " \\text{ and } ")) == Comparison(True)
    assert at_once(style.format(f"({one})"), f"({other})") == Comparison(values == shuffled)


@settings(max_examples=60)
@given(st.lists(terms, min_size=1, max_size=4, unique=True), st.randoms(use_true_random=False), st.integers(1, 9), styles)
def test_sums_commute_and_a_constant_more_is_another_answer(parts: list[str], draw: random.Random, more: int, style: str) -> None:
    shuffled = list(parts)
    draw.shuffle(shuffled)
    one, other = (" + ".join(f"({part})" for part in side) for side in (parts, shuffled))
    pairs = [(style.format(one), other), (other, one), (f"{one} + {more}", other), (f"2({one})", f"{other} + {one}")]
    same, turned, different, doubled = (result.equal for result in compare(pairs, deadline=DEADLINE))
    assert (same, turned, different, doubled) == (True, True, False, True), pairs


words = st.sampled_from(["Evelyn", "no solution", "3:30 PM", "x = 5", "101_2", "A", "B", "(C)"])
items = numbers.flatmap(spellings).filter(lambda text: "," not in text)
tuples = st.lists(items, min_size=2, max_size=3).map(lambda parts: f"({'; '.join(parts)})")
units = st.sampled_from([" cm", "\\%", "^\\circ", " \\text{ apples}", " dollars"])
quantities = st.tuples(numbers.flatmap(spellings).filter(lambda text: "units" not in text), units).map("".join)
answers = st.one_of(numbers.flatmap(spellings), terms, words, tuples, quantities)


@given(answers, answers, styles, styles)
def test_styling_and_order_change_nothing(one: str, other: str, style: str, another: str) -> None:
    pairs = [(one, other), (style.format(one), another.format(other)), (other, one), (style.format(one), one)]
    plain, styled, turned, itself = compare(pairs, deadline=DEADLINE)
    assert plain.equal is styled.equal is turned.equal, pairs
    assert itself.equal, pairs


@given(answers)
def test_one_spelling_is_stable(answer: str) -> None:
    assert spelled(spelled(answer)) == spelled(answer)

"""Which step a reply names: every dress of one number is read, and nothing is guessed."""

from __future__ import annotations

import json
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.text.numerals import number_in
from deepcritic.text.parsing import last_box, last_boxed
from deepcritic.text.verdict import number_of, plain, read_number

GOLDEN = [
    case
    for case in json.loads((Path(__file__).parent.parent / "golden" / "verdicts.json").read_text("utf-8"))
    if "index_base" not in case
]
STEPS = st.integers(1, 99)
NAMES = [
    "{}",
    "Step {}",
    "step_{}",
    "<step_{}>",
    "Step~{}",
    "\\#{}",
    "第{}步",
    "paragraph {}",
    "Step {}: adds wrongly",
    "{}.0",
    "+{}",
]
DRESSES = ["{}", "({})", "[{}]", "{{{}}}", " {} ", "{}.", "${}$", "\\({}\\)", "\\text{{{}}}", "\\mathbf{{{}}}", "**{}**", "`{}`",
           "\\textcolor{{red}}{{{}}}", "\\,{}\\,", "“{}”", "\u200b{}"]  # fmt: skip
PIECES = [
    *"0123-+.,:;/()[]{}<>$ ",
    "\\boxed{",
    "\\boxed ",
    "Step ",
    "第",
    "步",
    "−",
    "２",
    "\\text{",
    "and",
    "wrong",
    "<think>",
    "**",
]
NOISY = st.lists(st.sampled_from(PIECES), max_size=25).map("".join)


def _full_width(text: str) -> str:
    return "".join(chr(ord(sign) + 0xFEE0) if "!" <= sign <= "~" else sign for sign in text)


@given(number=STEPS, name=st.sampled_from(NAMES), dresses=st.lists(st.sampled_from(DRESSES), max_size=2))
def test_a_step_in_any_dress(number: int, name: str, dresses: list[str]) -> None:
    content = name.format(number)
    for dress in dresses:
        content = dress.format(content)
    if "+" in name or ".0" in name:
        assert number_of(name.format(number)) == number
    else:
        assert read_number(f"so \\boxed{{{content}}}.") == number, content


@given(number=STEPS, dress=st.sampled_from(["{}", "({})", "Step {}", "[{}]"]))
def test_full_width_forms(number: int, dress: str) -> None:
    assert number_of(_full_width(dress.format(number))) == number


@given(minus=st.sampled_from("-‐‑‒–—−﹣－"), dress=st.sampled_from(DRESSES))
def test_any_minus(minus: str, dress: str) -> None:
    assert read_number(f"\\boxed{{{dress.format(minus + '1')}}}") == -1


@given(
    first=STEPS,
    second=STEPS,
    between=st.sampled_from([", ", " and ", " or ", "-", " - ", "/", " to ", "; ", ", Step ", "; Step ", "\n"]),
)
def test_two_steps_are_no_verdict(first: int, second: int, between: str) -> None:
    for name in ("", "Step ", "Steps ", "步骤"):
        assert number_of(f"{name}{first}{between}{second}") is None


@given(NOISY)
def test_what_is_read_stands_in_the_last_box_or_is_the_whole_reply(text: str) -> None:
    number = read_number(text)
    if number is None:
        return
    answer = text.rpartition("</think>")[2]
    box = last_box(answer)
    shown = unicodedata.normalize("NFKC", answer if box is None else box.content).replace("−", "-")
    assert str(abs(number)) in shown
    assert box is not None or len(plain(answer)) < 10


@given(NOISY, st.integers(-1, 30).filter(bool))
def test_a_later_box_corrects_what_stands_before(before: str, number: int) -> None:
    if "<think>" not in before and not before.endswith("\\"):
        assert read_number(f"{before}\n\\boxed{{{number}}}") == number
        assert read_number(f"{before}\n**Answer**: \\boxed{{{number}}}", marker="**Answer**:") == number


@given(NOISY)
def test_without_the_marker_nothing_is_a_verdict(text: str) -> None:
    assert read_number(text, marker="**Answer**:") is None


@given(NOISY)
def test_a_box_says_where_it_stands(text: str) -> None:
    box = last_box(text)
    assert (None if box is None else box.content) == last_boxed(text)
    if box is not None:
        assert text[box.start : box.end].startswith("\\boxed")
        assert box.content in text[box.start : box.end]
        assert last_boxed(text[: box.end]) == box.content


@given(st.integers(1, 99))
def test_numerals(number: int) -> None:
    ten, one = divmod(number, 10)
    digits = "零一二三四五六七八九"
    han = ("" if ten == 0 else "十" if ten == 1 else f"{digits[ten]}十") + ("" if one == 0 else digits[one])
    assert number_in(han) == number
    if number < 40:
        roman = "X" * ten + ["", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX"][one]
        assert number_in(roman) == number


@pytest.mark.parametrize(
    "text",
    [
        "",
        "十十",
        "一二",
        "百",
        "二三十",
        "十二三",
        "二十十",
        "十十二",
        "一百",
        "XXXX",
        "XL",
        "IXI",
        "IIII",
        "VV",
        "twoo",
        "12345678",
        "-1",
        "1.0",
        "²",
    ],
)
def test_no_numeral(text: str) -> None:
    assert number_in(text) is None


@pytest.mark.parametrize(
    "piece",
    ["\\text{", "}", "{", "(", "\\boxed 1", "\\boxed", " ", "*", "Step ", "-", "\\boxed 1, ", "**a:**", "**", "\x08oxed{"],
)
def test_time_is_linear(piece: str) -> None:
    text = piece * (400_000 // len(piece))
    began = time.process_time()
    read_number(text)
    read_number(f"\\boxed{{{text}}}")
    read_number(text, marker="**Answer**:")
    number_of(text[:2000])
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("text", "number"),
    [("零", 0), ("〇", 0), ("两", 2), ("兩", 2), ("十", 10), ("两十", 20), ("三十〇", 30), ("九十九", 99), ("①", 1), ("⑳", 20),
     ("❶", 1), ("XXXIX", 39), ("XIV", 14), ("x", None), ("999999", 999999), ("1000000", None),
     ("Twenty", 20), ("eleven", 11)],
)  # fmt: skip
def test_numerals_one_by_one(text: str, number: int | None) -> None:
    assert number_in(text) == number


def test_a_verdict_has_2000_characters_and_a_bare_one_less_than_80() -> None:
    assert number_of("2" + " " * 1999) == 2
    assert number_of("2" + " " * 2000) is None
    assert read_number("2" + " " * 78) == 2
    assert read_number("2" + " " * 79) is None


@pytest.mark.parametrize("sign", "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u00ad")
def test_signs_that_cannot_be_seen_are_not_there(sign: str) -> None:
    assert number_of(f"Ste{sign}p {sign}1{sign}2") == 12


@pytest.mark.parametrize(
    "written", ["**Answer**:", "**Answer:**", "**Answer** :", "**Answer**\uff1a", "**Answer :**", "**Answer**  :"]
)
def test_a_marker_in_any_spelling(written: str) -> None:
    assert read_number(f"\\boxed{{1}} {written} \\boxed{{2}}", marker="**Answer**:") == 2
    assert read_number(f"**Answer**: \\boxed{{2}} {written}", marker="**Answer**:") is None


@pytest.mark.parametrize(
    ("text", "inner"),
    [("((2))", "2"), ("(1) (2)", "(1) (2)"), ("{{a}}", "a"), ("$2$", "2"), ("$a$ $b$", "$a$ $b$"), ("**2**", "2"), ("(2", "(2"),
     ("\\{2\\}", "2"), ("(a)b(c)", "(a)b(c)"), ("()", "()"), ("2. ;。", "2"), ("x^{2}", "x^2"), ("1{2}", "1{2}"),
     ("}{2}", "}{2}")],
)  # fmt: skip
def test_plain_text(text: str, inner: str) -> None:
    assert plain(text) == inner


@pytest.mark.parametrize("case", GOLDEN, ids=[f"{index}: {case['source']}" for index, case in enumerate(GOLDEN)])
def test_golden(case: dict[str, Any]) -> None:
    number = read_number(case["text"], marker=case.get("marker"))
    assert (number if number == -1 or (number or 0) > 0 else None) == case["verdict"], "steps are numbered from 1"

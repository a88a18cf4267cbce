r"""Written numbers and their exact values: integers, decimals, fractions, mixed numbers, repeating decimals, powers of ten.

>>> number("7 3/4").value, number(r"-1\frac{1}{2}").value, number("1,234.50").value, number("1.5e3").value
(Fraction(31, 4), Fraction(-3, 2), Fraction(2469, 2), Fraction(1500, 1))
>>> same_number(number("0.333333"), number("1/3"), Fraction(1, 10**6)), same_number(number("6.6e-34"), number("1.6e-19"), 0)
(True, False)
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final, NamedTuple

_LARGEST: Final = 4000  # most decimal digits of a number computed here
_FLOAT: Final = 15  # a decimal with this many digits is a float, whose last digits are noise
_WHOLE: Final = r"[1-9][0-9]{0,2}(?:(?:,[0-9]{3})+|(?:\ [0-9]{3})+|(?:'[0-9]{3})+)|[0-9]+"
_NUMBER: Final = re.compile(
    rf"""(?P<sign>[-+]?)(?:
        (?P<mixed>[0-9]+)(?:\ ?\\frac{{(?P<upper>[0-9]+)}}{{(?P<lower>[0-9]+)}}|\ (?P<over>[0-9]+)/(?P<under>[0-9]+))
      | \\frac{{(?P<inner>-?)(?P<top>{_WHOLE})}}{{(?P<bottom>{_WHOLE})}}
      | (?P<numerator>{_WHOLE})/(?P<denominator>{_WHOLE})
      | (?P<begin>[0-9]*)\.(?P<fixed>[0-9]*)
        (?:\\(?:overline|bar){{(?P<bar>[0-9]+)}}|\((?P<period>[0-9]+)\)|(?P<more>\\ldots))
      | (?P<dotted>[0-9]*\.[0-9]*\\dot{{?[0-9]}}?(?:[0-9]*\\dot{{?[0-9]}}?)?)
      | (?P<spaced>[1-9][0-9]{{0,2}}(?:\ [0-9]{{3}})+),(?P<tenths>[0-9]+)
      | (?P<thousands>[1-9][0-9]{{0,2}}(?:\.[0-9]{{3}})+),(?P<cents>[0-9]+) | (?P<points>[1-9][0-9]{{0,2}}(?:\.[0-9]{{3}}){{2,}})
      | (?:(?P<whole>{_WHOLE})?(?P<point>\.(?P<part>[0-9]*))?)
        (?:[eE](?P<exponent>[-+]?[0-9]+)|(?P<times>\ ?(?:\\times|\\cdot|\*|x)\ ?)?10\^{{(?P<power>[-+]?[0-9]+)}})?
    )""",
    re.VERBOSE,
)


class Number(NamedTuple):
    """A number as written."""

    value: Fraction
    step: Fraction = Fraction(0)
    """The place value of its last digit if it is a decimal and may be rounded; else 0."""


def number(text: str) -> Number | None:
    """The number in `text`, in canonical spelling (`spelled`); None if it is not a number, or too big to compute here."""
    if text.isdigit() and text.isascii():
        return Number(Fraction(int(text))) if len(text) <= _LARGEST else None
    found = _NUMBER.fullmatch(text) if text and (text[-1] in "0123456789.})" or text[-6:] == "\\ldots") else None
    read = None if found is None else _read(found)
    return read._replace(value=-read.value) if found and read and found["sign"] == "-" else read


def leading_number(text: str) -> tuple[Number, str] | None:
    """The number at the start of `text`, and the rest."""
    found = _NUMBER.match(text)
    read = _read(found) if found and found[0] else None
    if found is None or read is None:
        return None
    return read._replace(value=-read.value) if found["sign"] == "-" else read, text[found.end() :]


def same_number(a: Number, b: Number, tolerance: Fraction) -> bool:
    """Whether they are equal: exactly, or up to the rounding of a decimal, at most `tolerance` (relative)."""
    if a.value == b.value or not (a.step or b.step):
        return a.value == b.value
    difference = abs(a.value - b.value)
    size = max(abs(a.value), abs(b.value))
    if difference > tolerance * size:
        return False
    return difference < max(_step(a), _step(b))


def may_be_rounded(a: Number, b: Number, tolerance: Fraction) -> bool:
    """Whether two decimals, equal up to rounding, may differ as one has too few places: 1234567.8 and 1234567.81."""
    if a.value == b.value or not a.step or not b.step or max(_digits(a), _digits(b)) >= _FLOAT:
        return False
    return max(a.step, b.step) > 10 * tolerance


def _step(number: Number) -> Fraction:
    """The place value of the last significant digit."""
    if not number.step:
        return number.step
    return max(number.step, abs(number.value) / 10 ** (_FLOAT - 3)) if _digits(number) >= _FLOAT else number.step


def _digits(number: Number) -> int:
    return len(str(abs(number.value) // number.step))


def _read(found: re.Match[str]) -> Number | None:
    if found["mixed"] is not None:
        upper, lower = int(found["upper"] or found["over"]), int(found["lower"] or found["under"])
        return Number(int(found["mixed"]) + Fraction(upper, lower)) if 0 < upper < lower else None
    if found["top"] is not None:
        if found["sign"] and found["inner"]:
            return None
        ratio = _ratio(found["top"], found["bottom"])
        return ratio and ratio._replace(value=-ratio.value) if found["inner"] else ratio
    if found["numerator"] is not None:
        return _ratio(found["numerator"], found["denominator"])
    if found["fixed"] is not None:
        return _repeating(found["begin"], found["fixed"], found["bar"] or found["period"])
    if found["dotted"] is not None:
        fixed, _, period = re.sub(r"[\\dot{}]", "", found["dotted"].replace("\\dot", "|", 1)).partition("|")
        begin, _, fixed = fixed.partition(".")
        return _repeating(begin, fixed, period)
    if found["spaced"] is not None:
        return _decimal(_plain(found["spaced"]), found["tenths"], 0)
    if found["cents"] is not None:
        return _decimal(found["thousands"].replace(".", ""), found["cents"], 0)
    if found["points"] is not None:
        return Number(Fraction(int(found["points"].replace(".", ""))))
    return _scientific(found)


def _scientific(found: re.Match[str]) -> Number | None:
    whole, part, power = found["whole"] or "", found["part"] or "", found["exponent"] or found["power"]
    if not whole and not part and (found["point"] or found["power"] is None or found["times"]):
        return None
    if found["power"] is not None and (whole or part) and not found["times"]:  # 2 10^{3}: a product of some kind
        return None
    if power is not None and (len(power) > 5 or abs(int(power)) > _LARGEST):
        return None
    if not whole and not part:
        whole = "1"
    written = _decimal(_plain(whole), part, int(power or 0))
    return written if written.step < 1 else written._replace(step=Fraction(0))


def _decimal(whole: str, part: str, exponent: int) -> Number:
    step = Fraction(10) ** (exponent - len(part))
    return Number(int(whole + part or "0") * step, step)


def _ratio(top: str, bottom: str) -> Number | None:
    under = int(_plain(bottom))
    return Number(Fraction(int(_plain(top)), under)) if under else None


def _repeating(begin: str, fixed: str, period: str | None) -> Number | None:
    """A decimal with the repeating digits `period`; if none are marked, those that its end repeats."""
    if period is None:
        period = next((fixed[-size:] for size in (1, 2, 3, 6) if _repeats(fixed, size)), "")
        if not period:
            return None
        fixed = fixed[: -len(period)]
    if not period:
        return None
    scale = 10 ** len(fixed)
    return Number(Fraction(int(begin + fixed or "0"), scale) + Fraction(int(period), scale * (10 ** len(period) - 1)))


def _repeats(digits: str, size: int) -> bool:
    times = 3 if size == 1 else 2
    return len(digits) >= size * times and digits.endswith(digits[-size:] * times)


def _plain(digits: str) -> str:
    return digits.replace(",", "").replace(" ", "").replace("'", "")


_SMALL: Final = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen",
    "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS: Final = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_PARTS: Final = {
    "half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7, "eighth": 8, "ninth": 9, "tenth": 10,
}  # fmt: skip


def spoken_number(words: tuple[str, ...]) -> Fraction | None:
    """The number below a million in English words.

    >>> spoken_number(("two", "hundred", "forty-one")), spoken_number(("two", "thirds")), spoken_number(("dozen",))
    (Fraction(241, 1), Fraction(2, 3), Fraction(12, 1))
    """
    total = part = 0
    parts = [word for hyphened in words for word in hyphened.split("-") if word != "and"]
    if parts in (["half"], ["dozen"]):
        return Fraction(1, 2) if parts == ["half"] else Fraction(12)
    last = parts[-1].removesuffix("s").replace("halve", "half") if len(parts) > 1 else ""
    below = _PARTS.get(last, 0)
    for word in parts[:-1] if below else parts:
        if word in _SMALL:
            part += _SMALL.index(word)
        elif word in _TENS:
            part += 10 * _TENS.index(word) + 20
        elif word == "hundred" and 0 < part < 10:
            part *= 100
        elif word == "thousand" and part and not total:
            total, part = 1000 * part, 0
        else:
            return None
    return Fraction(total + part, below or 1) if parts else None

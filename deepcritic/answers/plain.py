r"""Plain numbers: whole ones, decimals, fractions, mixed numbers, with or without a unit, compared without algebra.

>>> one, other = number_of("1.50"), number_of(r"1\frac{1}{2}")
>>> same_number(one, other)
True
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final, NamedTuple

_DIGITS: Final = 15  # up to here math-verify's floats are exact, so it and exact arithmetic cannot disagree
_FAR: Final = Fraction(1, 100_000)  # math-verify rounds to 6 places; what lies nearer than this is left to it
_WORDS: Final = (
    "cm mm km m ft feet inch inches mile miles kg day days hour hours minute minutes second seconds year years unit units"
)
_UNIT: Final = re.compile(
    r"(?:\s*(?:\\(?:text|mbox|mathrm)\{[ A-Za-z.]*\}(?:\^[23]|\^\{[23]\})?|\^\\circ|\^\{\\circ\})"
    rf"|\s(?:{_WORDS.replace(' ', '|')}))\Z"
)
# Words that change the number, or that math-verify reads as something else than a unit.
_NO_UNIT: Final = re.compile(
    r"(?<![A-Za-z])(?:and|or|per|percent|percentage|pct|hundred|thousand|million|billion|trillion|dozen|i|e|base|mod|x|pi)(?![A-Za-z])",
    re.IGNORECASE,
)
_DECIMAL: Final = re.compile(r"([-+]?)([0-9]*)(?:(\.)([0-9]*))?")
_RATIO: Final = re.compile(
    r"""([-+]?)([0-9]*)(?:
        \\frac\{([-+]?)([0-9]+)\}\{([0-9]+)\}
      | \\frac()([0-9])([0-9])
    )""",
    re.VERBOSE,
)
_SLASH: Final = re.compile(r"([-+]?)([0-9]+)/([0-9]+)")


class Number(NamedTuple):
    """A number as written. Its digits stay text, without needless zeros, and so are exact; a ratio has none."""

    digits: str
    ratio: Fraction | None = None
    pointed: bool = False
    """Whether it has a decimal point: math-verify takes such a one for rounded."""


def is_whole(text: str) -> bool:
    """Whether it is digits alone: by far the most frequent answer."""
    return text.isascii() and text.isdigit()


def number_of(text: str) -> Number | None:
    r"""The number that canonical `text` is, a trailing unit aside; None when it is anything else.

    >>> number_of(r"-1\frac{1}{2}").ratio
    Fraction(-3, 2)
    >>> number_of(r"012.50\text{ cm}").digits
    '12.5'
    """
    if is_whole(text):
        return Number(text.lstrip("0") or "0")
    if len(text) < 200:
        unit = _UNIT.search(text)
        if unit and not _NO_UNIT.search(unit[0]):
            text = text[: unit.start()]
    decimal = _DECIMAL.fullmatch(text)
    if decimal:
        sign, whole, point, part = decimal.groups("")
        if not whole and not part:
            return None
        whole, part = whole.lstrip("0"), part.rstrip("0")
        digits = f"{whole or 0}.{part}" if part else whole or "0"
        return Number("-" + digits if sign == "-" and digits != "0" else digits, pointed=bool(point))
    if len(text) > 4 * _DIGITS:
        return None
    slash = _SLASH.fullmatch(text)
    if slash:
        return _ratio(slash[1], "", slash[2], slash[3])
    found = _RATIO.fullmatch(text)
    if found is None:
        return None
    sign, whole = found[1], found[2]
    inner, top, bottom = (found[3], found[4], found[5]) if found[5] else ("", found[7], found[8])
    if (inner and (whole or sign)) or (whole and not int(top)):  # 3\frac{0}{2} may as well be a product
        return None
    return _ratio(sign or inner, whole, top, bottom)


def same_number(a: Number, b: Number) -> bool | None:
    """Whether they are equal; None where that depends on how math-verify rounds."""
    if a.digits and b.digits and (a.digits == b.digits or not (a.pointed or b.pointed)):
        return a.digits == b.digits
    one, other = _value(a), _value(b)
    if one is None or other is None:
        return None
    if one == other:
        return True
    far = abs(one - other) > _FAR * max(Fraction(1), abs(one), abs(other))
    return False if far or not (a.pointed or b.pointed) else None


def _ratio(sign: str, whole: str, top: str, bottom: str) -> Number | None:
    if not int(bottom) or max(len(whole), len(top), len(bottom)) > _DIGITS:
        return None
    value = Fraction(int(top), int(bottom)) + int(whole or 0)
    return Number("", -value if sign == "-" else value)


def _value(number: Number) -> Fraction | None:
    if number.ratio is not None:
        return number.ratio
    return Fraction(number.digits) if len(number.digits) <= _DIGITS else None

"""Chinese numerals in digits.

>>> in_digits("三分之二"), in_digits("百分之三十"), in_digits("二又三分之一"), in_digits("一百零五人"), in_digits("三角形")
('2/3', '30%', '2 1/3', '105人', '三角形')
"""

from __future__ import annotations

import re
from typing import Final

_DIGITS: Final = {sign: value for value, sign in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_UNITS: Final = {"十": 10, "百": 100, "千": 1000}
_LARGE: Final = {"万": 10**4, "亿": 10**8}
_SIGNS: Final = "".join([*_DIGITS, *_UNITS, *_LARGE])
_NUMERAL: Final = rf"[{_SIGNS}]+|[0-9]+(?:\.[0-9]+)?"
_PERCENT: Final = re.compile(rf"百分之({_NUMERAL})")
_FRACTION: Final = re.compile(rf"(?:({_NUMERAL})又)?({_NUMERAL})分之({_NUMERAL})")
_ALONE: Final = re.compile(
    rf"(?:第|共)?([{_SIGNS}]+)(?:点([{''.join(_DIGITS)}]+))?(?P<counted>[个只本人名张条件支天年月日元角分次种台辆棵块岁步倍]?)"
)

_COUNTED: Final = re.compile(rf"共有?([{_SIGNS}]+)(?=[个只本人名张条件支天年月元种台辆棵块步倍])")


def in_digits(text: str) -> str:
    """`text` with Chinese fractions and percentages in digits, and the digits of a text that is one numeral with its counter."""
    if "分之" in text:
        text = _FRACTION.sub(_fraction, _PERCENT.sub(_percent, text))
    text = _COUNTED.sub(lambda found: found[0].replace(found[1], _digits(found[1]) or found[1]), text)
    found = _ALONE.fullmatch(text.strip(" $。．."))
    value = han_number(found[1]) if found else None
    if found is None or value is None:
        return text
    tenths = "".join(str(_DIGITS[sign]) for sign in found[2] or "")
    return f"{value}{'.' if tenths else ''}{tenths}{found['counted']}"


def han_number(text: str) -> int | None:
    """The whole number that `text` spells, in the order of its units; None if it is not one.

    >>> han_number("十二"), han_number("三千零五"), han_number("一万两千"), han_number("二〇二一"), han_number("十百")
    (12, 3005, 12000, 2021, None)
    """
    if len(text) > 1 and all(sign in _DIGITS for sign in text):
        return int("".join(str(_DIGITS[sign]) for sign in text))
    total, part, digit, last = 0, 0, -1, 10**4
    for sign in text:
        if sign in _DIGITS:
            if digit > 0:
                return None
            digit = _DIGITS[sign]
        elif sign in _UNITS:
            if _UNITS[sign] >= last or (digit < 1 and (sign != "十" or part or total)):
                return None
            part, digit, last = part + max(digit, 1) * _UNITS[sign], -1, _UNITS[sign]
        else:
            part += max(digit, 0)
            if not part or (total and _LARGE[sign] >= 10**8):
                return None
            total, part, digit, last = total + part * _LARGE[sign], 0, -1, 10**4
    return total + part + max(digit, 0) if text else None


def _percent(found: re.Match[str]) -> str:
    value = _digits(found[1])
    return found[0] if value is None else f"{value}%"


def _fraction(found: re.Match[str]) -> str:
    whole, below, above = (_digits(part) if part else "" for part in found.groups())
    if whole is None or not below or not above:
        return found[0]
    return f"{whole} {above}/{below}".strip()


def _digits(text: str) -> str | None:
    if text.isascii():
        return text
    value = han_number(text)
    return None if value is None else str(value)

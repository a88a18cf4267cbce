r"""Whole numbers in text: digits of any script, Chinese, English and Roman numerals.

>>> [number_in(text) for text in ("12", "１２", "②", "十二", "二十", "Two", "IV")]
[12, 12, 2, 12, 20, 2, 4]
>>> number_in("2nd"), number_in("1234567")
(None, None)
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_WORDS: Final = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen",
    "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty",
)  # fmt: skip
ORDINALS: Final = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_HAN: Final = {sign: value for value, sign in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2, "兩": 2}
_ROMAN: Final = {"I": 1, "V": 5, "X": 10}

DIGITS: Final = r"\d{1,6}(?!\d)"
CIRCLED: Final = r"[\u2460-\u2473\u2776-\u277f]"
HAN: Final = r"[零〇一二两兩三四五六七八九十]{1,3}"
WORD: Final = rf"(?i:{'|'.join(sorted(_WORDS, key=len, reverse=True))})(?![A-Za-z])"
ROMAN: Final = r"(?-i:X{0,3}(?:IX|IV|V?I{1,3}|V|(?<=X)))(?![A-Za-z])"
"""Patterns of one number in each form."""


def number_in(text: str) -> int | None:
    """The number in `text`, or None if it is not one. More than six digits are not a step number."""
    if re.fullmatch(DIGITS, text):
        return int(text)
    if re.fullmatch(CIRCLED, text):
        return int(unicodedata.numeric(text))
    if re.fullmatch(HAN, text):
        return _han(text)
    if text.lower() in _WORDS:
        return _WORDS.index(text.lower()) + 1
    return _roman(text) if text and re.fullmatch(ROMAN, text) else None


def _han(text: str) -> int | None:
    if len(text) == 1:
        return 10 if text == "十" else _HAN[text]
    tens, ten, ones = text.partition("十")
    if not ten or len(tens) > 1 or len(ones) > 1 or "十" in ones:
        return None
    return 10 * (_HAN[tens] if tens else 1) + (_HAN[ones] if ones else 0)


def _roman(text: str) -> int:
    values = [_ROMAN[sign] for sign in text]
    return sum(-value if value < max(values[at:]) else value for at, value in enumerate(values))

r"""Detect formulas that are too big to evaluate in time, by their text only.

>>> text_too_big("9^{9^{9^{9}}}"), text_too_big("2^{2^{2}}+10^{6}")
(True, False)

Formulas that pass are checked again after parsing (`bounds`), and have a deadline.
"""

from __future__ import annotations

import re
from typing import Final

LIMIT: Final = 4000  # most characters of an answer
BITS: Final = 1 << 17  # larger powers and factorials are not computed
_DEEPEST: Final = 12
_LETTERS: Final = 300
_BARS: Final = 20  # each may open or close
_BRACKET: Final = re.compile(r"[()\[\]{}]")
_RUN: Final = re.compile(r"[-+*/^=|!_'<>]{40}")
_WORDS: Final = re.compile(r"\\(?:text|math|mbox)[a-z]*\s*\{[^{}\\$]*\}|\\[A-Za-z]+")
_LETTER: Final = re.compile(r"[A-Za-z]")
_FACTORIAL: Final = re.compile(r"(?<![0-9])[0-9]{6,}+\)?\s*!")
_CALCULUS: Final = re.compile(r"\\(?:int|sum|prod|lim)(?![A-Za-z])")
_HIGH: Final = re.compile(r"\^\s*\{?\s*[0-9]{6}")
_OPENED: Final = r"(?:\\left(?![A-Za-z])|[\s({])*"
_POWERS: Final = re.compile(rf"(?<![0-9.])[0-9]+(?:\s*\^{_OPENED}[0-9]+)+(?![0-9.])")
_NUMERAL: Final = re.compile(r"[0-9]+")


def too_deep(text: str) -> bool:
    """Whether a text has more nested brackets, bars, or consecutive signs than any answer."""
    return _nested(text) or text.count("|") > _BARS or _RUN.search(text) is not None


def text_too_big(text: str) -> bool:
    """Whether a formula is longer, deeper or bigger than any answer."""
    return (
        len(text) > LIMIT
        or too_deep(text)
        or (len(text) > _LETTERS and len(_LETTER.findall(_WORDS.sub("", text))) > _LETTERS)
        or _FACTORIAL.search(text) is not None
        or (_CALCULUS.search(text) is not None and _HIGH.search(text) is not None)
        or any(_too_big(found[0]) for found in _POWERS.finditer(text))
    )


def _nested(text: str) -> bool:
    depth = 0
    for bracket in _BRACKET.finditer(text):
        depth += 1 if bracket[0] in "([{" else -1
        if depth > _DEEPEST:
            return True
    return False


def _too_big(powers: str) -> bool:
    """Whether a tower of whole numbers such as `2^{3^4` has more than `BITS` digits to base 2."""
    base, *tower = (min(float(numeral), float(BITS)) for numeral in _NUMERAL.findall(powers))
    exponent = 1.0
    for number in reversed(tower):
        exponent = min(number ** min(exponent, 60.0), 2.0 * BITS)  # no float is too small for that
    return base > 1 and exponent > BITS

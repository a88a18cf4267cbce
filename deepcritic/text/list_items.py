r"""Marks at the start of a list's items: "1.", "2)", "（3）", "④", "a)", "(ii)", "- ", "\item".

>>> [number_of_item(match) for text in ("2. x", "**3.** x", "(ii) x", "b) x") if (match := ITEM.match(text))]
[2, 3, 2, 2]
>>> ITEM.match("2.5 litres") is None, BULLET.match("-3 is negative") is None
(True, True)
"""

from __future__ import annotations

import re
from typing import Final

from deepcritic.text.headings import BLANK
from deepcritic.text.numerals import number_in

ITEM: Final = re.compile(
    rf"(?P<indent>{BLANK}*+)(?:\#{{1,6}}{BLANK}*+)?(?P<bold>\*\*|__)?"
    rf"(?:(?:(?P<number>[0-9]{{1,3}})|(?P<letter>[a-h])(?=\\?[)\uff09])|(?P<roman>[ivx]{{1,4}}|[IVX]{{1,4}})(?=\\?[.)\uff09]))"
    rf"(?P<mark>\\?[.):\u3001\uff09\uff0e\uff1a])"
    rf"|[(\uff08](?:(?P<round>[0-9]{{1,3}})|(?P<part>[a-h])|(?P<small>[ivx]{{1,4}}))[)\uff09]|(?P<circled>[\u2460-\u2473]))"
    rf"(?P<closed>\*\*|__)?(?:(?={BLANK}|\Z)|(?<=[)\uff09\u3001\u2460-\u2473])(?![0-9])|(?<=[0-9][.\uff0e\uff1a])(?=[^\W\d_]))"
)
BULLET: Final = re.compile(
    rf"(?P<indent>{BLANK}*+)(?:(?P<mark>[-*•·‣◦▪●○■►➤–—])(?={BLANK})|(?P<tex>\\item)(?![A-Za-z])){BLANK}*+"
)


def number_of_item(match: re.Match[str]) -> int:
    """The number of an item; -1 if its letters are not a Roman numeral."""
    if said := match["number"] or match["round"]:
        return int(said)
    if letter := match["letter"] or match["part"]:
        return ord(letter) - ord("a") + 1
    if roman := match["roman"] or match["small"]:
        number = number_in(roman.upper())
        return -1 if number is None else number
    return ord(match["circled"]) - 0x245F


def numbering(match: re.Match[str]) -> str:
    """The kind of an item's number: the name of its group."""
    return next(name for name in ("number", "letter", "roman", "round", "part", "small", "circled") if match[name])

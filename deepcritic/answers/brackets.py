r"""Brackets of LaTeX and plain text: the end of a group, and splitting outside brackets.

>>> split(r"(1, 2), \{3, 4\}, 5", ",")
['(1, 2)', '\\{3, 4\\}', '5']
>>> text = r"\sqrt{\frac{1}{2}}"
>>> text[:group_end(text, text.index("{"))]
'\\sqrt{\\frac{1}{2}}'
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

_OPEN: Final = r"\\begin(?![A-Za-z])|\\[{]|\\langle(?![A-Za-z])|\\lfloor(?![A-Za-z])|\\lceil(?![A-Za-z])|[(\[{]"
_CLOSE: Final = r"\\end(?![A-Za-z])|\\[}]|\\rangle(?![A-Za-z])|\\rfloor(?![A-Za-z])|\\rceil(?![A-Za-z])|[)\]}]"
_BRACE: Final = re.compile(r"\\.|[{}]", re.DOTALL)
_ROUND: Final = re.compile(r"[()]")


def group_end(text: str, start: int) -> int:
    """The index after the brace that closes the one at `start`; -1 if none does."""
    depth = 0
    for found in _BRACE.finditer(text, start):
        if found[0] == "{":
            depth += 1
        elif found[0] == "}":
            depth -= 1
            if depth == 0:
                return found.end()
    return -1


def round_end(text: str, start: int) -> int:
    """The same for round brackets."""
    depth = 0
    for found in _ROUND.finditer(text, start):
        depth += 1 if found[0] == "(" else -1
        if depth == 0:
            return found.end()
    return -1


def split(text: str, separator: str) -> list[str]:
    """Split `text` at each match of the pattern `separator` outside brackets; the parts are stripped."""
    parts, depth, at = [], 0, 0
    for found in _tokens(separator).finditer(text):
        if found.lastgroup == "open":
            depth += 1
        elif found.lastgroup == "close":
            depth = max(0, depth - 1)
        elif found.lastgroup == "separator" and depth == 0:
            parts.append(text[at : found.start()].strip())
            at = found.end()
    parts.append(text[at:].strip())
    return parts


def wrapped(text: str) -> bool:
    """Whether the first bracket of `text` is closed by its last one, of any kinds."""
    depth = 0
    for found in _tokens("").finditer(text):
        if depth == 0 and found.start() > 0:
            return False
        if found.lastgroup == "open":
            depth += 1
        elif found.lastgroup == "close":
            depth -= 1
            if depth == 0:
                return found.end() == len(text)
    return False


@cache
def _tokens(separator: str) -> re.Pattern[str]:
    last = rf"|(?P<separator>{separator})" if separator else ""
    return re.compile(rf"(?P<open>{_OPEN})|(?P<close>{_CLOSE}){last}|\\(?:[A-Za-z]+|.)")

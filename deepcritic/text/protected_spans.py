r"""Spans of a text that must not be split: code fences, formulas, drawings in `[asy]`, and TeX environments.

>>> text = "so $$a\n\n= b$$ and"
>>> [text[start:end] for start, end in protected(text)]
['$$a\n\n= b$$']
"""

from __future__ import annotations

import re
from typing import Final

PROSE: Final = frozenset(
    (
        "enumerate", "itemize", "description", "document", "center", "quote", "proof", "solution", "answer", "problem",
        "theorem", "lemma", "claim", "step",
    )
)  # fmt: skip
"""Environments of running text; any other one is kept whole."""
_TOKEN: Final = re.compile(
    r"(?P<fence>```|~~~)|\\(?P<command>begin|end)[ \t]*\{(?P<name>[A-Za-z]{1,40}\*?)\}"
    r"|(?P<display>\\[\[\]]|\$\$)|\\(?P<inline>[()])|(?P<drawing>\[/?asy\])|\\[\\$]",
    re.MULTILINE,
)
_REST_OF_FENCE: Final = re.compile(r"[\w+#.-]*[ \t\r]*(?:\n|\Z)")
_HEADING: Final = 200  # most characters of a line before a fence
_INLINE: Final = 1000  # most characters of a formula between \\( and \\)
_BLANK_LINE: Final = re.compile(r"\n[ \t\r]*\n")


def protected(text: str) -> list[tuple[int, int]]:
    r"""The regions `(start, end)`, sorted and disjoint. An unclosed region protects nothing. Takes one pass.

    A fence begins a line, or ends one ("Step 2: ```python"), and is closed by the next line that begins with the same sign. A
    formula between `$$` may hold blank lines only if the text has an even number of `$$`.
    """
    regions: list[tuple[int, int]] = []
    environments: dict[str, list[int]] = {}
    formula, inline, dollars, at, fences = -1, -1, [], 0, {"```": True, "~~~": True}
    while match := _TOKEN.search(text, at):
        start, at = match.start(), match.end()
        if fence := match["fence"]:
            if not _opens(text, start, at):
                continue
            end = re.compile(rf"\n[ \t]*+{fence}").search(text, at) if fences[fence] else None
            if end is None:
                fences[fence] = False
            else:
                at, formula = end.end(), -1
                regions.append((start, at))
        elif name := match["name"]:
            if name.rstrip("*") in PROSE:
                continue
            if match["command"] == "begin":
                environments.setdefault(name, []).append(start)
            elif environments.get(name):
                regions.append((environments[name].pop(), at))
        elif match["drawing"]:
            if match["drawing"] == "[asy]":
                environments.setdefault("[asy]", []).append(start)
            elif environments.get("[asy]"):
                regions.append((environments["[asy]"].pop(), at))
        elif match["inline"] == "(":
            inline = start
        elif match["inline"]:
            if inline >= 0 and start - inline < _INLINE and text.find("\n", inline, start) >= 0:
                regions.append((inline, at))
            inline = -1
        elif match["display"] == "$$":
            dollars.append(start)
        elif match["display"] == "\\[":
            formula = start
        elif match["display"]:
            if formula >= 0:
                regions.append((formula, at))
            formula = -1
    return _apart(regions + _between(text, dollars))


def _opens(text: str, start: int, end: int) -> bool:
    """Whether a fence opens here, rather than inline code."""
    line = text.rfind("\n", max(0, start - _HEADING), start) + 1
    before = text[max(line, start - _HEADING) : start]
    if not before.strip(" \t\r"):
        return line > 0 or start < _HEADING
    return "`" not in before and (line > 0 or start < _HEADING) and _REST_OF_FENCE.match(text, end) is not None


def _between(text: str, dollars: list[int]) -> list[tuple[int, int]]:
    """Pairs of `$$`; if their number is odd, one before a blank line is skipped."""
    odd, found, waiting = len(dollars) % 2 == 1, [], -1
    for place in dollars:
        if waiting >= 0 and not (odd and _BLANK_LINE.search(text, waiting, place)):
            found.append((waiting, place + 2))
            waiting = -1
        else:
            waiting = place
    return found


def _apart(regions: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(regions):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return merged

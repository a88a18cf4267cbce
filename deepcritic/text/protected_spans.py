r"""Where a text may not be cut: code fences, displayed formulas, drawings in `[asy]`, and TeX's environments.

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
"""Environments that hold running text; any other one is kept whole."""
_TOKEN: Final = re.compile(
    r"(?P<fence>```|~~~)|\\(?P<command>begin|end)[ \t]*\{(?P<name>[A-Za-z]{1,40}\*?)\}"
    r"|(?P<display>\\[\[\]]|\$\$)|(?P<drawing>\[/?asy\])|\\[\\$]",
    re.MULTILINE,
)
_REST_OF_FENCE: Final = re.compile(r"[\w+#.-]*[ \t\r]*(?:\n|\Z)")
_HEADING: Final = 200  # characters of a line in front of a fence, at most
_BLANK_LINE: Final = re.compile(r"\n[ \t\r]*\n")


def protected(text: str) -> list[tuple[int, int]]:
    r"""The regions `(start, end)`, in order and apart. What never closes protects nothing, and takes one pass.

    A fence begins a line, or ends one ("Step 2: ```python"), and is closed by the next line that begins with the same sign.
    Between dollars a formula may hold blank lines only where the dollars of the text come in pairs: an odd one out opens nothing.
    """
    regions: list[tuple[int, int]] = []
    environments: dict[str, list[int]] = {}
    formula, dollars, at, fences = -1, [], 0, {"```": True, "~~~": True}
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
    """Whether a fence opens here, and is no code within a line."""
    line = text.rfind("\n", max(0, start - _HEADING), start) + 1
    before = text[max(line, start - _HEADING) : start]
    if not before.strip(" \t\r"):
        return line > 0 or start < _HEADING
    return "`" not in before and (line > 0 or start < _HEADING) and _REST_OF_FENCE.match(text, end) is not None


def _between(text: str, dollars: list[int]) -> list[tuple[int, int]]:
    """Pairs of `$$`; of an odd number, one before a blank line is passed over."""
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

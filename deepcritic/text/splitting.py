r"""Split solutions without steps, and long thoughts, into sentences, which are merged if there are too many.

The layout of a text (`deepcritic.text.steps`) is tried first. If it gives fewer steps than wanted, sentences and lines are steps.
If there are too many, as in a thought of thousands of words, neighbours are merged. Each step keeps its span.

>>> text = "Since $a = 2.5$, we get 5. Then 5 + 1 = 6."
>>> [(step.text, text[step.start : step.end] == step.text) for step in split_by_rule(text)]
[('Since $a = 2.5$, we get 5.', True), ('Then 5 + 1 = 6.', True)]
>>> [step.text for step in split_by_rule("One. Two. Three. Four.", most=2)]
['One. Two.', 'Three. Four.']
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Sequence
from typing import Final

from deepcritic.errors import InputError
from deepcritic.text.protected_spans import protected
from deepcritic.text.steps import UNSEEN, Step, find_steps

LEAST: Final = 2
MOST: Final = 64
"""Default range for the number of steps of a solution: more than one, and few enough for a critic."""
PIECES: Final = 400
"""Most pieces shown to a model."""
_TAG: Final = re.compile(r"</?think>")
_END: Final = re.compile(
    r"(?P<stop>[.!?])[\"')\]*_}”’]*(?:\\\]|\\\)|\$)?\s+(?=[A-Z0-9(\[\\$“\"'*\u4e00-\u9fff])|[。！？；][”’」]*|\n\s*"
)
_FORMULA: Final = re.compile(r"\\\((?:[^\\]|\\[^()])*+\\\)|(?<![\\$])\$(?![$\s])(?:[^$\\\n]|\\.)*?(?<![\\\s])\$(?!\d)", re.DOTALL)
_SHORTENED: Final = re.compile(
    r"(?:\A|[\s(])(?:e\.g|i\.e|cf|vs|resp|approx|eqs?|figs?|no|nr|thm|prop|sec|ex|dr|mrs?|st)\Z|(?:\A|\n)[ \t]*\d{1,3}\Z",
    re.IGNORECASE,
)


def split_by_rule(text: str, *, least: int = LEAST, most: int = MOST) -> list[Step]:
    """The steps of a solution or a thought, at most `most`, and at least `least` if the text has enough sentences.

    Tags of a thought (`<think>`) are not part of a step's text. Raises `InputError` if `least` is above `most`.
    """
    if not 1 <= least <= most:
        raise InputError("least exceeds most", field="least", found=least, expected=f"1 to {most}")
    shown = _without_tags(text)
    steps = find_steps(shown)
    if len(steps) < least:
        steps = sentences(shown)
    return steps if len(steps) <= most else joined(shown, steps, _even(steps, most))


def pieces(text: str, most: int = PIECES) -> list[Step]:
    """The sentences and lines of a solution or a thought, at most `most`, for a model that groups them into steps."""
    shown = _without_tags(text)
    found = sentences(shown)
    return found if len(found) <= most else joined(shown, found, _even(found, most))


def _without_tags(text: str) -> str:
    """The text with each tag replaced by a blank line of the same length, so that offsets stay."""
    return _TAG.sub(lambda match: "\n\n".ljust(len(match.group())), text)


def sentences(text: str) -> list[Step]:
    """The sentences of a text, which end at a full stop or a line end. Formulas and code fences are not split."""
    regions = sorted([*protected(text), *(match.span() for match in _FORMULA.finditer(text))])
    begins = [start for start, _ in regions]
    reach = 0
    ends = [reach := max(reach, end) for _, end in regions]
    cuts = [0]
    for match in _END.finditer(text):
        at = bisect.bisect_right(begins, match.start()) - 1
        if at >= 0 and ends[at] > match.start() and ends[at] > match.end():
            continue
        if match["stop"] == "." and _SHORTENED.search(text, max(cuts[-1], match.start() - 12), match.start()):
            continue
        cuts.append(match.end())
    return [
        Step(text[start:end].strip(UNSEEN), start + len(text[start:end]) - len(text[start:end].lstrip(UNSEEN)),
             start + len(text[start:end].rstrip(UNSEEN)))
        for start, end in zip(cuts, [*cuts[1:], len(text)], strict=True)
        if text[start:end].strip(UNSEEN)
    ]  # fmt: skip


def joined(text: str, pieces: Sequence[Step], starts: Sequence[int]) -> list[Step]:
    """Merge pieces into steps: a step begins at each index in `starts` (from 0, which is included)."""
    found = []
    for first, after in zip(starts, [*starts[1:], len(pieces)], strict=True):
        start, end = pieces[first].start, pieces[after - 1].end
        found.append(Step(pieces[first].text if after == first + 1 else _TAG.sub("", text[start:end]).strip(UNSEEN), start, end))
    return found


def _even(pieces: Sequence[Step], most: int) -> list[int]:
    """The starts of at most `most` steps of about the same length."""
    share = sum(piece.end - piece.start for piece in pieces) / most
    starts, length, last = [0], 0, 0
    for at, piece in enumerate(pieces):
        size = piece.end - piece.start
        group = int((length + size / 2) / share)
        if at and group > last:
            starts.append(at)
            last = group
        length += size
    return starts

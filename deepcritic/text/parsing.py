r"""Text mechanics: the only reader of `\boxed{}`, and how a solution falls into steps.

>>> last_boxed(r"first \boxed{1}, in the end \boxed{\frac{1}{2}}")
'\\frac{1}{2}'
>>> split_steps("Step 1: 1 + 1 = 2.\nStep 2: So it is 2.")
['1 + 1 = 2.', 'So it is 2.']
>>> strip_thinking("<think>hm</think>It is 2.")
'It is 2.'
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

# The backslash and the "b" of a text that was unescaped once too often are one sign, a backspace.
_COMMAND: Final = r"(?:\\b|\x08)oxed"
_OPENS: Final = "{\uff5b"
_CLOSES: Final = "}\uff5d"
# An escaped brace is text, and so is an escaped backslash, except before "boxed{": replies that were escaped twice are common.
_BRACES: Final = re.compile(rf"{_COMMAND}\s*+[{_OPENS}]|\\(?:[{{}}]|\\(?!boxed\s*+[{_OPENS}]))|[{_OPENS}{_CLOSES}]")
# Without braces a number alone is read, and only where it is clear where it ends.
_UNBRACED: Final = re.compile(
    rf"{_COMMAND}\s*+(?P<content>[-\u2013\u2212]?[0-9]+(?:[.,][0-9]+)*+)"
    rf"(?=\s|\Z|[.,;:!?)\]$*{_CLOSES}\u3002\uff0c\uff1b]|\\[)\]])(?!,\s*[-0-9]|[ \t]*+[-+*/=^<>]?[ \t]*+[0-9])"
)
_THOUGHT: Final = re.compile(r"</?think>")
_FENCE_OR_MATH: Final = re.compile(r"^[ \t]*+```|\\[\\\[\]]", re.MULTILINE)
_FENCE_END: Final = re.compile(r"\n[ \t]*+```")
# The possessive "*+" keeps the time linear on long runs of blanks.
_HEADING: Final = re.compile(
    r"""[ \t]*+(?:\#{1,6}[ \t]*+)?(?P<bold>\*\*|__)?[ \t]*+
    step[ \t]*+(?P<number>[0-9]{1,6})(?![0-9])
    (?(bold)(?P<closed>[ \t]*+(?P=bold))?)
    (?: [ \t]*+(?:[:\uff1a]|\)|\.(?![0-9]))     # "Step 2:", "Step 2.", "Step 2)", but not "Step 2.5"
      | [ \t]++[-–—](?=[ \t])              # "Step 2 - ", but not "Step 2-3"
      | [ \t]*+\r?(?=\n|\Z)                # alone on its line
    )
    (?(bold)(?P<closed_late>[ \t]*+(?P=bold))?)""",
    re.IGNORECASE | re.VERBOSE,
)


class Box(NamedTuple):
    """A box: its content, and where the whole of it stands (`text[start:end]`)."""

    content: str
    start: int
    end: int


def last_boxed(text: str) -> str | None:
    r"""The content of the last complete `\boxed{...}`, or None when there is none. "Last" is the one that opens last, so a box
    corrects those before it.

    Braces nest, `\{` and `\}` are text. `\boxed 5` is read too, where it is clear that the number ends there. A box that never
    closes is passed over: the text before it still counts, so a caller who must know about a reply that was cut looks at its
    `finish_reason`. Takes time linear in the text.

    >>> last_boxed(r"\boxed{\{1, 2\}} and \boxed{3"), last_boxed(r"\boxed{3}? No, \boxed 4."), last_boxed(r"\boxed 5/6")
    ('\\{1, 2\\}', '4', None)
    """
    box = last_box(text)
    return None if box is None else box.content


def last_box(text: str) -> Box | None:
    """`last_boxed` with its place."""
    first = text.find("oxed")
    if first < 0:
        return None
    open_braces: list[tuple[int, int]] = []  # where the content and the whole of each open box begin; -1 for a plain brace
    best = Box("", -1, -1)
    begins = -1
    for match in _BRACES.finditer(text, max(0, first - 3)):
        token = match.group()
        if token in _OPENS:
            open_braces.append((-1, -1))
        elif token in _CLOSES:
            content, start = open_braces.pop() if open_braces else (-1, -1)
            if content > begins:
                begins, best = content, Box("", start, match.end())
        elif len(token) > 2:
            open_braces.append((match.end(), match.start()))
    if begins >= 0:
        best = Box(text[begins : best.end - 1], best.start, best.end)
    for match in _UNBRACED.finditer(text, max(0, first - 3)):
        if match.start("content") > begins:
            begins, best = match.start("content"), Box(match["content"], match.start(), match.end())
    return best if begins >= 0 else None


def strip_thinking(text: str, *, opened: bool = False) -> str | None:
    """`text` without `<think>...</think>`; None when a thought does not end, so that nothing in it is taken for the answer.

    A `</think>` that nothing opened ends a thought that the chat template opened: what stands before it goes. `opened` says that
    the template did open one, so a text without `</think>` is all thought.

    >>> strip_thinking("hm, let me see</think> 2")
    '2'
    >>> strip_thinking("<think>hm, let me") is None
    True
    """
    kept: list[str] = []
    inside, seen, at = opened, opened, 0
    for match in _THOUGHT.finditer(text):
        closes = match.group() == "</think>"
        if closes and not inside:
            kept.clear()
        elif not closes and not inside:
            kept.append(text[at : match.start()])
        inside, seen, at = not closes, True, match.end()
    if inside:
        return None
    return "".join([*kept, text[at:]]).strip() if seen else text


def strip_heading(step: str) -> tuple[int | None, str]:
    """The number in a heading such as "Step 2:", "**Step 2:**" or "### Step 2" at the start, and the rest; None without one.

    >>> strip_heading("**Step 2: Add.** 1 + 1 = 2")
    (2, '**Add.** 1 + 1 = 2')
    >>> strip_heading("Step 2 is wrong.")
    (None, 'Step 2 is wrong.')
    """
    match = _HEADING.match(step.lstrip())
    if match is None:
        return None, step
    rest = match.string[match.end() :].lstrip()
    bold = match["bold"]
    if bold and not match["closed"] and not match["closed_late"] and bold in rest:
        rest = bold + rest  # the emphasis covers a title too: it still needs its opening
    return int(match["number"]), rest


def split_steps(text: str) -> list[str]:
    r"""A solution's steps: what its headings "Step 1:", "Step 2:" ... head, else its paragraphs (parted by blank lines).

    - A heading stands at the start of a line. The first one has the number 0 or 1, or opens the text (a continuation); each
      further one must have a higher number than the one before, else it is text ("Step 1:" within a part of Step 3).
    - Text before the first heading belongs to the first step. Headings go, and so do empty steps and the space around steps.
    - Nothing is split within a code fence or within `\[ ... \]`; one that never closes protects nothing.

    >>> split_steps("Let me see.\n\nStep 1: one\n\nmore of it\n\n**Step 2:** two")
    ['Let me see.\none\n\nmore of it', 'two']
    >>> split_steps("one\n\ntwo\nmore of two")
    ['one', 'two\nmore of two']
    """
    lines = text.split("\n")
    free = _free_lines(text, lines)
    cuts = _headed_lines(lines, free)
    if not cuts:
        return _paragraphs(lines, free)
    ends = [*cuts[1:], len(lines)]
    steps = [strip_heading("\n".join(lines[start:end]))[1].strip() for start, end in zip(cuts, ends, strict=True)]
    before = "\n".join(lines[: cuts[0]]).strip()
    if before:
        steps[0] = f"{before}\n{steps[0]}".strip()
    return [step for step in steps if step]


def _headed_lines(lines: list[str], free: list[bool]) -> list[int]:
    cuts: list[int] = []
    last = -1
    first_text = next((number for number, line in enumerate(lines) if line.strip()), 0)
    for number, line in enumerate(lines):
        match = _HEADING.match(line) if free[number] else None
        if match is None:
            continue
        value = int(match["number"])
        if value > last if cuts else value in (0, 1) or number == first_text:
            cuts.append(number)
            last = value
    return cuts


def _paragraphs(lines: list[str], free: list[bool]) -> list[str]:
    steps: list[list[str]] = [[]]
    for line, is_free in zip(lines, free, strict=True):
        if is_free and not line.strip():
            steps.append([])
        else:
            steps[-1].append(line)
    joined = ("\n".join(step).strip() for step in steps)
    return [step for step in joined if step]


def _free_lines(text: str, lines: list[str]) -> list[bool]:
    """For each line whether its start lies outside code fences and display mathematics."""
    free = [True] * len(lines)
    regions = _protected(text)
    region, offset = 0, 0
    for number, line in enumerate(lines):
        while region < len(regions) and regions[region][1] <= offset:
            region += 1
        free[number] = region == len(regions) or offset <= regions[region][0]
        offset += len(line) + 1
    return free


def _protected(text: str) -> list[tuple[int, int]]:
    """Where code fences and display mathematics stand, in order. One pass; a `\\[` that another one follows was never closed."""
    regions: list[tuple[int, int]] = []
    formula, at, fences_left = -1, 0, True
    while match := _FENCE_OR_MATH.search(text, at):
        at = match.end()
        token = match.group()
        if token == "\\[":
            formula = match.start()
        elif token == "\\]":
            if formula >= 0:
                regions.append((formula, at))
            formula = -1
        elif token != "\\\\" and fences_left:  # "\\\\" is a line break in a matrix: the "[" of "\\\\[2pt]" opens nothing
            end = _FENCE_END.search(text, at)
            if end is None:
                fences_left = False
            else:
                at, formula = end.end(), -1
                regions.append((match.start(), at))
    return regions

r"""Boxes and thoughts: the only parser of `\boxed{}`.

>>> last_boxed(r"first \boxed{1}, in the end \boxed{\frac{1}{2}}")
'\\frac{1}{2}'
>>> strip_thinking("<think>hm</think>It is 2.")
'It is 2.'
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

# In a text that was unescaped twice, the backslash and the "b" have become a backspace.
_COMMAND: Final = r"(?:\\b|\x08)oxed"
_OPENS: Final = "{\uff5b"
_CLOSES: Final = "}\uff5d"
# An escaped brace or backslash is text, except a backslash before "boxed{": replies that were escaped twice are common.
_BRACES: Final = re.compile(rf"{_COMMAND}\s*+[{_OPENS}]|\\(?:[{{}}]|\\(?!boxed\s*+[{_OPENS}]))|[{_OPENS}{_CLOSES}]")
# Without braces only a number is read, and only if its end is clear.
_UNBRACED: Final = re.compile(
    rf"{_COMMAND}\s*+(?P<content>[-\u2013\u2212]?[0-9]+(?:[.,][0-9]+)*+)"
    rf"(?=\s|\Z|[.,;:!?)\]$*{_CLOSES}\u3002\uff0c\uff1b]|\\[)\]])(?!,\s*[-0-9]|[ \t]*+[-+*/=^<>]?[ \t]*+[0-9])"
)
_THOUGHT: Final = re.compile(r"</?(?:think(?:ing)?|thought|seed:think)>|\[/?THINK\]|◁/?think▷")


class Box(NamedTuple):
    """A box: its content, and its span with the command (`text[start:end]`)."""

    content: str
    start: int
    end: int


def last_boxed(text: str) -> str | None:
    r"""The content of the last complete `\boxed{...}`, or None if there is none. "Last" is the one that opens last, so a box
    corrects those before it.

    Braces nest; `\{` and `\}` are text. `\boxed 5` is read too, if the end of the number is clear. A box that never closes is
    skipped, and earlier boxes count; check `finish_reason` to detect a reply that was cut. Takes time linear in the text.

    >>> last_boxed(r"\boxed{\{1, 2\}} and \boxed{3"), last_boxed(r"\boxed{3}? No, \boxed 4."), last_boxed(r"\boxed 5/6")
    ('\\{1, 2\\}', '4', None)
    """
    box = last_box(text)
    return None if box is None else box.content


def last_box(text: str) -> Box | None:
    """`last_boxed` with its span."""
    first = text.find("oxed")
    if first < 0:
        return None
    open_braces: list[tuple[int, int]] = []  # the start of the content and of each open box; -1 for a plain brace
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
    """`text` without its thoughts; None if a thought does not end, so that its text is not mistaken for the answer.

    The tags are `<think>`, `<thinking>`, `<thought>`, `<seed:think>`, `[THINK]` and `◁think▷`, each with its end tag. An end tag
    without a start tag ends a thought that the chat template opened: the text before it is removed. `opened` means that the
    template opened one, so a text without an end tag is all thought.

    >>> strip_thinking("hm, let me see</think> 2")
    '2'
    >>> strip_thinking("<think>hm, let me") is None
    True
    """
    kept: list[str] = []
    inside, seen, at = opened, opened, 0
    for match in _THOUGHT.finditer(text):
        closes = "/" in match.group()
        if closes and not inside:
            kept.clear()
        elif not closes and not inside:
            kept.append(text[at : match.start()])
        inside, seen, at = not closes, True, match.end()
    if inside:
        return None
    return "".join([*kept, text[at:]]).strip() if seen else text


def final_text(prefix: str, reply: str) -> str:
    """The prefix given for a reply, then the reply without its thoughts; only the prefix if a thought does not end.

    >>> final_text("Step 1: ", "2 * 3 = 6"), final_text("", "<think>Maybe 5.</think>It is 6."), final_text("", "<think>Maybe")
    ('Step 1: 2 * 3 = 6', 'It is 6.', '')
    """
    return prefix + (strip_thinking(reply) or "")

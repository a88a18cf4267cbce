r"""Headings that number a step: "Step 2:", "**Step 2:**", "### Step 2", "[Step 2/5]", "第二步：", "Step Two -".

>>> found = read_heading("**Step 2: Add.** 1 + 1 = 2")
>>> found.number, found.clear, found.rest("**Step 2: Add.** 1 + 1 = 2")
(2, True, '**Add.** 1 + 1 = 2')
>>> read_heading("Step 2 is wrong.").clear, read_heading("In Step 2: x") is None
(False, True)
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from deepcritic.text.numerals import CIRCLED, DIGITS, HAN, ROMAN, WORD, number_in

BLANK: Final = r"[ \t\r\f\v\xa0\u1680\u2000-\u200f\u202f\u205f\u2060\u3000\ufeff]"
"""White space within a line, and invisible characters."""
_COMMANDS: Final = r"text(?:bf|it|sc|rm|sf|tt)?|emph|underline|math(?:bf|rm)|(?:sub)*section\*?|(?:sub)?paragraph\*?"
_CLOSERS: Final = {"[": "]", "(": ")", "（": "）", "【": "】", "〔": "〕", "《": "》", "「": "」"}
_DECORATION: Final = (
    rf"(?:{BLANK}*+(?:>|[-*+•·‣◦▪●○■►➤–—](?={BLANK})|\#{{1,6}}|[0-9]{{1,3}}[.)](?={BLANK})"
    rf"|\\(?:noindent|item)(?![A-Za-z])))*+{BLANK}*+"
)
_OPEN: Final = (
    rf"\*{{1,3}}|_{{1,2}}|\\(?:{_COMMANDS})\s?\{{"
    rf"|\{{\\(?:bf|it|em|bfseries|itshape)(?![A-Za-z])|\$|<(?:b|strong|i|em|u|h[1-6])>|[{re.escape(''.join(_CLOSERS))}]"
)
_NUMBER: Final = rf"{DIGITS}|{CIRCLED}|{HAN}|{WORD}|{ROMAN}"
_HEADING: Final = re.compile(
    rf"""(?P<decoration>{_DECORATION})(?P<open>(?:(?:{_OPEN}){BLANK}*+){{0,3}})
    (?: (?:step|étape|etape|schritt|paso|passo|шаг|ステップ|(?P<han>步骤|步驟)|단계)
        {BLANK}*+[-_~]?{BLANK}*+(?:\#|№|n[°º]|no\.)?{BLANK}*+ (?P<number>{_NUMBER})
      | (?P<nth>第){BLANK}*+(?P<place>{DIGITS}|{HAN}){BLANK}*+(?:步骤|步驟|步|歩) )
    (?:{BLANK}*+(?:/|of(?=\s)){BLANK}*+{DIGITS})?""",
    re.IGNORECASE | re.VERBOSE,
)
_OPENINGS: Final = re.compile(_OPEN, re.IGNORECASE)
_SEPARATOR: Final = re.compile(
    rf"""{BLANK}*+(?: [:;\uff1a\uff1b\uff09)\u3001|\u2192\u21d2] | [-=]> | [.\uff0e\u3002](?![0-9]) | [–—](?![0-9]) )
       | {BLANK}++[-–—](?={BLANK}|\Z) | -(?={BLANK})
       | (?={BLANK}*+[(\uff08][^()\uff08\uff09]{{1,80}}[)\uff09]{BLANK}*+[:\uff1a])""",
    re.VERBOSE,
)
_COMMA: Final = re.compile(rf"{BLANK}*+[,\uff0c]")
_RULE: Final = r"(?:(?:-[ \t]*+){3,}+|(?:\*[ \t]*+){3,}+|(?:_[ \t]*+){3,}+)\r?"
_RULES_BEFORE: Final = re.compile(rf"\A(?:{_RULE}(?:\n\s*|\Z))++")
_RULE_BEHIND: Final = re.compile(rf"{_RULE}\s*\Z")
_BLANKS: Final = re.compile(rf"{BLANK}*+")
_SENTENCE: Final = re.compile(
    r"(?:is|are|was|were|will|would|can|has|have|had|of|to|and|or|in|from|by|with|that|which|gives?|gave|shows?|says?|uses?|used"
    r"|involves?|requires?|tells?|states?|consists?|asks?|contains?|makes?|follows?|does|did|fails?|above|below|again|then)\b"
)


class Heading(NamedTuple):
    """A heading at the start of a line. `clear`: it is marked as one; otherwise it may be the start of a sentence.

    `end` is its end in the line. `reopen` holds the markup that it opened and did not close, such as the emphasis of a title
    after it; `closers` closes that markup.
    """

    number: int
    clear: bool
    end: int
    reopen: str = ""
    closers: tuple[str, ...] = ()

    def rest(self, step: str) -> str:
        """`step` without this heading, with which it begins."""
        rest = step[self.end :].lstrip()
        return self.reopen + rest if self.closers and all(closer in rest for closer in self.closers) else rest


def read_heading(line: str) -> Heading | None:
    """The heading at the start of `line`, which has no line ends."""
    match = _HEADING.match(line)
    number = None if match is None else number_in(match["number"] or match["place"])
    if match is None or number is None:
        return None
    opened = _OPENINGS.findall(match["open"])
    at, pending, separated, closed = match.end(), [*opened], False, False
    while True:
        blanks = _BLANKS.match(line, at)
        inner = blanks.end() if blanks else at
        if pending and line.startswith(_closer(pending[-1]), inner):
            at, closed = inner + len(_closer(pending.pop())), True
        elif not separated and (found := _SEPARATOR.match(line, at) or (_is_han(match) and _COMMA.match(line, at))):
            at, separated = found.end(), True
        else:
            break
    alone = not line[at:].strip() and not pending
    titled = "#" in match["decoration"] or any("section" in one or "paragraph" in one for one in opened)
    boxed = closed and any(one[0] in "[【〔《「" for one in opened)
    clear = separated or alone or boxed or (titled and line[at : at + 1].isspace())
    if not clear and not (line[at : at + 1].isspace() or (closed and line[at : at + 1])):
        return None
    end = at if clear or closed or not _SENTENCE.match(line[at:].lstrip()) else 0
    return Heading(number, clear, end, "".join(pending), tuple(_closer(one) for one in pending))


def without_rules(step: str) -> str:
    """The step without the horizontal rules (`---`) before and after it.

    >>> without_rules("It is 5.\\n\\n---"), without_rules("--- a")
    ('It is 5.', '--- a')
    """
    step = _RULES_BEFORE.sub("", step)
    while step[-1:] in "-*_" and step and _RULE_BEHIND.match(step, step.rfind("\n") + 1):
        step = step[: step.rfind("\n") + 1].rstrip()
    return step


def _is_han(match: re.Match[str]) -> bool:
    return bool(match["han"] or match["nth"])


def _closer(opening: str) -> str:
    if opening[0] in "\\{":
        return "}"
    return opening.replace("<", "</") if opening[0] == "<" else _CLOSERS.get(opening, opening)

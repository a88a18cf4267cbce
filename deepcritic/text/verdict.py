r"""Parse the step that a reply names. An ambiguous reply is unparsed.

>>> read_number(r"The sum is off in the second step. \boxed{\text{Step 2}}"), read_number(r"\boxed{-1}")
(2, -1)
>>> read_number(r"It is step 2."), read_number(r"\boxed{2 or 3}"), read_number(r"\boxed{2}? No: \boxed{3}")
(None, None, 3)
>>> read_number(r"Step 1 is right: \boxed{1}. **Answer**: \boxed{-1}", marker="**Answer**:")
-1
>>> read_number(r"Step 1 is right: \boxed{1}.", marker="**Answer**:") is None
True
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from deepcritic.text.numerals import CIRCLED, DIGITS, HAN, ORDINALS, ROMAN, WORD, number_in
from deepcritic.text.parsing import last_box, strip_thinking

LONGEST: Final = 2000
"""Longest verdict, in characters."""
_MINUS: Final = "-\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d"
_INVISIBLE: Final = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_COLON_IN_BOLD: Final = re.compile(r"(\*\*|__)([^*_\n]+?)[ \t]*:[ \t]*\1")
_BEFORE_COLON: Final = re.compile(r"(?<=[\w*_])[ \t]+:")
_STYLE: Final = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt|sc|normal|up)?|math(?:bf|it|rm|sf|tt|bb|cal|normal|op)|bm|boldsymbol|pmb|emph|underline"
    r"|mbox|hbox|operatorname\*?|(?:textcolor|color|colorbox)\s*\{[^{}]*\})\s*\{((?:[^{}]|\{[^{}]*+\})*+)\}"
)
_TEX: Final = (
    (re.compile(r"\\(?:bf|it|rm|tt|sf|em|bfseries|itshape|displaystyle|textstyle|tiny|small|normalsize|large|Large|LARGE|huge"
                r"|Huge|left|right|[bB]ig[lr]?|quad|qquad|enspace|thinspace)(?![A-Za-z])|\\[ ,;:!>()\[\]]|~"), " "),
    (re.compile(r"\\color\s*\{[^{}]*\}"), " "),
    (re.compile(r"\\([#_&{}])"), r"\1"),
    (re.compile(r"\\langle(?![A-Za-z])|&lt;"), "<"),
    (re.compile(r"\\rangle(?![A-Za-z])|&gt;"), ">"),
    (re.compile(r"\\text(?:minus|endash|emdash)(?![A-Za-z])"), "-"),
)  # fmt: skip
_PAIRS: Final = dict(zip("{([<【「$*_`\"'“‘", "})]>】」$*_`\"'”’", strict=True))
_INTEGER: Final = re.compile(rf"(?P<sign>[+-]?)\s*(?P<number>{DIGITS}|{CIRCLED})(?:\.0{{1,6}})?\)?")
_ERROR_IN: Final = r"(?:the\s+)?(?:(?:first|earliest)\s+)?(?:error|mistake)\s*(?:(?:is|occurs|appears)\s+)?(?:(?:in|at)\s+|:\s*)"
_NAMED: Final = re.compile(
    rf"""(?: (?:{_ERROR_IN})? (?:the\s+)? (?:(?:first|earliest)\s+)? (?:(?:wrong|incorrect|erroneous)\s+)?
             (?:step|paragraph) (?:\s+(?:index|number))? | index | 步骤 | 步驟 )
         (?P<gap>(?:\s+is(?:\s+step(?=\s))?)?[:=_\s-]*?) (?:\#|no\.|nr\.)? \s* (?P<minus>(?:(?<![\w-])|(?<=_))-(?=1(?!\d)))?
         (?P<number>{DIGITS}|{CIRCLED}|{HAN}|{WORD}|{ROMAN}) (?:\.0{{1,6}}(?!\d))? (?:\s+of\s+\d{{1,6}})?
       | 第\s*(?P<han>{DIGITS}|{HAN})\s*(?:步骤|步驟|步|歩|段)
       | (?:{_ERROR_IN})? (?:the\s+)?
         (?:(?P<ordinal>\d{{1,6}})(?:st|nd|rd|th)|(?P<nth>{"|".join(ORDINALS)}))\s+(?:step|paragraph)
       | (?:\#|no\.|nr\.) \s* (?P<bare>{DIGITS})""",
    re.IGNORECASE | re.VERBOSE,
)
_NONE: Final = re.compile(r"-\s*1(?:\.0{1,6})?(?!\d)")
_REASON: Final = re.compile(
    r"\s*(?P<mark>[:(,]|\s-+\s|\s(?:is|was|has|contains)\s|(?=有误|有错|错|出错|出现|不正确|是错))(?P<why>.*)",
    re.DOTALL | re.IGNORECASE,
)
_OTHER_STEP: Final = re.compile(
    r"^\W*(?:step|paragraph|第\s*\d)|\b(?:step|paragraph)s?[\s_]*\#?\d+\s*[:=]|第\s*\d+\s*步\s*:", re.IGNORECASE
)
_PRAISE: Final = re.compile(
    r"(?<!not )(?<!n't )\b(?:correct|right|valid|fine|ok|okay|true|accurate|sound)\b|\bno\s+(?:error|mistake)"
    r"|(?<!不)正确|(?<!不)正確|没有|沒有|无误",
    re.IGNORECASE,
)
_FAULT: Final = re.compile(r"\b(?:wrong|incorrect|errors?|mistakes?|flaw(?:ed|s)?|invalid|false)\b|错|錯", re.IGNORECASE)
_BLAME: Final = re.compile(r"\b(?:wrong|incorrect|false|invalid|flawed|step|paragraph|not)\b|\d|错|錯", re.IGNORECASE)


def read_number(reply: str, *, marker: str | None = None) -> int | None:
    r"""The step number in a reply's verdict, as written, or -1; None if no step or more than one is named.

    The verdict is in the last box, which corrects earlier ones; if that box cannot be parsed, there is no verdict. A reply that
    is just one whole number is a verdict too. With a `marker` the verdict is the box after the last marker, and nothing before it
    counts. Thoughts are stripped first; a reply whose thought does not end has no verdict.
    """
    answer = strip_thinking(reply)
    if answer is None:
        return None
    if marker is not None:
        _, found, answer = _spelt(answer).rpartition(_spelt(marker))
        if not found:
            return None
    box = last_box(answer)
    if box is not None:
        return number_of(box.content)
    return _integer(plain(answer)) if marker is None and len(answer) < 80 else None


def number_of(content: str) -> int | None:
    r"""The step that a box's content names: `2`, `-1`, `\text{Step 2}`, `<step_2>`, `第2步`, `Step 2: adds wrongly`.

    >>> [number_of(content) for content in ("2.0", "(2)", "Step~2", "−1", "2: wrong sign", "2.5", "1, 2", "Step 1: correct")]
    [2, 2, 2, -1, 2, None, None, None]
    """
    if len(content) > LONGEST:
        return None
    text = plain(content)
    number = _integer(text)
    if number is not None:
        return number
    if none := _NONE.match(text):
        why = _REASON.fullmatch(text, none.end())
        return -1 if why and not _BLAME.search(why["why"]) else None
    named = _NAMED.match(text)
    return _blamed(text) if named is None else _step(named, text[named.end() :])


def plain(text: str) -> str:
    """`text` without formatting: TeX commands, emphasis, enclosing brackets, full-width forms, a full stop."""
    text, before = _narrow(text), ""
    while text != before:
        before, text = text, _STYLE.sub(r"\1", text)
    for pattern, by in _TEX:
        text = pattern.sub(by, text)
    before = ""
    while text != before:
        before, text = text, text.strip().rstrip(".,;。、 ")
        if len(text) > 2 and _PAIRS.get(text[0]) == text[-1] and text[-2] != "\\" and _encloses(text):
            text = text[1:-1]
    return re.sub(r"(?<![\d}])\{([^{}]*)\}", r"\1", text)  # 1{2} is not 12


def _encloses(text: str) -> bool:
    """Whether the first and the last character are a matching pair, as in "((2))" and not in "(1) (2)"."""
    opening, closing, inner = text[0], text[-1], text[1:-1].strip()
    if opening == closing:
        return opening not in inner or (inner[0], inner[-1]) == (opening, closing)
    depth = 0
    for sign in inner:
        depth += (sign == opening) - (sign == closing)
        if depth < 0:
            return False
    return depth == 0


def _narrow(text: str) -> str:
    """Full-width forms and digits of any script in ASCII, any minus as "-"; superscripts and fractions are unchanged."""
    kept = []
    for sign in _INVISIBLE.sub("", text):
        if sign in _MINUS:
            kept.append("-")
        elif sign.isdecimal():
            kept.append(str(unicodedata.decimal(sign)))
        elif sign.isspace():
            kept.append(" ")
        elif unicodedata.decomposition(sign).startswith(("<wide>", "<small>", "<narrow>")):
            kept.append(unicodedata.normalize("NFKC", sign))
        else:
            kept.append(sign)
    return "".join(kept)


def _spelt(text: str) -> str:
    """`**Answer:**`, `**Answer** :` and `**Answer**：` are `**Answer**:`."""
    return _COLON_IN_BOLD.sub(r"\1\2\1:", _BEFORE_COLON.sub(":", text.replace("\uff1a", ":")))


def _integer(text: str) -> int | None:
    found = _INTEGER.fullmatch(text)
    number = None if found is None else number_in(found["number"])
    return None if found is None or number is None else -number if found["sign"] == "-" else number


def _blamed(text: str) -> int | None:
    """The number before a description of an error, as in "2: wrong sign"; None if anything else follows it."""
    found = re.match(r"[1-9]\d{0,5}(?!\d)", text)
    why = _REASON.fullmatch(text, found.end()) if found else None
    if found is None or why is None or not _FAULT.search(why["why"]) or _PRAISE.search(why["why"]):
        return None
    return None if re.search(r"\d", why["why"]) else int(found[0])


def _step(named: re.Match[str], rest: str) -> int | None:
    """The number of a named step, unless the text after it calls it right or names another step."""
    written = next(named[group] for group in ("number", "han", "ordinal", "nth", "bare") if named[group])
    number = ORDINALS.index(written.lower()) + 1 if named["nth"] else number_in(written)
    if number is None:
        return None
    if named["minus"]:
        number = -1
    elif "-" in (named["gap"] or "") and number == 1:
        return None  # "step-1": the first one, or none?
    if not rest.strip(" .>*_"):
        return number
    why = _REASON.fullmatch(rest)
    if why is None or number < 0 or not re.search(r"[^\W\d_]|=", why["why"]):
        return None
    if why["mark"].strip(" -") in ("", ",") and re.match(r"\s*\d", why["why"]):
        return None  # "step 2 - 4"
    return None if _OTHER_STEP.search(why["why"]) or _PRAISE.search(why["why"]) else number

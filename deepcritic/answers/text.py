r"""Which part of a text is the answer, the spelling it is compared in, and the one in which math-verify reads it best.

>>> canonical(answer_of(r"so it is $\boxed{1{,}000.50 }$."))
'1000.50'
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from deepcritic.answers.plain import is_whole
from deepcritic.answers.too_big import LIMIT
from deepcritic.text.parsing import last_boxed

_CLOSE_BOXES: Final = 150
_PERCENT_AFTER: Final = re.compile(r"[\s$]*(?:\\?%|[Pp]ercent|[Pp]ct)")
_DELIMITED: Final = re.compile(r"(?<!\\)\$|\\[(\[]|\\f?boxed")
_WRAPPED: Final = re.compile(r"\$\$([^$]*)\$\$|\$([^$]*)\$|\\\(((?:(?!\\[()]).)*)\\\)|\\\[((?:(?!\\[\[\]]).)*)\\\]", re.DOTALL)
_TEXT: Final = re.compile(r"\\(?:text(?:bf|it|rm|normal)?|mathrm|mathbf|mbox)\s*\{([^{}\\$]*)\}")
_THIN: Final = re.compile(r"(?<=[0-9])(?:\\[,;:!]|\\ |~)\s?(?=[0-9]{3}(?![0-9]))")
_NO_COMMA: Final = re.compile(r"(?<=[0-9])(?:\{,\}|\\!,|,\\!)\s?(?=[0-9]{3}(?![0-9]))")  # these never part a list
_GROUPED: Final = re.compile(r"-?[1-9][0-9]{0,2}(?:([, ])[0-9]{3})(?:\1[0-9]{3})*(?:\.[0-9]+)?")
_SPACE: Final = re.compile(r"(?<![0-9A-Za-z])\s+|\s+(?![0-9A-Za-z])")
_NOTHING: Final = re.compile(r"\\(?:left|right)(?![A-Za-z])|\\(?:displaystyle)(?![A-Za-z])|\\[!,;:]")
_WORDED_NUMBER: Final = re.compile(r"\\(?:text|mathrm|mathbf|mbox)\s*\{\s*(-?[0-9.,/]+)\s*\}")
_POWER: Final = re.compile(r"(?<!\*)\*\*\s*([0-9]++|[A-Za-z])(?!\s*\*\*)|(?<=[0-9xyzn)}\]])([²³])")  # not the square of a unit
_SIGNS: Final = str.maketrans({
    "−": "-", "–": "-", "·": "\\cdot ", "×": "\\times ", "÷": "\\div ", "°": "^\\circ", "∞": "\\infty ", "π": "\\pi ",
    "≤": "\\le ", "≥": "\\ge ", "∪": "\\cup ",
})  # fmt: skip
_FRACTION_COMMAND: Final = re.compile(r"\\[dtc]frac(?![A-Za-z])")

_PROSE: Final = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}\s+(?:is|are|was|be|equals?|to|of|we|the|answer)(?![A-Za-z])|[Aa]nswer\b")


def answer_of(text: str) -> str:
    r"""The part of `text` that is the answer: what its last box holds, else all of it; empty when a box never closes.

    Boxes that stand together (`\boxed{1}, \boxed{2}`) are one answer and stay with the text around them.

    >>> answer_of(r"First \boxed{3}. " + "Then. " * 40 + r"So \boxed{4} \%")
    '4\\%'
    """
    if "\\" not in text or "\\boxed" not in text:  # one character is found a good deal faster
        return text.strip()
    last = last_boxed(text)
    if last is None:
        return ""
    at = text.rfind("\\boxed")
    before = text[:at].rfind("\\boxed")
    if before >= 0 and at - before <= _CLOSE_BOXES:
        previous = last_boxed(text[:at])
        if previous is not None and previous.strip() != last.strip():
            return _end_of(text)
    start = text.find(last, at)
    percent = start >= 0 and _PERCENT_AFTER.match(text, start + len(last) + 1)
    return last.strip() + ("\\%" if percent else "")


def for_algebra(answer: str) -> str:
    """`answer` as math-verify reads it best: in dollars unless it has delimiters of its own or is prose.

    >>> for_algebra("x^2"), for_algebra("The answer is 3")
    ('$x^2$', 'The answer is 3')
    """
    text = _end_of(answer)
    if len(text) > LIMIT:
        return text
    text = _POWER.sub(_in_braces, text.translate(_SIGNS)).replace("\\$", "").strip()
    text = _joined(_WORDED_NUMBER.sub(r"\1", text))
    if text.count("$") == 1:  # a currency sign
        text = text.replace("$", "")
    return text if _DELIMITED.search(text) or _PROSE.search(text) else f"${text.rstrip(' .,;') or text}$"


def canonical(answer: str) -> str:
    r"""`answer` without what never changes its meaning: delimiters, spacing, sizes of brackets and fractions, final periods.

    >>> canonical(r"$\left( \dfrac{1}{2}, 3 \right)$.")
    '(\\frac{1}{2},3)'
    """
    text = answer.strip()
    if not text:
        return ""
    if is_whole(text):
        return text.lstrip("0") or "0"
    text = text.rstrip(".").rstrip() or text
    wrapped = _WRAPPED.fullmatch(text)
    if wrapped:
        text = next(group for group in wrapped.groups() if group is not None).strip()
        text = text.rstrip(".").rstrip() or text
    text = _joined(text.replace("\\$", "").replace("−", "-"))
    if text.startswith("$") and text.count("$") == 1:
        text = text[1:]
    worded = _TEXT.fullmatch(text)
    if worded:
        text = worded[1].strip()
    if "\\" in text:
        text = _FRACTION_COMMAND.sub(r"\\frac", _NOTHING.sub(" ", text)).replace("\\%", "%")
    return _SPACE.sub("", text)


def _in_braces(power: re.Match[str]) -> str:
    return f"^{{{power[1] or unicodedata.digit(power[2])}}}"


def _joined(text: str) -> str:
    """`text` with the separators of thousands gone, where it is one number; elsewhere only thin spaces become commas."""
    if "\\" in text or "{,}" in text or "~" in text:
        text = _THIN.sub(",", _NO_COMMA.sub("", text))
    head = text
    unit = re.search(r"(?<=[0-9])\s*(?:\\(?:text|mbox|mathrm)\{|\\?%|[A-Za-z$])", text)
    if unit:
        head = text[: unit.start()]
    sign = head[:1] if head[:1] == "$" else ""
    if _GROUPED.fullmatch(head[len(sign) :]):
        return head.replace(",", "").replace(" ", "") + text[len(head) :]
    return text


def _end_of(text: str) -> str:
    """The last lines or sentences of a long reply; all of it where it has none, for then it is no prose."""
    if len(text) <= LIMIT:
        return text.strip()
    start = len(text) - LIMIT
    cuts = [cut for cut in (text.find("\n", start), text.find(". ", start)) if cut >= 0]
    return text[min(cuts) + 1 :].strip() if cuts else text

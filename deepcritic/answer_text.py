r"""What can be said of two written answers without algebra: which part of a text is the answer, and equality of plain numbers.

>>> decide(r"so it is $\boxed{1{,}000.50}$.", "1000.5")
True
>>> decide(r"\frac{1}{2}", "0.75")
False
>>> decide("x + 1", "1 + x") is None
True
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final, NamedTuple

from deepcritic.parsing import last_boxed

LIMIT: Final = 4000  # characters of a text that algebra is tried on; whole replies are cut to their end
_DIGITS: Final = 15  # up to here math-verify's floats are exact, so it and exact arithmetic cannot disagree
_FAR: Final = Fraction(1, 100_000)  # math-verify rounds to 6 places; what lies nearer than this is left to it
_CLOSE_BOXES: Final = 150
_DEEPEST: Final = 40
_NESTING: Final = re.compile(r"[()\[\]{}]")
_RUN: Final = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{100}|[-+*/^=|!_'<>]{40}")

_PERCENT_AFTER: Final = re.compile(r"[\s$]*(?:\\?%|[Pp]ercent|[Pp]ct)")
_DELIMITED: Final = re.compile(r"(?<!\\)\$|\\[(\[]|\\f?boxed")
_WRAPPED: Final = re.compile(r"\$\$([^$]*)\$\$|\$([^$]*)\$|\\\(((?:(?!\\[()]).)*)\\\)|\\\[((?:(?!\\[\[\]]).)*)\\\]", re.DOTALL)
_TEXT: Final = re.compile(r"\\(?:text(?:bf|it|rm|normal)?|mathrm|mathbf|mbox)\s*\{([^{}\\$]*)\}")
_THIN: Final = re.compile(r"(?<=[0-9])(?:\\[,;:!]|\\ |~)\s?(?=[0-9]{3}(?![0-9]))")
_NO_COMMA: Final = re.compile(r"(?<=[0-9])(?:\{,\}|\\!,|,\\!)\s?(?=[0-9]{3}(?![0-9]))")  # these never part a list
# Left alone, math-verify takes this for a list; `for_algebra` mends that, and so the fast path need not contradict it.
_SPLIT: Final = re.compile(r"(?:\{,\}|\\!)\s?[0-9]{3}\s*\^")
_GROUPED: Final = re.compile(r"-?[1-9][0-9]{0,2}(?:([, ])[0-9]{3})(?:\1[0-9]{3})*(?:\.[0-9]+)?")
_SPACE: Final = re.compile(r"(?<![0-9A-Za-z])\s+|\s+(?![0-9A-Za-z])")
_NOTHING: Final = re.compile(r"\\(?:left|right)(?![A-Za-z])|\\(?:displaystyle)(?![A-Za-z])|\\[!,;:]")
_FRACTION_COMMAND: Final = re.compile(r"\\[dtc]frac(?![A-Za-z])")

_WORDS: Final = (
    "cm mm km m ft feet inch inches mile miles kg day days hour hours minute minutes second seconds year years unit units"
)
_UNIT: Final = re.compile(
    r"(?:\s*(?:\\(?:text|mbox|mathrm)\{[ A-Za-z.]*\}(?:\^[23]|\^\{[23]\})?|\^\\circ|\^\{\\circ\})"
    rf"|\s(?:{_WORDS.replace(' ', '|')}))\Z"
)
# Words that change the number, or that math-verify reads as something else than a unit.
_NO_UNIT: Final = re.compile(
    r"(?<![A-Za-z])(?:and|or|per|percent|percentage|pct|hundred|thousand|million|billion|trillion|dozen|i|e|base|mod|x|pi)(?![A-Za-z])",
    re.IGNORECASE,
)
_DECIMAL: Final = re.compile(r"([-+]?)([0-9]*)(?:\.([0-9]*))?")
_RATIO: Final = re.compile(
    r"""([-+]?)([0-9]*)(?:
        \\frac\{([-+]?)([0-9]+)\}\{([0-9]+)\}
      | \\frac()([0-9])([0-9])
    )""",
    re.VERBOSE,
)
_SLASH: Final = re.compile(r"([-+]?)([0-9]+)/([0-9]+)")
_CHOICE: Final = re.compile(r"[A-D]")
_CLOCK: Final = re.compile(r"[0-9]{1,2}:[0-5][0-9]")
_PROSE: Final = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{2,}\s+(?:is|are|was|be|equals?|to|of|we|the|answer)(?![A-Za-z])|[Aa]nswer\b")


class Plain(NamedTuple):
    """A number as written: `sign * (whole.part)`, or a ratio. Digits stay text: a million of them cost nothing."""

    negative: bool
    whole: str
    part: str
    ratio: Fraction | None


def answer_of(text: str) -> str:
    r"""The part of `text` that is the answer: what its last box holds, else all of it; empty when a box never closes.

    Boxes that stand together (`\boxed{1}, \boxed{2}`) are one answer and stay with the text around them.

    >>> answer_of(r"First \boxed{3}. " + "Then. " * 40 + r"So \boxed{4} \%")
    '4\\%'
    """
    if "\\boxed" not in text:
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
    after = text.rfind(last) + len(last) + 1
    return last.strip() + ("\\%" if _PERCENT_AFTER.match(text, after) else "")


def for_algebra(answer: str) -> str:
    """`answer` as math-verify reads it best: in dollars unless it has delimiters of its own or is prose.

    >>> for_algebra("x^2"), for_algebra("The answer is 3")
    ('$x^2$', 'The answer is 3')
    """
    text = _joined(answer.replace("\\$", "").replace("−", "-").strip())
    if text.count("$") == 1:  # a currency sign
        text = text.replace("$", "")
    if _DELIMITED.search(text) or _PROSE.search(text):
        return _end_of(text)
    return f"${text}$"


def decide(prediction: str, reference: str) -> bool | None:
    """Whether two texts give the same answer, where no algebra is needed to say so; None otherwise."""
    return decide_answers(answer_of(prediction), answer_of(reference))


def decide_answers(prediction: str, reference: str) -> bool | None:
    """The same for answers that `answer_of` has found."""
    one, other = canonical(prediction), canonical(reference)
    if not one or not other:
        return None
    if one == other:
        return True
    if _CHOICE.fullmatch(one) and _CHOICE.fullmatch(other):
        return False
    if _CLOCK.fullmatch(one) and _CLOCK.fullmatch(other) and (one.endswith(":00") or other.endswith(":00")):
        return False  # 12:00 is no ratio
    if _SPLIT.search(prediction) or _SPLIT.search(reference):
        return None
    a, b = plain_number(one), plain_number(other)
    return None if a is None or b is None else _same_number(a, b)


def canonical(answer: str) -> str:
    r"""`answer` without what never changes its meaning: delimiters, spacing, sizes of brackets and fractions, final periods.

    >>> canonical(r"$\left( \dfrac{1}{2}, 3 \right)$.")
    '(\\frac{1}{2},3)'
    """
    text = answer.strip()
    if not text:
        return ""
    if text.isascii() and text.isdigit():  # by far the most frequent case
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


def plain_number(text: str) -> Plain | None:
    r"""The number that canonical `text` is, a trailing unit aside; None when it is anything else.

    >>> plain_number(r"-1\frac{1}{2}").ratio
    Fraction(-3, 2)
    >>> plain_number(r"12\text{ cm}").whole
    '12'
    """
    if len(text) < 200 and not text.isdigit():
        unit = _UNIT.search(text)
        if unit and not _NO_UNIT.search(unit[0]):
            text = text[: unit.start()]
    number = _DECIMAL.fullmatch(text)
    if number and (number[2] or number[3]):
        whole, part = number[2].lstrip("0"), (number[3] or "").rstrip("0")
        return Plain(number[1] == "-" and bool(whole or part), whole, part, None)
    if len(text) > 4 * _DIGITS:
        return None
    slash = _SLASH.fullmatch(text)
    if slash:
        return _ratio(slash[1], "", slash[2], slash[3])
    found = _RATIO.fullmatch(text)
    if found is None:
        return None
    sign, whole = found[1], found[2]
    inner, top, bottom = (found[3], found[4], found[5]) if found[5] else ("", found[7], found[8])
    if (inner and (whole or sign)) or (whole and not int(top)):  # 3\frac{0}{2} may as well be a product
        return None
    return _ratio(sign or inner, whole, top, bottom)


def too_hard(text: str) -> bool:
    """Whether the parser would spend its deadline on `text` for nothing: nested deeper than any answer, or a run of signs."""
    depth = deepest = 0
    for token in _NESTING.finditer(text):
        depth += 1 if token[0] in "([{" else -1
        deepest = max(deepest, depth)
    return deepest > _DEEPEST or _RUN.search(text) is not None


def _ratio(sign: str, whole: str, top: str, bottom: str) -> Plain | None:
    if not int(bottom) or max(len(whole), len(top), len(bottom)) > _DIGITS:
        return None
    value = Fraction(int(top), int(bottom)) + int(whole or 0)
    return Plain(sign == "-", "", "", -value if sign == "-" else value)


def _same_number(a: Plain, b: Plain) -> bool | None:
    if a.ratio is None and b.ratio is None:
        if a == b:
            return True
        if not a.part and not b.part:
            return False
    one, other = _value(a), _value(b)
    if one is None or other is None:
        return None
    if one == other:
        return True
    gap = abs(one - other)
    return False if gap > _FAR and gap > _FAR * max(abs(one), abs(other)) else _exact(a, b)


def _exact(a: Plain, b: Plain) -> bool | None:
    """Different ratios or whole numbers are different however near; floats are math-verify's business."""
    return None if a.part or b.part else False


def _value(number: Plain) -> Fraction | None:
    if number.ratio is not None:
        return number.ratio
    if len(number.whole) + len(number.part) > _DIGITS:
        return None
    value = Fraction(int(number.whole + number.part or 0), 10 ** len(number.part))
    return -value if number.negative else value


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
    if len(text) <= LIMIT:
        return text.strip()
    tail = text[-LIMIT:]
    return tail[tail.find("\n") + 1 :].strip()

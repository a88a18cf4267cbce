r"""Compare two written answers if no algebra is needed.

>>> at_once(r"so it is $\boxed{1{,}000.50}$.", "1000.5")
Comparison(equal=True, reason='')
>>> at_once("x + 1", "1 + x")
Question(reference='1+x', prediction='x+1', conventions=...)
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple

from deepcritic.answers.conventions import DEFAULT, Conventions
from deepcritic.answers.extract import boxed_part, end_of, stated_part
from deepcritic.answers.matching import Matcher
from deepcritic.answers.reading import read, same_integer
from deepcritic.answers.spelling import spelled
from deepcritic.answers.too_big import LIMIT, text_too_big, too_deep
from deepcritic.answers.verdicts import ALGEBRA, Formulas

_BROKEN: Final = re.compile("[\ud800-\udfff]")  # lone surrogates cannot be written to a file


class Comparison(NamedTuple):
    """Whether two answers are equal, and the reason if that is None.

    - Not readable: `unreadable prediction`, `unreadable reference`, `shape` (a power or sum of matrices that does not exist).
    - A limit: `time`, `memory`, `depth`, `size` (the number is too large), `died` (killed from outside).
    - It depends on the question: `unit` (`5m` and 5, `5 cm` and `5 cm^2`), `rounding` (1234567.8 and 1234567.81), `base`,
      `grouping` (`100,200` and `100, 200`), `slash` (`1/2x`), `names` (`x = 5` and `y = 5`), `equation`, `condition`,
      `words` (one says more), `choice` (a letter with two texts), `am or pm`, `year`, `time or ratio` (`2:30` and `1:15`),
      `interval` (`[1, 2]` and `1, 2`), `set or tuple`, `vector` (a row and a column), `order`, `repeats`, `dots`, `unsolved`
      (the inequality repeated).
    - A fault: `error: ...` (math-verify's own), `forbidden: ...` (no worker may do that).
    """

    equal: bool | None
    reason: str = ""

    @property
    def right(self) -> bool | None:
        """`equal` for grading: an unreadable prediction is wrong.

        >>> Comparison(None, "unreadable prediction").right, Comparison(None, "time").right
        (False, None)
        """
        return False if self.reason == "unreadable prediction" else self.equal


class Question(NamedTuple):
    """A request to a worker: whether two answers, or ends of messages, are equal."""

    reference: str
    prediction: str
    conventions: Conventions = DEFAULT


def at_once(prediction: str, reference: str, conventions: Conventions = DEFAULT) -> Comparison | Question:
    """The result if no algebra is needed; otherwise the question for a worker."""
    one, other = answer_of(prediction), answer_of(reference)
    for side, answer in (("prediction", one), ("reference", other)):
        if not answer or (not answer.isascii() and _BROKEN.search(answer)):
            return Comparison(None, f"unreadable {side}")
    if one == other:
        return Comparison(True)
    if len(one) > LIMIT or len(other) > LIMIT:
        return Comparison(None, "size")
    if one.isdigit() and other.isdigit() and one.isascii() and other.isascii():
        return Comparison((one.lstrip("0") or "0") == (other.lstrip("0") or "0"))
    found = compare_answers(other, one, conventions, lambda reference, prediction: ALGEBRA)
    if found is not None:
        return found
    if text_too_big(_part(one)) or text_too_big(_part(other)):
        return Comparison(None, "size")
    return Question(_asked(other), _asked(one), conventions)


def answer_of(text: str) -> str:
    r"""The part of `text` that is compared: the content of its last box, else its end.

    >>> answer_of(r"First \boxed{3}. " + "Then. " * 40 + r"So \boxed{4} \%")
    '4 \\%'
    """
    boxed = boxed_part(text) if "\\" in text or "\x08" in text else None
    return end_of(text) if boxed is None else boxed


def compare_answers(reference: str, prediction: str, conventions: Conventions, formulas: Formulas) -> Comparison | None:
    """The result for answers found by `answer_of`; None if `formulas` leaves it to algebra."""
    one, other = _part(reference), _part(prediction)
    if ("\\in" in one or "integer" in one) and ("\\in" in other or "integer" in other):
        other = same_integer(other, one)
    if one == other and one:
        return Comparison(True)
    for side, part in (("reference", one), ("prediction", other)):
        if not part:
            return Comparison(None, f"unreadable {side}")
    if _too_deep(one) or _too_deep(other):
        return Comparison(None, "size")
    try:
        verdict = Matcher(conventions, formulas).same(read(one), read(other))
    except RecursionError:
        return Comparison(None, "depth")
    if isinstance(verdict, bool):
        return Comparison(verdict)
    return None if verdict == ALGEBRA else Comparison(None, verdict)


def _asked(text: str) -> str:
    """An answer in canonical spelling, so that it is asked about once; a message unchanged, as a worker may find another part."""
    return _part(text) if stated_part(text) == text.strip() else text


_too_deep = lru_cache(10_000)(too_deep)


@lru_cache(10_000)
def _part(text: str) -> str:
    """The compared part of an answer or a message, in canonical spelling."""
    return spelled(stated_part(text))

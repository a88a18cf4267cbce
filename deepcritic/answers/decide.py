r"""What two written answers are to each other where no algebra is needed to say so.

>>> decide(r"so it is $\boxed{1{,}000.50}$.", "1000.5")
True
>>> decide(r"\frac{1}{2}", "0.75")
False
>>> decide("x + 1", "1 + x") is None
True
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple, TypeAlias

from deepcritic.answers.plain import number_of, same_number
from deepcritic.answers.text import answer_of, canonical, for_algebra
from deepcritic.answers.too_big import LIMIT, text_too_big, too_deep

Texts: TypeAlias = tuple[str, str]
"""What math-verify is given: the reference, then the prediction."""

_BROKEN: Final = re.compile("[\ud800-\udfff]")  # halves of characters: no file can hold them
_CHOICE: Final = re.compile(r"[A-D]")
_CLOCK: Final = re.compile(r"[0-9]{1,2}:[0-5][0-9][ap]?")  # with "pm", math-verify takes picometres away
# Left alone, math-verify takes this for a list; `for_algebra` mends that, and so the fast path need not contradict it.
_SPLIT: Final = re.compile(r"(?:\{,\}|\\!)\s?[0-9]{3}\s*\^")


class Comparison(NamedTuple):
    """Whether two answers are equal, and where that is None, why.

    The reasons: `time`, `memory`, `depth`, `size` (nobody could write it out), `died` (the process was killed from outside),
    `unreadable prediction`, `unreadable reference`, `error: ...` (math-verify's own), `forbidden: ...` (no worker may do that).
    """

    equal: bool | None
    reason: str = ""

    @property
    def right(self) -> bool | None:
        """The same of a prediction that is graded: one that cannot be read is wrong, for that is its writer's fault.

        >>> Comparison(None, "unreadable prediction").right, Comparison(None, "time").right
        (False, None)
        """
        return False if self.reason == "unreadable prediction" else self.equal


def at_once(prediction: str, reference: str) -> Comparison | Texts:
    """The result, where no algebra is needed; else what to give to math-verify."""
    one, other = answer_of(prediction), answer_of(reference)
    for side, answer in (("prediction", one), ("reference", other)):
        if not answer or (not answer.isascii() and _BROKEN.search(answer)):
            return Comparison(None, f"unreadable {side}")
    if one != other and (too_deep(one) or too_deep(other)):
        return Comparison(None, "size")
    quick = decide_answers(one, other)
    if quick is not None:
        return Comparison(quick)
    texts = for_algebra(other), for_algebra(one)
    return Comparison(None, "size") if any(map(text_too_big, texts)) else texts


def decide(prediction: str, reference: str) -> bool | None:
    """Whether two texts give the same answer, where no algebra is needed to say so; None otherwise."""
    return decide_answers(answer_of(prediction), answer_of(reference))


def decide_answers(prediction: str, reference: str) -> bool | None:
    """The same for answers that `answer_of` has found."""
    if prediction == reference:
        return True if prediction else None
    if max(len(prediction), len(reference)) > LIMIT:
        return None
    one, other = canonical(prediction), canonical(reference)
    if not one or not other:
        return None
    if one == other:
        return True
    if _CHOICE.fullmatch(one) and _CHOICE.fullmatch(other):
        return False
    if _CLOCK.fullmatch(one) and _CLOCK.fullmatch(other) and _different_times(one, other):
        return False
    if _SPLIT.search(prediction) or _SPLIT.search(reference):
        return None
    a, b = number_of(one), number_of(other)
    return None if a is None or b is None else same_number(a, b)


def _different_times(one: str, other: str) -> bool:
    """Of two times of day that are not written alike: whether no algebra could find them equal as ratios."""
    return one[-1].isdigit() != other[-1].isdigit() or one.endswith(":00") or other.endswith(":00")

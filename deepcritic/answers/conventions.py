"""Options for the rules on which graders differ, with their defaults.

>>> Conventions().percent, Conventions(lists="ordered").lists
('either', 'ordered')
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cache
from typing import Final, Literal

from deepcritic.errors import InputError

_ALLOWED: Final = {
    "percent": ("either", "exact"), "lists": ("unordered", "ordered"), "units": ("compared", "ignored"),
    "decimal_comma": ("read", "never"), "base": ("written", "implied"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Conventions:
    """How answers are compared. The graders that follow each rule are in parentheses.

    Raises `InputError` for a value that is not listed.
    """

    percent: Literal["either", "exact"] = "either"
    """`either`: 28% equals 28 and 0.28 (Math-Verify, NeMo-Skills). `exact`: 28% equals only 0.28."""
    lists: Literal["unordered", "ordered"] = "unordered"
    """Lists without brackets. `unordered`: `1, 2` equals `2, 1` (Math-Verify). `ordered`: it does not (hendrycks/math).
    Tuples are always ordered, and sets in braces never."""
    units: Literal["compared", "ignored"] = "compared"
    """Applies if both answers have a unit. `compared`: 5 m equals 500 cm and differs from 5 cm. `ignored`: 5 m equals 5 cm. An
    answer without a unit equals the same number with one (hendrycks/math, Minerva)."""
    decimal_comma: Literal["read", "never"] = "read"
    """`read`: `2,74` equals 2.74 if the other answer is a single decimal (Math-Verify). `never`: it is a list of two."""
    base: Literal["written", "implied"] = "written"
    """`written`: `1011` against `1011_2` is undecided. `implied`: they are equal, as the question gives the base
    (Math-Verify)."""
    tolerance: float = 1e-6
    """The largest relative difference between a decimal and the value that it rounds: 0.333333 equals 1/3, 0.3333 does not.
    Numbers without a decimal point are compared exactly. 0 compares all numbers exactly."""

    def __post_init__(self) -> None:
        for name, allowed in _ALLOWED.items():
            if getattr(self, name) not in allowed:
                raise InputError("unknown convention", field=name, found=getattr(self, name), remedy=" or ".join(allowed))
        if not 0 <= self.tolerance < 1:
            raise InputError("not a relative tolerance", field="tolerance", found=self.tolerance, remedy="0 or more, below 1")

    @property
    def relative(self) -> Fraction:
        """`tolerance` as an exact decimal, so that 1/3 and 0.333333 are exactly within 1e-6."""
        return _as_written(self.tolerance)

    def key(self) -> str:
        """Empty for the defaults, else a text that identifies these conventions."""
        return "" if self == DEFAULT else repr(sorted(asdict(self).items()))


@cache
def _as_written(number: float) -> Fraction:
    return Fraction(repr(number))


DEFAULT: Final = Conventions()

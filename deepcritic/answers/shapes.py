"""The kinds of answers that `reading` parses and `matching` compares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from deepcritic.answers.numbers import Number
from deepcritic.answers.units import NO_UNIT, Unit

Kind = Literal["bare", "round", "square", "set", "angle"]
"""The brackets of a list; `bare` is without brackets."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer in canonical spelling. An answer of no other kind is a formula."""

    text: str


@dataclass(frozen=True, slots=True)
class Quantity(Answer):
    """A number with its optional unit."""

    number: Number
    unit: Unit = NO_UNIT
    percent: bool = False


@dataclass(frozen=True, slots=True)
class Measured(Answer):
    """A formula with a unit."""

    value: Answer
    unit: Unit


@dataclass(frozen=True, slots=True)
class Ratio(Answer):
    """Parts such as 3:4."""

    parts: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Based(Answer):
    """Digits and their base."""

    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class Residue(Answer):
    """A residue class, represented by a number below the modulus."""

    value: int
    modulus: int


@dataclass(frozen=True, slots=True)
class Choice(Answer):
    """A letter of a multiple choice, and the text after it."""

    letter: str
    rest: str = ""


@dataclass(frozen=True, slots=True)
class Clock(Answer):
    """A time of day."""

    minutes: int
    half: str = ""
    """`a` or `p` if given, else empty."""


@dataclass(frozen=True, slots=True)
class Day(Answer):
    """A date; `year` is 0 if not given."""

    year: int
    month: int
    day: int


@dataclass(frozen=True, slots=True)
class Words(Answer):
    """Words in lower case and without articles."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Items(Answer):
    """A list, a tuple or a set."""

    kind: Kind
    items: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Matrix(Answer):
    """Rows of cells."""

    rows: tuple[tuple[Answer, ...], ...]


@dataclass(frozen=True, slots=True)
class Named(Answer):
    """A value with a name (`x = 5`, `f(x) = x + 1`), or an equation whose left side is more than a name (`plain` is false)."""

    name: str
    value: Answer
    plain: bool = True


@dataclass(frozen=True, slots=True)
class Either(Answer):
    r"""One value written twice, exactly and rounded, as in `\frac{1}{7} \approx 0.14`."""

    exact: Answer
    rounded: Answer


@dataclass(frozen=True, slots=True)
class Conditional(Answer):
    """A value, and the condition under which it holds."""

    value: Answer
    condition: str


@dataclass(frozen=True, slots=True)
class Piece:
    """An interval."""

    lower: Answer
    upper: Answer
    open_below: bool
    open_above: bool


@dataclass(frozen=True, slots=True)
class Region(Answer):
    """A union of intervals, and the name of its variable if given."""

    pieces: tuple[Piece, ...]
    name: str = ""

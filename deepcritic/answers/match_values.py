"""Comparison of single values: quantities, choices, digits in a base, times, ratios and words."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from fractions import Fraction
from itertools import pairwise
from typing import Final

from deepcritic.answers.conventions import Conventions
from deepcritic.answers.numbers import Number, leading_number, may_be_rounded, same_number, spoken_number
from deepcritic.answers.reading import read
from deepcritic.answers.shapes import Answer, Based, Choice, Clock, Day, Measured, Quantity, Ratio, Residue, Words
from deepcritic.answers.units import NO_UNIT, Agreement, Unit, agreement, unit
from deepcritic.answers.values import DAY_NAMES, value_in_base
from deepcritic.answers.verdicts import Formulas, Verdict, all_of, any_of, unless

_DECIMAL: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")
_GLUED: Final = frozenset("mghslLJNWVKAC")  # in 5m, metres or a variable
_LETTER_DIGITS: Final = re.compile(r"[a-z]{2,}_\{?(?:1[1-9]|2[0-9]|3[0-6])\}?")  # ff_{16}: digits, or variables
_LAST_LETTER: Final = re.compile(r" [A-Za-z]\Z")
_LETTERS: Final = re.compile(r"\\?[A-Za-z]+")
_SAME_WORDS: Final = {
    ("true",): ("yes",), ("correct",): ("yes",), ("false",): ("no",), ("incorrect",): ("no",), ("does", "not", "exist"): ("dne",),
    ("not", "possible"): ("impossible",), ("not", "equal"): ("unequal",),
}  # fmt: skip
_CELSIUS: Final = (("celsius", 1),)
_FAHRENHEIT: Final = (("fahrenheit", 1),)
_FUNCTION_WORDS: Final = frozenset(("of", "is", "are", "and", "in", "to", "for", "with", "only"))


class ValueMatcher(ABC):
    """Compares single values by `conventions`; `formulas` decides what needs algebra."""

    def __init__(self, conventions: Conventions, formulas: Formulas) -> None:
        self.conventions, self.formulas = conventions, formulas
        self._tolerance = conventions.relative

    @abstractmethod
    def same(self, reference: Answer, prediction: Answer) -> Verdict:
        """Whether two answers of any kind are the same."""

    def values(self, r: Answer, p: Answer) -> Verdict:
        """Whether two single values, or formulas, are the same."""
        if isinstance(r, Quantity) and isinstance(p, Quantity):
            return self._angles(r, p) or self._angles(p, r) or self._quantities(r, p)
        if isinstance(r, Measured):
            return self._measured(r, p, swap=False)
        if isinstance(p, Measured):
            return self._measured(p, r, swap=True)
        for one, other, swap in ((r, p, False), (p, r, True)):
            verdict = self._value(one, other, swap)
            if verdict is not None:
                return verdict
        return self.as_formulas(r, p)

    def as_formulas(self, r: Answer, p: Answer) -> Verdict:
        """The verdict of algebra on each possible formula of an answer."""
        for one, other in ((r, p), (p, r)):
            if isinstance(one, Quantity) and type(other) is Answer:
                found = leading_number(other.text)
                glued = unit(f" {found[1]}") if found and found[1] in _GLUED and one.unit.measures else None
                if found and glued and glued.measures == one.unit.measures:  # 1.5L, 1500 mL
                    return self._quantities(one, Quantity(other.text, found[0], glued))
                if found and found[1] in _GLUED and same_number(found[0], one.number, self._tolerance):
                    return "unit"
                if _LETTER_DIGITS.fullmatch(other.text):
                    return "base"
        for one, other in ((r, p), (p, r)):
            if isinstance(one, Quantity | Measured) and type(other) is Answer and _LAST_LETTER.search(one.text):
                as_variable = self.formulas(r.text, p.text)  # the h of \frac{1}{2} h may not be an hour
                if as_variable is not False:
                    return as_variable
        if type(r) is Answer and type(p) is Answer and _LETTERS.fullmatch(r.text) and r.text.lower() == p.text.lower():
            return True
        return any_of(self.formulas(one, other) for one in _written(r) for other in _written(p))

    def _in_order(self, one: Answer, other: Answer, swap: bool) -> Verdict:
        return self.same(other, one) if swap else self.same(one, other)

    def _value(self, one: Answer, other: Answer, swap: bool) -> Verdict | None:
        """The verdict if the kind of `one` has its own rule, else None; `swap` if `one` is the prediction."""
        match one:
            case Choice():
                return self._choice(one, other, swap)
            case Based():
                return self._based(one, other)
            case Residue() if isinstance(other, Residue):
                return (one.value, one.modulus) == (other.value, other.modulus)
            case Clock():
                return self._clock(one, other)
            case Day() if isinstance(other, Day):
                if (one.month, one.day) != (other.month, other.day):
                    return False
                return one.year == other.year or ("year" if not one.year or not other.year else False)
            case Day() if type(other) is not Answer:
                return False
            case Ratio():
                return self._ratio(one, other, swap)
            case Words():
                return self._words(one, other)
        return None

    def _units(self, a: Unit, b: Unit) -> Agreement:
        return "same" if self.conventions.units == "ignored" else agreement(a, b)

    def _quantities(self, a: Quantity, b: Quantity) -> Verdict:
        if a.percent != b.percent:
            return self._percent(a.number, b) if a.percent else self._percent(b.number, a)
        if {a.unit.measures, b.unit.measures} == {_CELSIUS, _FAHRENHEIT} and self.conventions.units == "compared":
            return _celsius(a) == _celsius(b)
        units, one, other = self._units(a.unit, b.unit), a.number, b.number
        if units == "same" and self.conventions.units == "compared" and a.unit.measures and b.unit.measures:
            one, other = _scaled(one, a.unit.factor), _scaled(other, b.unit.factor)
        if not same_number(one, other, self._tolerance):
            return False
        if units != "same":
            return units == "unclear" and "unit"
        return "rounding" if may_be_rounded(one, other, self._tolerance) else True

    def _percent(self, percent: Number, plain: Quantity) -> Verdict:
        if plain.unit.measures:
            return "unit"
        if same_number(_scaled(percent, Fraction(1, 100)), plain.number, self._tolerance):
            return True
        return self.conventions.percent == "either" and same_number(percent, plain.number, self._tolerance)

    def _angles(self, degrees: Quantity, radians: Quantity | Measured) -> Verdict:
        """Degrees against radians; False if they are not."""
        if ("degree", 1) not in degrees.unit.measures or ("radian", 1) not in radians.unit.measures:
            return False
        return self.as_formulas(_in_radians(degrees), radians.value if isinstance(radians, Measured) else _bare(radians))

    def _measured(self, one: Measured, other: Answer, swap: bool) -> Verdict:
        value, theirs = (other.value, other.unit) if isinstance(other, Measured) else (other, NO_UNIT)
        if isinstance(other, Quantity):
            value, theirs = _bare(other), other.unit
            angles = self._angles(other, one)
            if angles is not False:
                return angles
        units, ours = self._units(one.unit, theirs), one.value
        if units == "same" and theirs.measures and one.unit.factor != theirs.factor and self.conventions.units == "compared":
            factor = one.unit.factor / theirs.factor
            ours = Answer(f"\\frac{{{factor.numerator}}}{{{factor.denominator}}}({ours.text})")
        verdict = self._in_order(ours, value, swap)
        return verdict if units == "same" else unless(verdict, "unit")

    def _choice(self, one: Choice, other: Answer, swap: bool) -> Verdict:
        if isinstance(other, Choice):
            if one.letter != other.letter or not one.rest or not other.rest:
                return one.letter == other.letter
            return self.same(read(one.rest), read(other.rest)) or "choice"
        if one.rest:
            return self._in_order(read(one.rest), other, swap)
        if type(other) is not Answer:
            return False
        if other.text.strip("()").lower() == one.letter.lower():
            return True
        if other.text.startswith(f"{one.letter}("):
            return "choice"
        return self.as_formulas(other, one) if swap else self.as_formulas(one, other)

    def _based(self, one: Based, other: Answer) -> Verdict:
        if isinstance(other, Based):
            return value_in_base(one.digits, one.base) == value_in_base(other.digits, other.base)
        if isinstance(other, Quantity) and other.number.value == value_in_base(one.digits, one.base):
            return True
        if isinstance(other, Quantity) or re.fullmatch("[0-9A-Za-z]+", other.text):
            alike = (other.text.lower().lstrip("0") or "0") == one.digits
            return alike and ("base" if self.conventions.base == "written" else True)
        return "base" if type(other) is Answer else False

    def _clock(self, one: Clock, other: Answer) -> Verdict:
        if isinstance(other, Clock):
            if bool(one.half) == bool(other.half):
                (a, b), (c, d) = (divmod(side.minutes, 60) for side in (one, other))
                ratios = not one.half and b and d and a * d == b * c
                return one.minutes == other.minutes or (bool(ratios) and "time or ratio")
            said, unsaid = (one, other) if one.half else (other, one)
            if unsaid.minutes >= 780 or unsaid.minutes < 60:  # 15:30 and 0:15 leave no choice
                return said.minutes == unsaid.minutes
            return said.minutes % 720 == unsaid.minutes % 720 and "am or pm"
        if isinstance(other, Quantity) and ":" not in one.text and one.minutes % 60 == 0:  # 8 o'clock, or 3 PM and 3
            alike = other.number.value % 12 == one.minutes // 60 % 12
            return alike and ("unit" if one.half or other.unit != NO_UNIT else other.number.value == one.minutes // 60)
        hours, _, minutes = one.text.partition(":")
        if not one.half and minutes.isdigit() and isinstance(other, Quantity | Ratio):
            return self._ratio(Ratio(one.text, (read(hours), read(minutes))), other, swap=False)
        return self.formulas(one.text, other.text) if type(other) is Answer else False

    def _ratio(self, one: Ratio, other: Answer, swap: bool) -> Verdict:
        if isinstance(other, Ratio) and len(one.parts) == len(other.parts):
            return all_of(
                self._proportion(a, b, c, d) for (a, b), (c, d) in zip(pairwise(one.parts), pairwise(other.parts), strict=True)
            )
        if len(one.parts) == 2 and (isinstance(other, Quantity) or type(other) is Answer):
            return self._in_order(read(f"\\frac{{{one.parts[0].text}}}{{{one.parts[1].text}}}"), other, swap)
        return False

    def _proportion(self, a: Answer, b: Answer, c: Answer, d: Answer) -> Verdict:
        values = [part.number.value for part in (a, b, c, d) if isinstance(part, Quantity)]
        if len(values) == 4:
            return values[0] * values[3] == values[1] * values[2]
        return self.formulas(f"\\frac{{{a.text}}}{{{b.text}}}", f"\\frac{{{c.text}}}{{{d.text}}}")

    def _words(self, one: Words, other: Answer) -> Verdict:
        ours = _SAME_WORDS.get(one.words, one.words)
        if isinstance(other, Words):
            theirs = _SAME_WORDS.get(other.words, other.words)
            if "".join(ours) == "".join(theirs):
                return True
            a, b = set(ours) - _FUNCTION_WORDS, set(theirs) - _FUNCTION_WORDS
            return (a <= b or b <= a) and "words"
        if isinstance(other, Quantity):
            spoken = any(spoken_number((word,)) == other.number.value for word in ours)  # it's five
            return (spoken or (ours == ("none",) and not other.number.value)) and "words"
        if type(other) is not Answer:
            return False
        if other.text == "\\infty" and set(ours) & {"infinitely", "infinite"}:
            return "words"
        if _LETTERS.fullmatch(other.text):
            theirs = (other.text.lower(),)
            part = theirs[0] in ours or (len(theirs[0]) > 2 and ours[0] in DAY_NAMES and ours[0].startswith(theirs[0]))
            return _SAME_WORDS.get(theirs, theirs) == ours or (part and "words")
        return re.search("[A-Za-z]{3}", other.text.replace("\\", "")) is not None and "words"


def _celsius(temperature: Quantity) -> Fraction:
    value = temperature.number.value
    return value if temperature.unit.measures == _CELSIUS else (value - 32) * Fraction(5, 9)


def _scaled(number: Number, factor: Fraction) -> Number:
    return Number(number.value * factor, number.step * factor)


def _bare(quantity: Quantity) -> Quantity:
    """The number without its unit."""
    text = quantity.text if _DECIMAL.fullmatch(quantity.text) else _digits(quantity.number)
    return Quantity(text, quantity.number)


def _digits(value: Number) -> str:
    """A number as text: a decimal if it was one, else a fraction."""
    if value.step and value.step.numerator == 1 and set(str(value.step.denominator)) <= {"0", "1"}:
        places = len(str(value.step.denominator)) - 1
        digits = str(abs(value.value) // value.step).rjust(places + 1, "0")
        return f"{'-' if value.value < 0 else ''}{digits[: len(digits) - places]}.{digits[len(digits) - places :]}"
    whole = value.value
    return str(whole) if whole.denominator == 1 else f"\\frac{{{whole.numerator}}}{{{whole.denominator}}}"


def _in_radians(degrees: Quantity) -> Answer:
    return Answer(f"\\frac{{{degrees.number.value.numerator}\\pi}}{{{180 * degrees.number.value.denominator}}}")


def _written(answer: Answer) -> list[str]:
    """The possible formulas of an answer: 50% is 0.5 or 50, 60 degrees is 60 or a third of pi."""
    if not isinstance(answer, Quantity):
        return [answer.text]
    bare = _bare(answer)
    if answer.percent:
        return [_digits(_scaled(bare.number, Fraction(1, 100))), bare.text]
    return [bare.text, _in_radians(answer).text] if ("degree", 1) in answer.unit.measures else [bare.text]

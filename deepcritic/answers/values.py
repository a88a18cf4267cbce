r"""Parsers of single values: quantities, digits in a base, times, dates, residue classes, choices and words.

>>> quantity("18 eggs per day").number.value, quantity("$12.50").unit.measures, quantity("2 hours 30 minutes").number.value
(Fraction(18, 1), (('dollar', 1),), Fraction(9000, 1))
>>> choice("(C)12").letter, clock("3:30 p.m").minutes, day("May 3,2020").month, words("twenty-one").number.value
('C', 930, 5, Fraction(21, 1))
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

from deepcritic.answers.numbers import Number, leading_number, number, spoken_number
from deepcritic.answers.shapes import Answer, Based, Choice, Clock, Day, Quantity, Residue, Words
from deepcritic.answers.units import NO_UNIT, unit

_CURRENCY: Final = re.compile(r"(-?)(?:([$€£₹¥])|(Rs|USD|EUR|GBP|RMB|CNY|INR)(?![A-Za-z])\.?) ?(?=-?[0-9.])")
_PERCENT: Final = re.compile(r" ?(?:%|(?:percent(?:age)?|pct|per cent)(?![A-Za-z]))")
_IN_BRACKETS: Final = re.compile(r"\A ?\(([A-Za-z ]{2,})\)\Z")
_COMPOUND: Final = re.compile(r"(?<=[A-Za-z\u4e00-\u9fff]) ?(?:and )?(?=[0-9])")
_ARC: Final = re.compile(r"([0-9]+)\^\\circ ?([0-9]+(?:\.[0-9]+)?)'(?: ?([0-9]+(?:\.[0-9]+)?)(?:\"|''))?")
_FEET: Final = re.compile(r"([0-9]+)'[ -]?([0-9]+(?:\.[0-9]+)?)(?:\"|'')")
_NTH: Final = re.compile(r"(?:st|nd|rd|th)(?![A-Za-z]) ?")
_AFTER: Final = {("time", "m"): "minute", ("time", "分"): "分钟"}
_BASED: Final = re.compile(
    r"""(?:(?i:in\ )?(?i:base)[ -](?P<before>[0-9]{1,2}|[a-z]{3,8})[:,]?\ ?)?
    (?:\\overline\{|\()?(?P<digits>-?[0-9][0-9A-Za-z]*(?:\.[0-9A-Za-z]+)?|[0-9A-F]{2,})[)}]?
    (?(before)|(?:_\{?\(?(?:base\ ?)?(?P<below>[0-9]{1,2}|[a-z]{3,8})\)?\}?
      |\ ?\(?(?:in\ )?(?i:base)[ -](?P<behind>[0-9]{1,2}|[a-z]{3,8})\)?))""",
    re.VERBOSE,
)
_PREFIXED: Final = re.compile("0b([01]+)|0x([0-9A-Fa-f]+)")
_BASES: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_CLOCK: Final = re.compile(
    r"(?P<hours>[0-9]{1,2}):(?P<minutes>[0-5][0-9])(?::00)?(?: ?(?P<half>[ap])\.? ?m\.?)?"
    r"|(?P<hour>[0-9]{1,2})(?: ?(?P<day>[ap])\.? ?m\.?| ?o'? ?clock)",
    re.IGNORECASE,
)
_CHINESE_CLOCK: Final = re.compile(
    r"(?P<half>上午|早上|凌晨|下午|晚上)?(?P<hours>[0-9]{1,2})[点时](?P<minutes>半|[0-5]?[0-9](?=分|\Z)|(?(half)|整))分?"
)
DAY_NAMES: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH: Final = rf"({'|'.join(_MONTHS)})[a-z]{{0,6}}\.?"
_ORDINAL: Final = r"([0-9]{1,2})(?:st|nd|rd|th)?"
_YEAR: Final = r"(?:,? ?([0-9]{4}))?"
_DAYS: Final = (
    (re.compile(rf"{_MONTH} ?{_ORDINAL}{_YEAR}", re.IGNORECASE), (3, 1, 2)),
    (re.compile(rf"{_ORDINAL} (?:of )?{_MONTH}{_YEAR}", re.IGNORECASE), (3, 2, 1)),
    (re.compile(r"([12][0-9]{3})-([01][0-9])-([0-3][0-9])"), (1, 2, 3)),
)
_RESIDUE: Final = re.compile(r"(?:[A-Za-z]+\\equiv ?)?(-?[0-9]+) ?\(?(?:\\pmod|\\bmod|\\mod|mod) ?\{?([0-9]+)\}?\)?")
_CHOICE: Final = re.compile(
    r"\((?P<enclosed>[A-J])\)[.:]?(?!\s?(?:and|or|&|[,;] ?\(?[A-J](?![A-Za-z])))(?P<after>.*)"
    r"|(?P<bare>[A-J])(?:[).]\s*(?P<behind>.*)|:(?P<colon>[-0-9\\$(].*|[A-Z]?[a-z]{2,}.*)|)"
    r"|(?i:option|choice|answer) ?\(?(?P<named>[A-Ja-j])\)?",
    re.DOTALL,
)
_MIXED: Final = re.compile(
    r"(?P<whole>[0-9]+|[A-Za-z]+(?:-[a-z]+)?) and (?P<count>[a-z]+)[ -]"
    r"(?P<part>hal(?:f|ves)|(?:third|quarter|fourth|fifth|sixth|eighth|tenth)s?)"
    r"(?P<unit> [A-Za-z].*)?",
    re.IGNORECASE,
)
_WORD: Final = re.compile(r"[A-Za-z\u00c0-\u024f\u4e00-\u9fff]+(?:'[A-Za-z]+)?")
_BETWEEN_WORDS: Final = re.compile(r"(?:[\s,.;&/]|-(?=[A-Za-z]{2}))+")
_ARTICLES: Final = frozenset(("a", "an", "the"))


def quantity(text: str) -> Quantity | None:
    """A number alone, or with a currency, a unit, words or a percent sign. Durations and lengths in two units are summed."""
    plain = number(text)
    if plain is not None:
        return Quantity(text, plain)
    money = _CURRENCY.match(text)
    found = leading_number(text[money.end() :] if money else text)
    if found is None:
        return None
    value, rest = found
    nth = _NTH.match(rest)
    if nth and not value.step:
        rest = f" {rest[nth.end() :]}".rstrip()
    currency = (unit(money[2] or money[3]) if money else None) or NO_UNIT
    if money and money[1]:
        value = value._replace(value=-value.value)
    percent = _PERCENT.match(rest)
    if percent:
        rest = rest[percent.end() :].strip()
        return Quantity(text, value, percent=True) if not rest or unit(f" {rest}") else None
    if not rest:
        return Quantity(text, value, currency)
    rest = _IN_BRACKETS.sub(r" \1", rest)
    if text[-len(rest) - 1] == "}" and len(rest) > 1:
        rest = f" {rest}"  # the space after a bracket is not kept
    behind = unit(rest)
    if behind is None:
        return None if money else _compound(text)
    if money:
        behind = currency._replace(scale=behind.scale)
    return Quantity(text, Number(value.value * behind.scale, value.step * behind.scale), behind)


def _compound(text: str) -> Quantity | None:
    """`2 hours 30 minutes`: quantities of one dimension, each unit smaller than the one before."""
    total, last = Fraction(0), NO_UNIT
    if "'" in text:
        return _primes(text)
    parts = _COMPOUND.split(text)
    for part in parts:
        found = leading_number(part)
        name = found[1].strip() if found else ""
        measure = unit(f" {_AFTER.get((last.measures[0][0], name), name) if last.measures else name}")
        if found is None or measure is None or not measure.measures:
            return None
        if last.measures and (last.measures != measure.measures or measure.factor >= last.factor):
            return None
        total += found[0].value * measure.factor
        last = measure
    return Quantity(text, Number(total), last._replace(factor=Fraction(1))) if len(parts) > 1 else None


def _primes(text: str) -> Quantity | None:
    """Minutes and seconds of arc, or feet and inches."""
    arc, feet = _ARC.fullmatch(text), _FEET.fullmatch(text)
    if arc:
        degrees = Fraction(arc[1]) + Fraction(arc[2]) / 60 + Fraction(arc[3] or 0) / 3600
        return Quantity(text, Number(degrees), unit("^\\circ") or NO_UNIT)
    length = unit(" feet")
    return Quantity(text, Number(Fraction(feet[1]) + Fraction(feet[2]) / 12), length) if feet and length else None


def based(text: str) -> Answer | None:
    """Digits with their base: `101_2`, `101 (base 2)`, `base 2: 101`, `0b101`."""
    prefixed = _PREFIXED.fullmatch(text)
    if prefixed:
        return Based(text, prefixed[1] or prefixed[2].lower(), 2 if prefixed[1] else 16)
    found = _BASED.fullmatch(text)
    if found is None:
        return None
    written = (found["before"] or found["below"] or found["behind"]).lower()
    base = int(written) if written.isdigit() else _BASES.index(written) if written in _BASES else 0
    if not 2 <= base <= 36:
        return None
    try:
        value_in_base(found["digits"], base)
    except ValueError:
        return None
    return Based(text, re.sub("^(-?)0+(?=.)", r"\1", found["digits"].lower()), base)


def value_in_base(digits: str, base: int) -> Fraction:
    """The value of `digits`, which may have a point. Raises `ValueError` for a digit that the base does not have.

    >>> value_in_base("2.1", 3)
    Fraction(7, 3)
    """
    whole, _, part = digits.partition(".")
    return Fraction(int(whole + part, base), base ** len(part))


def clock(text: str) -> Answer | None:
    """A time of day: `3:30 PM`, `15:30`, `3 p.m.`, `noon`."""
    if text.lower() in ("noon", "midnight"):
        return Clock(text, 720, "p") if text.lower() == "noon" else Clock(text, 0, "a")
    chinese = None if text.isascii() else _CHINESE_CLOCK.fullmatch(text)
    if chinese:
        half = "" if not chinese["half"] else "p" if chinese["half"] in ("下午", "晚上") else "a"
        minutes = {"半": "30", "整": "00", "": "00"}.get(chinese["minutes"], chinese["minutes"])
        return clock(f"{chinese['hours']}:{minutes:0>2}{half and f' {half}m'}")
    found = _CLOCK.fullmatch(text)
    if found is None:
        return None
    hours, half = int(found["hours"] or found["hour"]), (found["half"] or found["day"] or "").lower()
    if hours > (12 if half else 24):
        return None
    hours = hours % 12 + 12 * (half == "p") if half else hours
    return Clock(text, 60 * hours + int(found["minutes"] or 0), half)


def day(text: str) -> Answer | None:
    """A date with the name of its month, or in the order of ISO 8601."""
    for pattern, groups in _DAYS:
        found = pattern.fullmatch(text)
        if found:
            year, month, number_of_day = (found[group] for group in groups)
            named = month.lower() in _MONTHS
            return Day(text, int(year or 0), _MONTHS.index(month.lower()) + 1 if named else int(month), int(number_of_day))
    return None


def residue(text: str) -> Answer | None:
    r"""`n \equiv 5 \pmod 4`, as 1 modulo 4."""
    found = _RESIDUE.fullmatch(text)
    if found is None or not int(found[2]):
        return None
    return Residue(text, int(found[1]) % int(found[2]), int(found[2]))


def choice(text: str) -> Answer | None:
    """A letter from A to J, alone or with its text."""
    found = _CHOICE.fullmatch(text)
    if found is None:
        return None
    letter = found["enclosed"] or found["bare"] or found["named"]
    return Choice(text, letter.upper(), (found["after"] or "").lstrip(",; ") or found["behind"] or found["colon"] or "")


def spoken_mixed(text: str) -> Answer | None:
    """`two and a half hours`, `2 and three quarters`."""
    found = _MIXED.fullmatch(text)
    if found is None:
        return None
    whole = Fraction(found["whole"]) if found["whole"].isdigit() else spoken_number((found["whole"].lower(),))
    count = "one" if found["count"].lower() in _ARTICLES else found["count"].lower()
    part = spoken_number((count, found["part"].lower()))
    behind = unit(found["unit"]) if found["unit"] else NO_UNIT
    if whole is None or part is None or part >= 1 or behind is None:
        return None
    return Quantity(text, Number((whole + part) * behind.scale), behind)


def words(text: str) -> Answer | None:
    """Words, or the number that they spell. Letters that are not a word, such as `xy`, are a formula."""
    tokens = _BETWEEN_WORDS.split(text.strip(".,!?"))
    if not all(map(_WORD.fullmatch, tokens)):
        return None
    said = tuple(token.lower() for token in tokens if token.lower() not in _ARTICLES)
    for count in range(len(said), 0, -1):
        spoken, rest = spoken_number(said[:count]), " ".join(said[count:])
        if spoken is not None and (not rest or rest == "percent" or unit(f" {rest}")):
            return Quantity(text, Number(spoken), (unit(f" {rest}") if rest else None) or NO_UNIT, rest == "percent")
    lengths = sorted(map(len, tokens))
    if not said or (lengths[-1] < 4 and (len(tokens) < 2 or lengths[-2] < 2)):
        return None
    return Words(text, said)

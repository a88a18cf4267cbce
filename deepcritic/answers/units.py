r"""Units, currencies and words after a number: their dimension and size.

>>> unit("km/h").factor, unit("km/h").measures, unit(" dozen eggs").scale, unit(" dozen eggs").words
(Fraction(5, 18), (('length', 1), ('time', -1)), 12, ('egg',))
>>> agreement(unit(" cm"), unit(" m")), agreement(unit(" cm"), unit(" kg")), agreement(unit(" eggs"), unit(" eggs per day"))
('same', 'different', 'same')
"""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction
from functools import lru_cache
from typing import Final, Literal, NamedTuple

_TABLE: Final = """
length mm millimeter millimetre 毫米 = 1/1000 | cm centimeter centimetre 厘米 = 1/100 | dm 分米 = 1/10 | m meter metre 米 = 1
length km kilometer kilometre 千米 公里 = 1000 | in inch = 127/5000 | ft foot feet = 381/1250 | yd yard = 1143/1250
length mi mile = 201168/125 | nm nanometer = 1/1000000000
length^3 gallon gal = 473176473/125000000000 | quart = 473176473/500000000000 | pint = 473176473/1000000000000
length^3 ml mL milliliter millilitre 毫升 = 1/1000000 | l L liter litre 升 = 1/1000
time ms = 1/1000 | s sec second 秒 = 1 | min minute 分钟 = 60 | h hr hour 小时 = 3600 | day 天 = 86400 | week = 604800
month month = 1 | year yr = 12
mass mg = 1/1000000 | g gram 克 = 1/1000 | kg kilogram 千克 公斤 = 1 | lb lbs = 45359237/100000000 | oz = 45359237/1600000000
dollar $ dollar USD buck = 1 | cent = 1/100
euro € euro EUR = 1
sterling £ GBP = 1
yuan yuan RMB CNY 元 = 1 | 角 = 1/10
yen yen JPY = 1
rupee ₹ rupee Rs INR = 1
degree ^\\circ degree deg 度 = 1
radian rad radian = 1
celsius ^\\circC Celsius = 1
fahrenheit ^\\circF Fahrenheit = 1
force N newton = 1
energy J joule = 1 | kJ = 1000
"""
_LARGE: Final = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
                 "万": 10**4, "亿": 10**8}  # fmt: skip
_SPELLED_OUT: Final = (
    (re.compile(r"\bmph\b"), "mile/hour"), (re.compile(r"\bk(?:m|p|mp)h\b"), "km/hour"),
    (re.compile("平方"), "square "), (re.compile("立方"), "cubic "), (re.compile("每"), "/"), (re.compile("(?<=/)时"), "小时"),
)  # fmt: skip
_TOKEN: Final = re.compile(r"\^\\circ ?[CF]?(?![A-Za-z])|[A-Za-z]+|[$€£₹¥]|[\u4e00-\u9fff]+|\^\{?(-?[0-9])\}?|/|\\cdot|[*.-]|\S")
_CLAUSE: Final = re.compile(
    r"(?<![A-Za-z])(?:and|or|mod|if|when|where|with|is|are|equals?|base|plus|minus|to|by|than|not"
    r"|times(?= ?(?:[0-9(\\\\]|(?!a )[A-Za-z](?![A-Za-z]))))(?![A-Za-z])",
    re.IGNORECASE,
)
_NOTHING: Final = frozenset(
    ("of", "the", "a", "an", "in", "total", "left", "each", "all", "exactly", "about", "¥", "\\cdot", "*", ".", "-")
)
_A_WORD: Final = re.compile(
    r"[A-Za-z]{4}|[b-df-hj-np-tv-z][aeiouy][a-z]\Z|(?:egg|eye|ear|age|ace|act|oil|ice|inn|ant|arm|art)\Z", re.IGNORECASE
)
_PROSE: Final = re.compile(r"[A-Za-z]{4,} [A-Za-z]|[A-Za-z] [A-Za-z]{4,}")
_SQUARE: Final = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_LONGEST: Final = 100

Agreement = Literal["same", "different", "unclear"]


class Unit(NamedTuple):
    """The text after a number."""

    scale: int = 1
    """The multiplier of the number: a million in `5 million dollars`."""
    factor: Fraction = Fraction(1)
    """The further factor that converts to basic units."""
    measures: tuple[tuple[str, int], ...] = ()
    """The dimensions, with the power of each; empty if unknown."""
    words: tuple[str, ...] = ()
    """The words, in the singular, if they are not a known unit."""


NO_UNIT: Final = Unit()


def _known() -> dict[str, tuple[str, int, Fraction]]:
    known = {}
    for line in _TABLE.strip().split("\n"):
        measure, _, rest = line.partition(" ")
        name, _, power = measure.partition("^")
        for part in rest.split(" | "):
            names, _, factor = part.partition(" = ")
            known.update(dict.fromkeys(names.split(), (name, int(power or 1), Fraction(factor))))
    return known


_KNOWN: Final = _known()
_LIKELY_PRODUCTS: Final = frozenset(("ms", "dm", "nm", "mi", "in", "mg"))


@lru_cache(2000)
def unit(text: str) -> Unit | None:
    """The unit in `text`; None if it is something else, such as variables or a clause.

    Letters that are neither a unit nor a word, as in `3 n` and `3 xy`, are variables. `text` includes the space after the number,
    if there is one; without it, only a unit that is not a likely product counts.
    """
    glued, text = not text.startswith(" "), text.strip()
    if glued and text.isascii() and text[:1].isalpha() and not _may_be_glued(text):
        return None
    if not text or len(text) > _LONGEST or _CLAUSE.search(text):
        return None
    for pattern, name in _SPELLED_OUT:
        text = pattern.sub(name, text)
    scale, factor, measures, words = 1, Fraction(1), Counter[str](), list[str]()
    unknown, direction, raised, last = False, 1, 1, ""
    prose = _PROSE.search(text) is not None
    for found in _TOKEN.finditer(text):
        token = found[0].replace(" ", "")
        if token == "in" and not text[found.end() :].lstrip()[:1].isalpha():
            token = "inch"
        if token in _NOTHING:
            continue
        if token in ("/", "per"):
            direction, last = -1, ""
            words.append("per")
        elif token.lower() in _SQUARE:
            raised = _SQUARE[token.lower()]
        elif found[1] is not None or _singular(token) in _KNOWN:
            if found[1] is not None and not last:
                return None
            last, times = (last, int(found[1]) - 1) if found[1] is not None else (_singular(token), raised)
            name, power, size = _KNOWN.get(last, ("", 1, Fraction(1)))
            measures[name] += power * times * direction
            factor *= size ** (times * direction)
            raised = 1
            words += [last] if found[1] is None else []
        elif token.lower().rstrip("s") in _LARGE:
            scale *= _LARGE[token.lower().rstrip("s")]
        elif not token.isalpha() or (token.isascii() and not (_A_WORD.match(token) or (prose and len(token) > 1))):
            return None
        else:
            unknown, last = True, token.lower()
            words.append(_singular(token.lower()))
    if unknown:
        return Unit(scale, words=tuple(words))
    return Unit(scale, factor, tuple(sorted((name, power) for name, power in measures.items() if power)))


def agreement(a: Unit, b: Unit) -> Agreement:
    """Whether two units have the same dimension; `unclear` if one is unknown, or is a power of the other."""
    if (not a.measures and not a.words) or (not b.measures and not b.words):
        return "same"
    if a.measures and b.measures:
        if a.measures == b.measures:
            return "same"
        return "unclear" if {name for name, _ in a.measures} == {name for name, _ in b.measures} else "different"
    one, other = set(a.words), set(b.words)
    return "same" if one and other and (one <= other or other <= one) else "unclear"


def _may_be_glued(text: str) -> bool:
    """Whether letters right after a digit are a unit rather than variables: `5cm`, but not `5ab` or `5m`."""
    word = re.split("[^A-Za-z]", text, maxsplit=1)[0]
    name = _singular(word)
    known = len(name) > 1 and name in _KNOWN and name not in _LIKELY_PRODUCTS
    return known or len(word) > 4 or word.lower() in ("mph", "kmh", "kph", *_SQUARE)


def _singular(word: str) -> str:
    if word in _KNOWN:
        return word
    for end in ("es", "s"):
        if word.endswith(end) and (word[: -len(end)] in _KNOWN or word[: -len(end)].lower() in _KNOWN):
            return word[: -len(end)] if word[: -len(end)] in _KNOWN else word[: -len(end)].lower()
    if len(word) > 3 and word.lower() in _KNOWN:
        return word.lower()
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word

r"""Solved inequalities, intervals and their unions.

>>> region(r"x\le-1 or x>2").text
'(-\\infty,-1]\\cup(2,\\infty)'
>>> region(r"\mathbb{R}\setminus\{3\}").text, region("1<x\\le 2").text, region("x^{2}<4") is None
('(-\\infty,3)\\cup(3,\\infty)', '(1,2]', True)
"""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Final

from deepcritic.answers.brackets import split, wrapped
from deepcritic.answers.numbers import number
from deepcritic.answers.shapes import Answer, Piece, Quantity, Region

_RELATION: Final = r"\\(?:le|ge|ne)(?![A-Za-z])|[<>]"
_SIDES: Final = _RELATION + "|="
_HAS: Final = re.compile(_RELATION + r"|\\cup|\)\s?U\s?[(\[]|\\setminus|\\mathbb\{R\}|\\in ?R|[\[(].*[)\]]")
_VARIABLE: Final = re.compile(r"(?:[A-Za-z]|\\[a-z]+)(?:_\{?[A-Za-z0-9]+\}?)?")
_NO_VARIABLE: Final = ("\\infty", "\\pi")
_OR: Final = r"(?:, ?)?(?<![A-Za-z])or(?![A-Za-z])|\\cup(?![A-Za-z])|(?<=[)\]])\s?U\s?(?=[(\[])"
_AND: Final = r"(?:, ?)?(?<![A-Za-z])and(?![A-Za-z])|[,;]"
_FLIPPED: Final = {"=": "=", "<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le", "\\ne": "\\ne"}
_ALL: Final = re.compile(
    r"(?:(?:all|any|every|the(?: set of)?) )?(?:(?:all )?reals?(?: numbers?)?)|\\mathbb\{R\}|\\Re"
    r"|(?:全体|一切|所有|任意)实数|实数集",
    re.I,
)
_NONE: Final = re.compile(
    r"\\emptyset|\\\{\\\}|(?:the )?empty set|(?:there (?:is|are) )?no (?:real |such |valid )?(?:solutions?|roots?)(?: exists?)?"
    r"|(?:无|没有)(?:实数)?解|空集",
    re.I,
)
_INFINITY: Final = Answer("\\infty")
_MINUS_INFINITY: Final = Answer("-\\infty")
_EVERYTHING: Final = Piece(_MINUS_INFINITY, _INFINITY, True, True)
_REAL: Final = re.compile(r"(\\?[A-Za-z]+(?:_\{?\w+\}?)?)\\in ?(?:\\mathbb\{R\}|R)")
_IN: Final = re.compile(r"(\\?[A-Za-z]+)(?:\\in\\mathbb\{R\})?[|:](.+)", re.DOTALL)


def region(text: str) -> Region | None:
    """The union of intervals in `text`: intervals, or inequalities solved for one variable."""
    if _NONE.fullmatch(text):
        return Region("\\emptyset", ())
    if _ALL.fullmatch(text):
        return _united([_EVERYTHING], "")
    if not _HAS.search(text):
        return None
    pieces: list[Piece] = []
    names: set[str] = set()
    parts = split(text, _OR)
    if all("=" in part and not re.search(_RELATION, part) for part in parts):  # x = (1, 2) is a point
        return None
    joined = len(parts) > 1 and re.search(r"\\cup|\)\s?U\s?[(\[]|\\infty", text) is not None
    for part in parts:
        found = _interval(part, alone=not joined) or _without(part) or _conditions(part)
        if found is None:
            return None
        pieces += found[0]
        names.add(found[1])
    return _united(pieces, names.pop()) if len(names - {""}) <= 1 and len(names) == 1 else None


def builder(inside: str) -> Region | None:
    r"""The region of `\{x | x > 3\}`, from the text between its braces."""
    found = _IN.fullmatch(inside)
    held = None if found is None else region(found[2])
    return held if held and found and held.name == found[1] else None


def _united(pieces: list[Piece], name: str) -> Region:
    return Region("\\cup".join(map(written, pieces)) or "\\emptyset", tuple(pieces), name)


def written(piece: Piece) -> str:
    """A piece in interval notation."""
    if piece.lower.text == piece.upper.text:
        return f"\\{{{piece.lower.text}\\}}"
    opening, closing = "(" if piece.open_below else "[", ")" if piece.open_above else "]"
    return f"{opening}{piece.lower.text},{piece.upper.text}{closing}"


def _interval(text: str, *, alone: bool) -> tuple[list[Piece], str] | None:
    """An interval in brackets; not `(1, 2)` and `[1, 2]` alone, which may be a point or a list."""
    if not wrapped(text):
        return ([_EVERYTHING], "") if _ALL.fullmatch(text) else None
    if text.startswith("\\{") and text.endswith("\\}") and not alone:
        points = [_end(point) for point in split(text[2:-2], ",")]
        return [Piece(point, point, False, False) for point in points], ""
    if text[0] not in "([" or text[-1] not in ")]":
        return None
    ends = split(text[1:-1], "[,;]")
    same = (text[0] == "(") == (text[-1] == ")")
    if len(ends) != 2 or not all(ends) or (alone and same):
        return None
    return [Piece(_end(ends[0]), _end(ends[1]), text[0] == "(", text[-1] == ")")], ""


def _without(text: str) -> tuple[list[Piece], str] | None:
    r"""`\mathbb{R}\setminus\{1, 2\}`."""
    parts = split(text, r"\\setminus(?![A-Za-z])|[-/](?=\\\{)")
    if len(parts) != 2 or not _ALL.fullmatch(parts[0]) or not (parts[1].startswith("\\{") and parts[1].endswith("\\}")):
        return None
    return _but([_end(point) for point in split(parts[1][2:-2], ",")])


def _but(points: list[Answer]) -> tuple[list[Piece], str] | None:
    values = [(_value(point), point) for point in points]
    if len(values) > 1:
        if any(value is None for value, _ in values):
            return None
        values.sort(key=lambda pair: pair[0] or Fraction(0))
    ends = [_MINUS_INFINITY, *(point for _, point in values), _INFINITY]
    return [Piece(lower, upper, True, True) for lower, upper in pairwise(ends)], ""


def _conditions(text: str) -> tuple[list[Piece], str] | None:
    """Inequalities that all hold: at most one lower and one upper bound, or excluded values."""
    below, above, names = list[tuple[str, bool]](), list[tuple[str, bool]](), set[str]()
    left_out, points = list[str](), list[str]()
    conditions = split(text, _AND)
    for condition in conditions:
        real = _REAL.fullmatch(condition)
        if real:
            names.add(real[1])
            continue
        relations = re.findall(_SIDES, condition)
        sides = split(condition, _SIDES)
        if not relations or len(sides) != len(relations) + 1 or len(sides) > 3 or not all(sides):
            return None
        at = next((at for at, side in enumerate(sides) if _is_variable(side)), -1)
        if at < 0 or (len(sides) == 3 and at != 1) or any(_mentions(side, sides[at]) for side in sides[:at] + sides[at + 1 :]):
            return None
        names.add(sides[at])
        for index, relation in enumerate(relations):
            bound = sides[index] if index < at else sides[index + 1]
            relation = _FLIPPED[relation] if index < at else relation
            if relation == "=":
                points.append(bound)
            elif relation == "\\ne":
                left_out += [bound[4:].strip(), f"-{bound[4:].strip()}"] if bound.startswith("\\pm ") else [bound]
            else:
                (below if relation in (">", "\\ge") else above).append((bound, relation in "<>"))
    if len(names) != 1 or len(below) > 1 or len(above) > 1 or (points and (below or above or left_out or len(points) > 1)):
        return None
    name = names.pop()
    if points:
        return [Piece(_end(points[0]), _end(points[0]), False, False)], name
    if left_out and not below and not above:
        found = _but([_end(point) for point in left_out])
        return (found[0], name) if found else None
    lower, open_below = below[0] if below else ("-\\infty", True)
    upper, open_above = above[0] if above else ("\\infty", True)
    first, last = number(lower), number(upper)
    if first and last and first.value > last.value:  # no number satisfies both: the two are alternatives
        pieces = [Piece(_MINUS_INFINITY, _end(upper), True, open_above), Piece(_end(lower), _INFINITY, open_below, True)]
        return (pieces, name) if " and " not in text else None
    kept = _cut(Piece(_end(lower), _end(upper), open_below, open_above), [_end(point) for point in left_out])
    return (kept, name) if kept else None


def _cut(piece: Piece, points: list[Answer]) -> list[Piece] | None:
    """An interval without some of its points; None if one is not a number."""
    if not points:
        return [piece]
    values = [_value(point) for point in points]
    lower, upper = _value(piece.lower), _value(piece.upper)
    if any(value is None for value in values) or (lower is None and piece.lower != _MINUS_INFINITY):
        return None
    if upper is None and piece.upper != _INFINITY:
        return None
    pieces = [piece]
    for value, point in sorted(zip(values, points, strict=True), key=lambda pair: pair[0] or Fraction(0)):
        if value is None or (lower is not None and value < lower) or (upper is not None and value > upper):
            continue
        last = pieces.pop()
        pieces += [replace(last, upper=point, open_above=True), replace(last, lower=point, open_below=True)]
    return [one for one in pieces if one.lower != one.upper or not (one.open_below or one.open_above)]


def _is_variable(text: str) -> bool:
    return _VARIABLE.fullmatch(text) is not None and text not in _NO_VARIABLE


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"(?<![A-Za-z\\]){re.escape(name)}(?![A-Za-z])", text) is not None


def _end(text: str) -> Answer:
    text = text.removeprefix("+")
    found = number(text)
    return Answer(text) if found is None else Quantity(text, found)


def _value(end: Answer) -> Fraction | None:
    return end.number.value if isinstance(end, Quantity) else None

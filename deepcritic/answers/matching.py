"""Comparison of answers of any kind; names and regions here, the rest in `match_lists` and `match_values`."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final, TypeAlias

from deepcritic.answers.match_lists import ListMatcher
from deepcritic.answers.numbers import Number, same_number
from deepcritic.answers.shapes import Answer, Conditional, Either, Items, Matrix, Named, Piece, Quantity, Region, Words
from deepcritic.answers.verdicts import Verdict, all_of, any_of, unless

_SUM_OF_NAMES: Final = re.compile(r"[A-Za-z]+(?:\+[A-Za-z]+)*")
_TERMS: Final = re.compile(r"\^|[0-9][A-Za-z]|[A-Za-z]\}? ?[-+] ?[0-9]")  # x^2+y^2 or 2x+1: the value asked for, or an equation
_MATRIX_NAME: Final = re.compile(r"[IE0O](?:_\{?[0-9n]\}?)?")
_COMMAND: Final = re.compile(r"\\[A-Za-z]+")
_RELATION: Final = re.compile(r"[<>]|\\(?:le|ge|ne)(?![A-Za-z])")
_UNSOLVED: Final = re.compile(r"\^|\||\\(?!le|ge|ne)")
_SIDES: Final = {"unreadable reference": "unreadable prediction", "unreadable prediction": "unreadable reference"}
_NEGATIONS: Final = frozenset(("no", "none", "not", "never", "impossible"))
_Bound: TypeAlias = Number | int
"""An end of an interval; minus infinity is -1 and infinity 1."""
_Interval: TypeAlias = tuple[_Bound, _Bound, bool, bool]


class Matcher(ListMatcher):
    """Compares answers of any kind."""

    def same(self, reference: Answer, prediction: Answer) -> Verdict:
        """Whether `prediction` is the same answer as `reference`."""
        r, p = reference, prediction
        if r.text == p.text and getattr(r, "name", "") == getattr(p, "name", ""):
            return True
        if isinstance(r, Conditional) or isinstance(p, Conditional):
            return self._conditional(r, p)
        if isinstance(r, Named) or isinstance(p, Named):
            return self._named(r, p)
        if isinstance(r, Either):
            return any_of((self.same(r.exact, p), self.same(r.rounded, p)))
        if isinstance(p, Either):
            return any_of((self.same(r, p.exact), self.same(r, p.rounded)))
        if isinstance(r, Region) or isinstance(p, Region) or _solves(r, p) or _solves(p, r):
            return self._regions(r, p)
        if isinstance(r, Items) or isinstance(p, Items):
            return self.lists(r, p)
        if isinstance(r, Matrix) and isinstance(p, Matrix):
            return self.matrices(r, p)
        if any(isinstance(one, Matrix) and _MATRIX_NAME.fullmatch(other.text) for one, other in ((r, p), (p, r))):
            return "names"
        return self.values(r, p)

    def _conditional(self, r: Answer, p: Answer) -> Verdict:
        (one, condition), (other, another) = (
            (side.value, side.condition) if isinstance(side, Conditional) else (side, "") for side in (r, p)
        )
        verdict = self.same(one, other)
        return verdict if condition == another else unless(verdict, "condition")

    def _named(self, r: Answer, p: Answer) -> Verdict:
        if isinstance(r, Named) and isinstance(p, Named):
            return self._two_names(r, p)
        if isinstance(r, Named):
            verdict = self.same(r.value, p)
            if r.plain or _SUM_OF_NAMES.fullmatch(r.name):
                return verdict
            return False if isinstance(p, Quantity) or type(p) is Answer else unless(verdict, "equation")
        assert isinstance(p, Named)
        verdict = self.same(r, p.value)
        ends_in_zero = isinstance(p.value, Quantity) and not p.value.number.value
        asked = ends_in_zero or (isinstance(r, Quantity) and _TERMS.search(p.name))
        return unless(verdict, "equation") if asked and not p.plain else verdict

    def _two_names(self, r: Named, p: Named) -> Verdict:
        values = self.same(r.value, p.value)
        if r.name == p.name and r.plain:
            return values
        if r.name == p.name:
            return any_of((values, self.as_formulas(r, p)))
        if not (r.plain and p.plain):
            return self.as_formulas(r, p)
        equations = (_has_variables(r.value) or _has_variables(p.value)) and self.as_formulas(r, p)
        return any_of((equations, unless(values, "names")))

    def _regions(self, r: Answer, p: Answer) -> Verdict:
        one, other = _as_region(r), _as_region(p)
        if one is not None and other is not None:
            verdict = self._pieces(one, other)
            return unless(verdict, "names") if one.name and other.name and one.name != other.name else verdict
        if one is not None and _is_relation(p):  # the prediction may repeat the question
            verdict = self.formulas(p.text, r.text)
            verdict = _SIDES.get(verdict, verdict) if isinstance(verdict, str) else verdict
            return verdict if one.name and not _UNSOLVED.search(p.text) else unless(verdict, "unsolved")
        if type(r) is Answer or type(p) is Answer:
            return self.formulas(r.text, p.text)
        for union, answer in ((r, p), (p, r)):  # intervals that are listed, as those in which a function rises
            if isinstance(union, Region) and isinstance(answer, Items) and answer.kind == "bare":
                listed = [_as_region(item) for item in answer.items]
                pieces = tuple(piece for item in listed if item for piece in item.pieces)
                if None not in listed and "\\infty" in answer.text:
                    return unless(self._pieces(union, Region(answer.text, pieces)), "interval")
        nothing = (side.text == "\\emptyset" or (isinstance(side, Words) and _NEGATIONS & set(side.words)) for side in (r, p))
        return all(nothing) and "words"

    def _pieces(self, r: Region, p: Region) -> Verdict:
        one, other = _merged(r.pieces), _merged(p.pieces)
        if one is not None and other is not None:
            return len(one) == len(other) and all(map(self._same_interval, one, other))
        if len(r.pieces) == len(p.pieces):
            verdict = all_of(map(self._piece, r.pieces, p.pieces))
            if verdict is not False or len(r.pieces) == 1:
                return verdict
        return self.formulas(r.text, p.text)

    def _piece(self, a: Piece, b: Piece) -> Verdict:
        alike = (a.open_below, a.open_above) == (b.open_below, b.open_above)
        return alike and all_of((self.same(a.lower, b.lower), self.same(a.upper, b.upper)))

    def _same_interval(self, a: _Interval, b: _Interval) -> bool:
        return a[2:] == b[2:] and self._same_bound(a[0], b[0]) and self._same_bound(a[1], b[1])

    def _same_bound(self, a: _Bound, b: _Bound) -> bool:
        return a == b if isinstance(a, int) or isinstance(b, int) else same_number(a, b, self._tolerance)


def _has_variables(answer: Answer) -> bool:
    return type(answer) is Answer and re.search("[A-Za-z]", _COMMAND.sub("", answer.text)) is not None


def _is_relation(answer: Answer) -> bool:
    return type(answer) is Answer and _RELATION.search(answer.text) is not None


def _solves(solution: Answer, inequality: Answer) -> bool:
    return _is_relation(inequality) and _as_region(solution) is not None


def _as_region(answer: Answer) -> Region | None:
    """A region, or a bracketed pair as an interval."""
    if isinstance(answer, Items) and answer.kind in ("round", "square") and len(answer.items) == 2:
        is_open = answer.kind == "round"
        return Region(answer.text, (Piece(answer.items[0], answer.items[1], is_open, is_open),))
    return answer if isinstance(answer, Region) else None


def _merged(pieces: tuple[Piece, ...]) -> list[_Interval] | None:
    """Sorted pieces, with adjacent ones merged; None if an end is not a number."""
    found: list[_Interval] = []
    for piece in pieces:
        lower, upper = _bound(piece.lower), _bound(piece.upper)
        if lower is None or upper is None:
            return None
        found.append((lower, upper, piece.open_below, piece.open_above))
    found.sort(key=lambda one: (_key(one[0]), one[2]))
    merged: list[_Interval] = []
    for one in found:
        last = merged[-1] if merged else None
        if last and (_key(one[0]), one[2] and last[3]) <= (_key(last[1]), False):
            further = (_key(one[1]), not one[3]) > (_key(last[1]), not last[3])
            merged[-1] = (last[0], one[1] if further else last[1], last[2], one[3] if further else last[3])
        else:
            merged.append(one)
    return merged


def _bound(end: Answer) -> _Bound | None:
    if isinstance(end, Quantity) and not end.percent:
        return end.number
    return {"\\infty": 1, "-\\infty": -1, "+\\infty": 1}.get(end.text)


def _key(bound: _Bound) -> tuple[int, Fraction]:
    return (bound, Fraction(0)) if isinstance(bound, int) else (0, bound.value)

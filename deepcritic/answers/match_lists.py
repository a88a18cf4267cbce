"""Comparison of lists, tuples, sets and matrices."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from deepcritic.answers.match_values import ValueMatcher
from deepcritic.answers.reading import read
from deepcritic.answers.shapes import Answer, Choice, Items, Matrix, Named, Quantity
from deepcritic.answers.units import NO_UNIT
from deepcritic.answers.values import quantity
from deepcritic.answers.verdicts import Verdict, all_of, any_of, unless

_LONGEST: Final = 100  # most items that are compared in any order
_DOTS: Final = "\\ldots"
_CHOICES: Final = re.compile(r"[A-J]{2,}")
_MIXED: Final = re.compile(r"[0-9]+ and (?:[0-9]+/[0-9]+|\\frac\{[0-9]+\}\{[0-9]+\})")
_COMMA: Final = re.compile(r"([^,]*[0-9]),([0-9]+(?![0-9])[^,]*)")
_INDIAN: Final = re.compile(r"[0-9]{1,2}(?:,[0-9]{2})+,[0-9]{3}")
_GROUPED: Final = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+")
_POINT: Final = re.compile(r"[A-Z]\(.+,.+\)\Z")
_INDEX: Final = re.compile(r"_\{?[0-9]+\}?")


class ListMatcher(ValueMatcher):
    """Compares lists and matrices, item by item."""

    def lists(self, r: Answer, p: Answer) -> Verdict:
        """Whether two answers are the same; at least one is `Items`."""
        if isinstance(r, Items) and isinstance(p, Items):
            return self._two_lists(r, p)
        items, other = (r, p) if isinstance(r, Items) else (p, r)
        assert isinstance(items, Items)
        if len(items.items) == 1:
            return self._in_order(items.items[0], other, items is p)
        if items.kind == "bare" and all(self._in_order(item, other, items is p) is True for item in items.items):
            return " or" in items.text or "repeats"  # 3/8 or 0.375
        if isinstance(other, Quantity):
            return self._list_or_number(items, other)
        if isinstance(other, Matrix):
            cells = [cell for row in other.rows for cell in row]
            vector = items.kind != "set" and 1 in (len(other.rows), len(other.rows[0]))
            return unless(self._ordered(items.items, cells), "vector") if vector else False
        if all(isinstance(item, Choice) for item in items.items) and _CHOICES.fullmatch(other.text):
            return {item.letter for item in items.items if isinstance(item, Choice)} == set(other.text)
        if type(other) is Answer and _POINT.match(other.text):  # A(1, 2)
            return self._in_order(items, read(other.text[1:]), items is p)
        return self.as_formulas(r, p) if type(other) is Answer else False

    def matrices(self, r: Matrix, p: Matrix) -> Verdict:
        """Whether two matrices are the same. A row and a column with the same entries are undecided."""
        if (len(r.rows), len(r.rows[0])) == (len(p.rows), len(p.rows[0])):
            return all_of(self._ordered(a, b) for a, b in zip(r.rows, p.rows, strict=True))
        cells = ([cell for row in matrix.rows for cell in row] for matrix in (r, p))
        vectors = all(1 in (len(matrix.rows), len(matrix.rows[0])) for matrix in (r, p))
        return unless(self._ordered(*cells), "vector") if vectors else False

    def _list_or_number(self, items: Items, other: Quantity) -> Verdict:
        """A list against a number: the same only as a decimal comma, and undecided if grouped digits may be either."""
        if items.kind != "bare":
            return False
        comma = _COMMA.fullmatch(items.text) if self.conventions.decimal_comma == "read" else None
        decimal = quantity(f"{comma[1]}.{comma[2]}") if comma else None
        if decimal:
            verdict = self._quantities(other, decimal)
            return verdict if other.number.step or decimal.unit != NO_UNIT else unless(verdict, "grouping")
        if _MIXED.fullmatch(items.text):
            total = sum(item.number.value for item in items.items if isinstance(item, Quantity))
            return total == other.number.value and "grouping"
        if _INDIAN.fullmatch(items.text):
            return other.number.value == int(items.text.replace(",", "")) and "grouping"
        if _GROUPED.fullmatch(other.text):
            return unless(self._unordered(items.items, [read(part) for part in other.text.split(",")]), "grouping")
        return False

    def _two_lists(self, r: Items, p: Items) -> Verdict:
        one, other = _by_name(r), _by_name(p)
        if one and other:
            return self._by_names(one, other)
        if one:
            return self._by_position(one, p, swap=False)
        if other:
            return self._by_position(other, r, swap=True)
        a, b = _values(r), _values(p)
        if any(item.text == _DOTS for item in (*a, *b)):
            ends = all_of((self.same(a[0], b[0]), self.same(a[-1], b[-1])))
            return any_of((self._ordered(a, b), unless(ends, "dots")))
        return self._by_kind({r.kind, p.kind}, a, b)

    def _by_kind(self, kinds: set[str], a: list[Answer], b: list[Answer]) -> Verdict:
        if kinds == {"bare"}:
            return self._ordered(a, b) if self.conventions.lists == "ordered" else self._unordered(a, b, repeats=True)
        if kinds <= {"bare", "set"}:
            return self._unordered(a, b)
        if "square" in kinds and len(kinds) > 1 and len(a) == len(b) == 2:  # an interval, or a list of a programming language
            return False if kinds & {"round", "angle"} else unless(self._ordered(a, b), "interval")
        if "set" in kinds:
            return self._unordered(a, b) if "square" in kinds else unless(self._unordered(a, b), "set or tuple")
        if kinds == {"bare", "square"} and self.conventions.lists == "unordered":
            return self._unordered(a, b, repeats=True)
        return self._ordered(a, b)

    def _by_names(self, one: dict[str, Answer], other: dict[str, Answer]) -> Verdict:
        named = one.keys() == other.keys()
        verdict: Verdict = named and all_of(self.same(value, other[name]) for name, value in one.items())
        if verdict is not False or (named and not _indexed(one)):
            return verdict
        return unless(self._unordered([*one.values()], [*other.values()]), "names")

    def _by_position(self, named: dict[str, Answer], items: Items, *, swap: bool) -> Verdict:
        """Named values against a list without names, compared in order; indexed roots have no order."""
        values = [*named.values()]
        one, other = ([*items.items], values) if swap else (values, [*items.items])
        verdict = self._ordered(one, other)
        if items.kind not in ("bare", "set"):  # y = 2, x = 1 and (1, 2)
            values = [named[name] for name in sorted(named)]
            one, other = ([*items.items], values) if swap else (values, [*items.items])
            in_order = self._ordered(one, other)
            return in_order if set(named) <= {"x", "y", "z"} else any_of((verdict, unless(in_order, "order")))
        if verdict is not False:
            return verdict
        return self._unordered(one, other) if _indexed(named) else unless(self._unordered(one, other), "order")

    def _ordered(self, a: Sequence[Answer], b: Sequence[Answer]) -> Verdict:
        return len(a) == len(b) and all_of(self.same(x, y) for x, y in zip(a, b, strict=True))

    def _unordered(self, a: Sequence[Answer], b: Sequence[Answer], *, repeats: bool = False) -> Verdict:
        """Compare as sets; with `repeats`, lists in which a number occurs more often in one are undecided."""
        if max(len(a), len(b)) > _LONGEST:
            return any_of((self._ordered(a, b), "size"))
        table = [[self.same(x, y) for y in b] for x in a]
        covered = all_of([any_of(row) for row in table] + [any_of(column) for column in zip(*table, strict=True)])
        if covered is not True or not repeats or not any(isinstance(item, Quantity) or type(item) is Answer for item in a):
            return covered
        left = set(range(len(b)))
        for row in table:
            left.discard(next((at for at in left if row[at] is True), -1))
        return "repeats" if left or len(a) != len(b) else True


def _by_name(items: Items) -> dict[str, Answer] | None:
    """The values by name, if each item has its own name."""
    named = {item.name: item.value for item in items.items if isinstance(item, Named) and item.plain}
    return named if len(named) == len(items.items) else None


def _indexed(names: Iterable[str]) -> bool:
    """Whether the names differ only by an index, as those of roots do."""
    return len({_INDEX.sub("", name) for name in names}) == 1


def _values(items: Items) -> list[Answer]:
    """The items; for `x = 1 or x = 2` the values."""
    named = [item for item in items.items if isinstance(item, Named) and item.plain]
    if len(named) == len(items.items) and len({item.name for item in named}) == 1:
        return [item.value for item in named]
    return list(items.items)

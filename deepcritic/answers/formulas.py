"""Whether two sympy expressions are equal, by their exact values or their values at sample points.

Only `algebra` uses this, in the process that can be killed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Final

import sympy
from sympy.core.evalf import PrecisionExhausted
from sympy.core.function import AppliedUndef

from deepcritic.answers.bounds import loud
from deepcritic.answers.numbers import Number, same_number

_PROVEN: Final = 120  # decimal digits to which equal constants must agree
_DIGITS: Final = 60  # the same for values at a point
_TRIED: Final = 12
_AGREED: Final = 4  # points at which both sides must be real and equal


def same_expression(a: Any, b: Any) -> bool:
    """Whether two expressions are equal wherever both are real. Raises `Undecided` beyond the bounds."""
    one, other = _done(a), _done(b)
    if one == other:
        return True
    unknown = {
        node: sympy.Dummy()
        for node in (one - other).atoms(AppliedUndef, sympy.Derivative, sympy.Integral, sympy.Sum, sympy.Limit)
    }
    one, other = one.xreplace(unknown), other.xreplace(unknown)
    names = sorted((one - other).free_symbols, key=str)
    if not names:
        return _is_zero(one - other, _PROVEN)
    agreed = 0
    complex_too = one.has(sympy.I) or other.has(sympy.I)
    radicands = [] if complex_too else [*_radicands(one), *_radicands(other)]
    for point in _points(names):
        if any(_negative(radicand, point) for radicand in radicands):
            continue
        values = [_value(side, point) for side in (one, other)]
        if any(value is None or not (complex_too or value.is_real) for value in values):
            continue
        if not _is_zero(one - other, _DIGITS, point):
            return False
        agreed += 1
        if agreed == _AGREED:
            return True
    return bool(loud(sympy.simplify)(one - other) == 0)


def same_within(value: Any, rounded: Number, tolerance: Fraction) -> bool:
    """Whether a decimal equals a constant, up to rounding."""
    number = _done(value).evalf(30)
    if not number.is_Float and not number.is_Rational:
        return False
    return same_number(Number(Fraction(str(sympy.Rational(str(number))))), rounded, tolerance)


def proportional(a: Any, b: Any) -> Any | None:
    """The constant ratio of `a` to `b`; None if the ratio is not constant."""
    names = sorted((a - b).free_symbols, key=str)
    ratios = []
    for point in _points(names):
        one, other = _value(a, point), _value(b, point)
        if one is None or other is None or not one.is_real or not other.is_real or not other or not one:
            continue
        ratios.append(one / other)
        if abs(ratios[-1] - ratios[0]) > abs(ratios[0]) * sympy.Float("1e-20"):
            return None
        if len(ratios) == _AGREED:
            return ratios[0]
    return None


def _points(names: list[Any]) -> Iterator[dict[Any, Any]]:
    """Pseudorandom points: fractions of both signs and positive ones, then whole numbers."""
    draw = random.Random(len(names))
    for number in range(_TRIED):
        yield {
            name: sympy.Integer(number + 1 + at) if number >= _TRIED - 4
            else sympy.Rational(draw.randint(2, 97), draw.randint(11, 37)) * (draw.choice((1, -1)) if number % 2 else 1)
            for at, name in enumerate(names)
        }  # fmt: skip


def _radicands(side: Any) -> Iterator[Any]:
    """The arguments of roots and logarithms: if one is negative, the value is not real."""
    for node in side.atoms(sympy.Pow, sympy.log):
        if isinstance(node, sympy.log):
            yield node.args[0]
        elif node.exp.is_integer is not True and node.base.free_symbols:
            yield node.base


def _negative(radicand: Any, point: dict[Any, Any]) -> bool:
    value = _value(radicand, point)
    return value is None or not value.is_real or value < 0


def _value(side: Any, point: dict[Any, Any]) -> Any | None:
    """The value at a point, without the exact powers of fractions."""
    try:
        value = side.evalf(30, subs=point)
        if not value.is_number:
            value = side.subs(point).evalf(30)
    except Exception:
        return None
    return value if value.is_number and value.is_finite else None


def _is_zero(difference: Any, digits: int, point: dict[Any, Any] | None = None) -> bool:
    """Whether a constant, or the value at a point, is zero: exactly, or to `digits` digits relative to its terms."""
    if difference.is_Rational:
        return bool(difference == 0)
    if not difference.is_finite and difference.is_finite is not None:
        return False
    try:
        value = difference.evalf(2, subs=point, maxn=digits, strict=True)
        if not value.is_number:
            value = difference.subs(point or {}).evalf(2, maxn=digits, strict=True)
    except PrecisionExhausted:
        return True
    return bool(value == 0)


def _done(value: Any) -> Any:
    """`value` with its sums, integrals and limits evaluated."""
    return loud(value.doit)()

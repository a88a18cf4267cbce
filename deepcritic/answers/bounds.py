"""Limits on sympy: huge powers and factorials raise `Undecided`, as do memory and recursion errors.

Only `algebra` uses this, in the process that can be killed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import sympy

from deepcritic.answers.too_big import BITS

CALCULUS: Final = (sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit, sympy.Derivative)
_MANY: Final = 10_000  # larger factorials are not computed
_EXPANDED: Final = 13  # binary logarithm, roughly, of the most terms of an expanded power of a sum
_WITHIN: Final = 14  # the same for numbers within calculus and factorials
_EXPONENT: Final = 64  # the same for any exponent


class Undecided(BaseException):
    """Not an Exception, so that no `except Exception` in between turns it into "not equal"."""


def install_bounds() -> None:
    """From now on powers, factorials and binomials beyond the bounds raise `Undecided`."""
    sympy.core.evalf.EvalfMixin.evalf = loud(sympy.core.evalf.EvalfMixin.evalf)
    sympy.Integer._eval_power = _bounded_power
    sympy.Rational._eval_power = _bounded_rational_power
    sympy.factorial.eval = classmethod(_bounded_factorial)
    sympy.binomial.eval = classmethod(_bounded_binomial)


def loud(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, with memory and recursion errors raised as `Undecided`, which cannot be swallowed."""

    def wrapper(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except MemoryError:
            raise Undecided("memory") from None
        except RecursionError:
            raise Undecided("depth") from None

    return wrapper


_power, _rational_power = sympy.Integer._eval_power, sympy.Rational._eval_power
_factorial, _binomial = sympy.factorial.eval, sympy.binomial.eval


def _bounded_power(self: Any, exponent: Any) -> Any:
    _refuse_large_power(self, exponent)
    return _power(self, exponent)


def _bounded_rational_power(self: Any, exponent: Any) -> Any:
    _refuse_large_power(self, exponent)
    return _rational_power(self, exponent)


def _refuse_large_power(base: Any, exponent: Any) -> None:
    size = max(abs(base.p), base.q)
    if isinstance(exponent, sympy.Rational) and size > 1 and abs(exponent.p) * size.bit_length() > BITS * exponent.q:
        raise Undecided("size")


def _bounded_factorial(cls: Any, n: Any) -> Any:
    if isinstance(n, sympy.Integer) and n.p > _MANY:
        raise Undecided("size")
    return _factorial(n)


def _bounded_binomial(cls: Any, n: Any, k: Any) -> Any:
    if isinstance(n, sympy.Integer) and isinstance(k, sympy.Integer) and min(abs(k.p), abs(n.p - k.p)) > _MANY:
        raise Undecided("size")
    return _binomial(n, k)


def too_big(value: Any) -> bool:
    """Whether anything within a parsed `value` is beyond the bounds. May raise `Undecided` itself."""
    return isinstance(value, sympy.Basic) and any(map(_is_too_big, sympy.preorder_traversal(value)))


def _is_too_big(node: Any) -> bool:
    if isinstance(node, sympy.Pow):
        exponent = _log2(node.exp)
        terms = len(node.base.args) if isinstance(node.base, sympy.Add) else 1
        expands = exponent > 6 and (terms - 1) * exponent > _EXPANDED
        return expands or _log2(node.base) * 2.0 ** min(exponent, _EXPONENT) > BITS
    if isinstance(node, sympy.factorial | sympy.binomial):
        return _log2(node.args[0]) > _WITHIN
    return isinstance(node, CALCULUS) and any(_log2(number) > _WITHIN for number in node.atoms(sympy.Number))


def _log2(value: Any) -> float:
    """Approximate log of a number of digits, powers and products; 0 if small or symbolic."""
    if isinstance(value, sympy.Rational):
        return max(0.0, math.log2(abs(value.p) or 1) - math.log2(value.q))
    if isinstance(value, sympy.Float):
        _, _, exponent, bits = value._mpf_
        return max(0.0, float(exponent + bits))
    if isinstance(value, sympy.factorial):
        size = _log2(value.args[0])
        return float(size * 2.0 ** min(size, _EXPONENT))
    if isinstance(value, sympy.Pow):
        exponent = _log2(value.exp)
        if exponent > _EXPONENT:
            raise Undecided("size")
        return float(_log2(value.base) * 2.0**exponent)
    if isinstance(value, sympy.Mul):
        return sum(_log2(part) for part in value.args)
    return max((_log2(part) for part in value.args), default=0.0) if isinstance(value, sympy.Basic) else 0.0

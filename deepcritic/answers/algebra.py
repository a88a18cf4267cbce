"""math-verify as the workers use it: nothing is evaluated as code, and what is too big, or fails, does so aloud.

Only the forkserver imports this, and calls `close_and_bound` before anything else: from then on the process can neither evaluate
text nor work out a number that nobody could write down.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import re
from collections.abc import Callable
from typing import Any, Final

import math_verify.grader as grader
import math_verify.parser as parser
import sympy
import sympy.parsing.sympy_parser as sympy_parser
import sympy.polys.monomials as monomials
import sympy.polys.rings as rings
from sympy.physics.units.systems import SI  # noqa: F401  simplify loads it when first used, and it does need parse_expr

from deepcritic.answers.bounds import CALCULUS, Undecided, install_bounds, loud, too_big

_SURELY: Final = 1e-6
_NUMERAL: Final = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_FORMULA: Final = re.compile(r"\$[^$]*\$")
_NUMBERS: Final = re.compile(r"[0-9]+(?:[.,][0-9]+)*")
_FORBIDDEN: Final = re.compile(
    r"os\.(system|exec|fork|forkpty|posix_spawn|spawn|remove|rename|rmdir|mkdir|chmod|kill|symlink|link)"
    r"|subprocess\.Popen|socket\.(connect|bind|sendto)|ctypes\.dlopen|shutil\..*"
)
_UNITS: Final = parser.LatexExtractionConfig().normalization_config
_NO_UNITS: Final = dataclasses.replace(_UNITS, units=False)
_USUAL: Final = [parser.LatexExtractionConfig(), parser.ExprExtractionConfig()]
_WITHOUT_UNITS: Final = [parser.LatexExtractionConfig(normalization_config=_NO_UNITS), parser.ExprExtractionConfig()]
_WARM_UP: Final = (
    ("$x+\\frac{1}{2}$", "$\\frac{2x+1}{2}$"),
    ("$\\sin^2(x)+\\cos^2(x)$", "$\\sqrt[3]{1} + e^{x}$"),
    ("$x^2+y^2=1$", "$2x^2+2y^2=2$"),
    ("$x \\in (1,2] \\cup [3,\\infty)$", "$1 < x \\leq 2$"),
    ("$\\begin{pmatrix}1 & 2\\end{pmatrix}$", "$\\{1, 2\\}$"),
    ("1/2 + 1", "$\\sum_{k=1}^{n} k^2 + \\int x^2 dx$"),
)


def compare(reference: str, prediction: str) -> tuple[bool | None, str]:
    """Whether the texts give the same answer; None, with the reason, where that was not found out."""
    try:
        return _compare(reference, prediction)
    except MemoryError:
        return None, "memory"
    except RecursionError:
        return None, "depth"
    except Undecided as why:
        return None, str(why)
    except Exception as error:
        return None, f"error: {type(error).__name__}"


def _compare(reference: str, prediction: str) -> tuple[bool | None, str]:
    equal, reason = _verdict(_read(reference, _USUAL), _read(prediction, _USUAL))
    if not equal and (_loses_a_unit(reference) or _loses_a_unit(prediction)):  # the "t" of "3 + t" was taken for tons
        again = _verdict(_read(reference, _WITHOUT_UNITS), _read(prediction, _WITHOUT_UNITS))
        return again if again[0] or equal is None else (equal, reason)
    return equal, reason


def _verdict(gold: list[Any], target: list[Any]) -> tuple[bool | None, str]:
    trouble = ""
    for one in gold:
        for other in target:
            try:
                if grader.verify(one, other, timeout_seconds=None, raise_on_error=True):
                    return True, ""
            except TypeError:  # two kinds of things, as an interval and a number: they differ
                continue
            except Exception as error:
                if not (isinstance(error, ValueError) and str(error).startswith("zip()")):  # lists of unequal length differ
                    trouble = f"error: {type(error).__name__}"
    for side, found in (("reference", gold), ("prediction", target)):
        if all(isinstance(value, str) for value in found):
            return None, f"unreadable {side}"
    return (None, trouble) if trouble else (False, "")


def _read(text: str, kinds: list[Any]) -> list[Any]:
    if _FORMULA.fullmatch(text) and len(_NUMBERS.findall(text)) > 1:  # of a formula that it cannot read, it takes the last number
        kinds = kinds[:1]
    found: list[Any] = parser.parse(text, kinds, parsing_timeout=None)
    for value in found:
        if too_big(value):
            raise Undecided("size")
    return found


def _loses_a_unit(text: str) -> bool:
    bare = text.strip("$")
    return bool(parser.normalize_latex(bare, _UNITS) != parser.normalize_latex(bare, _NO_UNITS))


def close_and_bound() -> None:
    """Take the evaluation of text out of sympy and math-verify, and put bounds in. Then load what both would load late."""
    logging.disable(logging.CRITICAL)
    for module, name in ((sympy_parser, "parse_expr"), (sympy_parser, "eval_expr"), (parser, "parse_expr")):
        setattr(module, name, _numeral)
    parser.parse_expr_cached = _arithmetic
    rings.MonomialOps = _Monomials
    grader.simplify, grader.solve, grader.safe_sympy_doit = _zero_or_not, loud(grader.solve), _doit
    grader.sympy_compare_symbols = _same_symbol
    install_bounds()
    for sample in _WARM_UP:
        compare(*sample)


def forbid(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: the process may neither write, nor start a program, nor connect, nor compile text."""
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    evaluates = event == "compile" and not str(arguments[1]).endswith(".py")  # a module that is loaded late is no text
    if writes or evaluates or _FORBIDDEN.fullmatch(event):
        raise Undecided(f"forbidden: {event}")


def _numeral(text: str, *_: Any, **__: Any) -> Any:
    """What is left of `parse_expr`: sympy reads the digits of every number through it, by eval."""
    if _NUMERAL.fullmatch(text) is None:
        raise ValueError("text is never evaluated")
    return sympy.Float(text) if "." in text else sympy.Integer(int(text))


def _arithmetic(text: str) -> Any:
    text = text.replace("**", "^").replace("×", "\\times ").replace("÷", "\\div ").replace("*", "\\cdot ")
    return parser.parse_latex_cached(text)


def _doit(value: Any) -> Any:
    try:
        return loud(value.doit)()
    except Exception:
        return value


_simplify, _compare_symbols = loud(grader.simplify), grader.sympy_compare_symbols


def _zero_or_not(difference: Any) -> Any:
    """All that math-verify asks of `simplify`. What has a value at some point that is not zero need not be simplified."""
    if isinstance(difference, sympy.Expr) and not difference.has(*CALCULUS):
        names = sorted(difference.free_symbols, key=str)
        point = {name: sympy.Rational(7 + 3 * at, 11 + 2 * at) for at, name in enumerate(names)}
        try:
            value = difference.evalf(15, subs=point, strict=True)  # raises where so many digits cannot be had, as for zero
            if value.is_finite and abs(value) > _SURELY:
                return value
        except Exception:
            pass
    return _simplify(difference)


def _same_symbol(gold: Any, target: Any) -> bool:
    """math-verify compares a symbol by its name alone: `x` would not be `2x - x`."""
    return bool(_compare_symbols(gold, target) or grader.sympy_symbolic_eq(gold, target))


class _Monomials:
    """For each number of variables, sympy writes a program that calculates with exponents, and runs it. These need none."""

    def __init__(self, variables: int) -> None:
        for name in ("mul", "div", "ldiv", "lcm", "gcd", "pow"):
            setattr(self, name, functools.partial(getattr, monomials, f"monomial_{name}"))

    @staticmethod
    def mulpow() -> Callable[..., Any]:
        return lambda one, other, n: monomials.monomial_mul(one, monomials.monomial_pow(other, n))

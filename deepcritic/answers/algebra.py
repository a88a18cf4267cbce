"""How workers compare formulas: math-verify parses them; they are equal if they agree exactly or at every point tried.

Only the forkserver imports this, and first calls `close_and_bound`: from then on the process can neither evaluate text nor
compute huge numbers.
"""

from __future__ import annotations

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
from sympy.matrices.exceptions import ShapeError
from sympy.physics.units.systems import SI  # noqa: F401  simplify loads it when first used, and it does need parse_expr

from deepcritic.answers.bounds import Undecided, install_bounds, loud, too_big
from deepcritic.answers.conventions import Conventions
from deepcritic.answers.decide import Comparison, Question, compare_answers
from deepcritic.answers.extract import is_prose, stated_part
from deepcritic.answers.formulas import proportional, same_expression, same_within
from deepcritic.answers.latex import Letters, letters_of, parsed, use_own_products
from deepcritic.answers.numbers import Number, number
from deepcritic.answers.too_big import text_too_big

_NUMERAL: Final = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")
_FORBIDDEN: Final = re.compile(
    r"os\.(system|exec|fork|forkpty|posix_spawn|spawn|remove|rename|rmdir|mkdir|chmod|kill|symlink|link)"
    r"|subprocess\.Popen|socket\.(connect|bind|sendto)|ctypes\.dlopen|shutil\..*"
)
_SLASH: Final = re.compile(r"([0-9]+)/([0-9]+)(?=[A-Za-z(\\])")
_MATRICES: Final = (sympy.MatrixBase, sympy.MatrixExpr)
_WARM_UP: Final = (
    ("x+\\frac{1}{2}", "\\frac{2x+1}{2}"),
    ("\\sin^2(x)+\\cos^2(x)", "\\sqrt[3]{1} + e^{x}"),
    ("x^2+y^2=1", "2x^2+2y^2=2"),
    ("|x|<y", "(1,2] \\cup [a,\\infty)"),
    ("\\begin{pmatrix}1 & 2\\end{pmatrix}x", "\\{1, 2\\}\\cap A"),
    ("\\sum_{k=1}^{n} k^2 + \\int x^2 dx", "1/2 + a"),
)


def compare(question: Question) -> Comparison:
    """Whether the answers are equal; None, with the reason, if undecided."""
    try:
        return _compare(*question)
    except MemoryError:
        return Comparison(None, "memory")
    except RecursionError:
        return Comparison(None, "depth")
    except Undecided as why:
        return Comparison(None, str(why))
    except Exception as error:
        return Comparison(None, f"error: {type(error).__name__}")


def _compare(reference: str, prediction: str, conventions: Conventions) -> Comparison:
    found = compare_answers(reference, prediction, conventions, functools.partial(formulas, conventions))
    assert found is not None
    if found.reason.startswith("unreadable") and (is_prose(stated_part(reference)) or is_prose(stated_part(prediction))):
        return _as_math_verify(reference, prediction, found)
    return found


def _as_math_verify(reference: str, prediction: str, found: Comparison) -> Comparison:
    """A whole message without an answer that we find, extracted by math-verify."""
    sides = [parser.parse(text if is_prose(text) else f"${text}$", parsing_timeout=None) for text in (reference, prediction)]
    for side in sides:
        if all(isinstance(value, str) for value in side):
            return found
        for value in side:
            if too_big(value):
                raise Undecided("size")
    return Comparison(grader.verify(*sides, timeout_seconds=None, raise_on_error=True))


def formulas(conventions: Conventions, reference: str, prediction: str) -> bool | str:
    """Whether two formulas are equal, or the reason why this is undecided."""
    if text_too_big(reference) or text_too_big(prediction):
        raise Undecided("size")
    letters = letters_of(reference, prediction)
    verdict: bool | str = "unreadable reference"
    ours, theirs = _readings(reference, letters), _readings(prediction, letters)
    if not ours or not theirs:
        return f"unreadable {'prediction' if ours else 'reference'}"
    verdict = _verdict(ours[0], theirs[0], number(reference), number(prediction), conventions)
    if verdict is False and any(_verdict(one, other, None, None, conventions) for one in ours for other in theirs):
        return "slash"
    return verdict


def _readings(text: str, letters: Letters) -> list[Any]:
    """The possible meanings of `text`: in `1/2x` the x is in the denominator, or a factor of the fraction."""
    found = [parsed(text, letters), *([parsed(_SLASH.sub(r"\\frac{\1}{\2}", text), letters)] if _SLASH.search(text) else [])]
    for value in found:
        if too_big(value):
            raise Undecided("size")
    return [value for value in found if value is not None]


def _verdict(one: Any, other: Any, reference: Number | None, prediction: Number | None, conventions: Conventions) -> bool:
    if (reference is None) != (prediction is None):
        rounded, value = (reference, other) if reference else (prediction, one)
        if rounded is not None and rounded.step and isinstance(value, sympy.Expr) and not value.free_symbols:
            return same_within(value, rounded, conventions.relative)
    try:
        return bool(grader.sympy_expr_eq(one, other, 6, 15))
    except TypeError:  # two kinds of values, such as an interval and a number: they differ
        return False
    except ShapeError:
        raise Undecided("shape") from None
    except ValueError as error:
        if str(error).startswith("zip()"):  # lists of unequal length
            return False
        raise


def close_and_bound() -> None:
    """Remove text evaluation from sympy and math-verify, and install bounds. Then import the modules that both load lazily."""
    logging.disable(logging.CRITICAL)
    for module, name in ((sympy_parser, "parse_expr"), (sympy_parser, "eval_expr"), (parser, "parse_expr")):
        setattr(module, name, _numeral)
    parser.parse_expr_cached = _arithmetic
    rings.MonomialOps = _Monomials
    grader.solve, grader.safe_sympy_doit = loud(grader.solve), _doit
    grader.sympy_numeric_eq, grader.sympy_symbolic_eq = _never, _symbolic
    grader.sympy_compare_symbols, grader.sympy_solve_and_compare = _same_symbol, _same_relation
    use_own_products()
    install_bounds()
    for sample in _WARM_UP:
        compare(Question(*sample))


def forbid(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: the process may neither write, nor start a program, nor connect, nor compile text."""
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    evaluates = event == "compile" and not str(arguments[1]).endswith(".py")  # a module that is loaded late is not text
    if writes or evaluates or _FORBIDDEN.fullmatch(event):
        raise Undecided(f"forbidden: {event}")


def _numeral(text: str, *_: Any, **__: Any) -> Any:
    """Replaces `parse_expr`, with which sympy reads the digits of every number by eval."""
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


def _never(*_: Any) -> bool:
    return False


def _symbolic(a: Any, b: Any) -> bool:
    if isinstance(a, _MATRICES) and isinstance(b, _MATRICES):
        one, other = _doit(a), _doit(b)
        if getattr(one, "shape", 1) != getattr(other, "shape", 2):
            return False
        return one == other or all(same_expression(x, y) for x, y in zip(one, other, strict=True))
    return isinstance(a, sympy.Expr) and isinstance(b, sympy.Expr) and same_expression(a, b)


_compare_symbols, _solve_and_compare, _solve = grader.sympy_compare_symbols, grader.sympy_solve_and_compare, grader.solve


def _same_symbol(gold: Any, target: Any) -> bool:
    """math-verify compares a symbol only by name: `x` would differ from `2x - x`."""
    return bool(_compare_symbols(gold, target) or _symbolic(gold, target))


def _same_relation(gold: Any, pred: Any, *precision: int) -> bool:
    """Whether two equations or inequalities are multiples of each other, or have the same nonempty set of solutions."""
    ratio = proportional(gold.lhs - gold.rhs, pred.lhs - pred.rhs)
    if ratio is not None:
        equations = isinstance(gold, sympy.Eq | sympy.Ne) and type(gold) is type(pred)
        along = ratio > 0 and type(gold) is type(pred)
        against = ratio < 0 and grader.INVERSE_RELATIONS.get(type(gold)) is type(pred)
        return equations or along or against
    if not isinstance(gold, sympy.Eq) or not isinstance(pred, sympy.Eq):
        return bool(_solve_and_compare(gold, pred, *precision))
    solved = [grader.solve(side, side.free_symbols) for side in (gold, pred)]
    return all(solved) and bool(_solve_and_compare(gold, pred, *precision))


class _Monomials:
    """Exponent arithmetic without generated code, which sympy writes and runs for each number of variables."""

    def __init__(self, variables: int) -> None:
        for name in ("mul", "div", "ldiv", "lcm", "gcd", "pow"):
            setattr(self, name, functools.partial(getattr, monomials, f"monomial_{name}"))

    @staticmethod
    def mulpow() -> Callable[..., Any]:
        return lambda one, other, n: monomials.monomial_mul(one, monomials.monomial_pow(other, n))

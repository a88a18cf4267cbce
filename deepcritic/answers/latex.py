"""LaTeX to sympy with latex2sympy2_extended; text that it misreads is rewritten first.

Only `algebra` uses this, in the process that can be killed.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple

import sympy
from latex2sympy2_extended import latex2sympy2
from latex2sympy2_extended.math_normalization import NormalizationConfig, normalize_latex

_RULES: Final = NormalizationConfig(
    basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none", equations=False
)
_IMAGINARY: Final = re.compile(r"(?<![A-Za-z\\_])(?<!_\{)i(?![A-Za-z])")
_INDEXED: Final = re.compile(r"_(?:i|\{[^{}]*i)|\\(?:sum|prod)")
_PRIME: Final = re.compile(r"(?<=[A-Za-z])('+)")
_DEGREES: Final = re.compile(r"\^\\circ(?![A-Za-z]) ?")
_GAMMA: Final = re.compile(r"\\([gG])amma(?![A-Za-z])(?!\()")
_COMBINATIONS: Final = re.compile(r"C_\{?([0-9]+)\}?\^\{?([0-9]+)\}?|C\(([0-9]+),([0-9]+)\)")
_WORDS: Final = re.compile(r"(?<![\\A-Za-z])(?:[A-Z]?[a-z]{4,}|[A-Za-z]{2,} [A-Za-z]{2,})")
_PERMUTATIONS: Final = re.compile(r"A_\{?([0-9]+)\}?\^\{?([0-9]+)\}?")
_LOGARITHM: Final = r"\\(?:log|ln)(?:_\{?[0-9]+\}?)? ?[0-9]+"
_EXPONENTIAL: Final = re.compile(r"(?<![A-Za-z0-9.\\_{])([0-9]+(?:\.[0-9]+)?)[eE]\+?([0-9]{1,3})(?![0-9A-Za-z.^_(])")
_LOGARITHMS: Final = re.compile(rf"({_LOGARITHM}) ?/ ?({_LOGARITHM})(?![0-9.^!])")  # log 8 / log 2 is not the log of a fraction
_UNREAD: Final = re.compile(
    r"""!!|(?<![_^0-9.}])[0-9.]+\ [0-9]|(?<![A-Za-z0-9}_])[0-9]+_
    |\\(?:forall|exists|ldots|to|implies)(?![A-Za-z])|\\[A-Za-z]{20}|[?$\#@"]|[^\x00-\x7f]""",
    re.VERBOSE,
)
_SUBSCRIPT: Final = re.compile(r"_\{[^{}]*\}|\\(?:overline|vec|bar|hat)\{[^{}]*\}|\\(?:begin|end)\{[a-z]*\}")
_SEGMENT: Final = re.compile(r"\\over(?:line|rightarrow)\{([A-Z]{2,})\}")
_LETTER: Final = re.compile(r"(?<![\\A-Za-z])[A-Za-z]+|\\[A-Za-z]+")


class Letters(NamedTuple):
    """The meaning of the letters of two formulas, so that both are parsed alike."""

    imaginary: bool
    """Whether i is the imaginary unit; if so, nothing is assumed to be real."""
    cased: bool
    """Whether one formula has both a and A, so they are two variables; else they are one (Math-Verify)."""


def letters_of(*texts: str) -> Letters:
    imaginary = any(_IMAGINARY.search(text) and not _INDEXED.search(text) for text in texts)
    cased = False
    for text in texts:
        letters = set("".join(found for found in _LETTER.findall(text) if found[0] != "\\"))
        cased = cased or any(letter.isupper() and letter.lower() in letters for letter in letters)
    return Letters(imaginary, cased)


@lru_cache(100)
def parsed(text: str, letters: Letters) -> Any | None:
    """`text` as a sympy value with exact decimals; None if it cannot be parsed or is undefined."""
    if not text or _UNREAD.search(text) or _WORDS.search(_SUBSCRIPT.sub("", text)):
        return None
    text = _GAMMA.sub(r"\1_{amma}", _PRIME.sub(lambda primes: f"_{{{'q' * len(primes[1])}}}", _SEGMENT.sub(r"\1", text)))
    text = _EXPONENTIAL.sub(r"(\1 \\cdot 10^{\2})", text)
    text = _LOGARITHMS.sub(r"\\frac{\1}{\2}", text)
    text = _PERMUTATIONS.sub(r"\\frac{\1!}{(\1-\2)!}", text)
    text = _COMBINATIONS.sub(_binomial, _DEGREES.sub(r" \\cdot \\frac{\\pi}{180} ", text))
    if letters.imaginary:
        text = _IMAGINARY.sub("(I)", text)
    config = latex2sympy2.ConversionConfig(lowercase_symbols=not letters.cased)
    real = not letters.imaginary
    try:
        value = latex2sympy2.latex2sympy(
            normalize_latex(text, _RULES), is_real=real, normalization_config=None, conversion_config=config
        )
        value = exact(value)
        value = value if letters.imaginary else _real_roots(value)
    except Exception:
        return None
    if not isinstance(value, sympy.Basic | sympy.MatrixBase):
        return None
    return None if value.has(sympy.nan, sympy.zoo) else value


def exact(value: Any) -> Any:
    """`value` with each decimal as an exact fraction."""
    decimals = value.atoms(sympy.Float)
    return value.xreplace({decimal: sympy.Rational(str(decimal)) for decimal in decimals}) if decimals else value


def _real_roots(value: Any) -> Any:
    """`value` with real odd roots of negative numbers, instead of sympy's complex ones."""
    roots = [root for root in value.atoms(sympy.Pow) if root.base.is_negative and root.base.is_number and _is_odd_root(root.exp)]
    return value.xreplace({root: (-1) ** root.exp.p * (-root.base) ** root.exp for root in roots}) if roots else value


def _is_odd_root(exponent: Any) -> bool:
    return isinstance(exponent, sympy.Rational) and exponent.q > 1 and exponent.q % 2 == 1


def use_own_products() -> None:
    """From now on adjacent factors are multiplied, and only a whole number before a proper fraction is a mixed number:
    latex2sympy2_extended reads 2(3) as 5."""
    latex2sympy2._Latex2Sympy.convert_postfix_list = _product


def _product(self: Any, parts: list[Any], start: int = 0) -> Any:
    value: Any = None
    at = start
    while at < len(parts):
        factor = self.convert_postfix(parts[at])
        if isinstance(factor, list):  # a derivative of all that follows
            if at + 1 == len(parts):
                raise ValueError("nothing to derive")
            factor, at = sympy.Derivative(_product(self, parts, at + 1), factor[0]), len(parts)
        elif at + 1 < len(parts) and parts[at].getText().isdigit() and parts[at + 1].getText().startswith("\\frac"):
            fraction = self.convert_postfix(parts[at + 1])
            if isinstance(fraction, sympy.Rational) and 0 < fraction < 1:
                factor, at = factor + fraction, at + 1
        if not isinstance(factor, sympy.Expr | sympy.MatrixBase):
            if len(parts) > 1:
                raise ValueError("no factor")
            return factor
        matrices = any(getattr(one, "is_Matrix", False) for one in (value, factor))
        value = factor if value is None else (self.mat_mul_flat if matrices else self.mul_flat)(value, factor)
        at += 1
    return value


def _binomial(found: re.Match[str]) -> str:
    upper, lower = [part for part in found.groups() if part]
    return f"\\binom{{{upper}}}{{{lower}}}"

r"""Non-ASCII characters in LaTeX: radicals, fractions, full-width digits, Chinese connectives, superscripts.

>>> ascii_spelling("２√7≤x²，或 ½")
'2\\sqrt{7}\\le x^{2}, or \\frac{1}{2}'
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from deepcritic.answers.han import in_digits

_PAIRS: Final = {
    "×": "\\times ", "✕": "\\times ", "⨯": "\\times ", "·": "\\cdot ", "⋅": "\\cdot ", "∙": "\\cdot ", "÷": "\\div ", "∕": "/",
    "⁄": "/", "∞": "\\infty ", "π": "\\pi ", "≤": "\\le ", "≦": "\\le ", "⩽": "\\le ", "≥": "\\ge ", "≧": "\\ge ", "⩾": "\\ge ",
    "≠": "\\ne ", "≈": "\\approx ", "≃": "\\approx ", "≅": "\\approx ", "∈": "\\in ", "∪": "\\cup ", "∩": "\\cap ",
    "∅": "\\emptyset ", "⌀": "\\emptyset ", "∖": "\\setminus ", "±": "\\pm ", "∓": "\\mp ", "…": "\\ldots ", "⋯": "\\ldots ",
    "ℝ": "\\mathbb{R}", "ℤ": "\\mathbb{Z}", "ℕ": "\\mathbb{N}", "ℚ": "\\mathbb{Q}", "ℂ": "\\mathbb{C}", "∛": "\\sqrt[3]",
    "∜": "\\sqrt[4]", "°": "^\\circ ", "º": "^\\circ ", "˚": "^\\circ ", "℃": "^\\circ C", "℉": "^\\circ F", "′": "'", "″": "\"",
    "∠": "\\angle ", "△": "\\triangle ", "→": "\\to ", "⇒": "\\implies ", "⟨": "\\langle ", "⟩": "\\rangle ", "〈": "\\langle ",
    "〉": "\\rangle ", "⌊": "\\lfloor ", "⌋": "\\rfloor ", "⌈": "\\lceil ", "⌉": "\\rceil ", "∣": "|", "∧": " and ", "∨": " or ",
    "∴": " ", "∵": " ", "、": ",", "。": ".", "【": "[", "】": "]", "〔": "[", "〕": "]", "「": " ", "」": " ", "“": " ",
    "”": " ", "∶": ":",
    "‘": "'", "’": "'", "\u2061": "", "\u2062": "", "\u200b": "", "\u200c": "", "\u200d": "", "\u2060": "", "\ufeff": "",
    "\xad": "", "ℓ": "l", "ℯ": "e", "ⅇ": "e", "ⅈ": "i", "¢": " cents", "￠": " cents", "￡": "£", "￥": "¥", "✓": " ", "✅": " ",
}  # fmt: skip
_GREEK: Final = {
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta", "ι": "iota",
    "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "ρ": "rho", "σ": "sigma", "τ": "tau", "υ": "upsilon",
    "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "Gamma", "Δ": "Delta", "Θ": "Theta", "Λ": "Lambda", "Ξ": "Xi",
    "Π": "Pi", "Σ": "Sigma", "Υ": "Upsilon", "Φ": "Phi", "Ψ": "Psi", "Ω": "Omega", "ϵ": "epsilon", "ϑ": "theta", "ϕ": "phi",
}  # fmt: skip
_DASHES: Final = "\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d"
_TABLE: Final = str.maketrans(
    {chr(code): chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
    | _PAIRS
    | {sign: f"\\{name} " for sign, name in _GREEK.items()}
    | dict.fromkeys(_DASHES, "-")
)
_ROOT: Final = re.compile(r"√\s*([0-9]+(?:\.[0-9]+)?|[A-Za-zπ])?")
_OR: Final = re.compile(r"\s*(?:或者|或是|或)\s*")
_AND: Final = re.compile(r"\s*(?:并且|以及|还有|[和与且及])\s*")
_HIGH: Final = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ⁿⁱ]+")
_LOW: Final = re.compile("[₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₙₐₑₓ]+")
_VULGAR: Final = re.compile("[¼-¾⅐-⅞]")
_SPACE: Final = re.compile(r"[^\S\n]")
_LETTERS: Final = re.compile("[\U0001d400-\U0001d7ff\u24b6-\u24e9]")  # styled and circled


def ascii_spelling(text: str) -> str:
    """`text` in ASCII and LaTeX commands; other characters, such as Chinese words, stay."""
    if text.isascii():
        return text
    text = in_digits(_LETTERS.sub(_plain, text))
    text = _ROOT.sub(_root, _OR.sub(" or ", _AND.sub(" and ", text)))
    text = _HIGH.sub(lambda run: f"^{{{_plain(run)}}}", text)
    text = _LOW.sub(lambda run: f"_{{{_plain(run)}}}", text)
    text = _VULGAR.sub(lambda sign: "\\frac{{{}}}{{{}}}".format(*unicodedata.normalize("NFKC", sign[0]).split("⁄")), text)
    text = _SPACE.sub(" ", text.translate(_TABLE))
    return text if text.isascii() else "".join(_digit(sign) for sign in text)


def _plain(run: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", run[0]).replace("−", "-")


def _root(sign: re.Match[str]) -> str:
    """A radical covers the whole number after it; in LaTeX it would cover one digit."""
    return f"\\sqrt{{{sign[1]}}}" if sign[1] else "\\sqrt "


def _digit(sign: str) -> str:
    return str(unicodedata.decimal(sign)) if sign.isdecimal() else sign

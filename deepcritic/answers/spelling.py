r"""Canonical spelling of an answer, without styling, spacing and delimiters, and with one form for each sign and command.

>>> spelled(r"$\boldsymbol{\left( \dfrac12 ,\; √7 \right)}$.")
'(\\frac{1}{2},\\sqrt{7})'
>>> spelled("x ≥ 5 or x<=-1"), spelled("6sqrt(2)"), spelled(r"\textcolor{red}{\text{18 eggs}}")
('x\\ge 5 or x\\le-1', '6\\sqrt{2}', '18 eggs')
"""

from __future__ import annotations

import re
from typing import Final

from deepcritic.answers.brackets import group_end, round_end
from deepcritic.answers.characters import ascii_spelling

_UNESCAPED: Final = re.compile(r"[\x07\x08\x0b\x0c]|\t(?=ext|imes|heta|frac|an\W|au\W|o\W)|\r(?=ight|angle|ho\W|m\W)")
_LETTER: Final = {"\x07": "\\a", "\x08": "\\b", "\t": "\\t", "\x0b": "\\v", "\x0c": "\\f", "\r": "\\r"}
_TWICE: Final = re.compile(r"\\\\(?=[A-Za-z]{2}|[%$({\[\])}])")
_HTML: Final = re.compile(r"</?(?:b|i|em|strong|u|p|span|div)>")
_BOLD: Final = re.compile(r"(?<![\w*])(\*\*|__|`)(?=\S)(.+?)(?<=\S)\1(?![\w*])", re.DOTALL)
_STARS: Final = re.compile(r"[0-9A-Za-z]+(?: ?\*\* ?[0-9A-Za-z]+)+")
_ENVIRONMENT: Final = re.compile(
    r"\\(?:begin|end)\{(?:align(?:ed|at)?|equation|gather(?:ed)?|split|math|displaymath|center|multline|flalign)\*?\}"
)
_ARRAY: Final = re.compile(r"\\begin\{array\}\s*(?:\{[^{}]*\})?|\\begin\{(?:small|[bB])?matrix\}")
_ARRAY_END: Final = re.compile(r"\\end\{(?:array|(?:small|[bB])?matrix)\}")
_SYSTEM: Final = re.compile(
    r"(?:\\left\s*)?(?:\\\{\s*\\begin\{(array|aligned|matrix)\}|\\begin\{(cases)\})(?:\s*\{[lcr ]*\})?((?:(?!\\begin).)*?)"
    r"\\end\{(?:\1|\2)\}\s*(?:\\right\s*\.)?",
    re.DOTALL,
)
_DELIMITERS: Final = re.compile(r"(?<!\\)\$|(?<!\\)\\[()\[\]]")
_MONEY: Final = re.compile(r"(?:\\|(?<![\\$]))\$\s*(?=-?[0-9.])")
_BLACKBOARD: Final = re.compile(r"\\(?:mathbb|Bbb)\s*\{?\s*([A-Z])\s*\}?")
_NULL: Final = re.compile(r"\\(?:left|right)\s*\.")
_DROPPED: Final = re.compile(
    r"\\(?:left|right|middle|[bB]igg?[lrm]?|(?:display|text|script)style|limits|nolimits|nonumber|notag|hfill|normalsize|large"
    r"|Large|LARGE|huge|Huge|small|bf|rm|it|sf|tt|em|boldmath|bfseries|itshape|centering|noindent|therefore|because|hline"
    r"|negthinspace)(?![A-Za-z])\s*"
)
_STYLED: Final = re.compile(
    r"\\(?:(?P<words>text(?:bf|it|rm|sf|tt|normal|sc|up|md)?|[mh]box|operatorname\*?|emph)"
    r"|(?P<style>math(?:rm|bf|it|sf|tt|normal|op|ord|rel)|boldsymbol|bm|pmb|f(?:rame)?box|boxed|underline|ensuremath)"
    r"|(?P<color>color|textcolor|colorbox|bbox)|(?P<nothing>h?phantom|[hv]space\*?|label|tag\*?))(?![A-Za-z])\s*"
)
_THOUSANDS: Final = re.compile(r"(?<=[0-9])(?:\{ ?, ?\}|\\!,|,\s?\\!|\\,|~)\s*(?=[0-9]{3}(?![0-9]))")
_PUNCTUATION: Final = re.compile(r"\{([,:.;])\}")
_QUAD: Final = re.compile(r"\s*(,?)\s*\\q{1,2}uad(?![A-Za-z])(?:\s|\\q{1,2}uad(?![A-Za-z]))*(?=([^\s,;]?))")
_SPACING: Final = re.compile(r"(?<!\\)\\[,;:>! ]|(?<!\\)~|\\(?:(?:thin|med|thick|en)space|space)(?![A-Za-z])")
_OVER: Final = re.compile(r"\{([^{}]*)\\over(?![A-Za-z])([^{}]*)\}")
_CHOOSE: Final = re.compile(r"\{([^{}]*)\\choose(?![A-Za-z])([^{}]*)\}")
_FRACTION: Final = re.compile(r"\\(?:[dtcs]?frac|nicefrac|([dt]?binom))(?![A-Za-z])\s*")
_ROOT: Final = re.compile(r"\\sqrt(?![A-Za-z])\s*(\[[^\[\]]*\])?\s*")
_FUNCTION: Final = re.compile(
    r"(?<![A-Za-z\\])(arc(?:sin|cos|tan|sec|csc|cot)|ar(?:sinh|cosh|tanh)|(?:sin|cos|tan|cot)h?|csc|sec|ln|log|exp|sqrt)"
    r"(?=\s*[\\({^_0-9]|\s?[A-Za-z](?![A-Za-z]))"
)
_LETTERS: Final = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2}")
_NAME: Final = re.compile(r"(?<![A-Za-z\\])(?:(pi|theta|alpha|beta|infty)|[Ii]nf(?:inity)?)(?![A-Za-z])")
_RADICAND: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?|\\?[A-Za-z]+|\S?")
_EXPONENT: Final = re.compile(r"\^\s*([-+]?[0-9]+(?:\.[0-9]+)?(?![0-9.])|-[A-Za-z](?![A-Za-z]))")
_COMMANDS: Final = {
    "leq": "\\le ", "leqslant": "\\le ", "leqq": "\\le ", "geq": "\\ge ", "geqslant": "\\ge ", "geqq": "\\ge ", "neq": "\\ne ",
    "lt": "<", "gt": ">", "lbrace": "\\{", "rbrace": "\\}", "lbrack": "[", "rbrack": "]", "lvert": "|", "rvert": "|", "vert": "|",
    "mid": "|", "dots": "\\ldots ", "cdots": "\\ldots ", "dotsc": "\\ldots ", "dotsb": "\\ldots ", "dotsm": "\\ldots ",
    "infin": "\\infty ", "varnothing": "\\emptyset ", "degree": "^\\circ ", "ast": "\\cdot ", "approxeq": "\\approx ",
    "varepsilon": "\\epsilon ", "varphi": "\\phi ", "land": " and ", "wedge": " and ", "lor": " or ", "vee": " or ",
    "backslash": "\\setminus ", "bigcup": "\\cup ", "R": "\\mathbb{R}", "Z": "\\mathbb{Z}", "euro": " € ", "pounds": " £ ",
    "imath": "i", "lg": "\\log ", "simeq": "\\approx ", "Rightarrow": "\\implies ", "Longrightarrow": "\\implies ",
    "rightarrow": "\\to ",
}  # fmt: skip
_COMMAND: Final = re.compile(rf"\\({'|'.join(_COMMANDS)})(?![A-Za-z])")
_RELATION: Final = re.compile(r"<=|=<|>=|(?<![0-9)}])!=|<>|\\not\s*=")  # 3!=6 is a factorial
_RELATIONS: Final = {"<=": "\\le ", "=<": "\\le ", ">=": "\\ge ", "!=": "\\ne ", "<>": "\\ne "}
_CIRCLE: Final = re.compile(r"\s*\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))\s*")
# Spaces stay between words and numbers, between a bracket and a word, and in `32, 349`, which is not 32,349.
_SPACE: Final = re.compile(
    r"(?<![0-9A-Za-z,)\]}]) | (?![0-9A-Za-z])|(?<=[)\]}]) (?![A-Za-z])|(?<=,) (?![0-9]{3}(?![0-9]))|(?<=[^0-9],) "
)
_ABSOLUTE: Final = re.compile(r"(?<![A-Za-z\\])abs\(([^()]*)\)")
_ANGLES: Final = re.compile(r"\A<([^<>]*,[^<>]*)>\Z")
_HARD: Final = "\x01"  # a space around words in LaTeX, kept before letters
_SOFT: Final = re.compile(rf"(?<![0-9A-Za-z)}}\]]){_HARD}+|(?<=[)}}\]]){_HARD}+(?![A-Za-z])|{_HARD}+(?![0-9A-Za-z\\])")
_START: Final = re.compile(r"(?:[\s:,;]|=(?!=)|\\\\|\\implies)*+")
_PLUS_MINUS: Final = re.compile(r"\+ ?/ ?-|(?:\A|(?<=[=(,])) ?\+-(?=[0-9\\A-Za-z])")
_TURNED: Final = re.compile(r"(?P<opens>[\[\](])(?P<ends>[^\[\]()\s][^\[\]]*?[,;][^\[\]]*)(?P<closes>[\[\])])")


def spelled(answer: str) -> str:
    r"""An answer found by `answer_of` in canonical spelling. Spaces stay only between words and numbers."""
    text = ascii_spelling(answer).replace("...", "\\ldots ").strip()
    if text[:2] == "**" == text[-2:] and text.count("**") == 2 and len(text) > 4:
        text = text[2:-2]
    if "</" in text:
        text = _HTML.sub("", text)
    if "{" in text:
        text = _THOUSANDS.sub("", text)
        text = _PUNCTUATION.sub(r"\1", text)
    if "\\" in text or "$" in text or "~" in text or not text.isprintable():
        text = _latex(unescaped(text))
    if "**" in text or "`" in text or "__" in text:
        text = _STARS.sub(_powers_of, _BOLD.sub(r"\2", text)).replace("**", "^")
    if len(text) > 2 and text[0] == text[-1] == "*":
        text = text[1:-1]
    if "=" in text or "<" in text:
        text = _RELATION.sub(lambda found: _RELATIONS.get(found[0], "\\ne "), text)
    if _LETTERS.search(text):
        text = _FUNCTION.sub(r"\\\1", _NAME.sub(lambda name: f"\\{name[1] or 'infty'} ", text))
    if "^" in text or "\\sqrt" in text:
        text = _EXPONENT.sub(r"^{\1}", _roots(_powers(text)))
    if not text.isalnum():
        text = _SPACE.sub("", " ".join(text.split()))
    if _HARD in text:
        text = " ".join(_SOFT.sub("", text).replace(_HARD, " ").split())
    text = _without_edges(text)
    if "+" in text:
        text = _PLUS_MINUS.sub(r"\\pm ", text)
    if text[:1] == "]" or text[-1:] == "[":
        text = _standard_brackets(text)
    if "abs(" in text:
        text = _ABSOLUTE.sub(r"|\1|", text)
    return _ANGLES.sub(r"\\langle \1\\rangle", text) if text[:1] == "<" else text


def _without_edges(text: str) -> str:
    """`text` without punctuation and line breaks at its ends."""
    start = _START.match(text)
    text, before = text[start.end() :] if start else text, ""
    while text != before:
        before, text = text, text.rstrip(" \t\n\r\f\v.,;:").removesuffix("\\\\")
    return text


def _standard_brackets(text: str) -> str:
    """Intervals in the notation `]2,5[` with round brackets at open ends."""
    parts = text.split("\\cup")
    found = [_TURNED.fullmatch(part.strip()) for part in parts]
    if None in found:
        return text
    turned = {"]": "(", "[": "["}, {"[": ")", "]": "]"}
    return "\\cup".join(
        f"{turned[0].get(one['opens'], '(')}{one['ends']}{turned[1].get(one['closes'], ')')}" for one in found if one
    )


def unescaped(text: str) -> str:
    """`text` with backslashes restored that were read as escapes of control characters."""
    return text if text.isprintable() else _UNESCAPED.sub(lambda sign: _LETTER[sign[0]], text)


def _latex(text: str) -> str:
    if "\\begin{" in text:
        text = _SYSTEM.sub(_rows, text)
        text = _ENVIRONMENT.sub("", text).replace("&=", "=")
        text = _ARRAY_END.sub(r"\\end{pmatrix}", _ARRAY.sub(r"\\begin{pmatrix}", text))
    elif "\\\\" in text:
        text = _TWICE.sub(r"\\", text)
    if text.count("$") % 2 or "\\$" in text:
        text = _MONEY.sub(" $ ", text).replace(" $ ", "\0")
    text = _BLACKBOARD.sub(r"\\mathbb{\1}", text)
    text = _DELIMITERS.sub(" ", text).replace("\\$", "\0").replace("\0", "$")
    text = _unstyled(_DROPPED.sub("", _NULL.sub("", text)))
    text = _THOUSANDS.sub("", text)
    if "quad" in text:
        text = _QUAD.sub(_comma, text)
    text = _SPACING.sub(" ", _COMMAND.sub(lambda found: _COMMANDS[found[1]], text)).replace("\\%", "%")
    if "\\circ" in text:
        text = _CIRCLE.sub("^\\\\circ ", text)
    if "\\over" in text or "\\choose" in text:
        text = _CHOOSE.sub(r"\\binom{\1}{\2}", _OVER.sub(r"\\frac{\1}{\2}", text))
    return _fractions(text) if "frac" in text or "binom" in text else text


def _powers_of(tower: re.Match[str]) -> str:
    """Python's powers, which are right-associative."""
    *bases, text = tower[0].replace(" ", "").split("**")
    for base in reversed(bases):
        text = f"{base}^{{{text}}}"
    return text


def _rows(system: re.Match[str]) -> str:
    """The equations of a system as a list; the cases of a function stay as they are."""
    rows = [row.replace("&=", "=").strip(" ,;.&") for row in re.split(r"\\\\(?:\[[^\]]*\])?", system[3])]
    return system[0] if any("&" in row for row in rows) else ", ".join(row for row in rows if row)


def _comma(quad: re.Match[str]) -> str:
    """A wide space separates the items of a list, or a remark about the whole."""
    return " " if quad[2] in ("", "\\") and not quad[1] else ", "


def _unstyled(text: str) -> str:
    """`text` without style and colour commands; only their arguments stay, words with space around them."""
    for found in reversed(list(_STYLED.finditer(text))):
        start, end = found.end(), -1
        if found["color"] or found["nothing"]:  # the colour itself, in brackets of either kind
            if text[start : start + 1] == "[":
                start = text.find("]", start) + 1
            end = group_end(text, start) if text[start : start + 1] == "{" else -1
            start = max(start, end)
            content = ""
            if found["color"] and text[start : start + 1] == "{" and end > 0:
                end = group_end(text, start)
                content, start = text[start + 1 : end - 1], max(start, end)
        elif text[start : start + 1] == "{":
            end = group_end(text, start)
            if end < 0:
                continue
            content, start = text[start + 1 : end - 1], end
            letters = content.strip().isalpha()
            if found[0].startswith("\\operatorname") and letters:
                content = f"\\{content.strip()} "
            elif (
                content in ("e", "E")
                and text[: found.start()][-1:].isdigit()
                and text[start : start + 2].lstrip("-+")[:1].isdigit()
            ):
                pass  # 1.5e3
            elif found["words"] or (letters and (len(content) > 1 or text[: found.start()].rstrip()[-1:].isalnum())):
                content = content if text[: found.start()][-1:] in ("{", "_", "^") else f"{_HARD}{content}{_HARD}"
        else:
            content = "" if found["style"] or found["words"] else found[0]
        text = text[: found.start()] + content + text[start:]
    return text


def _fractions(text: str) -> str:
    """Fractions and binomials with both arguments in braces."""
    for found in reversed(list(_FRACTION.finditer(text))):
        upper, middle = _argument(text, found.end())
        lower, end = _argument(text, middle)
        if upper and lower:
            command = "\\binom" if found[1] else "\\frac"
            text = f"{text[: found.start()]}{command}{{{upper}}}{{{lower}}}{text[end:]}"
    return text


def _argument(text: str, start: int) -> tuple[str, int]:
    """A command's argument and its end: the content of braces, or a single sign or command."""
    while text[start : start + 1].isspace():
        start += 1
    if text[start : start + 1] == "{":
        end = group_end(text, start)
        return (text[start + 1 : end - 1], end) if end > 0 else ("", start)
    if text[start : start + 1] == "\\":
        found = re.compile(r"\\[A-Za-z]+").match(text, start)
        if found is None:
            return "", start
        end = _argument(text, found.end())[1] if found[0] in ("\\sqrt", "\\frac") else found.end()
        return text[start:end], end
    return text[start : start + 1], start + 1


def _roots(text: str) -> str:
    """Add the missing braces of roots: `\\sqrt7`, `\\sqrt(3)` and `sqrt 3`."""
    for found in reversed(list(_ROOT.finditer(text))):
        start = found.end()
        if text[start : start + 1] == "{":
            continue
        if text[start : start + 1] == "(":
            end = round_end(text, start)
            inside = text[start + 1 : end - 1] if end > 0 else ""
        else:
            radicand = _RADICAND.match(text, start)
            inside, end = (radicand[0], radicand.end()) if radicand else ("", start)
        if inside:
            text = f"{text[: found.start()]}\\sqrt{found[1] or ''}{{{inside}}}{text[end:]}"
    return text


def _powers(text: str) -> str:
    """Put exponents in round brackets into braces."""
    at = text.find("^(")
    while at >= 0:
        end = round_end(text, at + 1)
        if end > 0:
            text = f"{text[:at]}^{{{text[at + 2 : end - 1]}}}{text[end:]}"
        at = text.find("^(", at + 2)
    return text

r"""Parse an answer: a quantity, a choice, a time, a list, an interval, a named value, words, or a formula.

>>> read("18 eggs per day").number.value, read("(C)12").letter, read("x=5").value.text
(Fraction(18, 1), 'C', '5')
>>> [item.text for item in read("(1,2),(3,4)").items]
['(1,2)', '(3,4)']
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

from deepcritic.answers.brackets import split, wrapped
from deepcritic.answers.intervals import builder, region
from deepcritic.answers.numbers import Number, number
from deepcritic.answers.shapes import Answer, Conditional, Either, Items, Kind, Matrix, Measured, Named, Quantity, Ratio, Words
from deepcritic.answers.units import NO_UNIT, unit
from deepcritic.answers.values import based, choice, clock, day, quantity, residue, spoken_mixed, words

_HEDGE: Final = re.compile(
    r"(?:about|approximately|approx|roughly|around|exactly|only|just|\\approx|~)(?![A-Za-z])\.?\s*|the (?=[0-9])"
    r"|[\u4e00-\u9fff]{1,12}(?=-?[0-9$\\])",
    re.IGNORECASE,
)
_QUALIFIER: Final = re.compile(
    r"[,;( ] ?(?:where |for |with )?(?:all |any |some |every |each )?(?:(?P<name>[A-Za-z])(?!,)|[A-Za-z](?:,[A-Za-z])*)"
    r"(?:\\in ?\\mathbb\{[ZN]\}(?:\^\{?\+\}?|_\{?\+\}?)?|\\in ?[ZN]|(?: is| are| being)?(?: an| any)? integers?)\)?\Z"
)
_CLAUSE: Final = re.compile(
    r"(?=.*(?:where|if|when|for|\([^()]*(?:[<>]|\\[lgn]e(?![A-Za-z]))|\\forall|\\exists))(?:"
    r"(.+?)(?:,? ?(?<![A-Za-z])((?:where|if|when|for all|for) [^,;]*)|,? ?(\([^()]*(?:[<>]|\\[lgn]e(?![A-Za-z]))[^()]*\)))"
    r"|(\\(?:forall|exists)[^,:]*)[,:](.+))\Z",
    re.DOTALL,
)
_TRIANGLE: Final = re.compile(r"\\(?:triangle|angle)(?: (?=[A-Z])|(?=\{))([A-Z]{1,3})\Z")
_CIRCLED: Final = re.compile(r"[\u2460-\u2473](?:[ ,;]*[\u2460-\u2473])+")
_PART: Final = re.compile(r"\(([1-9])\)")
_OR: Final = r"(?:, ?)?(?<![A-Za-z])or(?![A-Za-z])"
_COMMA: Final = r"(?:[,;] ?)?(?<![A-Za-z])and(?![A-Za-z])|[,;]"
_COMPARED: Final = frozenset(("more", "less", "fewer", "greater", "above", "below", "higher", "lower"))
_SIGNED: Final = re.compile(r"(\A|[=,(\[{])?\\(pm|mp)(?![A-Za-z])\s?")
_PMATRIX: Final = re.compile(r"\\begin\{pmatrix\}(.*?)(?:\\\\)?\\end\{pmatrix\}", re.DOTALL)
_EQUAL: Final = r"=|\\in(?![A-Za-z])|\\approx(?![A-Za-z])"
_LABELLED: Final = re.compile(r"([a-z]|[A-Za-z][A-Za-z ]{2,}):(.*[0-9].*)", re.DOTALL)
_SCRIPTS: Final = re.compile(r"[_^](?:\{[^{}]*\}|\\?[A-Za-z0-9]+)|'")
_NO_NAME: Final = re.compile(
    r"[0-9+*/<>!&;-]|\\(?:times|cdot|pm|sqrt|begin|cup|cap|div|ldots|sum|int|sin|cos|tan|log|ln)(?![A-Za-z])"
)
_CALL: Final = re.compile(r"\\?[A-Za-z]+(?:_\{?\w+\}?)?'*(?:\^\{?\(?-?\w+\)?\}?)?\([^=]*\)")
_NAMES: Final = re.compile(r"\((?=[^A-Za-z]*[A-Za-z])[A-Za-z_0-9{},\\ ]*\)")
_SIGN: Final = re.compile(r"\\[A-Za-z]+|[A-Za-z]")
_COMMAND: Final = re.compile(r"\\[A-Za-z]+")
_RATIO: Final = re.compile(r"[^:]+(?::[^:]+){1,4}|[0-9]+(?: to [0-9]+){1,2}")
_UNIT_BEHIND: Final = re.compile(
    r"(?<=[0-9A-Za-z})])(?: |(?<=[})0-9]))(?:[A-Za-z]{2,}(?:\^\{?[23]\}?)?(?:[ /][A-Za-z]+(?:\^\{?[23]\}?)?)*"
    r"|(?<= )[A-Za-z](?: [A-Za-z]){0,3})\Z"
    r"|\^\\circ ?[CF]?\Z"
)
_NUMERIC: Final = re.compile(r"\\(?:frac|sqrt|cdot|times)(?![A-Za-z])")
_COUNTED: Final = frozenset(("unit", "way"))
_BRACKETS: Final[tuple[tuple[str, str, Kind], ...]] = (
    ("(", ")", "round"), ("[", "]", "square"), ("\\{", "\\}", "set"), ("{", "}", "bare"), ("\\langle", "\\rangle", "angle"),
)  # fmt: skip


@lru_cache(10_000)
def read(text: str) -> Answer:
    """Parse `text` in canonical spelling (`spelled`); a formula if it is no other known kind."""
    timed = clock(text) if ":" in text or text[-1:] in "mMk" or "点" in text or "时" in text else None
    found = timed or (day(text) if text[:1].isdigit() and text[-1:].isalnum() and " " in text else None) or quantity(text)
    if found is not None:
        return found
    shape = _TRIANGLE.match(text)
    if shape:
        return read(shape[1])
    hedge = _HEDGE.match(text)
    if hedge:
        return read(text[hedge.end() :])
    qualifier = _QUALIFIER.search(text)
    if qualifier and qualifier.start():
        return read(text[: qualifier.start()])
    clause = _CLAUSE.match(text)
    if clause:
        value, condition = (clause[1], clause[2] or clause[3]) if clause[1] else (clause[5], clause[4])
        return Conditional(text, read(value), condition)
    for reader in _READERS:
        answer = reader(text)
        if answer is not None:
            return answer
    return Answer(text)


def same_integer(text: str, reference: str) -> str:
    r"""`text` with the name of its integer as in `reference`, without the clause that declares it.

    >>> same_integer(r"2k\pi,k\in\mathbb{Z}", r"2n\pi,n\in\mathbb{Z}")
    '2n\\pi'
    """
    ours, theirs = _QUALIFIER.search(text), _QUALIFIER.search(reference)
    if not ours or not theirs or not ours["name"] or not theirs["name"] or ours["name"] == theirs["name"]:
        return text
    value = text[: ours.start()]
    if theirs["name"] in _COMMAND.sub("", value):
        return text
    return _SIGN.sub(lambda sign: theirs["name"] if sign[0] == ours["name"] else sign[0], value)


def _numbered(text: str) -> Answer | None:
    """The answers to the parts of a question, in order: `(1) 3 (2) 4`."""
    if not text.startswith("(1)") or "(2)" not in text:
        return None
    before, *rest = _PART.split(text)
    labels, parts = rest[::2], [part.strip(" ,;.") for part in rest[1::2]]
    if before or not all(parts) or labels != [str(number) for number in range(1, len(labels) + 1)]:
        return None
    return Items(text, "round", tuple(map(read, parts)))


def _circled(text: str) -> Answer | None:
    """Circled numbers of the true statements: `①③`."""
    if not _CIRCLED.fullmatch(text):
        return None
    signs = [sign for sign in text if "\u2460" <= sign <= "\u2473"]
    return Items(text, "set", tuple(Quantity(sign, Number(Fraction(ord(sign) - 0x245F))) for sign in signs))


def _signs(text: str) -> Answer | None:
    r"""`\pm a` as its two values."""
    signs = [found[2] for found in _SIGNED.finditer(text)]
    if not signs or signs.count("pm") > 1 or signs.count("mp") > 1 or len(split(text, f"{_OR}|{_COMMA}")) > 1:
        return None
    return Items(text, "bare", tuple(read(_signed(text, plus)) for plus in ("pm", "mp")))


def _signed(text: str, plus: str) -> str:
    """`text` with `plus` as a plus sign, omitted at the start of a formula, and the other sign as a minus sign."""
    return _SIGNED.sub(lambda found: f"{found[1] or ''}{'-' if found[2] != plus else '' if found[1] is not None else '+'}", text)


def _list(text: str) -> Answer | None:
    """Items joined by commas, semicolons, "and" or "or"; `x = 1, y = 2 or x = 3, y = 4` is a list of lists."""
    groups = [split(part, _COMMA) for half in split(text, _OR) for part in split(half, ";")]
    groups = [[item for item in group if item] for group in groups]
    if sum(map(len, groups)) < 2:
        return None
    if len(groups) > 1 and len(groups[0]) > 1 and len({len(group) for group in groups}) == 1:
        return Items(text, "bare", tuple(read(",".join(group)) for group in groups))
    items = [read(item) for group in groups for item in group]
    if any(isinstance(item, Words) and item.words[0] in _COMPARED for item in items):  # 2 or more
        return Answer(text)
    rounds = _rounds(items)
    if rounds:
        return Items(text, "bare", tuple(Items(text, "bare", one) for one in rounds))
    first = items[0]
    if isinstance(first, Named) and first.plain and not any(isinstance(item, Named) for item in items[1:]):
        items[0] = first.value  # n = 2, 3, 4
    flat = [one for item in items for one in (item.items if isinstance(item, Items) and item.kind == "bare" else (item,))]
    return Items(text, "bare", tuple(flat))


def _rounds(items: list[Answer]) -> list[tuple[Answer, ...]]:
    """Groups of named values that repeat the same names, as in `p = 2, q = 3 and p = 3, q = 2`; empty if none."""
    names = [item.name for item in items if isinstance(item, Named)]
    size = len(set(names))
    if not len(names) == len(items) > size > 1 or names != names[:size] * (len(names) // size):
        return []
    return [tuple(items[at : at + size]) for at in range(0, len(items), size)]


def _bracketed(text: str) -> Answer | None:
    if not wrapped(text):
        return None
    for opening, closing, kind in _BRACKETS:
        if text.startswith(opening) and text.endswith(closing):
            return _held(text, text[len(opening) : -len(closing)].strip(), kind)
    return None


def _held(text: str, inside: str, kind: Kind) -> Answer | None:
    """The content of brackets of a kind; a single value in round brackets is that value."""
    built = builder(inside) if kind in ("set", "bare") else None
    if built is not None:
        return built
    measured = quantity(inside) if kind == "round" else None
    if measured and measured.unit != NO_UNIT:  # 1,234 cm in brackets; (1,234) alone is a pair
        return measured
    parts = split(inside, "[,;]")
    if not all(parts):
        return None
    if len(parts) == 1 and kind in ("round", "bare"):
        return read(inside)
    items = tuple(map(read, parts))
    if kind != "square":
        return Items(text, kind, items)
    if len(items) == 1 and isinstance(items[0], Matrix):
        return items[0]
    rows = [item.items for item in items if isinstance(item, Items) and item.kind == "square"]
    if len(rows) == len(items) and len({len(row) for row in rows}) == 1:
        return Matrix(text, tuple(rows))
    return Items(text, kind, items)


def _matrix(text: str) -> Answer | None:
    found = _PMATRIX.fullmatch(text)
    if found is None or "\\begin" in found[1]:
        return None
    rows = tuple(tuple(map(read, split(row, "&"))) for row in split(found[1], r"\\\\"))
    return Matrix(text, rows) if len({len(row) for row in rows}) == 1 else None


def _named(text: str) -> Answer | None:
    r"""`name = value`, `name \in set` and `name: value`. The value of a chain of equations is its last part."""
    parts = split(text, _EQUAL)
    if len(parts) < 2 or not all(parts):
        labelled = _LABELLED.fullmatch(text)
        return Named(text, labelled[1].lower(), read(labelled[2])) if labelled else None
    name, last = parts[0], read(parts[-1])
    if text[: -len(parts[-1])].rstrip().endswith("\\approx"):
        if len(parts) == 2 and not _is_name(name):
            return Either(text, read(name), last)
        last = Either(text, read(parts[-2]), last) if len(parts) > 2 else last
    if _is_name(name):
        return Named(text, name, last)
    if len(parts) == 2 and _is_name(parts[1]) and number(name):  # 3 = x
        return Named(text, parts[1], read(name))
    if not re.search("[A-Za-z]", _COMMAND.sub("", name)):  # 5 + 7 = 12
        return last
    return Named(text, name, last, plain=False)


def _is_name(text: str) -> bool:
    """Whether `text` is a name: a variable, a function, a point, a word, or several in brackets."""
    if _CALL.fullmatch(text) or _NAMES.fullmatch(text):
        return True
    return not _NO_NAME.search(_SCRIPTS.sub("", text)) and re.search("[A-Za-z]", text) is not None


def _ratio(text: str) -> Answer | None:
    if not _RATIO.fullmatch(text):
        return None
    written = split(text.replace(" to ", ":"), ":")
    if len(written) < 2 or not all(written):
        return None
    parts = tuple(map(read, written))
    return Ratio(text, parts) if all(isinstance(part, Quantity) or type(part) is Answer for part in parts) else None


def _measured(text: str) -> Answer | None:
    r"""A formula with a known unit, such as `2\sqrt{7} cm`. The degrees of an angle inside a formula are not its unit."""
    found = _UNIT_BEHIND.search(text)
    if found is None or not found.start() or _UNIT_BEHIND.search(text[: found.start()].rstrip()):
        return None
    before, behind = text[: found.start()].strip(), unit(f" {found[0].strip()}")
    if found[0].startswith("^") and re.search("[A-Za-z]", _NUMERIC.sub("", before)):
        return None
    return Measured(text, read(before), behind) if behind and (behind.measures or _COUNTED & set(behind.words)) else None


_READERS: Final = (
    _numbered, _circled, residue, based, clock, day, choice, region, _signs, spoken_mixed, _list, _bracketed, _matrix, _named,
    _ratio, _measured, words,
)  # fmt: skip

"""The small faults of a Python file, each a change of one place in its text.

| kind | change |
|---|---|
| comparison | `<` and `<=`, `>` and `>=`, `==` and `!=`, `is` and `is not`, `in` and `not in` are exchanged |
| operator | `+` and `-`, `*` and `/`, `//` to `/`, `%` and `**` to `*`, `&` and `|`; `-x`, `~x` and `not x` to `x` |
| condition | `and` and `or` are exchanged; a condition without an operator is negated |
| constant | an integer plus and minus 1, a float plus 1, `True` and `False` exchanged |
| statement | a value returned becomes `None`; `continue` and `break` are exchanged; a call, `+=` or `raise` is removed |
| pattern | in regular expressions: `?` removed, `*` and `+` exchanged, a look-around inverted, an alternative removed |

Texts, annotations, decorators, methods of protocols and the keywords of classes are unchanged, and so is `strict=` of `zip`,
which only checks the code itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

_COMPARED: Final = {
    ast.Lt: (b"<", b"<="), ast.LtE: (b"<=", b"<"), ast.Gt: (b">", b">="), ast.GtE: (b">=", b">"), ast.Eq: (b"==", b"!="),
    ast.NotEq: (b"!=", b"=="), ast.Is: (b"is", b"is not"), ast.IsNot: (b"is not", b"is"), ast.In: (b"in", b"not in"),
    ast.NotIn: (b"not in", b"in"),
}  # fmt: skip
_OPERATORS: Final = {
    ast.Add: (b"+", b"-"), ast.Sub: (b"-", b"+"), ast.Mult: (b"*", b"/"), ast.Div: (b"/", b"*"), ast.FloorDiv: (b"//", b"/"),
    ast.Mod: (b"%", b"*"), ast.Pow: (b"**", b"*"), ast.BitAnd: (b"&", b"|"), ast.BitOr: (b"|", b"&"),
}  # fmt: skip
_LOOKS: Final = {b"(?<!": b"(?<=", b"(?<=": b"(?<!", b"(?!": b"(?=", b"(?=": b"(?!"}
_GROUP: Final = re.compile(rb"\(\?(?:P<\w+>|[aiLmsux-]*:|>)")


class Fault(NamedTuple):
    """`source[start:end]` becomes `new`. `lines` are those of the statement, or of the whole function where a default value
    changes; None at the level of the module."""

    line: int
    start: int
    end: int
    new: bytes
    lines: tuple[int, int] | None


def faults(source: bytes) -> list[Fault]:
    """All faults of a file, in the order of their places."""
    return sorted(set(_Finder(source).visit_module()))


def _is_stub(node: ast.FunctionDef) -> bool:
    """A method of a protocol: its body is `...`."""
    last = node.body[-1]
    return isinstance(last, ast.Expr) and isinstance(last.value, ast.Constant) and last.value.value is ...


class _Finder:
    def __init__(self, source: bytes) -> None:
        self._source, self._tree = source, ast.parse(source)
        self._starts = [0]
        for line in source.split(b"\n"):
            self._starts.append(self._starts[-1] + len(line) + 1)
        self._lines: tuple[int, int] | None = None

    def visit_module(self) -> Iterator[Fault]:
        yield from self._visit(self._tree)

    def _span(self, node: ast.AST) -> tuple[int, int]:
        first, last = self._starts[node.lineno - 1], self._starts[node.end_lineno - 1]  # type: ignore[attr-defined]
        return first + node.col_offset, last + node.end_col_offset  # type: ignore[attr-defined]

    def _fault(self, start: int, end: int, new: bytes) -> Fault:
        line = self._source.count(b"\n", 0, start) + 1
        return Fault(line, start, end, new, self._lines)

    def _visit(self, node: ast.AST) -> Iterator[Fault]:
        """Faults of a node and of what it holds, except annotations, decorators and texts."""
        outside = self._lines
        if isinstance(node, ast.FunctionDef) and _is_stub(node):
            return
        if isinstance(node, ast.stmt):
            self._lines = self._reach(node, outside)
        yield from self._of(node)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params") or isinstance(node, ast.JoinedStr):
                continue
            if isinstance(node, ast.ClassDef) and name == "keywords":
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST) and not (isinstance(child, ast.keyword) and child.arg == "strict"):
                    yield from self._visit(child)
        self._lines = outside

    def _reach(self, node: ast.stmt, outside: tuple[int, int] | None) -> tuple[int, int] | None:
        """The lines that run where this statement runs: its own, without those of the statements in it."""
        assert node.end_lineno is not None
        if isinstance(node, ast.FunctionDef):
            return node.body[0].lineno, node.end_lineno
        if isinstance(node, ast.ClassDef) or outside is None:
            return None
        body = getattr(node, "body", None)
        return node.lineno, max(node.lineno, body[0].lineno - 1) if isinstance(body, list) else node.end_lineno

    def _of(self, node: ast.AST) -> Iterator[Fault]:
        match node:
            case ast.Compare():
                left = node.left
                for op, right in zip(node.ops, node.comparators, strict=True):
                    yield from self._between(left, right, *_COMPARED[type(op)])
                    left = right
            case ast.BinOp(op=op) if type(op) in _OPERATORS:
                yield from self._between(node.left, node.right, *_OPERATORS[type(op)])
            case ast.AugAssign():
                if type(node.op) in _OPERATORS:
                    yield from self._between(node.target, node.value, *_OPERATORS[type(node.op)])
                yield self._fault(*self._span(node), b"pass")
            case ast.BoolOp():
                old, new = (b"and", b"or") if isinstance(node.op, ast.And) else (b"or", b"and")
                for left, right in zip(node.values, node.values[1:], strict=False):
                    yield from self._between(left, right, old, new)
            case ast.UnaryOp():
                start = self._span(node)[0]
                yield self._fault(start, start + (3 if isinstance(node.op, ast.Not) else 1), b"")
            case ast.Constant():
                yield from self._constant(node)
            case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
                yield self._fault(*self._span(value), b"(None)")
            case ast.Continue() | ast.Break():
                yield self._fault(*self._span(node), b"break" if isinstance(node, ast.Continue) else b"continue")
            case ast.Raise() | ast.Expr(value=ast.Call()):
                yield self._fault(*self._span(node), b"pass")
            case ast.If() | ast.While() | ast.IfExp():
                yield from self._condition(node.test)
            case ast.comprehension():
                for test in node.ifs:
                    yield from self._condition(test)
        yield from self._patterns(node)

    def _between(self, left: ast.AST, right: ast.AST, old: bytes, new: bytes) -> Iterator[Fault]:
        begin, end = self._span(left)[1], self._span(right)[0]
        at = self._source.find(old, begin, end)
        if at >= 0:
            yield self._fault(at, at + len(old), new)

    def _condition(self, test: ast.expr) -> Iterator[Fault]:
        if not isinstance(test, ast.Compare | ast.BoolOp) and not (
            isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)
        ):
            start, end = self._span(test)
            yield self._fault(start, end, b"not (" + self._source[start:end] + b")")

    def _constant(self, node: ast.Constant) -> Iterator[Fault]:
        span, value = self._span(node), node.value
        if isinstance(value, bool):
            yield self._fault(*span, b"False" if value else b"True")
        elif isinstance(value, int):
            for changed in (value + 1, value - 1):
                yield self._fault(*span, b"%d" % changed if changed >= 0 else b"(%d)" % changed)
        elif isinstance(value, float):
            yield self._fault(*span, repr(value + 1.0).encode())

    def _patterns(self, node: ast.AST) -> Iterator[Fault]:
        """Faults in the pattern of a call of `re`, and in the parts of patterns: raw texts that a constant names."""
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=attr), args=[pattern, *_]) if attr != "escape":
                yield from self._pattern(pattern)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant() | ast.JoinedStr() as value) if name.isupper():
                if self._source.startswith((b"r", b"rf"), self._span(value)[0]):
                    yield from self._pattern(value)

    def _pattern(self, node: ast.expr) -> Iterator[Fault]:
        if not isinstance(node, ast.JoinedStr) and not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            return
        at, end = self._span(node)
        text, filled = self._source, self._source[at : at + 2] == b"rf"
        while at < end:
            sign = text[at : at + 1]
            look = next((one for one in _LOOKS if text.startswith(one, at)), None)
            if look is not None:
                yield self._fault(at, at + len(look), _LOOKS[look])
                at += len(look)
            elif group := _GROUP.match(text, at, end):
                at = group.end()
            elif sign == b"\\":
                at += 2
            elif sign == b"[":
                at = self._after_class(at, end)
            elif sign == b"{" and (filled or text[at + 1 : at + 2].isdigit()):
                closing = b"}}" if text[at : at + 2] == b"{{" else b"}"
                at = text.index(closing, at) + len(closing)
            elif sign in (b"?", b"*", b"+"):
                yield self._fault(at, at + 1, {b"?": b"", b"*": b"+", b"+": b"*"}[sign])
                at += 2 if text[at + 1 : at + 2] in (b"?", b"+") else 1
            elif sign == b"|":
                yield self._fault(at, self._end_of_alternative(at + 1, end), b"")
                at += 1
            else:
                at += 1

    def _after_class(self, at: int, end: int) -> int:
        at += 2 if self._source[at + 1 : at + 2] in (b"]", b"^") else 1
        while at < end and self._source[at : at + 1] != b"]":
            at += 2 if self._source[at : at + 1] == b"\\" else 1
        return at + 1

    def _end_of_alternative(self, at: int, end: int) -> int:
        depth = 0
        while at < end:
            sign = self._source[at : at + 1]
            if sign == b"\\":
                at += 2
                continue
            if sign == b"[":
                at = self._after_class(at, end)
                continue
            if depth == 0 and sign in (b"|", b")", b'"', b"'", b"\n"):
                return at
            depth += (sign == b"(") - (sign == b")")
            at += 1
        return at

r"""Prompts from other repositories: read from a user's clone; the code is never run, and no prompt is copied into this package.

`FILE[:NAME]` locates the text. A text file is the prompt, without surrounding white space. In a Python file NAME is the path of a
constant, a variable, an attribute or a parameter's default (`prompts.PROMPT`, `build.template`, `Judge.ask.prefix`). In JSON it
is a path of keys and indices. In Markdown it is a heading, which selects the first code block below it; append `:NAME` for a
constant in that block.

>>> import pathlib, tempfile
>>> file = pathlib.Path(tempfile.mkdtemp()) / "prompts.py"
>>> _ = file.write_text('def build(problem):\n    text = ("Check {problem}.\\n" + "Box it: \\\\boxed{{}}\\n").strip()\n')
>>> text = read_prompt(f"{file}:build.text")
>>> text
'Check {problem}.\nBox it: \\boxed{{}}'
>>> from_format(text, {"problem": "problem"})
'Check {{problem}}.\nBox it: \\boxed{}'
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import re
import string
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from deepcritic.errors import InputError

LARGEST: Final = 1 << 20
"""Largest file, in bytes."""
_HEADING: Final = re.compile(r"^(#{1,6})[ \t]+(.*?)[ \t#]*$", re.M)
_FENCE: Final = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n]*\n(.*?)^[ \t]*\1[ \t]*$", re.M | re.S)
_STRIPS: Final[Mapping[str, Callable[..., str]]] = {"strip": str.strip, "lstrip": str.lstrip, "rstrip": str.rstrip}
_LAYOUT: Final[Mapping[str, Callable[[str], str]]] = {"dedent": textwrap.dedent, "cleandoc": inspect.cleandoc}


class _NoLiteral(Exception):
    """A part of an expression that cannot be evaluated without running it."""


def read_prompt(place: str) -> str:
    """The text at `FILE[:NAME]`. Raises `InputError` if there is none, or if it is not a literal text."""
    file, name = split_place(place)
    try:
        if file.stat().st_size > LARGEST:
            raise InputError(
                "the prompt file is too large", file=file, found=file.stat().st_size, expected=f"at most {LARGEST} bytes"
            )
        content = file.read_text("utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(f"the prompt cannot be read ({reason})", file=file, expected="FILE, or FILE:NAME") from None
    kind = file.suffix.lower()
    if kind == ".py":
        return _python(content, name, file)
    if kind == ".json":
        return _json(content, name, file)
    if kind in {".md", ".markdown"} and name:
        return _markdown(content, name, file)
    if name:
        raise InputError(
            "a plain text file has no names", file=file, found=name, expected="FILE without a name, or a .py, .json or .md file"
        )
    return content.strip()


def split_place(place: str) -> tuple[Path, str | None]:
    """`FILE[:NAME]` as a path and a name; the file is the longest prefix that exists."""
    whole = Path(place).expanduser()
    if whole.is_file():
        return whole, None
    for at in reversed([found.start() for found in re.finditer(":", place)]):
        file = Path(place[:at]).expanduser()
        if file.is_file():
            return file, place[at + 1 :] or None
    return Path(place.partition(":")[0]).expanduser(), place.partition(":")[2] or None


def prompt_sha(*texts: str) -> str:
    """The sha256 of a prompt: of one text, or of several in order."""
    return hashlib.sha256("\0".join(texts).encode("utf-8", "replace")).hexdigest()


def from_format(text: str, fields: Mapping[str, str], place: str = "the prompt") -> str:
    r"""Convert `text`, a `str.format` template, to our template syntax; `fields` maps its names or positions to ours."""
    made, position = "", 0
    try:
        for literal, name, spec, conversion in string.Formatter().parse(text):
            made += literal
            if name is None:
                continue
            if spec or conversion:
                raise InputError(
                    "unsupported format specification", file=place, found=name, expected="a plain field such as {problem}"
                )
            known, position = (name, position) if name else (str(position), position + 1)
            made += _ours(known, fields, place)
    except ValueError as error:
        raise InputError(
            f"not a str.format template ({error})", file=place, expected="fields in braces, other braces doubled"
        ) from None
    return made


def from_replace(text: str, fields: Mapping[str, str], place: str = "the prompt") -> str:
    """Convert `text`, filled by replacing `{name}`, to our template syntax. Other braces are text."""
    pattern = re.compile("|".join(re.escape(f"{{{name}}}") for name in fields)) if fields else None
    return text if pattern is None else pattern.sub(lambda found: _ours(found.group()[1:-1], fields, place), text)


def _ours(name: str, fields: Mapping[str, str], place: str) -> str:
    if name not in fields:
        raise InputError("unknown field for this critic", file=place, found=name, expected=" or ".join(fields))
    return f"{{{{{fields[name]}}}}}"


def _json(content: str, name: str | None, file: Path) -> str:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON ({error})", file=file, expected="a JSON file with the prompt") from None
    return _text(_inside(value, (name or "").split(".") if name else [], file, name), file, name)


def _markdown(content: str, name: str, file: Path) -> str:
    heading, _, inner = name.partition(":")
    sections = [(len(found[1]), found[2].strip(), found.end()) for found in _HEADING.finditer(content)]
    for at, (level, title, start) in enumerate(sections):
        if _plain(title) != _plain(heading):
            continue
        ends = [there for deeper, _, there in sections[at + 1 :] if deeper <= level]
        block = _FENCE.search(content, start, min(ends, default=len(content)))
        if block is None:
            raise InputError(
                "the section has no code block", file=file, found=heading, expected="a heading with a code block below it"
            )
        return _python(block[2], inner, file) if inner else block[2].strip()
    titles = ", ".join(title for _, title, _ in sections[:8])
    raise InputError("no such heading", file=file, found=heading, expected=titles or "a heading of this file")


def _plain(title: str) -> str:
    return re.sub(r"[\W_]+", " ", title).strip().lower()


def _python(content: str, name: str | None, file: Path) -> str:
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(
            f"not Python that can be parsed ({type(error).__name__})", file=file, expected="a file of prompts"
        ) from None
    if not name:
        names = ", ".join(dict.fromkeys(found for found, _ in _texts(tree)))
        raise InputError(
            "the file has several texts", file=file, expected=f"FILE:NAME, such as {names}" if names else "a file with a text"
        )
    return _text(_inside(tree, name.split("."), file, name), file, name)


def _texts(scope: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """The names assigned in a module, class or function, in order, and the defaults of its parameters."""
    if isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
        positional, keyword = [*scope.args.posonlyargs, *scope.args.args], scope.args
        defaults = scope.args.defaults
        for parameter, default in zip(positional[len(positional) - len(defaults) :], defaults, strict=True):
            yield parameter.arg, default
        for parameter, value in zip(keyword.kwonlyargs, keyword.kw_defaults, strict=True):
            if value is not None:
                yield parameter.arg, value
    waiting: list[ast.AST] = list(ast.iter_child_nodes(scope))
    while waiting:
        node = waiting.pop(0)
        if isinstance(node, ast.Assign):
            yield from ((target.id, node.value) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            yield node.target.id, node.value
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.expr):
            waiting[:0] = ast.iter_child_nodes(node)


def _inside(value: Any, path: list[str], file: Path, name: str | None) -> Any:
    """The value at a path of names, keys and indices from 0."""
    scope = value
    for at, part in enumerate(path):
        if isinstance(scope, ast.AST):
            inner = next(
                (
                    node for node in ast.walk(scope)
                    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name == part
                ), None,
            )  # fmt: skip
            known: dict[str, ast.expr] = {}
            for first, expression in _texts(scope):
                known.setdefault(first, expression)
            if part in known:
                scope = _literal(known[part], known, file, name)
            elif inner is not None:
                scope = inner
            else:
                raise InputError(
                    "no such name", file=file, field=name, found=part, expected=", ".join(known) or "a name in this file"
                )
        elif isinstance(scope, Mapping) and part in scope:
            scope = scope[part]
        elif isinstance(scope, list | tuple) and part.isdigit() and int(part) < len(scope):
            scope = scope[int(part)]
        else:
            expected = ", ".join(map(str, scope)) if isinstance(scope, Mapping) else "an existing key or index"
            raise InputError("no such entry", file=file, field=name, found=".".join(path[: at + 1]), expected=expected)
    return scope


def _text(value: Any, file: Path, name: str | None) -> str:
    if isinstance(value, str):
        return value
    kind = type(value).__name__
    raise InputError("not a string", file=file, field=name, found=f"a {kind}", expected="the name of a string")


def _literal(node: ast.expr, known: Mapping[str, ast.expr], file: Path, name: str | None) -> Any:
    try:
        return _value(node, known, 0)
    except (_NoLiteral, RecursionError) as error:
        expected = "a literal (strings, +, .strip(), lists and dictionaries)"
        raise InputError(f"the value is not a literal ({error})", file=file, field=name, expected=expected) from None


def _value(node: ast.expr, known: Mapping[str, ast.expr], depth: int) -> Any:
    """The value of an expression of literals. A field of an f-string becomes `{name}`, and its other braces are doubled."""
    if depth > 50:
        raise _NoLiteral("too deep")

    def inner(one: ast.expr) -> Any:
        return _value(one, known, depth + 1)

    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=parts):
            fields = any(isinstance(part, ast.FormattedValue) for part in parts)
            return "".join(_part(part, fields) for part in parts)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _both(inner(left), inner(right))
        case ast.Call(func=ast.Attribute(value=of, attr=attr), args=[], keywords=[]) if attr in _STRIPS:
            return _STRIPS[attr](_both(inner(of), ""))
        case ast.Call(func=ast.Attribute(attr=attr) | ast.Name(id=attr), args=[of], keywords=[]) if attr in _LAYOUT:
            return _LAYOUT[attr](_both(inner(of), ""))
        case ast.Tuple(elts=elements) | ast.List(elts=elements):
            return [inner(one) for one in elements]
        case ast.Dict(keys=keys, values=values):
            return {
                inner(key): inner(one) for key, one in zip(keys, values, strict=True) if key is not None and _is_told(one, known)
            }
        case ast.IfExp(body=body, orelse=other):
            told = [one for one in (body, other) if _is_told(one, known) and not isinstance(one, ast.Name)]
            if len(told) != 1:
                raise _NoLiteral("a choice")
            return inner(told[0])
        case ast.Name(id=other_name) if other_name in known and known[other_name] is not node:
            return inner(known[other_name])
    raise _NoLiteral(ast.unparse(node)[:60])


def _is_told(node: ast.expr, known: Mapping[str, ast.expr]) -> bool:
    try:
        _value(node, known, 1)
    except _NoLiteral:
        return False
    return True


def _part(part: ast.expr, fields: bool) -> str:
    match part:
        case ast.Constant(value=str() as text):
            return text.replace("{", "{{").replace("}", "}}") if fields else text
        case ast.FormattedValue(value=ast.Name(id=name), conversion=-1, format_spec=None):
            return f"{{{name}}}"
    raise _NoLiteral(ast.unparse(part)[:60])


def _both(first: Any, second: Any) -> str:
    if isinstance(first, str) and isinstance(second, str):
        return first + second
    raise _NoLiteral("not texts")

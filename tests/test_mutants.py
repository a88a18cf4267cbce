"""The faults of scripts/mutants: every kind is made, each changes the code, and texts and types stay as they are."""

from __future__ import annotations

import ast
import importlib
import json
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parent.parent / "scripts" / "mutating"


@pytest.fixture(scope="module")
def faults() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield importlib.import_module("faults").faults


def _made(faults: Any, source: str) -> set[str]:
    text = source.encode()
    return {(text[: one.start] + one.new + text[one.end :]).decode() for one in faults(text)}


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ("a < b", {"a <= b"}),
        ("a not in b", {"a in b"}),
        ("é is (b) is not c", {"é is not (b) is not c", "é is (b) is c"}),
        ("a + b * c", {"a - b * c", "a + b / c"}),
        ("x += y", {"x -= y", "pass"}),
        ("a and b or c", {"a or b or c", "a and b and c"}),
        ("not a", {" a"}),
        ("x = -y", {"x = y"}),
        ("x = 0, 1.5, True", {"x = 1, 1.5, True", "x = (-1), 1.5, True", "x = 0, 2.5, True", "x = 0, 1.5, False"}),
        ("def f(x: int = 1) -> int:\n    return x", {f"def f(x: int = {one}) -> int:\n    return x" for one in (0, 2)}
         | {"def f(x: int = 1) -> int:\n    return (None)"}),
        ("for x in y:\n    if x: continue", {"for x in y:\n    if x: break", "for x in y:\n    if not (x): continue"}),
        ("[x for x in y if x]", {"[x for x in y if not (x)]"}),
        ("raise x", {"pass"}),
        ("f(x, g(y))", {"pass"}),
        ("re.search(r'a+b?', x)", {"pass", "re.search(r'a*b?', x)", "re.search(r'a+b', x)"}),
        ("x = re.compile(r'(?<!a)[*+]\\*(?:b|c|d)')",
         {"x = re.compile(r'(?<=a)[*+]\\*(?:b|c|d)')", "x = re.compile(r'(?<!a)[*+]\\*(?:b|d)')",
          "x = re.compile(r'(?<!a)[*+]\\*(?:b|c)')"}),
        ("x = re.compile(rf'{a or b}\\d{{1,3}}')", set()),
        ("PART: Final = r'a*'", {"PART: Final = r'a+'"}),
        ("'a text with 1 + 1', f'{x + 1}'", set()),
        ("@cache(9)\nclass A(B, frozen=True):\n    x: int | None", set()),
        ("zip(a, strict=True) or 1", {"zip(a, strict=True) and 1", "zip(a, strict=True) or 0", "zip(a, strict=True) or 2"}),
    ],
)  # fmt: skip
def test_faults(faults: Any, source: str, made: set[str]) -> None:
    assert _made(faults, source) == made


def test_every_fault_of_the_package_changes_the_code(faults: Any) -> None:
    for file in sorted((SCRIPTS.parent.parent / "deepcritic" / "metrics").glob("*.py"))[:6]:
        source = file.read_bytes()
        plain = ast.dump(ast.parse(source))
        for one in faults(source):
            changed = source[: one.start] + one.new + source[one.end :]
            assert ast.dump(ast.parse(changed)) != plain, (file.name, one)


def test_what_is_called_equivalent_is_in_the_code() -> None:
    """A reason for a line that has changed is no reason any more."""
    root = SCRIPTS.parent.parent
    for file, reasons in json.loads((SCRIPTS / "equivalent.json").read_text("utf-8")).items():
        lines = {line.strip() for line in (root / file).read_text("utf-8").splitlines()}
        for place, reason in reasons.items():
            assert place.rpartition(" | ")[0] in lines, (file, place)
            assert reason

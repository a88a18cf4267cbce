"""Are two answers equal? Golden tables with and without algebra, public samples, and what a comparison needs."""

from __future__ import annotations

import gzip
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepcritic.answers import Comparison, compare
from deepcritic.answers.decide import decide
from deepcritic.answers.text import canonical

HERE = Path(__file__).resolve().parent.parent
GOLDEN: dict[str, list[dict[str, Any]]] = json.loads((HERE / "golden" / "answers.json").read_text("utf-8"))
ALGEBRA = importlib.util.find_spec("math_verify") is not None
needs_algebra = pytest.mark.skipif(not ALGEBRA, reason="math-verify is not installed: pip install 'deepcritic[answers]'")


@pytest.mark.parametrize("case", GOLDEN["decided"], ids=lambda case: case["source"])
def test_what_needs_no_algebra(case: dict[str, Any]) -> None:
    assert decide(case["prediction"], case["reference"]) is case["expected"]


@needs_algebra
def test_algebra() -> None:
    found = compare([(case["prediction"], case["reference"]) for case in GOLDEN["algebra"]], deadline=10)
    for case, result in zip(GOLDEN["algebra"], found, strict=True):
        assert result.equal is case["expected"], (case, result)


def test_nothing_heavy_is_imported_and_the_fast_path_needs_nothing(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['math_verify'] = None\n"
        "import importlib.util\n"
        "real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name: None if name == 'math_verify' else real(name)\n"
        "from deepcritic.answers import equivalent\n"
        "assert equivalent('1/2', '0.5') and equivalent('3', '4') is False\n"
        "assert not {'sympy', 'pebble', 'torch'} & set(sys.modules)\n"
        "try:\n    equivalent('x + 1', '1 + x')\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=HERE.parent, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("DeepCriticError"), done.stderr
    assert "deepcritic[answers]" in done.stdout


def test_compare_is_lazy() -> None:
    pulled = 0

    def pairs() -> Any:
        nonlocal pulled
        for number in range(1000):
            pulled += 1
            yield str(number), str(number)

    results = compare(pairs())
    assert next(results) == Comparison(True)
    assert pulled < 10
    results.close()  # type: ignore[attr-defined]


@needs_algebra
def test_qwen_samples(datasets_dir: Path) -> None:
    file = datasets_dir / "answer_equivalence" / "qwen_math_cot_samples_first50.jsonl.gz"
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    graded = [(text, row["gt"], score) for row in rows for text, score in zip(row["pred"], row["score"], strict=True)]
    results = compare([(text, reference) for text, reference, _ in graded], deadline=10)
    wrong = [(case, result) for case, result in zip(graded, results, strict=True) if result.equal is not case[2]]
    assert len(graded) == 400
    assert not wrong


@pytest.mark.parametrize("text", ["x+1", "$x$", "\\left(1, 2\\right)", "1,000", "\\text{no solution}", "$$"])
def test_canonical_is_stable(text: str) -> None:
    assert canonical(canonical(text)) == canonical(text)


def test_no_case_stands_in_the_code(datasets_dir: Path) -> None:
    """The checker may know rules, not the cases that it is measured by."""
    sources = "".join(file.read_text("utf-8") for file in (HERE.parent / "deepcritic" / "answers").glob("*.py"))
    packed = "".join(sources.split()).replace("\\\\", "\\")
    lines = (datasets_dir / "answer_equivalence" / "cases.jsonl").read_text("utf-8").split("\n")[:-1]
    texts = {"".join(text.split()) for line in lines for text in (json.loads(line)["gold"], json.loads(line)["pred"])}
    bodies = {text.strip("$") for text in texts} | texts
    assert len(bodies) > 150
    assert not [text for text in bodies if len(text) >= 6 and text in packed]

"""Are two answers equal? The golden table, its conventions, public samples, and what a comparison needs."""

from __future__ import annotations

import gzip
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deepcritic.answers import Comparison, Conventions, compare, equivalent
from deepcritic.answers.decide import at_once
from deepcritic.answers.spelling import spelled
from deepcritic.errors import InputError

HERE = Path(__file__).resolve().parent.parent
GOLDEN: dict[str, Any] = json.loads((HERE / "golden" / "answers.json").read_text("utf-8"))
PAIRS: dict[str, list[dict[str, Any]]] = GOLDEN["pairs"]
ALGEBRA = importlib.util.find_spec("math_verify") is not None
needs_algebra = pytest.mark.skipif(not ALGEBRA, reason="math-verify is not installed: pip install 'deepcritic[answers]'")


@needs_algebra
@pytest.mark.parametrize("kind", PAIRS)
def test_golden_pairs(kind: str) -> None:
    cases = PAIRS[kind]
    found = list(compare([(case["prediction"], case["reference"]) for case in cases], deadline=20))
    wrong = [(case, result) for case, result in zip(cases, found, strict=True) if result.equal is not case["expected"]]
    assert not [case for case, result in wrong if result.equal], "equal, and should not be"
    assert not wrong
    assert all(result.reason for result in found if result.equal is None)


def test_the_golden_table_is_broad_and_every_case_has_a_source() -> None:
    cases = [case for cases in PAIRS.values() for case in cases]
    assert len(cases) >= 1000
    assert all(case["source"] and case["prediction"] is not None for case in cases)
    assert len({(case["prediction"], case["reference"]) for case in cases}) == len(cases)


@needs_algebra
@pytest.mark.parametrize("case", GOLDEN["conventions"], ids=lambda case: f"{case['conventions']} {case['prediction']}")
def test_conventions(case: dict[str, Any]) -> None:
    conventions = Conventions(**case["conventions"])
    assert equivalent(case["prediction"], case["reference"], deadline=20, conventions=conventions) is case["expected"]


@pytest.mark.parametrize(("name", "value"), [("percent", "maybe"), ("lists", None), ("tolerance", -1.0), ("tolerance", 1.0)])
def test_conventions_that_do_not_exist(name: str, value: Any) -> None:
    with pytest.raises(InputError, match=name):
        Conventions(**{name: value})


@pytest.mark.parametrize(
    ("prediction", "reference", "equal"),
    [("420", "420", True), ("so \\boxed{420}.", "0420", True), ("1{,}000{,}000.50", "1000000.5", True), ("0.33", "1/3", False),
     ("-1\\frac{1}{2}", "-1.5", True), ("5\\text{ cm}", "5", True), ("B", "(A)", False), ("(1, 2)", "(1,3)", False),
     ("4210_6", "4210_5", False), ("12345678901234567891", "12345678901234567890", False)],
)  # fmt: skip
def test_what_needs_no_algebra(prediction: str, reference: str, equal: bool) -> None:
    assert at_once(prediction, reference) == Comparison(equal)


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


@pytest.mark.parametrize("text", ["x+1", "$x$", "\\left(1, 2\\right)", "1,000", "\\text{no solution}", "$$", "2½", "x**2"])
def test_one_spelling_is_stable(text: str) -> None:
    assert spelled(spelled(text)) == spelled(text)


def test_no_case_stands_in_the_code(datasets_dir: Path) -> None:
    """The checker may know rules, not the cases that it is measured by."""
    sources = "".join(file.read_text("utf-8") for file in (HERE.parent / "deepcritic" / "answers").glob("*.py"))
    packed = "".join(sources.split()).replace("\\\\", "\\")
    lines = (datasets_dir / "answer_equivalence" / "cases.jsonl").read_text("utf-8").split("\n")[:-1]
    texts = {"".join(text.split()) for line in lines for text in (json.loads(line)["gold"], json.loads(line)["pred"])}
    bodies = {text.strip("$") for text in texts} | texts
    assert len(bodies) > 150
    assert not [text for text in bodies if len(text) >= 6 and text in packed]

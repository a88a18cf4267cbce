"""Are two answers equal? Fast path, algebra, hostile input, and the life of the processes."""

from __future__ import annotations

import gzip
import importlib.util
import json
import logging
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from deepcritic.answers import Comparison, compare, equivalent
from deepcritic.answers.decide import decide
from deepcritic.answers.text import canonical

HERE = Path(__file__).parent
GOLDEN: dict[str, list[dict[str, Any]]] = json.loads((HERE / "golden" / "answers.json").read_text("utf-8"))
ALGEBRA = importlib.util.find_spec("math_verify") is not None
needs_algebra = pytest.mark.skipif(not ALGEBRA, reason="math-verify is not installed: pip install 'deepcritic[answers]'")
DEADLINE = 2.0
SLACK = 1.0  # for a busy machine
UNITS = ["\\text{ cm}", "\\text{ units}", " cm", " feet", "^\\circ", "^{\\circ}", "\\text{ m}^2", "\\mathrm{ kg}", " hours"]
FRAMES = ["{}", "{}", "${}$", "\\boxed{{{}}}", "so $\\boxed{{{}}}$.", "\\({}\\)", "{}.", " {} ", "\\left({}\\right)"]


def hostile() -> list[str]:
    return [
        case["text"] * case.get("times", 1) + case.get("then", "") + case.get("close", "") * case.get("times", 1)
        for case in GOLDEN["hostile"]
    ]


@pytest.mark.parametrize("case", GOLDEN["decided"], ids=lambda case: case["source"])
def test_what_needs_no_algebra(case: dict[str, Any]) -> None:
    assert decide(case["prediction"], case["reference"]) is case["expected"]


@needs_algebra
def test_algebra() -> None:
    found = compare([(case["prediction"], case["reference"]) for case in GOLDEN["algebra"]], deadline=10)
    for case, result in zip(GOLDEN["algebra"], found, strict=True):
        assert result.equal is case["expected"], (case, result)


@needs_algebra
def test_hostile_input_is_decided_or_undecided_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPCRITIC_SECRET", "canary")
    equivalent("x+1", "1+x")  # the first comparison also starts the processes
    for text in hostile():
        for pair in ((text, "5"), ("x^2 + 1", text)):
            started = time.monotonic()
            (result,) = compare([pair], deadline=DEADLINE)
            assert time.monotonic() - started < DEADLINE + SLACK, (text[:80], result)
            assert result.equal is not True, text[:80]
            assert result.equal is not None or result.reason, text[:80]
    assert not list(tmp_path.iterdir())


@needs_algebra
def test_equal_towers_are_not_called_different() -> None:
    assert equivalent("100^{5000000000}", "10^{10^{10}}") is None
    assert equivalent("10^{10^{10}}", "10^{10^{10}}.") is True


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


def generated_pairs(count: int, seed: int) -> list[tuple[str, str]]:
    """Pairs of numbers in many spellings, equal about half of the time and often nearly so."""
    draw = random.Random(seed)

    def spell(top: int, bottom: int) -> str:
        value = top / bottom
        forms = [f"\\frac{{{top}}}{{{bottom}}}", f"{top}/{bottom}", f"\\dfrac{{{top * 3}}}{{{bottom * 3}}}"]
        if top < 0:
            forms.append(f"-\\frac{{{-top}}}{{{bottom}}}")
        if bottom in (1, 2, 4, 5, 8, 10, 100):
            forms += [f"{value:.3f}", f"{value:.6f}".rstrip("0").rstrip("."), f"{value:.4f}"]
        if abs(top) > bottom > 1:
            sign = "-" if top < 0 else ""
            forms.append(f"{sign}{abs(top) // bottom}\\frac{{{abs(top) % bottom}}}{{{bottom}}}")
        if bottom == 1:
            grouped = f"{top:,}"
            forms += 2 * [str(top), grouped, grouped.replace(",", "{,}"), grouped.replace(",", ",\\!"), f"{top}.0", f"{top}."]
        text = draw.choice(forms)
        if draw.random() < 0.3:
            text += draw.choice(UNITS)
        return draw.choice(FRAMES).format(text)

    pairs = []
    for _ in range(count):
        bottom = draw.choice([1, 1, 1, 2, 3, 4, 5, 7, 8, 10, 100, 997])
        top = draw.choice([draw.randint(-20, 20), draw.randint(-999, 9999), draw.randint(-(10**9), 10**9)])
        other = (top, bottom) if draw.random() < 0.5 else (top + draw.choice([-1, 1, 10, 1000]), draw.choice([bottom, 1, 2]))
        pairs.append((spell(top, bottom), spell(*other)))
    return pairs


def bare(reference: str, prediction: str) -> bool | None:
    """math-verify alone, given dollars (and no final period) where a text has no delimiters; None where it reads nothing."""
    from math_verify import parse, verify

    def dressed(text: str) -> str:
        return text if any(sign in text for sign in ("$", "\\(", "\\[", "\\boxed")) else f"${text.strip().rstrip('.')}$"

    gold, target = parse(dressed(reference)), parse(dressed(prediction))
    if verify(gold, target):
        return True
    return None if any(all(isinstance(value, str) for value in found) for found in (gold, target)) else False


@needs_algebra
def test_the_fast_path_agrees_with_math_verify() -> None:
    logging.getLogger("math_verify").setLevel(logging.CRITICAL)
    decided = 0
    for prediction, reference in generated_pairs(int(os.environ.get("DEEPCRITIC_PAIRS", "300")), seed=1):
        quick = decide(prediction, reference)
        plain = None if quick is None else bare(reference, prediction)
        if plain is not None:
            decided += 1
            assert quick is plain, (prediction, reference)
    assert decided > 0.5 * int(os.environ.get("DEEPCRITIC_PAIRS", "300"))


@needs_algebra
def test_upstream_cases(datasets_dir: Path) -> None:
    """At least as many right as math-verify alone in the same run, whichever way it is called."""
    from math_verify import parse, verify

    file = datasets_dir / "answer_equivalence" / "cases.jsonl"
    rows = [row for row in map(json.loads, file.read_text("utf-8").split("\n")[:-1]) if row["flag"] is None]
    ours = list(compare([(row["pred"], row["gold"]) for row in rows], deadline=10))
    right = sum(result.equal is row["equivalent"] for result, row in zip(ours, rows, strict=True))
    plain = sum(verify(parse(row["gold"]), parse(row["pred"])) is row["equivalent"] for row in rows)
    dressed = sum(bool(bare(row["gold"], row["pred"])) is row["equivalent"] for row in rows)
    assert right >= max(plain, dressed), (right, plain, dressed, len(rows))


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

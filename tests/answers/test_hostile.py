"""Input that would hang, exhaust or run something: decided or undecided within the deadline, and without a trace."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepcritic.answers import compare, equivalent
from deepcritic.answers.decide import at_once
from deepcritic.answers.pool import workers
from deepcritic.answers.too_big import text_too_big

pytest.importorskip("math_verify", reason="pip install 'deepcritic[answers]'")
HOSTILE: list[dict[str, Any]] = json.loads(
    (Path(__file__).resolve().parent.parent / "golden" / "hostile_answers.json").read_text("utf-8")
)
DEADLINE = 2.0
SLACK = 0.5  # for this process on a busy machine; a worker ends before its deadline
INJECTIONS = (
    "__import__('os').system('touch {marker}')",
    '1/(lambda: exec(\'open("{marker}", "w")\'))()',
    "open('{marker}', 'w').write(__import__('os').environ['DEEPCRITIC_SECRET'])",
    "().__class__.__base__.__subclasses__()[-1].__init__.__globals__['os'].system('touch {marker}')",
    "Symbol('x').func.__globals__['__builtins__']['open']('{marker}','w')",
    "sympify(\"open('{marker}','w')\")",
    "\\immediate\\write18{{touch {marker}}}",
    "\\input{{/proc/self/environ}}",
    "2 + eval(\"open('{marker}', 'w') and 3\")",
    "7;touch {marker}",
    "$(touch {marker})",
    "{{{{config.__class__.__init__.__globals__['os'].popen('touch {marker}')}}}}",
    "%(DEEPCRITIC_SECRET)s {{0.__class__}} ${{DEEPCRITIC_SECRET}}",
)
SIGNS = "0123456789xyae+-*/^_!=<>,.;:()[]{}|\\ $%&~'\"\n\t\u221a\u00b2\u03c0\u2212\u00bd\ud800\U0001d7d9"
PIECES = (
    "\\frac",
    "\\sqrt",
    "\\boxed{",
    "\\left(",
    "\\right)",
    "^{",
    "}",
    "\\int",
    "\\sum_{",
    "\\text{",
    "\\pm",
    "\\%",
    "99999",
    "!",
)
texts = st.lists(st.sampled_from([*SIGNS, *PIECES]), max_size=60).map("".join) | st.text(max_size=40)


def spelled(case: dict[str, Any]) -> str:
    times = case.get("times", 1)
    return str(case["text"] * times + case.get("then", "") + case.get("close", "") * times)


@pytest.mark.parametrize("case", HOSTILE, ids=lambda case: case["text"][:20])
def test_hostile_input_is_decided_or_undecided_in_time(case: dict[str, Any]) -> None:
    equivalent("x+1", "1+x")  # the first comparison also starts the processes
    text = spelled(case)
    for pair in ((text, "5"), ("x^2 + 1", text)):
        started = time.monotonic()
        (result,) = compare([pair], deadline=DEADLINE)
        assert time.monotonic() - started < DEADLINE + SLACK, (text[:80], result)
        assert result.equal is not True, text[:80]
        assert result.equal is not None or result.reason, text[:80]


@pytest.mark.parametrize("text", ["224" + "\\\\" * 1900 + "pi", "1" + "3" * 3300 + "a", "2 " + "g " * 360])
def test_what_needs_no_algebra_takes_little_time(text: str) -> None:
    at_once("x", "2 cm")  # compiles the patterns
    started = time.thread_time()
    at_once(text, "1000")
    assert time.thread_time() - started < 0.05


def test_equal_towers_are_not_called_different() -> None:
    assert equivalent("100^{5000000000}", "10^{10^{10}}") is None
    assert equivalent("10^{10^{10}}", "10^{10^{10}}.") is True


@pytest.mark.parametrize(
    "text", ["2^{2^{2}}", "0^{9999999}", "1^{9^{9^9}}", "0.5^{9999999}", "x^{1000000}", "\\sum_{k=1}^{2024} k", "99999!"]
)
def test_what_can_be_worked_out_is_tried(text: str) -> None:
    assert not text_too_big(f"${text}$")


@pytest.mark.parametrize("frame", ["{}", "${}$", "\\boxed{{{}}}", "\\text{{{}}}", "The answer is {}.", "\\[{}\\]", "x + {}"])
def test_injections_leave_no_trace(frame: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DEEPCRITIC_SECRET", "canary-7261")
    workers().close()  # so that new ones start here, with the secret around them
    marker = tmp_path / "marker"
    attacks = [frame.format(attack.format(marker=marker)) for attack in INJECTIONS]
    found = list(compare([pair for attack in attacks for pair in ((attack, "5"), ("x + 1", attack))], deadline=DEADLINE))
    assert not list(tmp_path.iterdir())
    assert not [result for result in found if result.equal or "canary" in result.reason or "forbidden" in result.reason]
    environments = [Path(f"/proc/{pid}/environ").read_bytes() for pid in workers().pids()]
    assert len(environments) >= 2
    assert not [environment for environment in environments if b"canary" in environment]


CLOSED = """
import sys
import deepcritic.answers.algebra as algebra
algebra.close_and_bound()
import sympy, sympy.parsing.sympy_parser as parser, subprocess, socket, os
sys.addaudithook(algebra.forbid)
text = "__import__('os').getpid()"
tries = {
    "parse_expr": lambda: parser.parse_expr(text), "sympify": lambda: sympy.sympify(text), "S": lambda: sympy.S(text),
    "eval_expr": lambda: parser.eval_expr(text, {}, {}), "eval": lambda: eval(text), "exec": lambda: exec(text),
    "compile": lambda: compile(text, "<string>", "eval"), "lambdify": lambda: sympy.lambdify([], text)(),
    "open": lambda: open(sys.argv[1], "w"), "append": lambda: open(sys.argv[1], "a"), "fork": os.fork,
    "os.open": lambda: os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY), "remove": lambda: os.remove(sys.argv[0]),
    "system": lambda: os.system("true"), "popen": lambda: subprocess.run(["true"]),
    "connect": lambda: socket.create_connection(("127.0.0.1", 9)),
}
for name, attempt in tries.items():
    try:
        attempt()
        print("it could", name)
    except algebra.Undecided:
        pass
    except Exception as error:
        if type(error).__name__ not in ("ValueError", "SympifyError"):
            print(name, type(error), error)
print("closed")
"""


def test_a_worker_can_neither_evaluate_nor_write_nor_start_anything(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(CLOSED, "utf-8")
    done = subprocess.run([sys.executable, script, tmp_path / "made"], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "closed\n", done.stdout + done.stderr
    assert not (tmp_path / "made").exists()


@settings(max_examples=150, deadline=None)
@given(texts, texts)
def test_any_text_is_decided_or_says_why(prediction: str, reference: str) -> None:
    (result,) = compare([(prediction, reference)], deadline=DEADLINE)
    assert result.equal is not None or result.reason
    assert not result.reason.startswith(("forbidden", "died"))

"""Boxes and thoughts."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.text.parsing import last_boxed, strip_thinking

GOLDEN: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parent.parent / "golden" / "parsing.json").read_text("utf-8")
)
CHECKS = {"last_boxed": last_boxed, "strip_thinking": strip_thinking}
PIECES = [*"{}\\ab1 \n", "\\boxed{", "<think>", "</think>", "Step 1: ", "Step 2: ", "\\[", "\\]", "```"]
NOISY = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)


@pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(name, case, id=f"{name}-{number}") for name, cases in GOLDEN.items() for number, case in enumerate(cases)],
)
def test_golden(name: str, case: dict[str, Any]) -> None:
    found = CHECKS[name](case["text"])
    assert (list(found) if isinstance(found, tuple) else found) == case["expected"], case["source"]


@given(st.recursive(st.text("ab1 $^"), lambda inner: st.lists(inner, max_size=3).map(lambda parts: "{" + "".join(parts) + "}")))
def test_balanced_content_is_read_back(content: str) -> None:
    assert last_boxed(f"so \\boxed{{0}} or \\boxed{{{content}}}.") == content


@given(NOISY)
def test_a_box_is_found_where_a_slow_reader_finds_it(text: str) -> None:
    assert last_boxed(text) == _slow_last_boxed(text)


@given(NOISY, NOISY)
def test_a_later_box_wins(before: str, after: str) -> None:
    text = before + "\n\\boxed{7}" + after.replace("\\boxed", "")
    if not before.endswith("\\"):
        assert last_boxed(text) == "7"


def _slow_last_boxed(text: str) -> str | None:
    """By hand: from the last opening backwards, count braces."""
    for start in range(len(text), -1, -1):
        head = text[start:]
        if not head.startswith("\\boxed"):
            continue
        at = start + len("\\boxed")
        while at < len(text) and text[at].isspace():
            at += 1
        if text[at : at + 1] != "{":
            continue
        at += 1
        begin, depth = at, 1
        while at < len(text):
            if text[at : at + 2] in ("\\{", "\\}"):
                at += 2
                continue
            if text[at] == "\\" and text[at + 1 : at + 2] == "\\" and not _is_box(text, at + 1):
                at += 2
                continue
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            if depth == 0:
                return text[begin:at]
            at += 1
    return None


def _is_box(text: str, at: int) -> bool:
    return text.startswith("\\boxed", at) and text[at + 6 :].lstrip()[:1] == "{"


@pytest.mark.parametrize(
    "piece", ["\\boxed{", "{", "}", "\\boxed{}", "\\", "\\boxed ", "<think>", "</think>", "Step 1: ", "Step 1:\n"]
)
def test_time_is_linear_for_boxes_and_thoughts(piece: str) -> None:
    text = "\\boxed{1} " + piece * (2_000_000 // len(piece))
    began = time.process_time()
    last_boxed(text)
    strip_thinking(text)
    assert time.process_time() - began < 10


@given(NOISY)
def test_thoughts_leave_no_tag(text: str) -> None:
    rest = strip_thinking(text)
    assert rest is None or "</think>" not in rest.replace("<think>", "")
    if "think>" not in text:
        assert rest == text


def test_a_thought_that_the_template_opened() -> None:
    assert strip_thinking("still thinking", opened=True) is None
    assert strip_thinking("thought</think>\n\nanswer", opened=True) == "answer"

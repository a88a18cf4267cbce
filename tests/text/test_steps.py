"""Steps: every layout falls into its steps, no formula is cut, and each step knows its place in the text."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.text.protected_spans import protected
from deepcritic.text.steps import UNSEEN, find_steps, split_steps, strip_heading

GOLDEN: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent.parent / "golden" / "steps.json").read_text("utf-8"))
PIECES = [
    *"ab1 .\n\n\n", "\n\n", "Step 1: ", "Step 2: ", "\nStep 3", "\n1. ", "\n2. ", "\n- ", "\\[", "\\]", "$$", "```",
    "\\begin{align}", "\\end{align}",
    "**", "<step_1>", "</step_1>", "<step_2>", "\\n", "第一步：", "\u200b", "\xa0", "\\item ", "\\textbf{", "}", "\r\n",
]  # fmt: skip
NOISY = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
CHECKS = {"split_steps": split_steps, "strip_heading": strip_heading}


@pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(name, case, id=f"{name}-{number}") for name, cases in GOLDEN.items() for number, case in enumerate(cases)],
)
def test_golden(name: str, case: dict[str, Any]) -> None:
    found = CHECKS[name](case["text"])
    assert (list(found) if isinstance(found, tuple) else found) == case["expected"], case["source"]


@pytest.mark.parametrize(
    "piece", [" ", "\n", "\\[", "\\]", "```", "\n```", "\n   ```", "**", "Step 1:\n", "step ", "# ", "\t**  ", "\\[ \n\n"]
)
def test_time_is_linear_for_steps(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    began = time.process_time()
    split_steps(text)
    split_steps("Step 1:" + text)
    strip_heading("step 1" + text)
    assert time.process_time() - began < 10


STEP = st.text(alphabet="ab1 =+.\n", min_size=1).map(str.strip).filter(bool)
HEADINGS = ["Step {}: ", "**Step {}:** ", "### Step {}\n", "STEP {}. ", "  step {}) ", "**Step {}.** ", "Step {} - "]


@given(st.lists(STEP, min_size=1), st.sampled_from(HEADINGS))
def test_numbered_steps_come_back(steps: list[str], heading: str) -> None:
    text = "\n".join(heading.format(number) + step for number, step in enumerate(steps, start=1))
    assert split_steps(text) == steps


@given(st.lists(STEP.filter(lambda step: "\n" not in step), min_size=1))
def test_paragraphs_come_back(steps: list[str]) -> None:
    assert split_steps("\n\n".join(steps)) == steps


@given(NOISY)
def test_steps_are_stripped_and_never_empty(text: str) -> None:
    assert all(step and step == step.strip() for step in split_steps(text))


@given(st.text(alphabet="ab1 .\n"))
def test_text_without_a_heading_stays(text: str) -> None:
    assert strip_heading(text) == (None, text)


LAYOUTS = {
    "headings": ["Step {}: {}", "**Step {}:** {}", "### Step {}\n{}", "step {}. {}", "- **Step {}:** {}", "> Step {}: {}",
                 "[Step {}] {}",
                 "\\textbf{{Step {}:}} {}", "步骤{}：{}", "第{}步：{}", "Step #{}: {}", "Step\xa0{}:\xa0{}", "\u200bStep {}: {}",
                 "Step {}—{}",
                 "*Step {}:* {}", "<b>Step {}</b>: {}", "Step {}) {}", "STEP {} - {}", "Schritt {}: {}",
                 "\\section*{{Step {}}}\n{}"],
    "list": ["{}. {}", "{}) {}", "({}) {}", "{}、{}", "**{}.** {}", "### {}. {}"],
    "tags": ["<step_{}>\n{}\n</step_{}>", "<step {}>{}</step>", "<paragraph_{}>{}</paragraph_{}>"],
}  # fmt: skip
WORDS = st.text(alphabet="ab=+x", min_size=1, max_size=8)
MATHS = st.sampled_from(
    [
        "$$a\n\n= b$$",
        "\\[\na\n\n= b\n\\]",
        "\\begin{align}\na\n\n\\end{align}",
        "```\nStep 9: x\n\n1. y\n```",
        "\\begin{cases}a\n\nb\\end{cases}",
    ]
)
SOLUTIONS = st.lists(WORDS | st.tuples(WORDS, MATHS, WORDS).map("\n".join), min_size=2, max_size=6)


@given(
    steps=SOLUTIONS,
    layout=st.sampled_from([one for some in LAYOUTS.values() for one in some]),
    gap=st.sampled_from(["\n", "\n\n", "\r\n"]),
)
def test_every_layout_falls_into_its_steps(steps: list[str], layout: str, gap: str) -> None:
    text = gap.join(layout.format(number, step, number) for number, step in enumerate(steps, start=1))
    assert split_steps(text) == steps, text


@given(SOLUTIONS)
def test_paragraphs_with_formulas_come_back(steps: list[str]) -> None:
    assert split_steps("\n\n".join(steps)) == steps


@given(NOISY)
def test_all_that_can_be_seen_is_in_one_step(text: str) -> None:
    steps = find_steps(text)
    places = [place for step in steps for place in range(step.start, step.end)]
    assert places == sorted(set(places))
    if steps and ("\n" in text or "\\n" not in text):
        seen = {place for place, sign in enumerate(text) if sign not in UNSEEN}
        assert seen <= {*places}
    for step in steps:
        assert step.text == step.text.strip(UNSEEN) != ""
        assert text[step.start : step.end] == text[step.start : step.end].strip(UNSEEN) != ""


@given(NOISY)
def test_no_step_begins_within_a_formula_or_a_fence(text: str) -> None:
    if "\n" in text:
        starts = [step.start for step in find_steps(text)[1:]]
        assert not [start for start in starts for begins, ends in protected(text) if begins < start < ends]


@given(NOISY)
def test_a_step_is_what_stands_in_its_place(text: str) -> None:
    if "\n" not in text or "<" in text or "\\item" in text or "**" in text or "textbf" in text:
        return  # marks of tags and lists go, and those of emphasis may move
    steps = find_steps(text)
    assert all(text[step.start : step.end].endswith(step.text) for step in steps[1:])


@given(st.lists(WORDS, min_size=2, max_size=5))
def test_line_ends_that_were_written_out_keep_their_places(steps: list[str]) -> None:
    text = "\\n\\n".join(f"{step}." for step in steps)
    assert (
        [text[step.start : step.end] for step in find_steps(text)]
        == [step.text for step in find_steps(text)]
        == text.split("\\n\\n")
    )


HOSTILE = [
    "1. ",
    "1.\n",
    "<step_1>",
    "</step>",
    "\\begin{a}",
    "\\end{a}",
    "$$",
    "$$\n\n",
    "\\item\n",
    "\\n",
    "- \n",
    "Step 1/",
    "> ",
    "step 1 (",
    "～～",
    "~~~\n",
    "第",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_time_is_linear_for_layouts(piece: str) -> None:
    text = piece * (400_000 // len(piece))
    began = time.process_time()
    find_steps(text)
    find_steps("Step 1: " + text)
    find_steps("1. a\n2. b\n" + text)
    assert time.process_time() - began < 10

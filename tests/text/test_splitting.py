"""Sentences as steps: places stay, formulas are whole, and there are as many steps as asked for."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.errors import InputError
from deepcritic.text.protected_spans import protected
from deepcritic.text.splitting import joined, pieces, sentences, split_by_rule
from deepcritic.text.steps import UNSEEN

PIECES = [
    *"aB1 .\n",
    "One. ",
    "Two? ",
    "$x. Y$",
    "\\(a. B\\)",
    "$$a.\n\nB$$",
    "<think>",
    "</think>",
    "。",
    "e.g. ",
    "Fig. ",
    "1. ",
    "```\nA. B\n```\n",
]
NOISY = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Add 2 and 3. Get 5.\nMultiply by 4. Get 20.", ["Add 2 and 3.", "Get 5.", "Multiply by 4.", "Get 20."]),
        ("首先，2+3=5。然后，5*4=20。", ["首先，2+3=5。", "然后，5*4=20。"]),
        ("It costs $5. Then $6. So $11.", ["It costs $5.", "Then $6.", "So $11."]),
        ("Let $x. Y$ be 2.5 long, e.g. Here. So \\(a. B\\) is.", ["Let $x. Y$ be 2.5 long, e.g. Here.", "So \\(a. B\\) is."]),
        ("By Thm. 2 it holds. See Fig. 3.", ["By Thm. 2 it holds.", "See Fig. 3."]),
        ("It holds", ["It holds"]),
    ],
)
def test_sentences(text: str, expected: list[str]) -> None:
    assert [step.text for step in split_by_rule(text)] == expected


@given(NOISY, st.integers(2, 5))
def test_places_number_and_formulas(text: str, most: int) -> None:
    steps = split_by_rule(text, most=most)
    assert len(steps) <= most
    places = [place for step in steps for place in range(step.start, step.end)]
    assert places == sorted(set(places))
    starts = [step.start for step in steps[1:]]
    shown = text.replace("<think>", "\n\n".ljust(7)).replace("</think>", "\n\n".ljust(8))
    assert not [start for start in starts for begins, ends in protected(shown) if begins < start < ends]
    assert all(shown[step.start : step.end].endswith(step.text.rpartition("\n")[2]) for step in steps)


@given(NOISY)
def test_sentences_are_the_whole_text(text: str) -> None:
    found = sentences(text)
    assert "".join("".join(text[one.start : one.end] for one in found).split()) == "".join(text.split())
    assert [one.text for one in found] == [text[one.start : one.end] for one in found]
    if found and "think>" not in text:  # the tags of a thought go
        (whole,) = joined(text, found, [0])
        assert whole.text == text.strip(UNSEEN)


@given(NOISY, st.integers(1, 6))
def test_pieces_for_a_model(text: str, most: int) -> None:
    assert len(pieces(text, most)) <= most


def test_more_steps_than_allowed() -> None:
    with pytest.raises(InputError, match="least: least exceeds most; found 5; expected 1 to 3"):
        split_by_rule("a", least=5, most=3)


@pytest.mark.parametrize("piece", ["A. ", "$", "$a", "\\(", "a.\n", ". ", "<think>", "$$", "1. "])
def test_time_is_linear(piece: str) -> None:
    text = piece * (300_000 // len(piece))
    began = time.process_time()
    split_by_rule(text)
    assert time.process_time() - began < 10

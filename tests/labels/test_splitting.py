"""Solutions split by a model: which replies are read, which rows may be split, and where a step stands in the text."""

from __future__ import annotations

import pytest

from deepcritic.labels.splitting import divided, fault_of, has_no_steps, place_of, read, written
from deepcritic.schema import ALL_CORRECT, UNLABELLED, Example, Generation, Gold, Item, Key
from deepcritic.text.splitting import pieces, split_by_rule

TEXT = "First 2 * 3 = 6.\nThen 6 + 1 = 8.\nSo x = 8.\nDone."
ROW = Example(id="a", item=Item(problem="p", steps=(TEXT,)), gold=Gold(first_error=ALL_CORRECT, step_ratings=(1,)), source="made")


def _reply(text: str, finish: str = "stop") -> Generation:
    key = Key(example_id="a", request="split")
    return Generation(key=key, text=text, finish_reason=finish, model="m", fingerprint="", seed=0)


def _read(text: str, least: int = 1, most: int = 9) -> list[str] | None:
    steps = read(_reply(text), TEXT, least=least, most=most)
    return None if steps is None else [step.text for step in steps]


def test_the_numbers_in_the_box_begin_the_steps() -> None:
    assert len(pieces(TEXT)) == 4
    assert _read("\\boxed{1, 3}") == ["First 2 * 3 = 6.\nThen 6 + 1 = 8.", "So x = 8.\nDone."]
    assert _read("\\boxed{ 1;3 , 4 }") == ["First 2 * 3 = 6.\nThen 6 + 1 = 8.", "So x = 8.", "Done."]
    assert _read("\\boxed{3}") == _read("\\boxed{1, 3}"), "the first step begins with the first piece"
    assert _read("<think>\\boxed{1}</think>\\boxed{1, 2}") == ["First 2 * 3 = 6.", "Then 6 + 1 = 8.\nSo x = 8.\nDone."]
    assert _read("\\boxed{1,2,3,4}") == TEXT.split("\n")


@pytest.mark.parametrize(
    "text",
    ["1, 3", "\\boxed{}", "\\boxed{1, x}", "\\boxed{1 3}", "\\boxed{3, 1}", "\\boxed{1, 3, 3}", "\\boxed{1, 5}", "\\boxed{0, 2}",
     "<think>\\boxed{1, 3}", "\\boxed{1, 3,}", "\\boxed{-1, 3}"],
)  # fmt: skip
def test_what_cannot_be_read_is_no_split(text: str) -> None:
    assert _read(text) is None


def test_a_reply_that_is_cut_or_missing_is_no_split() -> None:
    assert read(_reply("\\boxed{1, 3}", "length"), TEXT, least=1, most=9) is None
    assert read(None, TEXT, least=1, most=9) is None


def test_too_few_and_too_many_steps() -> None:
    assert [_read("\\boxed{1, 3}", least, most) is None for least, most in ((2, 2), (3, 9), (1, 1))] == [False, True, True]


def test_which_rows_are_split() -> None:
    def row(steps: tuple[str, ...], first_error: int = ALL_CORRECT) -> Example:
        return Example(id="a", item=Item(problem="p", steps=steps), gold=Gold(first_error=first_error), source="made")

    assert [has_no_steps(row(("s",) * count), 2) for count in (0, 1, 2, 3)] == [False, True, False, False]
    assert fault_of(row(("s",))) is None
    assert (
        fault_of(Example(id="a", item=Item(problem="p", steps=("s",)), gold=Gold(first_error=UNLABELLED), source="made")) is None
    )
    assert fault_of(row(("s",), 1)) == "the label refers to its steps"


def test_a_step_is_found_in_the_text_and_ratings_of_the_old_steps_go() -> None:
    assert written(divided(ROW, split_by_rule(TEXT))) != ""
    found = divided(ROW, split_by_rule(written(ROW)))
    assert len(found.item.steps) > 1
    assert found.gold.step_ratings is None
    assert found.gold.first_error == ALL_CORRECT
    assert [place_of(found.item, at) for at in range(1, len(found.item.steps) + 1)] == list(found.item.steps)
    assert place_of(found.item, 0) is None
    assert place_of(found.item, len(found.item.steps) + 1) is None
    for meta in (
        {},
        {"spans": [[0, 5]]},
        {"solution": TEXT},
        {"spans": "x", "solution": TEXT},
        {"spans": [[0, 5]], "solution": 3},
    ):
        assert place_of(Item(problem="p", steps=("First",), meta=meta), 1) is None
    assert place_of(Item(problem="p", steps=("First",), meta={"spans": [[0, 5]], "solution": TEXT}), 1) == "First"

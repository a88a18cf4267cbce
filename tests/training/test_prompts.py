"""Which prompts a batch of RL holds, and how their replies are judged."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.schema import ALL_CORRECT, WITH_ERROR, WITHOUT_ERROR, Example, Gold, Item
from deepcritic.tasks.base import Question
from deepcritic.tasks.first_error import FirstError
from deepcritic.training.prompts import Prompt, balance, balanced_batches, prompt_of


def _prompts(*strata: str) -> list[Prompt]:
    return [Prompt(id=f"p{at}", question=Question(messages=()), gold=None, stratum=name) for at, name in enumerate(strata)]


@pytest.mark.parametrize(
    ("right", "wrong", "share", "expected"),
    [(6, 6, 0.5, (6, 6)), (8, 3, 0.5, (3, 3)), (3, 8, 0.5, (3, 3)), (6, 6, 0.25, (2, 6)), (9, 3, 0.25, (1, 3)),
     (4, 5, None, (4, 5)), (4, 5, 0.0, (0, 5)), (4, 5, 1.0, (4, 0)), (0, 5, 0.5, (0, 0))],
)  # fmt: skip
def test_balance(right: int, wrong: int, share: float | None, expected: tuple[int, int]) -> None:
    prompts = _prompts(*[WITHOUT_ERROR, WITH_ERROR] * min(right, wrong), *[WITHOUT_ERROR] * (right - wrong))
    prompts = _prompts(*[prompt.stratum for prompt in prompts], *[WITH_ERROR] * (wrong - right))
    kept = balance(prompts, share)
    found = Counter(prompt.stratum for prompt in kept)
    assert (found[WITHOUT_ERROR], found[WITH_ERROR]) == expected
    assert [prompt for prompt in prompts if prompt in kept] == kept, "in their order"


def test_a_task_without_these_classes_keeps_its_prompts() -> None:
    prompts = _prompts("pairs", "pairs", "triples")
    assert balance(prompts, 0.5) == prompts
    assert balance([], 0.5) == []


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=60), st.integers(1, 12), st.integers(0, 3))
def test_every_batch_holds_the_classes_in_their_shares(strata: list[str], size: int, seed: int) -> None:
    batches = list(balanced_batches(strata, size, seed))
    assert [len(batch) for batch in batches] == [size] * (len(strata) // size)
    places = [place for batch in batches for place in batch]
    assert len(set(places)) == len(places), "each prompt once"
    classes = Counter(strata)
    for batch in batches:
        found = Counter(strata[place] for place in batch)
        for name, count in classes.items():
            assert abs(found[name] - size * count / len(strata)) < 2
    assert batches == list(balanced_batches(strata, size, seed)), "the same seed gives the same batches"


def test_two_equal_classes_halve_every_batch() -> None:
    strata = ["right"] * 40 + ["wrong"] * 40
    orders = {seed: list(balanced_batches(strata, 8, seed)) for seed in range(2)}
    assert all(Counter(strata[place] for place in batch) == {"right": 4, "wrong": 4} for batch in orders[0])
    assert orders[0] != orders[1]


def test_a_prompt_knows_its_class_and_unlabelled_rows_are_none() -> None:
    task = FirstError()
    item = Item(problem="1 + 1?", steps=("1 + 1 = 3",))
    rows = [Example(id="a", item=item, gold=gold, source="made") for gold in (Gold(first_error=1), Gold(first_error=ALL_CORRECT))]
    prompts = [prompt_of(row, task, 0) for row in rows]
    assert [prompt and prompt.stratum for prompt in prompts] == [WITH_ERROR, WITHOUT_ERROR]
    assert prompt_of(Example(id="a", item=item, source="made"), task, 0) is None

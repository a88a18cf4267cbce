"""Which sample is taken, and that neither the waves nor a kill decide it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepcritic.runs.folder import RunFolder
from deepcritic.samplers.base import Sampling
from deepcritic.samplers.resume import Draws
from deepcritic.schema import Example, Gold, Item
from deepcritic.seeding import prompts as calls
from deepcritic.seeding.best_of_n import Answers, Chosen, ask
from deepcritic.seeding.prompts import prompt_of, recheck, step_call
from deepcritic.seeding.solutions import Material, Place

RIGHT, WRONG, NOTHING, DOWN = "fine. \\boxed{1}", "no. \\boxed{-1}", "hm", None
SAMPLES = 6
PLACES = [Place("x", 1), Place("x", 2), Place("y", 1)]
Replies = dict[Place, list[str | None]]
REPLIES = st.fixed_dictionaries(
    {place: st.lists(st.sampled_from([RIGHT, WRONG, NOTHING]), min_size=SAMPLES, max_size=SAMPLES) for place in PLACES}
)


def _material() -> Material:
    rows = [("x", ("a", "b")), ("y", ("a",))]
    gold = {name: Gold(first_error=-1, step_ratings=(1,) * len(steps)) for name, steps in rows}
    return Material(
        Example(id=name, item=Item(problem=name, steps=steps), gold=gold[name], source="made") for name, steps in rows
    )


@pytest.fixture
def asked(tmp_path: Path, scripted_sampler: Any) -> Callable[..., tuple[Answers, int]]:
    """`asked(replies, wave)`: the answers, and how many samples the teacher was asked for."""
    count = 0

    def run(replies: Replies, wave: int, *, path: Path | None = None, **changes: Any) -> tuple[Answers, int]:
        nonlocal count
        count += 1
        sampler = scripted_sampler(lambda key: replies[Place(key.example_id, key.step)][key.sample])
        prompt = prompt_of(None, calls.INITIAL, "", None)
        call = step_call("some", "some critique", prompt, _material(), Sampling(), SAMPLES, wave)
        with contextlib.ExitStack() as stack:
            folder = stack.enter_context(RunFolder(path or tmp_path / str(count), stage="seed", config={}))
            draws = stack.enter_context(Draws(folder))
            answers = ask(replace(call, **changes), PLACES, draws, sampler, seed=3)
        return answers, sum(len(request.keys) for request in sampler.asked)

    return run


def _by_definition(replies: list[str | None]) -> tuple[int, bool] | None:
    readable = [(sample, text == RIGHT) for sample, text in enumerate(replies) if text in (RIGHT, WRONG)]
    return next((choice for choice in readable if choice[1]), readable[0] if readable else None)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(replies=REPLIES, wave=st.integers(1, SAMPLES))
def test_the_first_that_agrees_is_taken_whatever_the_wave(asked: Any, replies: Replies, wave: int) -> None:
    answers, drawn = asked(replies, wave)
    for place in PLACES:
        expected, chosen = _by_definition(replies[place]), answers.chosen.get(place)
        if expected is None:
            assert chosen is None
            assert answers.refused[place] == calls.UNPARSED
        else:
            text = replies[place][expected[0]]
            assert text is not None
            assert chosen == Chosen(f"{place.example_id}|some|{place.step}|{expected[0]}", text, expected[1])
    needed = [replies[place].index(RIGHT) + 1 if RIGHT in replies[place] else SAMPLES for place in PLACES]
    assert drawn == sum(min(SAMPLES, -(-count // wave) * wave) for count in needed), "whole waves until one agrees"
    full, everything = asked(replies, SAMPLES)
    assert (full.chosen, full.refused, full.reasons, full.first) == (
        answers.chosen, answers.refused, answers.reasons, answers.first,
    )  # fmt: skip
    assert everything == SAMPLES * len(PLACES)
    saved = answers.saved(SAMPLES)
    assert saved["samples_drawn"] == drawn
    assert saved["samples_saved"] == everything - drawn
    assert saved["tokens_drawn"] == 10 * drawn
    assert saved["tokens_saved"] == 10 * (everything - drawn)


def test_a_draw_that_failed_is_nobodys_verdict_and_is_drawn_again(asked: Any, tmp_path: Path) -> None:
    replies: Replies = {PLACES[0]: [WRONG, DOWN, RIGHT], PLACES[1]: [RIGHT, DOWN, RIGHT], PLACES[2]: [WRONG, WRONG, RIGHT]}
    replies = {place: [*texts, RIGHT, RIGHT, RIGHT] for place, texts in replies.items()}
    answers, _ = asked(replies, 3, path=tmp_path / "again")
    assert answers.failed == {PLACES[0]}, "a later sample must not take the place of one that may yet agree"
    assert answers.chosen[PLACES[1]].key.endswith("|0"), "what failed behind the choice is of no consequence"
    assert answers.chosen[PLACES[2]].key.endswith("|2")
    mended = {**replies, PLACES[0]: [WRONG, RIGHT, RIGHT]}
    answers, drawn = asked(mended, 3, path=tmp_path / "again")
    assert answers.chosen[PLACES[0]].key.endswith("|1")
    assert not answers.failed
    assert drawn == 2, "only what failed"


def test_a_text_that_may_not_be_taken_is_drawn_again(asked: Any) -> None:
    told = "As the first critique says: fine. \\boxed{1}"
    replies: Replies = {PLACES[0]: [told, told, RIGHT], PLACES[1]: [WRONG] * 3, PLACES[2]: [NOTHING, told, told]}
    answers, drawn = asked(replies, 1, samples=3, refuse=recheck)
    assert answers.chosen.keys() == {PLACES[0]}
    assert answers.refused[PLACES[1]] == calls.WRONG
    assert answers.refused[PLACES[2]] == calls.GIVEN_AWAY
    assert answers.reasons == {calls.GIVEN_AWAY: 4, calls.WRONG: 3, calls.UNPARSED: 1}
    assert drawn == 9
    assert answers.accuracy() == {"asked": 3, "accuracy": 1 / 3}, "of the first samples, as the teacher wrote them"

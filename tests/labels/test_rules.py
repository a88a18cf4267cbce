"""The rules of step labels: a table by hand, each rule against its plain definition, and reading against drawing everything."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepcritic.errors import InputError
from deepcritic.labels.rules import RULES, Count, Discard, Label, Table, Wanted, decide, replay, unusable, used
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item

CASES = json.loads((Path(__file__).parent.parent / "golden" / "label_rules.json").read_text("utf-8"))
Cells = list[list[bool]]


def full(cells: Cells, answer_right: bool, samples: int | None = None) -> Table:
    """A table with every rollout drawn: one list of outcomes for each prefix."""
    table = Table(len(cells) + 1, samples or max(map(len, cells), default=1), answer_right)
    for step, outcomes in enumerate(cells, start=1):
        for sample, outcome in enumerate(outcomes):
            table.put(step, sample, outcome)
    return table


@pytest.mark.parametrize("case", CASES, ids=[f"{case['rule']}-{number}" for number, case in enumerate(CASES)])
def test_the_rules(case: dict[str, Any]) -> None:
    assert case["source"]
    samples = case["k"]
    cells = [[True] * right + [False] * (judged - right) for right, judged in case["counts"]]
    for cell in cells:
        random.Random(0).shuffle(cell)
    found = decide(case["rule"], full(cells, case["answer_right"], samples))
    if isinstance(found, Label):
        assert found.first_error == case["expected"]
        assert list(found.ratings) == case.get("ratings", list(found.ratings))
        assert case.get("values") == (found.values and list(found.values))
    else:
        assert (found.reason if isinstance(found, Discard) else {"lacks": found.unknown, "step": found.step}) == case["expected"]


def test_the_cases_have_every_rule_and_every_kind_of_outcome() -> None:
    assert {case["rule"] for case in CASES} == set(RULES)
    expected = [case["expected"] for case in CASES]
    assert -1 in expected
    assert any(isinstance(value, dict) for value in expected)
    assert len({value for value in expected if isinstance(value, str)}) == 4, "every reason"


def plain(rule: str, cells: Cells, answer_right: bool, k: int) -> tuple[Any, ...]:
    """Each rule as one would write it down when everything is known: (first error or reason, ratings, values)."""
    rates = [sum(cell) for cell in cells] + [k if answer_right else 0]
    n = len(rates)
    ends: dict[int, tuple[Any, ...]] = {ALL_CORRECT: (1,) * n}
    ends |= {e: (1,) * (e - 1) + (-1,) + (None,) * (n - e) for e in range(1, n + 1)}
    zeros = [step for step in range(1, n + 1) if rates[step - 1] == 0]
    if rule.startswith("math_shepherd"):
        values = tuple(rate / k for rate in rates) if rule.endswith("soft") else None
        return min(zeros, default=ALL_CORRECT), tuple(-1 if step in zeros else 1 for step in range(1, n + 1)), values
    if rule == "zero_of_k":
        found: Any = min(zeros, default=ALL_CORRECT)
        if answer_right and zeros:
            found = "right answer, but a prefix never succeeds"
    elif rule == "relative":
        drops = [s for s in range(1, n + 1) if (rates[0] == 0 if s == 1 else rates[s - 1] < rates[s - 2] / 2)]
        found = min(drops, default=ALL_CORRECT)
        if answer_right and drops:
            found = "right answer, but a step halves the rate"
    elif answer_right:
        found = ALL_CORRECT if all(rate > k / 2 for rate in rates) else "right answer, but a prefix rarely succeeds"
    else:
        fits = [
            e for e in range(1, n + 1) if all(rate > k / 2 for rate in rates[: e - 1]) and not any(rates[e - 1 :])
        ]  # fmt: skip
        assert len(fits) <= 1
        found = fits[0] if fits else "no clear first error"
    return (found, None, None) if isinstance(found, str) else (found, ends[found], None)


def said(outcome: Any) -> tuple[Any, ...]:
    assert not isinstance(outcome, Wanted)
    return (outcome.reason, None, None) if isinstance(outcome, Discard) else tuple(outcome)


@st.composite
def tables(draw: st.DrawFn) -> tuple[Cells, bool, int]:
    k, prefixes = draw(st.integers(1, 16)), draw(st.integers(0, 7))
    seed, rates = draw(st.integers(0, 2**32)), draw(st.lists(st.sampled_from([0, 0.05, 0.3, 0.5, 0.7, 1]), min_size=1))
    rng = random.Random(seed)
    return [[rng.random() < rng.choice(rates) for _ in range(k)] for _ in range(prefixes)], draw(st.booleans()), k


@given(tables())
@settings(max_examples=300, deadline=None)
def test_a_rule_says_what_its_definition_says(case: tuple[Cells, bool, int]) -> None:
    cells, answer_right, k = case
    for rule in RULES:
        assert said(decide(rule, full(cells, answer_right, k))) == plain(rule, cells, answer_right, k)


def drawn_as_asked(rule: str, cells: Cells, answer_right: bool, k: int, known: Table | None = None) -> Iterator[Table]:
    """The table after each wave of what the rule asks for, until it says something."""
    table = known or Table(len(cells) + 1, k, answer_right)
    while isinstance(wanted := decide(rule, table), Wanted):
        assert wanted.samples
        assert wanted.unknown == len(wanted.samples)
        for sample in wanted.samples:
            table.put(wanted.step, sample, cells[wanted.step - 1][sample])
        yield table
    yield table


@given(tables())
@settings(max_examples=300, deadline=None)
def test_drawing_as_asked_gives_the_label_of_drawing_everything(case: tuple[Cells, bool, int]) -> None:
    cells, answer_right, k = case
    for rule in RULES:
        everything = full(cells, answer_right, k)
        *_, last = drawn_as_asked(rule, cells, answer_right, k)
        assert decide(rule, last) == decide(rule, everything)
        drawn = sum(last.drawn(step) for step in range(1, len(cells) + 1))
        assert used(rule, last)[1] == used(rule, everything)[1] == drawn, "what is drawn is what is read, and nothing else"


@given(tables(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_what_is_drawn_does_not_depend_on_where_it_was_interrupted(case: tuple[Cells, bool, int], rng: random.Random) -> None:
    """Any part of an undisturbed run's rollouts, as a killed one leaves behind, is completed to exactly that run's."""
    cells, answer_right, k = case
    for rule in RULES:
        *_, undisturbed = drawn_as_asked(rule, cells, answer_right, k)
        places = [
            (step, sample) for step in range(1, len(cells) + 1) for sample in range(k) if undisturbed.state(step, sample)
        ]  # fmt: skip
        kept = Table(len(cells) + 1, k, answer_right)
        for step, sample in rng.sample(places, rng.randint(0, len(places))):
            kept.put(step, sample, cells[step - 1][sample])
        *_, resumed = drawn_as_asked(rule, cells, answer_right, k, kept)
        assert [[resumed.state(s, a) for a in range(k)] for s in range(1, len(cells) + 1)] == [
            [undisturbed.state(s, a) for a in range(k)] for s in range(1, len(cells) + 1)
        ]


@given(tables(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_rollouts_that_could_not_be_judged_are_never_taken_for_failures(
    case: tuple[Cells, bool, int], rng: random.Random
) -> None:
    """A label in spite of some holds whatever they would have been; without one the rule says what it lacks."""
    cells, answer_right, k = case
    lost = {(s, a) for s in range(len(cells)) for a in range(k) if rng.random() < 0.2}
    for rule in RULES:
        told: Any = [[None if (s, a) in lost else cell[a] for a in range(k)] for s, cell in enumerate(cells)]
        table = full(told, answer_right, k)
        outcome = decide(rule, table)
        if isinstance(outcome, Wanted):
            assert outcome.samples == ()
            assert 1 <= outcome.unknown <= sum(s == outcome.step - 1 for s, _ in lost)
            continue
        for _ in range(4):
            guess = [[rng.random() < 0.5 if (s, a) in lost else cell[a] for a in range(k)] for s, cell in enumerate(cells)]
            assert decide(rule, full(guess, answer_right, k)) == outcome


def test_no_rollout_is_asked_for_that_could_go_unread() -> None:
    """The first wave of `deepcritic` at k = 8 is four: fewer cannot tell, and after four failures more are not needed."""
    table = Table(3, 8, answer_right=True)
    assert decide("deepcritic", table) == Wanted(2, (0, 1, 2, 3), 4)
    for sample in range(4):
        table.put(2, sample, False)
    assert decide("deepcritic", table) == Discard("right answer, but a prefix rarely succeeds")


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("answer_right", [True, False])
def test_one_step_and_two_hundred(rule: str, answer_right: bool) -> None:
    label = decide(rule, Table(1, 8, answer_right))
    assert isinstance(label, Label)
    assert (label.first_error, label.ratings) == ((ALL_CORRECT, (1,)) if answer_right else (1, (-1,)))
    cells = [[True] * 8 for _ in range(199)]
    label = decide(rule, full(cells, answer_right))
    assert isinstance(label, Label)
    assert label.first_error == (ALL_CORRECT if answer_right else 200)
    assert len(label.ratings) == 200


def test_a_solution_without_steps_has_no_prefixes() -> None:
    for steps in (0, 1):
        table = Table(steps, 8, answer_right=True)
        assert table.counts() == []
        with pytest.raises(InputError, match=r"key\.step"):
            table.put(1, 0, True)


def test_counts_are_of_what_is_there() -> None:
    table = full([[True, None, False]], False)  # type: ignore[list-item]
    assert table.counts() == [Count(1, 2)]
    assert table.drawn(1) == 3


@pytest.mark.parametrize(("step", "sample", "field"), [(0, 0, "step"), (2, 0, "step"), (1, 4, "sample"), (1, 0, "sample")])
def test_a_rollout_that_has_no_place_is_refused(step: int, sample: int, field: str) -> None:
    table = Table(2, 4, True)
    table.put(1, 0, True)
    with pytest.raises(InputError, match=f"key.{field}"):
        table.put(step, sample, True)


@pytest.mark.parametrize(
    ("steps", "gold", "reason"),
    [
        ((), Gold(reference_answer="7", answer_right=True), "no steps"),
        (("a",), Gold(answer_right=True), "no reference answer"),
        (("a",), Gold(reference_answer=" ", answer_right=True), "no reference answer"),
        (("a",), Gold(reference_answer="7"), "its answer was not checked"),
        (("a",), Gold(reference_answer="7", answer_right=False), None),
    ],
)
def test_what_cannot_be_labelled(steps: tuple[str, ...], gold: Gold, reason: str | None) -> None:
    assert unusable(Example(id="a", item=Item(problem="p", steps=steps), gold=gold, source="made")) == reason


def test_a_step_before_that_could_not_be_judged_is_what_is_lacking() -> None:
    """One of four succeeds; of the four before it two do, one does not and one is unknown: half as many, or fewer?"""
    table = full([[True, True, None, False], [True, False, False, False]], False)  # type: ignore[list-item]
    assert decide("relative", table) == Wanted(1, (), 1)


def test_a_rollout_is_copied_as_it_is() -> None:
    whole, part = full([[True, None, False]], False), Table(2, 3, False)  # type: ignore[list-item]
    for sample in range(3):
        part.take(whole, 1, sample)
    assert [part.state(1, sample) for sample in range(3)] == [whole.state(1, sample) for sample in range(3)] == [1, 3, 2]
    assert part.drawn(1) == 3
    with pytest.raises(InputError, match="duplicate rollout"):
        part.take(whole, 1, 0)


@given(tables())
@settings(max_examples=50, deadline=None)
def test_replaying_draws_what_is_read_and_nothing_else(case: tuple[Cells, bool, int]) -> None:
    cells, answer_right, k = case
    whole = full(cells, answer_right, k)
    for rule in RULES:
        outcome, part = replay(rule, whole)
        assert (outcome, sum(part.drawn(step) for step in range(1, whole.steps))) == used(rule, whole)

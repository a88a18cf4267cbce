"""Scores for responses: asked without gold, shuffled by seed, read without guessing, added up fairly."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.errors import InputError
from deepcritic.schema import Preferred, Responses
from deepcritic.tasks.pointwise import HIGH, LOW, MOST, SEVERAL, SINGLE, Pointwise

GOLDEN: list[dict[str, Any]] = json.loads((Path(__file__).parent.parent / "golden" / "scores.json").read_text("utf-8"))
TASK, BINARY = Pointwise(), Pointwise(binary=True)
VERDICTS = st.lists(st.integers(LOW, HIGH), min_size=1, max_size=6).map(tuple)
ITEM = Responses(query="1 + 1?", responses=("It is 2.", "It is 3.", "It is 4."))


@st.composite
def _orders(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """A verdict, and an order in which its responses were shown."""
    verdict = draw(VERDICTS)
    return verdict, tuple(draw(st.permutations(range(1, len(verdict) + 1))))


@pytest.mark.parametrize("case", GOLDEN, ids=[f"{index}: {case['source']}" for index, case in enumerate(GOLDEN)])
def test_golden_scores(case: dict[str, Any]) -> None:
    assert case["source"]
    task = BINARY if case.get("binary") else TASK
    wanted = None if case["verdict"] is None else tuple(case["verdict"])
    assert task.parse(case["text"], case["context"]) == wanted


@given(VERDICTS)
def test_what_is_written_is_read(verdict: tuple[int, ...]) -> None:
    assert TASK.parse(f"Correctness (weight 100).\n{TASK.format(verdict)}") == verdict


@given(_orders())
def test_parse_undoes_the_shuffle(drawn: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    verdict, order = drawn
    shown = tuple(verdict[at - 1] for at in order)
    assert TASK.parse(TASK.format(shown), list(order)) == verdict


@given(st.text(max_size=60) | st.text("\\boxed{}-1,2 3.<>think/", max_size=40), st.integers(1, 4))
def test_any_text_is_as_many_scores_or_unparsed(text: str, shown: int) -> None:
    verdict = TASK.parse(text, list(range(1, shown + 1)))
    assert verdict is None or (len(verdict) == shown and all(LOW <= score <= HIGH for score in verdict))


def test_the_context_says_what_was_shown_where() -> None:
    seen = set()
    for sample in range(40):
        question = TASK.ask(ITEM, seed=3, sample=sample)
        assert question == TASK.ask(ITEM, seed=3, sample=sample), "a draw follows from its seed and sample alone"
        text = question.messages[-1].content
        places = [text.index(ITEM.responses[number - 1]) for number in question.context]
        assert places == sorted(places)
        assert TASK.ask(ITEM, context=list(question.context)) == question, "what a saved reply answered can be asked again"
        seen.add(question.context)
    assert len(seen) == 6, "every order occurs"
    assert TASK.ask(ITEM, seed=None).context == (1, 2, 3)


def test_the_order_is_even() -> None:
    first = [TASK.ask(ITEM, sample=sample).context[0] for sample in range(600)]
    assert all(150 < first.count(number) < 250 for number in (1, 2, 3))


@pytest.mark.parametrize("context", [[1, 1], [0, 1], [1], [1, 2, 3], "12", {"1": 2}])
def test_a_context_that_is_none_is_our_own_fault(context: Any) -> None:
    with pytest.raises(InputError, match="not an order of the responses"):
        TASK.ask(Responses(query="q", responses=("a", "b")), context=context)


def test_an_order_that_is_none_is_not_called_unparsed() -> None:
    with pytest.raises(InputError, match="not an order of the responses"):
        TASK.parse("\\boxed{3, 4}", [1, 1])


@pytest.mark.parametrize("shown", [0, MOST + 1, 100])
def test_none_or_a_hundred_responses_are_no_question(shown: int) -> None:
    with pytest.raises(InputError, match="unsupported number of responses"):
        TASK.ask(Responses(query="q", responses=("a",) * shown))


def test_the_two_forms_of_a_single_response() -> None:
    item = Responses(query="1 + 1?", responses=("It is 2.",))
    assert "boxed{0}" in BINARY.ask(item).messages[-1].content
    assert "boxed{0}" not in TASK.ask(item).messages[-1].content
    assert BINARY.ask(ITEM) == TASK.ask(ITEM), "the form of training is for single responses"
    assert TASK.template.sha != BINARY.template.sha


def test_the_reward_is_the_papers() -> None:
    """+1 where the best response alone has the highest score, or a single one is scored as it should be; else -1."""
    best = Preferred(best=2)
    assert [TASK.reward(verdict, best) for verdict in ((3, 9), (9, 3), (9, 9), None)] == [1, -1, -1, -1]
    right, wrong = Preferred(scores=(1,)), Preferred(scores=(0,))
    assert [BINARY.reward(verdict, right) for verdict in ((1,), (0,), None)] == [1, -1, -1]
    assert [BINARY.reward(verdict, wrong) for verdict in ((1,), (0,), None)] == [-1, 1, -1]
    assert [TASK.reward((score,), right) for score in (10, 6, 5, 1)] == [1, 1, -1, -1], "above the middle speaks for it"


@given(VERDICTS.filter(lambda verdict: len(verdict) > 1), st.integers(1, 2))
def test_the_score_is_the_reward(verdict: tuple[int, ...], best: int) -> None:
    gold, item = Preferred(best=best), Responses(query="q", responses=("r",) * len(verdict))
    row = TASK.score(verdict, gold, item)
    assert row.values["correct"] == (TASK.reward(verdict, gold) + 1) / 2
    assert row.stratum == SEVERAL == TASK.stratum(gold)


def test_a_row_without_gold_has_no_class_and_no_score() -> None:
    assert TASK.stratum(Preferred()) is None
    assert TASK.stratum(Preferred(scores=(1,))) == SINGLE
    with pytest.raises(InputError, match="not labelled"):
        TASK.score(None, Preferred(), ITEM)


@given(st.lists(st.none() | st.tuples(st.integers(1, 10), st.integers(1, 10), st.integers(1, 10)), max_size=12), st.integers())
def test_the_vote_is_the_sum(verdicts: list[tuple[int, ...] | None], seed: int) -> None:
    vote = TASK.vote(verdicts, seed=seed)
    readable = [verdict for verdict in verdicts if verdict is not None]
    sums = [sum(scores) for scores in zip(*readable, strict=True)]
    assert vote.tally == dict(enumerate(sums, start=1))
    assert vote.unparsed == len(verdicts) - len(readable)
    if sums:
        assert vote.verdict is not None
        assert sums[vote.verdict - 1] == max(sums)
        assert vote.tied == (sums.count(max(sums)) > 1)
    else:
        assert vote.verdict is None


def test_a_tie_is_drawn_by_the_seed_alone_and_evenly() -> None:
    drawn = [TASK.vote([(5, 5, 1)], seed=seed).verdict for seed in range(400)]
    assert drawn == [TASK.vote([(5, 5, 1)], seed=seed).verdict for seed in range(400)]
    assert 150 < drawn.count(1) < 250
    assert set(drawn) == {1, 2}


def test_weights_choose_the_replies_that_count() -> None:
    verdicts = [(9, 1), (1, 5), (1, 5)]
    assert TASK.vote(verdicts).tally == {1: 11.0, 2: 11.0}
    assert TASK.vote(verdicts, weights=[0.0, 1.0, 0.0]).verdict == 2


def test_a_single_response_is_voted_by_its_distance_from_the_ends() -> None:
    assert TASK.vote([(6,), (6,), (1,)]).tally == {0: 17.0, 1: 10.0}
    assert BINARY.vote([(1,), (0,), (1,)]).verdict == 1


@given(st.permutations([1, 2, 3]), st.integers(1, 3))
def test_the_hint_names_the_place_at_which_the_best_is_shown(order: list[int], best: int) -> None:
    hint = TASK.hint(Preferred(best=best), order)
    assert f"response {order.index(best) + 1} is" in hint
    assert hint not in TASK.ask(ITEM, context=order).messages[-1].content


def test_a_prompt_says_nothing_of_the_gold() -> None:
    """The item holds none, and what `meta` says stays out."""
    item = Responses(query=ITEM.query, responses=ITEM.responses, meta={"domain": "the best is the second"})
    assert TASK.ask(item) == TASK.ask(ITEM)


def test_a_text_that_looks_like_a_placeholder_or_a_tag_is_text() -> None:
    item = Responses(query="{{responses}} {x}", responses=("</response_1>\n\\boxed{10, 1}", "{{query}}"))
    text = TASK.ask(item, seed=None).messages[-1].content
    assert "{{responses}} {x}" in text
    assert "{{query}}" in text
    assert text.count("<response_2>") == 1


def test_votes_of_many_are_better_than_one() -> None:
    """Scores that are right on average: the sum of more of them finds the best response more often."""
    chance, hits = random.Random(0), {1: 0, 15: 0}
    for seed in range(300):
        verdicts = [(min(10, max(1, round(chance.gauss(6, 3)))), min(10, max(1, round(chance.gauss(5, 3))))) for _ in range(15)]
        for k in hits:
            hits[k] += TASK.vote(verdicts[:k], seed=seed).verdict == 1
    assert hits[15] > hits[1] + 30


def test_a_system_prompt_goes_before_both_prompts() -> None:
    single = Responses(query="1 + 1?", responses=("2",))
    for system, roles in ((None, ["user"]), ("Be strict.", ["system", "user"])):
        task = Pointwise(system=system, binary=True)
        for item in (ITEM, single):
            messages = task.ask(item).messages
            assert [message.role for message in messages] == roles
            assert system is None or messages[0].content == system

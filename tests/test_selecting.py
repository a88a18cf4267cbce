"""Verify, refine, select: what is taken, what it costs, and when the search ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from deepcritic.critic import Critic
from deepcritic.samplers.base import Request, Sampling
from deepcritic.samplers.scripted import ScriptedSampler
from deepcritic.selecting import BEST, NOTHING, UNANIMOUS, Selection, aselect, select

PROBLEM = "What is 1 + 1 + 3?"


def _critic(script: Any, samples: int = 2) -> Critic:
    return Critic(sampler=ScriptedSampler(script), samples=samples)


def _solves(*answers: str) -> ScriptedSampler:
    """The answers of the candidates, then of the rewrites, in their order."""
    left = list(answers)
    return ScriptedSampler(lambda request, sample: f"Step 1: so it is \\boxed{{{left.pop(0)}}}")


def _knows(right: str) -> Any:
    def script(request: Request, sample: int) -> str:
        return "fine \\boxed{-1}" if f"\\boxed{{{right}}}" in request.messages[-1].content else "off \\boxed{1}"

    return script


def _select(generator: ScriptedSampler, critic: Critic, **options: Any) -> Selection:
    with generator, critic:
        return select(PROBLEM, generator=generator, critic=critic, writing=Sampling(max_tokens=64), **options)


def test_the_first_unanimous_candidate_ends_the_search() -> None:
    found = _select(_solves("4", "5", "6"), _critic(_knows("5")), candidates=3)
    assert (found.answer, found.outcome, len(found.candidates)) == ("5", UNANIMOUS, 3)


def test_the_best_is_rewritten_until_all_critiques_accept_it() -> None:
    found = _select(_solves("3", "4", "6", "5", "9"), _critic(_knows("5")), candidates=2, rounds=5)
    assert (found.answer, found.outcome) == ("5", UNANIMOUS)
    assert [one.answer for one in found.candidates] == ["3", "4", "6", "5"]
    assert [one.parent for one in found.candidates] == [None, None, 0, 1]


def test_without_unanimity_the_largest_share_wins() -> None:
    def script(request: Request, sample: int) -> str:
        text = request.messages[-1].content
        return "\\boxed{-1}" if "\\boxed{4}" in text and sample < 3 else "\\boxed{1}"

    found = _select(_solves("3", "4", "3", "3"), _critic(script, 4), candidates=2, rounds=2)
    assert (found.answer, found.outcome, found.candidates[1].acceptance) == ("4", BEST, 0.75)


def test_a_critique_that_cannot_be_read_accepts_nothing() -> None:
    found = _select(_solves("4"), _critic(lambda request, sample: ["\\boxed{-1}", "who knows"][sample]), candidates=1, rounds=0)
    assert (found.outcome, found.candidates[0].acceptance) == (BEST, 0.5)


def test_no_round_begins_once_the_budget_is_spent() -> None:
    def spent(budget: int | None) -> Selection:
        return _select(_solves(*"3" * 20), _critic(_knows("5")), candidates=2, rounds=10, budget=budget)

    free, bounded, none = spent(None), spent(1500), spent(1)
    assert len(none.candidates) == 2
    assert len(none.candidates) < len(bounded.candidates) < len(free.candidates) == 12
    assert bounded.tokens - 1500 < free.tokens / 10


def test_tokens_are_those_of_generator_and_critic() -> None:
    found = _select(_solves("5"), _critic(_knows("5")), candidates=1)
    critique = found.candidates[0].critique
    assert critique is not None
    assert found.tokens > critique.tokens > 0


@pytest.mark.parametrize("text", ["I do not know.", None])
def test_a_solution_without_an_answer_is_never_taken(text: str | None) -> None:
    found = _select(ScriptedSampler(lambda request, sample: text), _critic("\\boxed{-1}"), candidates=2)
    assert (found.answer, found.outcome, found.steps) == (None, NOTHING, ())


def test_the_async_twin() -> None:
    with _solves("5") as generator, _critic(_knows("5")) as critic:
        found = asyncio.run(aselect(PROBLEM, generator=generator, critic=critic, candidates=1))
    assert found.outcome == UNANIMOUS

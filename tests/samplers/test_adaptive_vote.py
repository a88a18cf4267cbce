"""Adaptive votes: the same winners as with all samples, fewer requests, failures and earlier replies included."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterable, Iterator
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from deepcritic import Critic
from deepcritic.samplers.adaptive_vote import AdaptiveVotes
from deepcritic.samplers.base import Request
from deepcritic.samplers.scripted import ScriptedSampler
from deepcritic.schema import Failure, Generation, Item
from deepcritic.tasks.base import verdict_of
from deepcritic.tasks.first_error import FirstError

TASK = FirstError()
Script = dict[str, list[str | None]]


class Batches(ScriptedSampler):
    """Takes up to three requests before it yields, as engines with a batch do; yields in another order."""

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        waiting: list[Request] = []
        source = iter(requests)
        while True:
            while len(waiting) < 3 and (one := next(source, None)) is not None:
                waiting.append(one)
            if not waiting:
                return
            outcomes = list(super().stream([waiting.pop()]))
            random.Random(len(outcomes)).shuffle(outcomes)
            yield from outcomes


def _script(rows: list[list[str | None]]) -> Script:
    return {f"row-{number}": replies for number, replies in enumerate(rows)}


def _run(
    script: Script, samples: int, known: dict[str, dict[int, Any]] | None = None
) -> tuple[AdaptiveVotes, dict[str, Any], int]:
    """The votes, the verdicts by row and sample, and how many samples were drawn."""
    critic = Critic(sampler=ScriptedSampler(""), samples=samples)
    item = Item(problem="What is 1 + 1?", steps=("a", "b", "c"))
    rows = ((name, functools.partial(_ask, critic, item, name)) for name in script)
    votes = AdaptiveVotes(rows, functools.partial(verdict_of, task=TASK), samples, known)
    engine = Batches(lambda request, sample: script[request.keys[0].example_id][sample])
    found: dict[str, Any] = {name: dict((known or {}).get(name, {})) for name in script}
    drawn = 0
    while votes.unfinished:
        with votes.wave():
            for outcome in engine.stream(votes.requests()):
                drawn += 1
                if isinstance(outcome, Generation):
                    found[outcome.key.example_id][outcome.key.sample] = verdict_of(outcome, TASK)
                votes.put(outcome)
    return votes, found, drawn


def _ask(critic: Critic, item: Item, name: str, samples: Iterable[int]) -> Request:
    return critic.question(item, example_id=name).only([*samples])


REPLY = st.sampled_from(["\\boxed{1}", "\\boxed{2}", "\\boxed{-1}", "no verdict", None])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.lists(REPLY, min_size=8, max_size=8), min_size=1, max_size=6), st.sampled_from([3, 4, 8]))
def test_the_winner_is_that_of_all_samples(rows: list[list[str | None]], samples: int) -> None:
    script = _script(rows)
    votes, found, drawn = _run(script, samples)
    assert set(votes.asked) == set(script)
    assert drawn == sum(votes.asked.values())
    for name, replies in script.items():
        everything = [None if text is None else TASK.parse(text) for text in replies[:samples]]
        early = [found[name].get(sample) for sample in range(votes.asked[name])]
        assert TASK.vote(early, seed=5).verdict == TASK.vote(everything, seed=5).verdict
        if votes.asked[name] < samples:
            assert not TASK.vote(early).tied


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(REPLY, min_size=8, max_size=8), min_size=1, max_size=4), st.integers(0, 2**16))
def test_earlier_replies_are_not_requested_again(rows: list[list[str | None]], seed: int) -> None:
    script = _script(rows)
    whole, found, _ = _run(script, 8)
    chance = random.Random(seed)
    known = {name: {sample: one for sample, one in got.items() if chance.random() < 0.5} for name, got in found.items()}
    again, found_again, drawn = _run(script, 8, known)
    assert again.asked == whole.asked
    assert found_again == found
    assert drawn == sum(whole.asked.values()) - sum(map(len, known.values()))


def test_agreeing_replies_need_a_bit_more_than_half() -> None:
    votes, _, drawn = _run(_script([["\\boxed{2}"] * 8] * 5), 8)
    assert votes.asked == {f"row-{number}": 5 for number in range(5)}
    assert drawn == 25


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(REPLY, min_size=8, max_size=8), min_size=1, max_size=6), st.booleans())
def test_a_critic_finds_the_same_with_fewer_samples(rows: list[list[str | None]], repeat: bool) -> None:
    pairs = [(f"Problem {number}", ["a", "b"]) for number in range(len(rows))] * (2 if repeat else 1)

    def reply(request: Request, sample: int) -> str | None:
        return rows[int(request.messages[0].content.split("Problem ")[1].split()[0])][sample]

    whole = list(Critic(sampler=Batches(reply), samples=8).critique_many(pairs))
    early = list(Critic(sampler=Batches(reply), samples=8, adaptive=True).critique_many(pairs))
    assert [one.first_error for one in early] == [one.first_error for one in whole]
    assert all(one.tokens <= other.tokens for one, other in zip(early, whole, strict=True))
    assert all(set(one.votes) <= set(other.votes) for one, other in zip(early, whole, strict=True))

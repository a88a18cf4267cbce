"""Convert messages to requests for the critic or the scorer, and outcomes to answers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from deepcritic.critic import Critic, content_name, judge, read_item
from deepcritic.samplers.base import Request, Sampling
from deepcritic.samplers.resume import request
from deepcritic.schema import ALL_CORRECT, Item, Key
from deepcritic.scorers.base import key_of
from deepcritic.service.batching import Outcome
from deepcritic.service.messages import Asking, CritiqueAnswer, Solution

CALL = "critique"


@dataclass(frozen=True)
class ToScore:
    """An item for a scorer, with the key of its scores."""

    name: str
    item: Item

    @property
    def keys(self) -> tuple[Key, ...]:
        return (key_of(self.name),)


@dataclass
class Questions:
    """Builds the requests of one critic. Seeds are computed from the content, so a solution gets the same critique for every
    client. Keys contain a unique number, so that two settings for one solution do not collide."""

    critic: Critic
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def critique(self, item: Item, asking: Asking) -> tuple[Any, Request]:
        """The question's name (equal questions have equal names) and its request.

        Raises `InputError` for an item that the task does not support.
        """
        samples = asking.samples or self.critic.samples
        sampling = self._sampling(samples, asking.budget)
        name = content_name(item)
        asked = request(
            self.critic.task.ask(item), sampling, example_id=name, call=CALL, seed=self.critic.seed, samples=range(samples)
        )
        mark = str(next(self._numbers))
        keys = tuple(msgspec.structs.replace(key, parent=mark) for key in asked.keys)
        return (name, samples, asked.fingerprint("")), msgspec.structs.replace(asked, keys=keys)

    def _sampling(self, samples: int, budget: int | None) -> Sampling:
        most = self.critic.sampling.max_tokens
        if budget is not None:
            share = max(1, budget // samples)
            most = share if most is None else min(most, share)
        return msgspec.structs.replace(self.critic.sampling, max_tokens=most)

    def answer(self, solution: Solution, index: int, item: Item, outcomes: list[Outcome]) -> CritiqueAnswer:
        found = judge(self.critic.task, item, outcomes)  # type: ignore[arg-type]  # a sampler returns no scores
        return CritiqueAnswer(
            id=solution.id, index=index, steps=list(found.steps), spans=list(found.spans), first_error=found.first_error,
            votes={str(verdict): count for verdict, count in found.votes.items()}, agreement=found.agreement,
            acceptance=found.acceptance, text=found.text, unparsed=found.unparsed, failed=found.failed, tokens=found.tokens,
            note=found.note, grade=found.grade, grades={str(grade): count for grade, count in found.grades.items()},
            issues=list(found.issues), full_marks=found.full_marks,
        )  # fmt: skip


def item_of(solution: Solution, split: str) -> Item:
    """The item. Raises `InputError` for an invalid solution."""
    return read_item(solution.problem, solution.solution if solution.solution is not None else solution.steps or (), split)


def without_item(solution: Solution, index: int, note: str) -> CritiqueAnswer:
    """The answer for a solution without a critique: no verdict, and the reason."""
    return CritiqueAnswer(
        id=solution.id, index=index, steps=[], spans=[], first_error=None, votes={}, agreement=0.0, acceptance=None, text="",
        unparsed=0, failed=0, tokens=0, note=note,
    )  # fmt: skip


def step_shares(answer: CritiqueAnswer) -> list[float] | None:
    """For each step, the share of the votes that find it and all steps before it right. None without a vote.

    >>> votes = {"-1": 2.0, "2": 1.0, "1": 1.0}
    >>> blank = without_item(Solution(problem="p", steps=["a", "b"]), 0, "")
    >>> step_shares(blank.model_copy(update={"steps": ["a", "b"], "votes": votes}))
    [0.75, 0.5]
    """
    total = sum(answer.votes.values())
    if not total:
        return None
    verdicts = [(int(verdict), count) for verdict, count in answer.votes.items()]
    return [
        sum(count for verdict, count in verdicts if verdict == ALL_CORRECT or verdict > step) / total
        for step in range(1, len(answer.steps) + 1)
    ]

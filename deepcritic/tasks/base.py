"""The protocol of a task: the question that a critic is asked, and the scoring of its reply."""

from __future__ import annotations

import hashlib
import random
import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from deepcritic.metrics.majority_vote import Ties
from deepcritic.schema import Generation, Judged, Message, Row
from deepcritic.text.prompt_template import Template

V = TypeVar("V", bound=Hashable)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt: the messages, a forced beginning of the reply if any, and the `context` with which `parse` undoes a shuffle."""

    messages: tuple[Message, ...]
    prefix: str = ""
    context: Any = None


class Vote(msgspec.Struct, Generic[V], frozen=True, kw_only=True):
    """The outcome of a vote. `verdict` is the winning verdict, or the best response if there are several; None if no reply was
    parsed. `tally` holds the points of each candidate. `agreement` is the share of the parsed replies that vote for the
    winner."""

    verdict: V | None
    tally: dict[V, float]
    agreement: float
    unparsed: int
    tied: bool

    @property
    def unreadable(self) -> int:
        """Deprecated name of `unparsed`, removed in the next release."""
        warnings.warn("unreadable is now called unparsed", DeprecationWarning, stacklevel=2)
        return self.unparsed


class RowScore(msgspec.Struct, frozen=True, kw_only=True):
    """The score of one row: `values` by name, the `stratum` that it counts in, and its `cluster` (the problem) for resampling."""

    values: dict[str, float]
    stratum: str
    cluster: str


class CriticTask(Protocol[V]):
    """One question for critics, shared by seeding, SFT, RL, evaluation and refinement.

    `item` is what a critic may see, and `gold` is the truth. Both have the types of the task's `row`.
    """

    name: str
    template: Template
    """The prompt, with its index base and its hash."""

    @property
    def row(self) -> type[Row]:
        """The row type, with an `id`, an `item` and a `gold`: `Example`, or a type of its own."""
        ...

    marker: str | None
    """The text before the verdict of a reply. None: the verdict is the last box. See `verdict_of`."""

    shuffles: bool
    """Whether the samples of one item get different prompts: their material is shuffled by `seed` and `sample`."""

    def ask(self, item: Any, *, seed: int | None = 0, sample: int = 0, context: Any = None) -> Question:
        """The prompt about `item`, which holds no gold and so cannot leak it. With a seed of None nothing is shuffled. With the
        `context` of a reply, it is the prompt that this reply answered."""
        ...

    def hint(self, gold: Any, context: Any = None) -> str:
        """The gold in words, for a model that has to explain it. It appears in prompts to sample from, never in training
        prompts."""
        ...

    def parse(self, text: str, context: Any = None) -> V | None:
        """The verdict of a reply, or None if it is unparsed. It never guesses."""
        ...

    def format(self, verdict: V) -> str:
        """The last line of a reply with this verdict: `parse(format(v)) == v`."""
        ...

    def reward(self, verdict: V | None, gold: Any) -> float:
        """The RL reward: 1 if the verdict is right, and less otherwise. Only here does an unparsed verdict become a number."""
        ...

    def stratum(self, gold: Any) -> str | None:
        """The class in which a row counts, such as "with an error"; None for a row without a usable gold."""
        ...

    def votes_for(self, verdict: V) -> Mapping[Any, float]:
        """The points that a reply with this verdict gives to each candidate of a vote."""
        ...

    def target(self, gold: Any) -> Any:
        """The candidate that should win."""
        ...

    def vote(self, verdicts: Sequence[V | None], weights: Sequence[float] | None = None, seed: int = 0) -> Vote[Any]: ...

    def score(self, verdict: V | None, gold: Any, item: Any) -> RowScore: ...

    def aggregate(self, scores: Mapping[str, Any]) -> dict[str, float]:
        """Figures from arrays: `values` (name -> array) and `stratum` (array). Cheap enough for a bootstrap."""
        ...

    def figures(self, parts: Mapping[str, Sequence[Judged]], *, ties: Ties = "random") -> dict[str, Any]:
        """All figures of an evaluation, in percent: of its one part, or of several parts by name with their summary."""
        ...

    def lines(self, metrics: Mapping[str, Any]) -> list[str]:
        """The figures as lines for a terminal."""
        ...


def verdict_of(reply: Generation, task: CriticTask[V]) -> V | None:
    """The verdict of a saved reply. None for a truncated reply if the task has a marker: its last statement need not be its
    verdict."""
    if reply.finish_reason == "length" and task.marker is not None:
        return None
    return task.parse(reply.prefix + reply.text, reply.context)


def count(points: Sequence[Mapping[Any, float] | None], weights: Sequence[float] | None = None, seed: int = 0) -> Vote[Any]:
    """The vote of replies, from the points that each gives to candidates. None is a reply that does not vote. A tie is drawn with
    `seed`.

    >>> count([{1: 9.0, 2: 4.0}, {1: 3.0, 2: 7.0}, None]).tally
    {1: 12.0, 2: 11.0}
    """
    tally: dict[Any, float] = {}
    fors: dict[Any, float] = {}
    total = 0.0
    for given, weight in zip(points, weights or [1.0] * len(points), strict=True):
        if given is None:
            continue
        total += weight
        for candidate, value in given.items():
            tally[candidate] = tally.get(candidate, 0.0) + weight * value
        most = max(given.values())
        leading = [candidate for candidate, value in given.items() if value == most]
        if len(leading) == 1:
            fors[leading[0]] = fors.get(leading[0], 0.0) + weight
    counted = dict(sorted(tally.items(), key=lambda pair: (-pair[1], pair[0])))
    most = max(counted.values(), default=0.0)
    best = [candidate for candidate, value in counted.items() if value == most]
    winner = random.Random(seed).choice(best) if best else None
    agreement = fors.get(winner, 0.0) / total if total else 0.0
    unparsed = sum(given is None for given in points)
    return Vote(verdict=winner, tally=counted, agreement=agreement, unparsed=unparsed, tied=len(best) > 1)


def cluster_of(problem: str) -> str:
    """A hash of the problem's text. Rows about the same problem are resampled together."""
    return hashlib.blake2b(" ".join(problem.split()).encode("utf-8", "replace"), digest_size=8).hexdigest()

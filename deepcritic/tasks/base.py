"""Questions put to a critic: the task owns what is asked and how the reply is judged."""

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
    """A prompt: the messages, the beginning of the reply if one is forced, and what `parse` needs to undo a shuffle."""

    messages: tuple[Message, ...]
    prefix: str = ""
    context: Any = None


class Vote(msgspec.Struct, Generic[V], frozen=True, kw_only=True):
    """The outcome of a vote. `verdict` is what wins: a verdict, or of several responses the best one; None if no reply was
    readable. `tally` holds the points of each candidate; `agreement` is the share of the readable replies for the winner."""

    verdict: V | None
    tally: dict[V, float]
    agreement: float
    unparsed: int
    tied: bool

    @property
    def unreadable(self) -> int:
        """The name of `unparsed` until 0.1; it goes with the next release."""
        warnings.warn("unreadable is now called unparsed", DeprecationWarning, stacklevel=2)
        return self.unparsed


class RowScore(msgspec.Struct, frozen=True, kw_only=True):
    """One row's score: `values` by name, the `stratum` it counts in, the `cluster` (the problem) it is drawn with."""

    values: dict[str, float]
    stratum: str
    cluster: str


class CriticTask(Protocol[V]):
    """One question put to critics, for seeding, SFT, RL, evaluation and refinement alike.

    `item` and `gold` are those of its kind of `row`: what a critic may see, and what is known of the truth.
    """

    name: str
    template: Template
    """The prompt, with its index base and its hash."""

    @property
    def row(self) -> type[Row]:
        """The rows that it asks about, with an `id`, an `item` and a `gold`: `Example`, or a kind of its own."""
        ...

    marker: str | None
    """What the verdict of a reply stands behind; None where it is the last box. See `verdict_of`."""

    shuffles: bool
    """Whether the samples of one item are asked differently: what they see is put in an order that `seed` and `sample` draw."""

    def ask(self, item: Any, *, seed: int | None = 0, sample: int = 0, context: Any = None) -> Question:
        """The prompt about `item`, which holds no gold, so that none can leak. With a seed of None nothing is shuffled; with
        the `context` of a reply it is the prompt that this reply answered."""
        ...

    def hint(self, gold: Any, context: Any = None) -> str:
        """What tells the truth to a model that is to explain it. It goes into prompts that are sampled from, never into one
        that is learnt from."""
        ...

    def parse(self, text: str, context: Any = None) -> V | None:
        """The verdict in a reply, or None when it cannot be read; never a guess."""
        ...

    def format(self, verdict: V) -> str:
        """The reply's last line: `parse(format(v)) == v`."""
        ...

    def reward(self, verdict: V | None, gold: Any) -> float:
        """The RL reward, above 0 if the verdict is right; the only place where an unparsed verdict becomes a number."""
        ...

    def stratum(self, gold: Any) -> str | None:
        """The class in which a row counts, such as "with an error"; None where its gold does not say what is right."""
        ...

    def votes_for(self, verdict: V) -> Mapping[Any, float]:
        """What a reply with this verdict gives to each candidate of a vote."""
        ...

    def target(self, gold: Any) -> Any:
        """The candidate that should win."""
        ...

    def vote(self, verdicts: Sequence[V | None], weights: Sequence[float] | None = None, seed: int = 0) -> Vote[Any]: ...

    def score(self, verdict: V | None, gold: Any, item: Any) -> RowScore: ...

    def aggregate(self, scores: Mapping[str, Any]) -> dict[str, float]:
        """Figures from arrays: `values` (name -> array) and `stratum` (array), so that a bootstrap is cheap."""
        ...

    def figures(self, parts: Mapping[str, Sequence[Judged]], *, ties: Ties = "random") -> dict[str, Any]:
        """All figures of an evaluation, in percent: those of its one part, or of several by name with what sums them up."""
        ...

    def lines(self, metrics: Mapping[str, Any]) -> list[str]:
        """The figures as lines for a terminal."""
        ...


def verdict_of(reply: Generation, task: CriticTask[V]) -> V | None:
    """The verdict in a saved reply. A reply that was cut has none where the task names a marker: what it says last need not be
    its verdict."""
    if reply.finish_reason == "length" and task.marker is not None:
        return None
    return task.parse(reply.prefix + reply.text, reply.context)


def count(points: Sequence[Mapping[Any, float] | None], weights: Sequence[float] | None = None, seed: int = 0) -> Vote[Any]:
    """The vote of replies that give such points to candidates; None is a reply that does not vote. A tie is drawn by `seed`.

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
    """What rows about the same problem are drawn together by: a hash of its words."""
    return hashlib.blake2b(" ".join(problem.split()).encode("utf-8", "replace"), digest_size=8).hexdigest()

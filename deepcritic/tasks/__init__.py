"""Questions put to a critic: the task owns what is asked and how the reply is judged."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from deepcritic.prompting import Template
from deepcritic.rows import Message, Row

V = TypeVar("V", bound=Hashable)


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt: the messages, the beginning of the reply if one is forced, and what `parse` needs to undo a shuffle."""

    messages: tuple[Message, ...]
    prefix: str = ""
    context: Any = None


class Vote(msgspec.Struct, Generic[V], frozen=True, kw_only=True):
    """The outcome of a vote. `agreement` is the winner's share of the readable votes; `verdict` None if none was readable."""

    verdict: V | None
    tally: dict[V, float]
    agreement: float
    unreadable: int
    tied: bool


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

    def ask(self, item: Any, *, seed: int = 0, sample: int = 0) -> Question:
        """The prompt about `item`, which holds no gold, so that none can leak."""
        ...

    def parse(self, text: str, context: Any = None) -> V | None:
        """The verdict in a reply, or None when it cannot be read; never a guess."""
        ...

    def format(self, verdict: V) -> str:
        """The reply's last line: `parse(format(v)) == v`."""
        ...

    def reward(self, verdict: V | None, gold: Any) -> float:
        """The RL reward, above 0 if the verdict is right; the only place where an unreadable verdict becomes a number."""
        ...

    def stratum(self, gold: Any) -> str | None:
        """The class in which a row counts, such as "with an error"; None where its gold does not say what is right."""
        ...

    def vote(self, verdicts: Sequence[V | None], weights: Sequence[float] | None = None, seed: int = 0) -> Vote[V]: ...

    def score(self, verdict: V | None, gold: Any, item: Any) -> RowScore: ...

    def aggregate(self, scores: Mapping[str, Any]) -> dict[str, float]:
        """Figures from arrays: `values` (name -> array) and `stratum` (array), so that a bootstrap is cheap."""
        ...

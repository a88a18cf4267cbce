"""The waist to models that give numbers: one protocol, one file per kind.

with PRMScorer(model=path) as scorer:
    for outcome in scorer.score([("a-1", item)]):
        ...  # Scores, one number for each step, or a Failure; in the order of finishing
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Protocol, Self, TypeVar

from deepcritic.schema import Failure, Key, Message, Scores

T = TypeVar("T", contravariant=True)
Conversations = tuple[tuple[Message, ...], ...]
"""The replies about one row, each as a whole conversation: what a Meta RM gives a number to."""


def key_of(name: str) -> Key:
    """The key of the scores of the item with this id."""
    return Key(example_id=name, request="score")


class Scorer(Protocol[T]):
    """A model that gives numbers, which never travel as text: one for each step of an item, or for each of some conversations.
    Making one is cheap; weights are loaded on entering it.

    `model_id` names the model with its content (see `deepcritic.hub.models.model_id`).
    """

    @property
    def model_id(self) -> str: ...

    def score(self, items: Iterable[tuple[str, T]]) -> Iterator[Scores | Failure]:
        """One outcome for each `(id, item)`, in any order."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

"""The protocol for models that give numbers. Each kind is a file in this folder.

with PRMScorer(model=path) as scorer:
    for outcome in scorer.score([("a-1", item)]):
        ...  # Scores, one number for each step, or a Failure; in completion order
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Protocol, Self, TypeVar

from deepcritic.schema import Failure, Key, Message, Scores

T = TypeVar("T", contravariant=True)
Conversations = tuple[tuple[Message, ...], ...]
"""The replies for one row, each as a whole conversation. A Meta RM scores each of them."""


def key_of(name: str) -> Key:
    """The key of the scores for the item with this id."""
    return Key(example_id=name, request="score")


class Scorer(Protocol[T]):
    """A model that gives a number to each step of an item, or to each of several conversations. Creating one is cheap;
    entering its `with` block loads the weights.

    `model_id` identifies the model and its content (see `deepcritic.hub.models.model_id`).
    """

    @property
    def model_id(self) -> str: ...

    def score(self, items: Iterable[tuple[str, T]]) -> Iterator[Scores | Failure]:
        """One outcome for each `(id, item)`, in any order."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

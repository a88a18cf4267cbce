"""The waist to models that write: one protocol, one file per engine.

with TransformersSampler(model=path) as sampler:
    for outcome in sampler.stream(requests):
        ...  # a Generation or a Failure, in the order of finishing
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import msgspec

from deepcritic.errors import InputError
from deepcritic.schema import Failure, Generation, Key, Message

FLOOR = 16
"""The least room for a reply, in tokens, with which a request is sent: less holds no verdict."""


class Sampling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How replies are drawn. `temperature` 0 is greedy. `max_tokens` is an upper limit on new tokens; None is what the
    model's context leaves."""

    temperature: float = 1.0
    top_p: float = 1.0
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field, value, fits, right in (
            ("temperature", self.temperature, 0 <= self.temperature < math.inf, "a number from 0"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "a number above 0, up to 1"),
            ("max_tokens", self.max_tokens, self.max_tokens is None or self.max_tokens >= 1, "a whole number from 1, or null"),
        ):
            if not fits:
                raise InputError("out of range", field=field, found=value, expected=right)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a model is asked. `keys` and `seeds` have one entry for each sample that is wanted of this one prompt.

    `prefix` is the beginning of the reply; the model goes on from it, and it is not repeated in the reply's text.
    """

    keys: tuple[Key, ...]
    seeds: tuple[int, ...]
    messages: tuple[Message, ...]
    sampling: Sampling
    prefix: str = ""
    context: Any = None

    def only(self, wanted: list[int]) -> Request:
        """The same request for some of its samples (positions in `keys`)."""
        if len(wanted) == len(self.keys):
            return self
        return msgspec.structs.replace(self, keys=tuple(self.keys[i] for i in wanted), seeds=tuple(self.seeds[i] for i in wanted))

    def fingerprint(self, model: str) -> str:
        """Hash of everything that decides a reply but its seed: prompt, prefix, sampling and model."""
        parts = (self.messages, self.prefix, self.sampling, model)
        try:
            content = msgspec.json.encode(parts)
        except UnicodeEncodeError:  # a lone surrogate, which only Python's own encoder can write down
            content = json.dumps(msgspec.to_builtins(parts)).encode()
        return hashlib.blake2b(content, digest_size=8).hexdigest()


class Lengths(NamedTuple):
    """How many tokens a prompt and its reply may have together. `context` is None where that is not known.

    >>> lengths = Lengths(context=100)
    >>> lengths.limit(60, Sampling(max_tokens=None)), lengths.limit(60, Sampling(max_tokens=80)), lengths.limit(90, Sampling())
    (40, 40, 0)
    """

    context: int | None = None
    strict: bool = False
    """Whether a request is sent only where the context has room for all of `max_tokens`."""

    def limit(self, prompt: int, sampling: Sampling) -> int | None:
        """The most tokens that a reply to a prompt of `prompt` tokens may have; 0 where too few are left (see `FLOOR`), None
        where neither the context nor `max_tokens` says."""
        most = sampling.max_tokens
        if self.context is None:
            return most
        left = self.context - prompt
        least = most if self.strict and most is not None else min(FLOOR, most or FLOOR)
        return 0 if left < least else left if most is None else min(left, most)

    def refusal(self, prompt: int, sampling: Sampling) -> str:
        """Why `limit` is 0."""
        if self.strict and sampling.max_tokens is not None:
            return f"{prompt} prompt tokens and max_tokens {sampling.max_tokens} exceed {self.context}"
        return (
            f"{prompt} prompt tokens leave fewer than {min(FLOOR, sampling.max_tokens or FLOOR)} of a context of {self.context}"
        )

    def failures(self, request: Request, prompt: int) -> Iterator[Failure]:
        """The failures of a request whose `limit` is 0."""
        detail = self.refusal(prompt, request.sampling)
        return (Failure(key=key, reason="too_long", detail=detail) for key in request.keys)


def unknown_context(model: str) -> InputError:
    """What to raise where a model's context is not known and no `max_tokens` is given."""
    return InputError(
        "the length of the model's context is not known", field="max_tokens", found=f"null, with {model}",
        expected="a number (stage.max_tokens=N)",
    )  # fmt: skip


class Usage(msgspec.Struct):
    """What an engine has sent since it was made; it counts up."""

    requests: int = 0
    """Calls sent, retries included."""
    retries: int = 0
    """Calls that were a further try."""
    discarded: int = 0
    """Answers that were paid for and could not be kept, with their tokens below."""
    discarded_prompt_tokens: int = 0
    discarded_completion_tokens: int = 0
    estimated: int = 0
    """Replies whose tokens nobody counted: they are estimated from characters."""

    def since(self, before: Usage) -> dict[str, int]:
        """What was added to `before`; fields without any are left out."""
        fields = ((name, getattr(self, name) - getattr(before, name)) for name in self.__struct_fields__)
        return {name: count for name, count in fields if count}


@runtime_checkable
class Counting(Protocol):
    """An engine that knows what it sends, as one that talks to a server does. For any other a request is counted when it
    is handed over, and nothing is tried again."""

    @property
    def usage(self) -> Usage: ...


@runtime_checkable
class Tokenizing(Protocol):
    """An engine that makes prompts of token ids: with the tokenizer of this model (None: with none, it sends messages)."""

    @property
    def tokenizer_source(self) -> str | None: ...


@runtime_checkable
class Bounded(Protocol):
    """An engine that knows, before anything is loaded, how long a prompt and its reply may be together."""

    @property
    def lengths(self) -> Lengths: ...


@runtime_checkable
class Written(Protocol):
    """An engine that counts tokens as they are written, before the replies that they belong to end."""

    @property
    def written(self) -> int: ...


@runtime_checkable
class Ready(Protocol):
    """Outcomes that know how many of them can be taken without waiting, so that these are kept with one write."""

    @property
    def ready(self) -> int: ...


@runtime_checkable
class Cancelling(Protocol):
    """An engine that can end draws that nobody waits for any more (see `deepcritic.samplers.cancellation`)."""

    def cancel(self, keys: Iterable[Key]) -> None: ...


class Sampler(Protocol):
    """A model that writes. Making one is cheap and says whether the model is there; weights are loaded, or a server is
    waited for, on entering its `with` block. `stream` may be called from several threads.

    What cannot be answered is a `Failure`: a reason of `rows.PERMANENT` where another try would change nothing, any other
    once the engine has given up trying. An engine may be `Counting` and `Tokenizing` as well.

    `model_id` names the model with its content (see `deepcritic.hub.models.model_id`), for fingerprints and rows.
    """

    @property
    def model_id(self) -> str: ...

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        """Pull requests as there is room; yield one outcome for each of their keys, in any order."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

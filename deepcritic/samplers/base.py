"""The protocol for models that write text. Each engine is a file in this folder.

with TransformersSampler(model=path) as sampler:
    for outcome in sampler.stream(requests):
        ...  # a Generation or a Failure, in completion order
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self, runtime_checkable

import msgspec

from deepcritic.errors import InputError
from deepcritic.schema import Failure, Generation, Key, Message

FLOOR = 16
"""A request is sent only if the context leaves this many tokens for the reply: fewer hold no verdict."""


class Sampling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sampling parameters. `temperature` 0 is greedy. `max_tokens` is an upper limit on new tokens; None means the rest of
    the model's context."""

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
    """One prompt and its samples. `keys` and `seeds` have one entry for each sample.

    `prefix` is the beginning of the reply. The model continues it, and the reply's text does not repeat it.
    """

    keys: tuple[Key, ...]
    seeds: tuple[int, ...]
    messages: tuple[Message, ...]
    sampling: Sampling
    prefix: str = ""
    context: Any = None

    def only(self, wanted: Sequence[int]) -> Request:
        """The same request for some of its samples (positions in `keys`)."""
        if len(wanted) == len(self.keys):
            return self
        return msgspec.structs.replace(self, keys=tuple(self.keys[i] for i in wanted), seeds=tuple(self.seeds[i] for i in wanted))

    def fingerprint(self, model: str) -> str:
        """Hash of everything that determines a reply except its seed: prompt, prefix, sampling and model."""
        parts = (self.messages, self.prefix, self.sampling, model)
        try:
            content = msgspec.json.encode(parts)
        except UnicodeEncodeError:  # a lone surrogate, which only Python's json module can encode
            content = json.dumps(msgspec.to_builtins(parts)).encode()
        return hashlib.blake2b(content, digest_size=8).hexdigest()


class Lengths(NamedTuple):
    """Limits on the tokens of a prompt and its reply together. `context` is None if unknown.

    >>> lengths = Lengths(context=100)
    >>> lengths.limit(60, Sampling(max_tokens=None)), lengths.limit(60, Sampling(max_tokens=80)), lengths.limit(90, Sampling())
    (40, 40, 0)
    """

    context: int | None = None
    strict: bool = False
    """Whether a request is sent only if all of `max_tokens` fits in the context."""

    def limit(self, prompt: int, sampling: Sampling) -> int | None:
        """The most tokens that a reply to a prompt of `prompt` tokens may have; 0 if they are too few (see `FLOOR`), None if
        neither the context nor `max_tokens` sets a limit."""
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
    """The error for a model whose context is unknown, if `max_tokens` is not given."""
    return InputError(
        "the model's context length is unknown", field="max_tokens", found=f"null, with {model}",
        expected="stage.max_tokens=N",
    )  # fmt: skip


class Usage(msgspec.Struct):
    """Running totals of what an engine has sent since it was created."""

    requests: int = 0
    """Calls sent, retries included."""
    retries: int = 0
    """Calls that repeated an earlier one."""
    discarded: int = 0
    """Paid answers that could not be used; their tokens are counted below."""
    discarded_prompt_tokens: int = 0
    discarded_completion_tokens: int = 0
    estimated: int = 0
    """Replies whose tokens the server did not count: they are estimated from characters."""

    def since(self, before: Usage) -> dict[str, int]:
        """The increase since `before`, without fields that did not change."""
        fields = ((name, getattr(self, name) - getattr(before, name)) for name in self.__struct_fields__)
        return {name: count for name, count in fields if count}


@runtime_checkable
class Counting(Protocol):
    """An engine that counts its calls, such as a client of a server. For other engines each sample counts as one call, without
    retries."""

    @property
    def usage(self) -> Usage: ...


@runtime_checkable
class Tokenizing(Protocol):
    """An engine that builds prompts of token ids with the tokenizer of this model. None: it sends messages instead."""

    @property
    def tokenizer_source(self) -> str | None: ...


@runtime_checkable
class Bounded(Protocol):
    """An engine that knows its limit on prompt and reply tokens before it loads anything."""

    @property
    def lengths(self) -> Lengths: ...


@runtime_checkable
class Written(Protocol):
    """An engine that counts tokens while replies are still being generated."""

    @property
    def written(self) -> int: ...


@runtime_checkable
class Ready(Protocol):
    """Outcomes that know how many of them can be taken without waiting, so that one write saves them all."""

    @property
    def ready(self) -> int: ...


@runtime_checkable
class Refilling(Protocol):
    """A sampler that forms its batches inside one call of `stream`, and takes new requests while it writes replies.

    Its `stream` accepts None among the requests: no request at the moment. It asks again while replies are being written, and
    ends when none is.
    """

    @property
    def refills(self) -> bool: ...


@runtime_checkable
class Cancelling(Protocol):
    """An engine that can cancel draws (see `deepcritic.samplers.cancellation`)."""

    def cancel(self, keys: Iterable[Key]) -> None: ...


class Sampler(Protocol):
    """A model that writes text. Creating one is cheap and checks that the model exists. Entering its `with` block loads the
    weights or waits for a server. `stream` may be called from several threads.

    A request without a reply becomes a `Failure`. Its reason is one of `rows.PERMANENT` if a retry would not help, and any
    other once the engine has used up its retries. An engine may also be `Counting` and `Tokenizing`.

    `model_id` identifies the model and its content in fingerprints and rows (see `deepcritic.hub.models.model_id`).
    """

    @property
    def model_id(self) -> str: ...

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        """Consume `requests` lazily and yield one outcome for each of their keys, in any order."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

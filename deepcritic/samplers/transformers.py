"""Sampler that needs only transformers: continuous batching, with each sample drawn from its own seed.

A reply may be as long as `max_tokens` and the model's context allow; one that is cut has the finish reason `length`. A request
without room for a reply fails as `too_long` (see `deepcritic.samplers.base.Lengths`).
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from deepcritic.hub.models import context_length, load_model, load_tokenizer, model_id
from deepcritic.samplers.base import Lengths, Request, Sampling, unknown_context
from deepcritic.samplers.cancellation import Cancellation, cancelled
from deepcritic.samplers.continuous import ContinuousBatch, Job, Reply
from deepcritic.samplers.cpu_speed import sample_faster
from deepcritic.samplers.drawing import choose, end_tokens, uniforms
from deepcritic.schema import Failure, Generation, Key
from deepcritic.text.chat_template import arguments_id, prompt_ids, reply_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["TransformersSampler", "choose", "draw_replies", "end_tokens", "uniforms"]

WINDOW = 8
"""How many batches of requests are sorted by length together."""


class _Draw(NamedTuple):
    """One sample to draw."""

    ids: list[int]
    key: Key
    seed: int
    request: Request
    limit: int


class TransformersSampler:
    """Samples with transformers in this process.

    `batch_size` is the number of replies drawn together, `batch_tokens` the most tokens (prompt and reply) of one batch.
    Neither affects the replies: a sample's random numbers depend only on its own seed. With `strict_length` a request is
    `too_long` unless all of its `max_tokens` fits. `template_args` are variables of the chat template.
    """

    refills = True
    """See `deepcritic.samplers.base.Refilling`."""

    def __init__(
        self,
        model: str,
        *,
        batch_size: int = 256,
        batch_tokens: int = 131_072,
        dtype: str = "auto",
        device: str = "auto",
        strict_length: bool = False,
        template_args: Mapping[str, Any] | None = None,
    ) -> None:
        self._id, self._strict = model_id(model) + arguments_id(template_args), strict_length
        self._template_args, self._written = template_args, 0
        self._source, self._dtype, self._device = model, dtype, device
        self._model: PreTrainedModel | None = None
        self._batch_size, self._batch_tokens = batch_size, batch_tokens
        self._lock, self._cancellation = threading.Lock(), Cancellation()

    @classmethod
    def of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str, **options: Any) -> Self:
        """A sampler for a model that is already in memory, for instance during training."""
        self = cls.__new__(cls)
        self._id, self._source, self._strict, self._lock, self._written = name, "", False, threading.Lock(), 0
        self._batch_size, self._batch_tokens = options.get("batch_size", 256), options.get("batch_tokens", 131_072)
        self._cancellation = Cancellation()
        self._use(model, tokenizer)
        return self

    def _use(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._model, self._tokenizer = model, tokenizer

    @property
    def model_id(self) -> str:
        return self._id

    @property
    def tokenizer_source(self) -> str:
        return self._source

    @property
    def written(self) -> int:
        """Tokens of all replies so far, including unfinished ones."""
        return self._written

    def _wrote(self, tokens: int) -> None:
        self._written += tokens

    @property
    def lengths(self) -> Lengths:
        return Lengths(context_length(self._source if self._model is None else self._model), self._strict)

    def cancel(self, keys: Iterable[Key]) -> None:
        """Cancel the draws of these keys after at most one more token."""
        self._cancellation.cancel(keys)

    def stream(self, requests: Iterable[Request | None]) -> Iterator[Generation | Failure]:
        owed: set[Key] = set()

        def pulled() -> Iterator[Request | None]:
            for request in requests:
                if request is not None:
                    owed.update(request.keys)
                    self._cancellation.pulled(request.keys)
                yield request

        try:
            for outcome in self._outcomes(pulled()):
                owed.discard(outcome.key)
                self._cancellation.answered(outcome.key)
                yield outcome
        finally:  # the stream may be closed before its end
            for key in owed:
                self._cancellation.answered(key)

    def _outcomes(self, waiting: Iterator[Request | None]) -> Iterator[Generation | Failure]:
        assert self._model is not None, "sampler used outside its `with` block"
        failures, draws, numbers, gone = deque[Failure](), dict[int, _Draw](), itertools.count(), self._cancellation

        def jobs() -> Iterator[Job | None]:
            for window in _windows(waiting, max(1, WINDOW * self._batch_size)):
                found = [draw for one in window for draw in self._draws(one, failures)]
                if not found:
                    yield None
                for draw in sorted(found, key=lambda draw: -len(draw.ids)):
                    if draw.key in gone:
                        failures.append(cancelled(draw.key))
                        continue
                    draws[at := next(numbers)] = draw
                    yield Job(at, draw.ids, draw.seed, draw.request.sampling, draw.limit)

        batch = ContinuousBatch(
            self._model, self._tokenizer, size=self._batch_size, tokens=self._batch_tokens, lock=self._lock, told=self._wrote,
            unwanted=lambda: {at for at, draw in draws.items() if draw.key in gone} if gone else (),
        )  # fmt: skip
        for job in batch.run(jobs()):
            while failures:
                yield failures.popleft()
            draw = draws.pop(job.at)
            yield cancelled(draw.key) if job.cancelled else self._read(draw, job.reply, job.sampling)
        yield from failures

    def _draws(self, request: Request, failures: deque[Failure]) -> Iterator[_Draw]:
        lengths = self.lengths
        ids = prompt_ids(self._tokenizer, request.messages, request.prefix)
        limit = lengths.limit(len(ids), request.sampling)
        if limit is None:
            raise unknown_context(self._id)
        if limit == 0:
            failures.extend(lengths.failures(request, len(ids)))
            return
        for key, seed in zip(request.keys, request.seeds, strict=True):
            yield _Draw(ids, key, seed, request, limit)

    def _read(self, draw: _Draw, reply: Reply, sampling: Sampling) -> Generation:
        text = reply_text(self._tokenizer, draw.ids, reply.ids)
        for stop in sampling.stop:
            text = text.partition(stop)[0]
        return Generation(
            key=draw.key,
            text=text,
            finish_reason="stop" if reply.ended else "length",
            model=self._id,
            fingerprint=draw.request.fingerprint(self._id),
            seed=draw.seed,
            prefix=draw.request.prefix,
            context=draw.request.context,
            prompt_tokens=len(draw.ids),
            completion_tokens=len(reply.ids),
        )

    def __enter__(self) -> Self:
        if self._model is None:
            model = load_model(self._source, dtype=self._dtype, device=self._device).eval()
            sample_faster(model)
            self._use(model, load_tokenizer(self._source, template_args=self._template_args))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._source:  # a model passed to `of` belongs to the caller
            self._model = None


def _windows(requests: Iterator[Request | None], size: int) -> Iterator[list[Request]]:
    """Lists of at most `size` requests; a shorter or empty one where no request is there at the moment."""
    for first in requests:
        rest = itertools.islice(requests, size - 1) if first is not None else ()
        yield [one for one in itertools.chain([first], itertools.takewhile(lambda one: one is not None, rest)) if one is not None]


def draw_replies(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    seeds: list[int],
    sampling: Sampling,
    limits: list[int] | None = None,
) -> list[Reply]:
    """One reply for each prompt, in the order of the prompts, drawn together.

    `prompts` are token ids of any lengths, `limits` the most tokens of each reply, by default `sampling.max_tokens`. The k-th
    token of a reply depends only on its prompt, its seed and k.
    """
    limits = limits or [sampling.max_tokens or 0] * len(prompts)
    longest_first = sorted(range(len(prompts)), key=lambda at: -len(prompts[at]))
    jobs = [Job(at, prompts[at], seeds[at], sampling, limits[at]) for at in longest_first]
    batch = ContinuousBatch(model, tokenizer, size=len(prompts), tokens=sys.maxsize)
    return [job.reply for job in sorted(batch.run(jobs), key=lambda job: job.at)]

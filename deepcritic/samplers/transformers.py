"""The engine that needs nothing but transformers: batches by length, every sample drawn from its own seed.

A reply may be as long as `max_tokens`, and as the model's context leaves room for; one that is cut there says so. A request
that leaves no room for a reply is set aside as `too_long` (see `deepcritic.samplers.base.Lengths`).
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from deepcritic.hub.models import context_length, load_model, load_tokenizer, model_id
from deepcritic.samplers.base import Lengths, Request, Sampling, unknown_context
from deepcritic.schema import Failure, Generation, Key
from deepcritic.text.chat_template import arguments_id, prompt_ids, reply_text

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WINDOW = 8
"""How many batches of requests are looked at together when they are put in order of length."""


class _Draw(NamedTuple):
    """One sample to be drawn."""

    ids: list[int]
    key: Key
    seed: int
    request: Request
    limit: int


@dataclass
class Reply:
    """The tokens of a reply, its end token included, and whether it came to an end or was cut."""

    ids: list[int]
    ended: bool = False


class TransformersSampler:
    """Samples with transformers in this process.

    `batch_size` is the number of replies drawn together, `batch_tokens` the most tokens (prompt and reply) that one
    batch may hold. Neither decides what is drawn: a sample's random numbers follow from its own seed. With `strict_length` a
    request is `too_long` unless there is room for all of its `max_tokens`. `template_args` are variables of the chat template.
    """

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
        self._template_args = template_args
        self._source, self._dtype, self._device = model, dtype, device
        self._model: PreTrainedModel | None = None
        self._batch_size, self._batch_tokens = batch_size, batch_tokens
        self._lock = threading.Lock()

    @classmethod
    def of(cls, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str, **options: Any) -> Self:
        """A sampler of weights that are in memory already, for instance during training."""
        self = cls.__new__(cls)
        self._id, self._source, self._strict, self._lock = name, "", False, threading.Lock()
        self._batch_size, self._batch_tokens = options.get("batch_size", 256), options.get("batch_tokens", 131_072)
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
    def lengths(self) -> Lengths:
        return Lengths(context_length(self._source if self._model is None else self._model), self._strict)

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        waiting, lengths = iter(requests), self.lengths
        while window := list(itertools.islice(waiting, max(1, WINDOW * self._batch_size))):
            fitting: dict[Sampling, list[_Draw]] = {}
            for request in window:
                ids = prompt_ids(self._tokenizer, request.messages, request.prefix)
                limit = lengths.limit(len(ids), request.sampling)
                if limit is None:
                    raise unknown_context(self._id)
                if limit == 0:
                    yield from lengths.failures(request, len(ids))
                    continue
                draws = (_Draw(ids, key, seed, request, limit) for key, seed in zip(request.keys, request.seeds, strict=True))
                fitting.setdefault(request.sampling, []).extend(draws)
            for sampling, draws_of in fitting.items():
                for batch in self._batches(sorted(draws_of, key=lambda draw: len(draw.ids))):
                    with self._lock:
                        finished = self._generate(batch, sampling)
                    yield from finished

    def _batches(self, draws: list[_Draw]) -> Iterator[list[_Draw]]:
        batch: list[_Draw] = []
        for draw in draws:
            full = (len(draw.ids) + draw.limit) * (len(batch) + 1) > self._batch_tokens
            if batch and (full or len(batch) == self._batch_size):
                yield batch
                batch = []
            batch.append(draw)
        if batch:
            yield batch

    def _generate(self, batch: list[_Draw], sampling: Sampling) -> list[Generation]:
        prompts, seeds = [draw.ids for draw in batch], [draw.seed for draw in batch]
        assert self._model is not None, "the sampler is used outside its with block"
        replies = draw_replies(self._model, self._tokenizer, prompts, seeds, sampling, [draw.limit for draw in batch])
        return [self._read(draw, reply, sampling) for draw, reply in zip(batch, replies, strict=True)]

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
            self._use(model, load_tokenizer(self._source, template_args=self._template_args))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._source:  # weights that were lent by `of` are the lender's
            self._model = None


def draw_replies(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: list[list[int]],
    seeds: list[int],
    sampling: Sampling,
    limits: list[int] | None = None,
) -> list[Reply]:
    """One reply for each prompt, drawn together; a reply that is finished leaves the batch once a third of it is.

    `prompts` are token ids of any lengths, `limits` the most tokens of each reply, by default `sampling.max_tokens`. The k-th
    token of a reply depends on its prompt, its seed and k alone.
    """
    import torch
    from transformers import DynamicCache

    device, width = model.device, max(map(len, prompts))
    limits = limits or [sampling.max_tokens or 0] * len(prompts)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
    ids = torch.tensor([[pad] * (width - len(prompt)) + prompt for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    row_seeds, ends = torch.tensor(seeds, dtype=torch.int64), torch.tensor(end_tokens(model, tokenizer))
    replies = [Reply([]) for _ in prompts]
    alive = list(range(len(prompts)))
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        for at in range(max(limits)):
            output = model(
                input_ids=ids, attention_mask=mask, position_ids=positions,
                past_key_values=cache, use_cache=True, logits_to_keep=1,
            )  # fmt: skip
            tokens = choose(output.logits[:, -1], uniforms(row_seeds[alive], at), sampling.temperature, sampling.top_p).cpu()
            for row, token, end in zip(alive, tokens.tolist(), torch.isin(tokens, ends).tolist(), strict=True):
                if not replies[row].ended and len(replies[row].ids) < limits[row]:
                    replies[row].ids.append(token)
                    replies[row].ended = end or _stopped(replies[row].ids, sampling, tokenizer)
            going = [place for place, row in enumerate(alive) if not replies[row].ended and len(replies[row].ids) < limits[row]]
            if not going:
                break
            ids, positions = tokens.to(device).unsqueeze(-1), positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones(len(alive), 1)], dim=-1)
            if len(going) <= len(alive) * 2 // 3:
                kept = torch.tensor(going, device=device)
                cache.batch_select_indices(kept)
                ids, positions, mask = ids[kept], positions[kept], mask[kept]
                alive = [alive[place] for place in going]
    return replies


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end a reply: what the model's own configuration says, and the tokenizer's."""
    configured = model.generation_config.eos_token_id if model.generation_config is not None else None
    ends = {*(configured if isinstance(configured, list) else [configured]), tokenizer.eos_token_id}
    return sorted(token for token in ends if token is not None)


def _stopped(ids: list[int], sampling: Sampling, tokenizer: PreTrainedTokenizerBase) -> bool:
    if not sampling.stop:
        return False
    text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return any(stop in text for stop in sampling.stop)


def uniforms(seeds: torch.Tensor, position: int) -> torch.Tensor:
    """One number in [0, 1) for each seed at a position of the reply: SplitMix64 of both (Steele et al. 2014), 53 bits.

    `seeds` is int64 of shape (batch,); the result is float64 of the same shape. It depends on no other row.
    """
    import torch

    def shift(value: torch.Tensor, bits: int) -> torch.Tensor:
        return (value >> bits) & ((1 << (64 - bits)) - 1)  # a logical shift: int64 has only the arithmetic one

    mixed = seeds + _signed(0x9E3779B97F4A7C15 * (position + 1))
    mixed = (mixed ^ shift(mixed, 30)) * _signed(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ shift(mixed, 27)) * _signed(0x94D049BB133111EB)
    mixed = mixed ^ shift(mixed, 31)
    return shift(mixed, 11).to(torch.float64) / float(1 << 53)


def choose(logits: torch.Tensor, uniform: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """The token of each row: argmax at temperature 0, else where the cumulative probability passes `uniform`.

    `logits` (batch, vocabulary), `uniform` (batch,); the result is (batch,). With `top_p` below 1 only the smallest
    set of most probable tokens that reaches it is kept (nucleus sampling, Holtzman et al. 2020).
    """
    import torch

    if temperature == 0:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits.double() / temperature, -1)
    order = None
    if top_p < 1:
        probabilities, order = torch.sort(probabilities, dim=-1, descending=True, stable=True)
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= top_p, 0.0)
    cumulative = probabilities.cumsum(-1)
    target = (uniform.to(cumulative.device) * cumulative[:, -1]).unsqueeze(-1)
    chosen = torch.searchsorted(cumulative, target, right=True).clamp(max=logits.shape[-1] - 1)
    return (chosen if order is None else order.gather(-1, chosen)).squeeze(-1)


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value

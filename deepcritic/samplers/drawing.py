"""Sampling a token from logits: its random number depends only on the sample's seed and the token's position."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deepcritic.samplers.base import Sampling

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LIKELY = 512
"""The nucleus is first sought among this many most probable tokens: sorting the whole vocabulary takes longer than the forward
pass of a small model."""


def end_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that end a reply, from the configuration of the model and of the tokenizer."""
    configured = model.generation_config.eos_token_id if model.generation_config is not None else None
    ends = {*(configured if isinstance(configured, list) else [configured]), tokenizer.eos_token_id}
    return sorted(token for token in ends if token is not None)


def stopped(ids: list[int], sampling: Sampling, tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the reply contains a stop string."""
    if not sampling.stop:
        return False
    text = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return any(stop in text for stop in sampling.stop)


def uniforms(seeds: torch.Tensor, position: int | Sequence[int]) -> torch.Tensor:
    """One number in [0, 1) for each seed at a position of its reply: SplitMix64 of both (Steele et al. 2014), 53 bits.

    `seeds` is int64 of shape (batch,), `position` one number for all or one for each. The result is float64 of the same
    shape; each row is independent of the others.
    """
    import torch

    def shift(value: torch.Tensor, bits: int) -> torch.Tensor:
        return (value >> bits) & ((1 << (64 - bits)) - 1)  # a logical shift: int64 has only the arithmetic one

    places = [position] if isinstance(position, int) else position
    mixed = seeds + torch.tensor([_signed(0x9E3779B97F4A7C15 * (place + 1)) for place in places])
    mixed = (mixed ^ shift(mixed, 30)) * _signed(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ shift(mixed, 27)) * _signed(0x94D049BB133111EB)
    mixed = mixed ^ shift(mixed, 31)
    return shift(mixed, 11).to(torch.float64) / float(1 << 53)


def choose(logits: torch.Tensor, uniform: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """The token of each row: argmax at temperature 0, else the one at which the cumulative probability exceeds `uniform`.

    `logits` (batch, vocabulary), `uniform` (batch,); the result is (batch,). With `top_p` below 1 only the smallest set of
    most probable tokens whose probability reaches it is kept (nucleus sampling, Holtzman et al. 2020).
    """
    import torch

    if temperature == 0:
        return logits.argmax(-1)
    probabilities = torch.softmax(logits.double() / temperature, -1)
    order = None
    if top_p < 1 and probabilities.device.type == "cpu" and probabilities.shape[-1] > 4 * LIKELY:
        return _nucleus(probabilities, uniform, top_p)
    if top_p < 1:
        probabilities, order = torch.sort(probabilities, dim=-1, descending=True, stable=True)
        before = probabilities.cumsum(-1) - probabilities
        probabilities = probabilities.masked_fill(before >= top_p, 0.0)
    cumulative = probabilities.cumsum(-1)
    target = (uniform.to(cumulative.device) * cumulative[:, -1]).unsqueeze(-1)
    chosen = torch.searchsorted(cumulative, target, right=True).clamp(max=logits.shape[-1] - 1)
    return (chosen if order is None else order.gather(-1, chosen)).squeeze(-1)


def _nucleus(probabilities: torch.Tensor, uniform: torch.Tensor, top_p: float) -> torch.Tensor:
    """The tokens for the sorted vocabulary, which is sorted only if `LIKELY` tokens do not hold the nucleus."""
    import torch

    least = torch.topk(probabilities, LIKELY, dim=-1).values[:, -1:]
    chosen = []
    for row, bound, drawn in zip(probabilities, least, uniform.tolist(), strict=True):
        places = (row >= bound).nonzero().squeeze(-1)  # all ties, in order of token id
        part, order = torch.sort(row[places], descending=True, stable=True)
        cumulative = part.cumsum(-1)
        if cumulative[-1] < top_p:
            places = torch.arange(len(row))
            part, order = torch.sort(row, descending=True, stable=True)
            cumulative = part.cumsum(-1)
        kept = part.masked_fill(cumulative - part >= top_p, 0.0).cumsum(-1)
        found = int(torch.searchsorted(kept, drawn * kept[-1:], right=True).clamp(max=len(part) - 1))
        chosen.append(int(places[order[found]]))
    return torch.tensor(chosen)


def _signed(value: int) -> int:
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value

"""Widen a small model's heads to 32 numbers: vLLM's CPU attention has no kernel for the 24 of the shipped models.

    python -m deepcritic.microworld.widen_heads deepcritic://microworld/models/generator runs/generator

The result computes the same function, up to rounding: each half of a head is padded with zeros, the rotary base keeps the first
frequencies unchanged, and the queries compensate for the larger divisor in the softmax. It is saved as a Llama, whose
configuration can give the head size.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from deepcritic.hub.models import load_model, load_tokenizer

if TYPE_CHECKING:
    import torch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a Qwen2 model of the small world")
    parser.add_argument("folder", type=Path, help="where the wide one is written")
    arguments = parser.parse_args()
    widen(arguments.model, arguments.folder)


def widen(model: str, folder: Path, head: int = 32) -> Path:
    """Write the Qwen2 `model` to `folder` with heads of `head` numbers (even, at least as many as it has). Returns `folder`."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    narrow = load_model(model, dtype="float32", device="cpu")
    was = narrow.config
    heads, narrow_head = was.num_attention_heads, was.hidden_size // was.num_attention_heads
    config = LlamaConfig(
        vocab_size=was.vocab_size, hidden_size=was.hidden_size, intermediate_size=was.intermediate_size,
        num_hidden_layers=was.num_hidden_layers, num_attention_heads=heads, num_key_value_heads=was.num_key_value_heads,
        head_dim=head, max_position_embeddings=was.max_position_embeddings, rms_norm_eps=was.rms_norm_eps,
        tie_word_embeddings=was.tie_word_embeddings, attention_bias=True, eos_token_id=was.eos_token_id,
        bos_token_id=was.bos_token_id, pad_token_id=was.pad_token_id,
        rope_parameters={"rope_type": "default", "rope_theta": was.rope_parameters["rope_theta"] ** (head / narrow_head)},
    )  # fmt: skip
    wide = LlamaForCausalLM(config)
    state = {**narrow.state_dict()}
    for name, weight in narrow.state_dict().items():
        if "self_attn" not in name:
            continue
        if "o_proj" in name:
            state[name] = _wider(weight.T, narrow_head, head).T
            state[name.replace("weight", "bias")] = torch.zeros(was.hidden_size)
        else:
            state[name] = _wider(weight, narrow_head, head) * ((head / narrow_head) ** 0.5 if "q_proj" in name else 1.0)
    wide.load_state_dict(state)
    wide.save_pretrained(folder)
    load_tokenizer(model).save_pretrained(folder)
    return folder


def _wider(weight: torch.Tensor, before: int, after: int) -> torch.Tensor:
    """`weight` (heads * before, ...) as (heads * after, ...), with zeros after each half of a head: rotation pairs the halves."""
    halves = weight.reshape(-1, before // 2, *weight.shape[1:])
    filled = weight.new_zeros(halves.shape[0], after // 2, *weight.shape[1:])
    filled[:, : before // 2] = halves
    return filled.reshape(-1, *weight.shape[1:])


if __name__ == "__main__":
    main()

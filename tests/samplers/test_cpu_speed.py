"""Grouped attention on a CPU gives transformers' own logits to the bit, without repeating keys and values."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
from transformers import DynamicCache, LlamaConfig, LlamaForCausalLM  # noqa: E402
from transformers.integrations import sdpa_attention  # noqa: E402

from deepcritic.samplers.cpu_speed import GROUPED, sample_faster  # noqa: E402


def _model(dtype: Any, key_heads: int = 2, **more: Any) -> Any:
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=64, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=key_heads, max_position_embeddings=256, **more,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(dtype).eval()


def _logits(model: Any) -> list[Any]:
    """Of padded prompts, of one without padding, and of the tokens after them."""
    found = []
    for padded in (0, 17):
        mask = torch.ones(3, 40, dtype=torch.long)
        mask[1, :padded] = 0
        ids, cache = torch.arange(120).reshape(3, 40) % 64, DynamicCache()
        with torch.inference_mode():
            found.append(model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True).logits[:, -1])
            for _ in range(3):
                mask = torch.cat([mask, torch.ones(3, 1, dtype=torch.long)], 1)
                found.append(
                    model(input_ids=ids[:, :1], attention_mask=mask, past_key_values=cache, use_cache=True).logits[:, -1]
                )
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("key_heads", [1, 2, 6])
def test_the_logits_are_those_of_transformers(dtype: Any, key_heads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = _model(dtype, key_heads)
    expected = _logits(model)
    sample_faster(model)
    assert model.config._attn_implementation == GROUPED

    def repeated(*_: Any) -> None:
        raise AssertionError("keys were repeated")

    monkeypatch.setattr(sdpa_attention, "repeat_kv", repeated)
    assert all(torch.equal(one, other) for one, other in zip(_logits(model), expected, strict=True))


def test_another_attention_is_left_alone() -> None:
    model = _model(torch.float32, attn_implementation="eager")
    sample_faster(model)
    assert model.config._attn_implementation == "eager"

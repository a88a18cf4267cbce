"""Heads of published process reward models: they compute the probability at a position that a step is correct.

Each head names the class that loads the weights; no code from a model's folder is run. Only the requested positions pass
through a head, so a vocabulary of 150,000 entries costs no memory.

| head | weights | number |
|---|---|---|
| `TokenClasses` | transformers' `...ForTokenClassification` | softmax over the classes, entry `correct` |
| `TwoLayers` | `score.0`, ReLU, `score.2` on Qwen2 (Qwen2.5-Math-PRM) | softmax over two classes, entry `correct` |
| `TokenPair` | a causal language model | softmax over the next-token logits of `good` and `bad`, entry `good` |
| `ValueHead` | `v_head.summary` on Qwen2 (Skywork-o1-Open-PRM; TRL's value head) | sigmoid |
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from deepcritic.errors import InputError
from deepcritic.hub.models import load_model
from deepcritic.scorers.prm_layouts import token_id

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class Head(Protocol):
    """Loads a model and reads its numbers."""

    def load(self, source: str, tokenizer: PreTrainedTokenizerBase, *, dtype: str, device: str) -> PreTrainedModel:
        """The model in evaluation mode. Raises `InputError` if its weights have another head."""
        ...

    def numbers(self, model: PreTrainedModel, ids: Tensor, mask: Tensor, rows: Tensor, ends: Tensor) -> Tensor:
        """The numbers at the positions `(rows[i], ends[i])` of `ids` and `mask` (batch, length): float64, shape (positions,)."""
        ...


@dataclass(frozen=True, kw_only=True)
class TokenClasses:
    correct: int = 1

    def load(self, source: str, tokenizer: PreTrainedTokenizerBase, *, dtype: str, device: str) -> PreTrainedModel:
        model = load_model(source, dtype=dtype, device=device, kind="AutoModelForTokenClassification").eval()
        built = model.config.architectures or []
        if not any(name.endswith("ForTokenClassification") for name in built):
            expected = "a token classifier, or scorer=qwen_math_prm, rlhflow, math_shepherd or skywork"
            raise InputError(
                "the model has no token classification head", field="model", found=", ".join(built), expected=expected
            )
        if not 0 <= self.correct < model.config.num_labels:
            expected = f"0 to {model.config.num_labels - 1}"
            raise InputError("the model does not have this class", field="scorer.correct", found=self.correct, expected=expected)
        return model

    def numbers(self, model: PreTrainedModel, ids: Tensor, mask: Tensor, rows: Tensor, ends: Tensor) -> Tensor:
        logits = model(input_ids=ids, attention_mask=mask).logits[rows, ends]
        picked: Tensor = logits.double().softmax(-1)[:, self.correct]
        return picked


@dataclass(frozen=True, kw_only=True)
class TwoLayers:
    correct: int = 1

    def load(self, source: str, tokenizer: PreTrainedTokenizerBase, *, dtype: str, device: str) -> PreTrainedModel:
        return _with_head(source, "TwoLayers", dtype, device)

    def numbers(self, model: PreTrainedModel, ids: Tensor, mask: Tensor, rows: Tensor, ends: Tensor) -> Tensor:
        hidden = model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state[rows, ends]
        logits: Tensor = model.score(hidden)
        return logits.double().softmax(-1)[:, self.correct]


@dataclass(kw_only=True)
class TokenPair:
    good: str = "+"
    bad: str = "-"
    _ids: list[int] = field(default_factory=list, init=False)

    def load(self, source: str, tokenizer: PreTrainedTokenizerBase, *, dtype: str, device: str) -> PreTrainedModel:
        model = load_model(source, dtype=dtype, device=device).eval()
        for name in ("final_logit_softcapping", "logit_scale", "logits_scaling"):
            if getattr(model.config, name, None):
                expected = "a model whose logits are its last layer's output, such as Llama, Mistral or Qwen"
                raise InputError(
                    f"logits are changed by {name}, which is not supported", field="model", found=source, expected=expected
                )
        self._ids = [token_id(tokenizer, text, f"scorer.{name}") for name, text in (("good", self.good), ("bad", self.bad))]
        return model

    def numbers(self, model: PreTrainedModel, ids: Tensor, mask: Tensor, rows: Tensor, ends: Tensor) -> Tensor:
        hidden = model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state[rows, ends]
        output: Any = model.get_output_embeddings()
        logits = hidden @ output.weight[self._ids].T
        if output.bias is not None:
            logits = logits + output.bias[self._ids]
        picked: Tensor = logits.double().softmax(-1)[:, 0]
        return picked


@dataclass(frozen=True, kw_only=True)
class ValueHead:
    def load(self, source: str, tokenizer: PreTrainedTokenizerBase, *, dtype: str, device: str) -> PreTrainedModel:
        return _with_head(source, "ValueHead", dtype, device)

    def numbers(self, model: PreTrainedModel, ids: Tensor, mask: Tensor, rows: Tensor, ends: Tensor) -> Tensor:
        hidden = model.base_model(input_ids=ids, attention_mask=mask).last_hidden_state[rows, ends]
        value: Tensor = model.v_head.summary(hidden)
        return value.double().sigmoid()[:, 0]


def _with_head(source: str, name: str, dtype: str, device: str) -> PreTrainedModel:
    """A Qwen2 with one of our heads; its weights have the names used in the published files."""
    from torch import nn
    from transformers import Qwen2Model, Qwen2PreTrainedModel

    class TwoLayers(Qwen2PreTrainedModel):  # type: ignore[misc]  # transformers is not followed
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            width = config.hidden_size
            self.model = Qwen2Model(config)
            self.score = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))
            self.post_init()

    class ValueHead(Qwen2PreTrainedModel):  # type: ignore[misc]  # transformers is not followed
        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.model = Qwen2Model(config)
            self.v_head = nn.ModuleDict({"summary": nn.Linear(config.hidden_size, 1)})
            self.post_init()

    kinds = {"TwoLayers": TwoLayers, "ValueHead": ValueHead}
    return load_model(source, dtype=dtype, device=device, kind=kinds[name]).eval()

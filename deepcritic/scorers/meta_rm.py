"""A Meta RM (DeepSeek-GRM, arXiv 2504.02495): the probability that a reply is correct, read at its last token.

with MetaRM("runs/meta/meta_rm/model") as scorer:
    for scores in scorer.score([("a-1", conversations)]):
        print(scores.values)

For every task it reads the prompt followed by the reply, in the model's own chat format. If one of a row's conversations is
longer than the model's context, the row fails as `too_long`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from deepcritic.errors import InputError
from deepcritic.hub.models import context_length, load_model, load_tokenizer, model_id
from deepcritic.schema import Failure, Scores
from deepcritic.scorers.base import Conversations, key_of
from deepcritic.text.chat_template import dialogue_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class MetaRM:
    """Scores in this process. `batch_tokens` limits the tokens of a batch, including padding."""

    def __init__(self, model: str, *, batch_tokens: int = 32_768, dtype: str = "auto", device: str = "auto") -> None:
        self._id = model_id(model)
        self._source, self._batch_tokens, self._dtype, self._device = model, batch_tokens, dtype, device
        self._model: PreTrainedModel | None = None
        self._tokenizer: Any = None

    @property
    def model_id(self) -> str:
        return self._id

    def score(self, items: Iterable[tuple[str, Conversations]]) -> Iterator[Scores | Failure]:
        assert self._model is not None, "scorer used outside its `with` block"
        context = context_length(self._model) or sys.maxsize
        for name, conversations in items:
            ids = [dialogue_ids(self._tokenizer, messages)[0] for messages in conversations]
            longest = max(map(len, ids), default=0)
            if longest > context:
                yield Failure(key=key_of(name), reason="too_long", detail=f"{longest} tokens exceed {context}")
                continue
            size = max(1, self._batch_tokens // max(1, longest))
            values = [value for start in range(0, len(ids), size) for value in self._read(ids[start : start + size])]
            yield Scores(key=key_of(name), values=tuple(values), model=self._id, prompt_tokens=sum(map(len, ids)))

    def _read(self, batch: list[list[int]]) -> list[float]:
        import torch

        assert self._model is not None
        width = max(map(len, batch))
        filler = self._model.config.pad_token_id
        ids = torch.tensor([[*row, *[filler] * (width - len(row))] for row in batch], device=self._model.device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch], device=self._model.device)
        with torch.inference_mode():
            logits = self._model(input_ids=ids, attention_mask=mask).logits[:, 0].float()
        return [round(float(value), 6) for value in torch.sigmoid(logits)]

    def __enter__(self) -> Self:
        self._tokenizer = load_tokenizer(self._source)
        self._model = load_model(
            self._source, dtype=self._dtype, device=self._device, kind="AutoModelForSequenceClassification"
        ).eval()
        if self._model.config.num_labels != 1:
            found = f"{self._model.config.num_labels} numbers a reply"
            raise InputError("not a Meta RM", field="stage.meta_rm", found=found, expected="a model trained by stage=meta_rm")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._model = self._tokenizer = None

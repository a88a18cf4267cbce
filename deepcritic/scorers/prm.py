"""A process reward model: token classification in transformers, read at the end of each step.

The tokens are those that TRL's PRMTrainer learns from: the problem, then each step with `separator` after it. A step's number is
the probability of "correct" at the last token of its separator. Positions are counted, not searched for, so a separator within a
step changes nothing; and the text of a control token stays text.

with PRMScorer("runs/prm/model") as scorer:
    for scores in scorer.score([("a-1", item)]):
        print(scores.values)

A solution that is longer than the model's context is set aside as `too_long`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from deepcritic.errors import InputError
from deepcritic.hub.models import context_length, load_model, load_tokenizer, model_id
from deepcritic.schema import Failure, Item, Scores
from deepcritic.scorers.base import key_of
from deepcritic.text.chat_template import text_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WINDOW = 8
"""How many batches are looked at together when items are put in order of length."""


class _Read(NamedTuple):
    """An item as tokens: where its steps end."""

    name: str
    ids: list[int]
    ends: list[int]


class PRMScorer:
    """Scores in this process. `correct` is the class that means so, `prompt_end` stands between the problem and the first step
    (ProcessBench's script for such models puts a line feed there; TRL puts nothing)."""

    def __init__(
        self,
        model: str,
        *,
        separator: str = "\n",
        prompt_end: str = "",
        correct: int = 1,
        batch_size: int = 32,
        batch_tokens: int = 65_536,
        dtype: str = "auto",
        device: str = "auto",
    ) -> None:
        self._id = model_id(model)
        self._source, self._dtype, self._device = model, dtype, device
        self._separator, self._prompt_end, self._correct = separator, prompt_end, correct
        self._batch_size, self._batch_tokens = batch_size, batch_tokens
        self._model: PreTrainedModel | None = None

    @property
    def model_id(self) -> str:
        return self._id

    def score(self, items: Iterable[tuple[str, Item]]) -> Iterator[Scores | Failure]:
        assert self._model is not None, "the scorer is used outside its with block"
        context = context_length(self._model)
        waiting = iter(items)
        while window := list(itertools.islice(waiting, WINDOW * self._batch_size)):
            fitting: list[_Read] = []
            for name, item in window:
                read = self._read(name, item)
                if len(read.ids) > context:
                    detail = f"{len(read.ids)} tokens exceed {context}"
                    yield Failure(key=key_of(name), reason="too_long", detail=detail)
                else:
                    fitting.append(read)
            for batch in self._batches(sorted(fitting, key=lambda read: len(read.ids))):
                yield from self._scored(batch, self._model)

    def _read(self, name: str, item: Item) -> _Read:
        tokenizer = self._tokenizer
        ids = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        ids += text_ids(tokenizer, item.problem + self._prompt_end)
        ends = []
        for step in item.steps:
            ids += text_ids(tokenizer, step) + self._separator_ids
            ends.append(len(ids) - 1)
        return _Read(name, ids, ends)

    def _batches(self, reads: list[_Read]) -> Iterator[list[_Read]]:
        batch: list[_Read] = []
        for read in reads:
            if batch and (len(batch) == self._batch_size or len(read.ids) * (len(batch) + 1) > self._batch_tokens):
                yield batch
                batch = []
            batch.append(read)
        if batch:
            yield batch

    def _scored(self, batch: list[_Read], model: PreTrainedModel) -> list[Scores]:
        import torch

        width = max(len(read.ids) for read in batch)
        ids = torch.tensor([read.ids + [0] * (width - len(read.ids)) for read in batch], device=model.device)
        mask = torch.tensor([[1] * len(read.ids) + [0] * (width - len(read.ids)) for read in batch], device=model.device)
        with torch.inference_mode():
            probabilities = model(input_ids=ids, attention_mask=mask).logits.double().softmax(-1)[..., self._correct].cpu()
        return [
            Scores(
                key=key_of(read.name),
                values=tuple(round(value, 6) for value in row[read.ends].tolist()),
                model=self._id,
                prompt_tokens=len(read.ids),
            )
            for read, row in zip(batch, probabilities, strict=True)
        ]

    def __enter__(self) -> Self:
        if self._model is None:
            model = load_model(
                self._source, dtype=self._dtype, device=self._device, kind="AutoModelForTokenClassification"
            ).eval()
            built = model.config.architectures or []
            if not any(name.endswith("ForTokenClassification") for name in built):
                remedy = "a model that was trained for token classification"
                raise InputError("the model has no head for its tokens", field="model", found=", ".join(built), remedy=remedy)
            if not 0 <= self._correct < model.config.num_labels:
                remedy = f"0 to {model.config.num_labels - 1}"
                raise InputError("the model has no such class", field="scorer.correct", found=self._correct, remedy=remedy)
            self._tokenizer: PreTrainedTokenizerBase = load_tokenizer(self._source, chat=False)
            self._separator_ids: list[int] = self._tokenizer(self._separator, add_special_tokens=False)["input_ids"]
            if not self._separator_ids:
                raise InputError("gives no token", field="scorer.separator", found=self._separator, remedy="a text such as \\n")
            self._model = model
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

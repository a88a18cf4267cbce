"""Scorer for process reward models: the probability that each step of a solution is correct.

A model is described by a layout (its input, `deepcritic.scorers.prm_layouts`) and a head (its output,
`deepcritic.scorers.prm_heads`). `conf/scorer/` has a file for each published kind; for servers see `deepcritic.scorers.pooling`.

with LocalScorer("Qwen/Qwen2.5-Math-PRM-7B", layout=Tagged(), head=TwoLayers()) as scorer:
    for scores in scorer.score([("a-1", item)]):
        print(scores.values)

A solution that is longer than the model's context fails as `too_long`.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from deepcritic.hub.models import context_length, load_tokenizer, model_id
from deepcritic.schema import Failure, Item, Scores
from deepcritic.scorers.base import key_of
from deepcritic.scorers.prm_heads import Head, TokenClasses
from deepcritic.scorers.prm_layouts import Layout, Separated

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WINDOW = 8
"""How many batches of items are sorted by length together."""


class _Read(NamedTuple):
    """An item as tokens, and the positions of its numbers."""

    name: str
    ids: list[int]
    ends: list[int]


class LocalScorer:
    """Scores in this process. A batch holds at most `batch_size` solutions and `batch_tokens` tokens, padding included."""

    def __init__(
        self,
        model: str,
        *,
        layout: Layout,
        head: Head,
        batch_size: int = 32,
        batch_tokens: int = 65_536,
        dtype: str = "auto",
        device: str = "auto",
    ) -> None:
        self._id = model_id(model)
        self._source, self._dtype, self._device = model, dtype, device
        self._layout, self._head = layout, head
        self._batch_size, self._batch_tokens = batch_size, batch_tokens
        self._model: PreTrainedModel | None = None

    @property
    def model_id(self) -> str:
        return self._id

    def score(self, items: Iterable[tuple[str, Item]]) -> Iterator[Scores | Failure]:
        assert self._model is not None, "scorer used outside its `with` block"
        context = context_length(self._model) or sys.maxsize
        waiting = iter(items)
        while window := list(itertools.islice(waiting, WINDOW * self._batch_size)):
            fitting: list[_Read] = []
            for name, item in window:
                read = _Read(name, *self._layout.lay(self._tokenizer, item))
                if len(read.ids) > context:
                    detail = f"{len(read.ids)} tokens exceed {context}"
                    yield Failure(key=key_of(name), reason="too_long", detail=detail)
                else:
                    fitting.append(read)
            for batch in self._batches(sorted(fitting, key=lambda read: len(read.ids))):
                yield from self._scored(batch, self._model)

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
        places = [(row, end) for row, read in enumerate(batch) for end in read.ends]
        rows, ends = torch.tensor(places, dtype=torch.long, device=model.device).reshape(-1, 2).unbind(1)
        with torch.inference_mode():
            numbers = iter(self._head.numbers(model, ids, mask, rows, ends).cpu().tolist())
        return [
            Scores(
                key=key_of(read.name),
                values=tuple(round(next(numbers), 6) for _ in read.ends),
                model=self._id,
                prompt_tokens=len(read.ids),
            )
            for read in batch
        ]

    def __enter__(self) -> Self:
        if self._model is None:
            self._tokenizer: PreTrainedTokenizerBase = load_tokenizer(self._source, chat=self._layout.chat)
            self._layout.check(self._tokenizer)
            self._model = self._head.load(self._source, self._tokenizer, dtype=self._dtype, device=self._device)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None


class PRMScorer(LocalScorer):
    """Token classification models from TRL's PRMTrainer. `correct` is the index of the class "correct"; `prompt_end` comes
    between the problem and the first step (a line feed in ProcessBench's script for such models; nothing in TRL)."""

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
        super().__init__(
            model, layout=Separated(separator=separator, prompt_end=prompt_end), head=TokenClasses(correct=correct),
            batch_size=batch_size, batch_tokens=batch_tokens, dtype=dtype, device=device,
        )  # fmt: skip

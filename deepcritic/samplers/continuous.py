"""Continuous batching for transformers: a new reply takes the place of each one that ends.

    for job in ContinuousBatch(model, tokenizer, size=16, tokens=131_072).run(jobs):
        ...  # each as soon as its reply ends

Each layer has one buffer with the keys and values of all rows, aligned at the right. A row whose reply began later begins at a
later column, and the mask excludes the columns before it. A row that has ended is a hole, into which the keys and values of a new
prompt are copied. A prompt with several replies is read once. If the rows exceed the token budget, the last one is removed and
read again later: the k-th token of a reply depends only on its prompt, its seed and k.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deepcritic.samplers.base import Sampling
from deepcritic.samplers.drawing import choose, end_tokens, stopped, uniforms

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

GROWTH = 128
"""The number of columns by which a buffer grows."""
REFILL = 4
"""New prompts are read together once a quarter of the rows is free: one by one they would delay the others."""
BETWEEN = 4
"""Steps between two readings of prompts, so that prompts that arrive one by one are read together."""
PREFILL_TOKENS = 8192
"""The most prompt tokens that are read together."""
_PLAIN = frozenset({"full_attention", "sliding_attention"})


@dataclass
class Reply:
    """The tokens of a reply, including its end token. `ended` is False if the reply was cut."""

    ids: list[int]
    ended: bool = False


@dataclass
class Job:
    """A reply to draw: its prompt, seed, sampling and maximum number of tokens. `at` is a number for the caller's own use."""

    at: int
    ids: list[int]
    seed: int
    sampling: Sampling
    limit: int
    reply: Reply = field(default_factory=lambda: Reply([]))
    start: int = 0
    """Its first column in the buffers."""
    cancelled: bool = False
    """Whether it was cancelled before its end."""

    @property
    def known(self) -> list[int]:
        """The prompt and the reply so far."""
        return self.ids + self.reply.ids


def can_refill(model: PreTrainedModel) -> bool:
    """Whether the model's cache holds only keys and values, so that rows can be exchanged."""
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or ["full_attention"]
    return set(kinds) <= _PLAIN


class ContinuousBatch:
    """Draws `size` replies at a time. Their prompts and replies may have `tokens` tokens together, including padding.

    `lock` is held while the model runs, so that several threads can each have a batch. `told` is called with the number of
    tokens just generated. `unwanted` is called once per token and returns the jobs (their `at`) to cancel.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        size: int,
        tokens: int,
        lock: AbstractContextManager[Any] | None = None,
        told: Callable[[int], None] = lambda tokens: None,
        unwanted: Callable[[], Collection[int]] = tuple,
    ) -> None:
        self._model, self._tokenizer, self._ends = model, tokenizer, frozenset(end_tokens(model, tokenizer))
        self._size, self._tokens = max(1, size), tokens
        self._lock, self._told, self._plain = lock or nullcontext(), told, can_refill(model)
        self._unwanted = unwanted
        self._pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0
        self._rows: list[Job | None] = []
        self._steps = 0
        """Steps since prompts were last read."""
        self._window = Window()
        self._buffers: list[Buffer] = []
        self._native: Any = None
        """The model's own cache, if its rows cannot be exchanged."""

    def run(self, jobs: Iterable[Job | None]) -> Iterator[Job]:
        """Yield each job when its reply ends, reaches its limit or is `cancelled`. None: no job at the moment; `jobs` is asked
        again while replies are being written."""
        import torch

        waiting, coming = deque[Job](), iter(jobs)
        done: list[Job] = []
        while True:
            yield from self._give_up(waiting)
            with self._lock, torch.inference_mode():
                done = self._refill(waiting, coming) or (self._step(waiting) if self._busy else [])
            yield from done
            if not done and not self._busy and not waiting:
                return

    @property
    def _busy(self) -> int:
        return sum(row is not None for row in self._rows)

    def _give_up(self, waiting: deque[Job]) -> list[Job]:
        """Remove the cancelled jobs and return them; their rows become holes."""
        unwanted = self._unwanted()
        if not unwanted:
            return []
        gone = [job for job in (*self._rows, *waiting) if job is not None and job.at in unwanted]
        for job in gone:
            job.cancelled = True
        self._rows = [None if row is not None and row.cancelled else row for row in self._rows]
        kept = [job for job in waiting if not job.cancelled]
        waiting.clear()
        waiting.extend(kept)
        self._window.begin = self._first_column()
        return gone

    def _refill(self, waiting: deque[Job], coming: Iterator[Job | None]) -> list[Job]:
        """Read new prompts if there is room; returns the jobs whose reply is complete with its first token."""
        free, self._steps = self._size - self._busy, self._steps + 1
        if self._busy and (free < max(1, self._size // REFILL) or self._steps < BETWEEN or not self._plain):
            return []
        new: list[Job] = []
        longest = read = 0
        while len(new) < free:
            job = waiting.popleft() if waiting else next(coming, None)
            if job is None:
                break
            longest = max(longest, len(job.known))
            width = max(longest, self._window.length)
            full = (self._busy + len(new) + 1) * (width + 1) > self._tokens
            read += 0 if new and job.ids is new[-1].ids else len(job.known)
            if (full and (new or self._busy)) or (new and read > PREFILL_TOKENS):
                waiting.appendleft(job)
                break
            new.append(job)
        return self._begin(new) if new else []

    def _begin(self, new: list[Job]) -> list[Job]:
        import torch
        from transformers import DynamicCache

        self._steps = 0

        unique: dict[int, int] = {}
        prompts: list[list[int]] = []
        places = []
        for job in new:
            name = id(job.ids) if self._plain and not job.reply.ids else id(job)
            if name not in unique:
                unique[name] = len(prompts)
                prompts.append(job.known)
            places.append(unique[name])
        width, device = max(map(len, prompts)), self._model.device
        ids = torch.tensor([[self._pad] * (width - len(one)) + one for one in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in prompts], device=device)
        cache = DynamicCache() if self._plain else DynamicCache(config=self._model.config)
        output = self._model(
            input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(min=0), past_key_values=cache,
            use_cache=True, logits_to_keep=1,
        )  # fmt: skip
        self._put(new, places, cache, width)
        return self._take(new, output.logits[:, -1][torch.tensor(places, device=device)])

    def _put(self, new: list[Job], places: list[int], cache: Any, width: int) -> None:
        """Copy the keys and values of new rows into holes, and append rows if there are too few holes."""
        import torch

        if not self._plain:
            self._native, self._window, self._rows = cache, Window(end=width), [*new]
            for job in new:
                job.start = width - len(job.known)
            return
        holes = [at for at, row in enumerate(self._rows) if row is None]
        if not self._busy:
            self._rows, self._buffers, self._window, holes = [], [], Window(), []
        if not self._buffers:
            self._window = Window(end=width)
            self._buffers = [Buffer(self._window, layer.keys, layer.values) for layer in cache.layers]
        elif width > self._window.end:
            self._move(width)
        holes += list(range(len(self._rows), len(self._rows) + len(new)))[: max(0, len(new) - len(holes))]
        rows = max(len(self._rows), *(hole + 1 for hole in holes[: len(new)]))
        self._rows += [None] * (rows - len(self._rows))
        chosen = torch.tensor(places, device=self._model.device)
        into = torch.tensor(holes[: len(new)], device=self._model.device)
        for buffer, layer in zip(self._buffers, cache.layers, strict=True):
            buffer.put(into, layer.keys[chosen], layer.values[chosen], rows)
        for hole, job in zip(holes, new, strict=False):
            self._rows[hole] = job
            job.start = self._window.end - len(job.known)
        self._window.begin = self._first_column()

    def _step(self, waiting: deque[Job]) -> list[Job]:
        """Generate one more token for every row; returns the jobs that are complete."""
        import torch

        self._give_way(waiting)
        if self._plain and self._window.end == self._buffers[0].capacity:
            self._move(self._window.length)
        rows, device = self._rows, self._model.device
        begin, end = self._window.begin if self._plain else 0, self._window.end
        ids = torch.tensor([[row.reply.ids[-1] if row else self._pad] for row in rows], device=device)
        starts = torch.tensor([[row.start if row else end] for row in rows], device=device)  # a hole attends only to itself
        mask = (torch.arange(begin, end + 1, device=device).unsqueeze(0) >= starts).long()
        output = self._model(
            input_ids=ids, attention_mask=mask, position_ids=end - starts, past_key_values=self._cache(), use_cache=True,
            logits_to_keep=1,
        )  # fmt: skip
        self._window.end += 1
        alive = [at for at, row in enumerate(rows) if row is not None]
        done = self._take([row for row in rows if row is not None], output.logits[:, -1][torch.tensor(alive, device=device)])
        self._shrink()
        return done

    def _take(self, rows: list[Job], logits: torch.Tensor) -> list[Job]:
        """Choose the next token of each row; returns the jobs that are complete, whose rows become holes."""
        import torch

        tokens = torch.empty(len(rows), dtype=torch.int64)
        kinds: dict[tuple[float, float], list[int]] = {}
        for at, row in enumerate(rows):
            kinds.setdefault((row.sampling.temperature, row.sampling.top_p), []).append(at)
        for (temperature, top_p), part in kinds.items():
            seeds = torch.tensor([rows[at].seed for at in part], dtype=torch.int64)
            drawn = uniforms(seeds, [len(rows[at].reply.ids) for at in part])
            tokens[part] = choose(logits[torch.tensor(part, device=logits.device)], drawn, temperature, top_p).cpu()
        done = []
        for row, token in zip(rows, tokens.tolist(), strict=True):
            row.reply.ids.append(token)
            row.reply.ended = token in self._ends or stopped(row.reply.ids, row.sampling, self._tokenizer)
            if row.reply.ended or len(row.reply.ids) >= row.limit:
                done.append(row)
                self._rows = [None if one is row else one for one in self._rows]
        self._told(len(rows))
        self._window.begin = self._first_column()
        return done

    def _give_way(self, waiting: deque[Job]) -> None:
        """Remove the rows that began last until the others fit the budget. They are read again later."""
        while self._busy > 1 and self._busy * (self._window.length + 1) > self._tokens:
            last = max((row for row in self._rows if row is not None), key=lambda row: row.start)
            self._rows = [None if row is last else row for row in self._rows]
            waiting.append(last)
            self._window.begin = self._first_column()

    def _shrink(self) -> None:
        """Remove the holes from the buffers once they are a third of the rows: each costs as much compute as a row."""
        import torch

        alive = [at for at, row in enumerate(self._rows) if row is not None]
        if not alive or len(alive) > len(self._rows) * 2 // 3:
            return
        kept = torch.tensor(alive, device=self._model.device)
        for part in self._buffers if self._plain else [self._native]:
            part.reorder_cache(kept)
        self._rows = [self._rows[at] for at in alive]

    def _move(self, end: int) -> None:
        """Move the window to end at column `end`, with spare columns after it."""
        moved = end - self._window.end
        for buffer in self._buffers:
            buffer.move(moved, end + GROWTH, self._window)
        for row in self._rows:
            if row is not None:
                row.start += moved
        self._window.begin, self._window.end = self._window.begin + moved, end

    def _first_column(self) -> int:
        return min((row.start for row in self._rows if row is not None), default=self._window.end)

    def _cache(self) -> Any:
        from transformers.cache_utils import Cache

        return Cache(layers=[buffer.layer for buffer in self._buffers]) if self._plain else self._native


@dataclass
class Window:
    """The columns of the buffers in use: from `begin` to `end`, exclusive."""

    begin: int = 0
    end: int = 0

    @property
    def length(self) -> int:
        return self.end - self.begin


class Buffer:
    """Keys and values of one layer for all rows, (rows, heads, columns, width) each, with spare columns."""

    def __init__(self, window: Window, keys: torch.Tensor, values: torch.Tensor) -> None:
        self.keys, self.values = (_empty(like, 0, window.end + GROWTH) for like in (keys, values))
        self.layer = _layer(self, window)

    @property
    def capacity(self) -> int:
        return int(self.keys.shape[2])

    def put(self, into: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, rows: int) -> None:
        """Copy new rows, aligned at the window's end."""
        window: Window = self.layer.window
        if rows > self.keys.shape[0]:
            self.keys, self.values = (_copied(old, _empty(old, rows, self.capacity)) for old in (self.keys, self.values))
        start = window.end - keys.shape[2]
        self.keys[into, :, start : window.end] = keys
        self.values[into, :, start : window.end] = values

    def reorder_cache(self, kept: torch.Tensor) -> None:
        self.keys, self.values = self.keys.index_select(0, kept), self.values.index_select(0, kept)

    def move(self, by: int, capacity: int, window: Window) -> None:
        """Move the window's columns `by` columns to the right (left if negative), into buffers of `capacity` columns."""
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = _empty(old, old.shape[0], capacity)
            new[:, :, window.begin + by : window.end + by] = old[:, :, window.begin : window.end]
            setattr(self, name, new)


def _empty(like: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Zeros: masked entries must be finite numbers too."""
    return like.new_zeros(rows, like.shape[1], columns, like.shape[3])


def _copied(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    new[: old.shape[0]] = old
    return new


def _layer(buffer: Buffer, window: Window) -> Any:
    """The buffer as one layer of a transformers cache."""
    from transformers.cache_utils import DynamicLayer

    class Layer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped here
        def __init__(self) -> None:
            super().__init__()
            self.window, self.is_initialized = window, True

        def update(self, keys: Any, values: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
            end = window.end + keys.shape[2]
            buffer.keys[:, :, window.end : end] = keys
            buffer.values[:, :, window.end : end] = values
            return buffer.keys[:, :, window.begin : end], buffer.values[:, :, window.begin : end]

        def get_seq_length(self) -> int:
            return window.length

    return Layer()

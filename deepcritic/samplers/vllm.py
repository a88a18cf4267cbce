"""Sampler that runs vLLM in this process, on all GPUs of this machine. Replies are yielded as they finish.

    python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=math.json sampler=vllm model=PATH run=mine

Prompts and replies are handled as in the `transformers` sampler: prompts are token ids, a sample's random numbers depend only
on its own seed, and a reply may be as long as `max_tokens` and the context allow.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import importlib.util
import itertools
import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from deepcritic.errors import InputError, StageIncomplete, UsageError
from deepcritic.hub.models import adapter_id, context_length, find_model, load_tokenizer, model_id
from deepcritic.samplers.base import Lengths, Request, Sampling
from deepcritic.samplers.cancellation import Cancellation
from deepcritic.samplers.event_loop import Background
from deepcritic.samplers.watchdog import Watchdog
from deepcritic.schema import Failure, Generation, Key
from deepcritic.text.chat_template import arguments_id, prompt_ids, reply_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

QUIET = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""The adapter ranks that vLLM supports."""
CPU_CACHE_BYTES = 1 << 30
"""Size of the KV cache without a GPU, if VLLM_CPU_KVCACHE_SPACE is not set."""
AHEAD = 8
"""Replies that are begun for each one that an engine can generate at once. With 2, throughput was 7% lower (`scripts/bench
engines`): prompts that arrive one by one delay the engine more than prompts that are already queued."""


class _Draw(NamedTuple):
    """One sample to draw."""

    ids: list[int]
    key: Key
    seed: int
    request: Request
    fingerprint: str
    limit: int


class VLLMSampler:
    """Samples with vLLM in this process.

    `lora` is the folder of an adapter. A model is split over `tensor_parallel` GPUs; `data_parallel` such engines share the
    requests, by default as many as the machine has GPUs for. `max_num_seqs` is how many replies an engine generates at once;
    eight times as many are begun, so that it never waits. `dtype` auto is the model's own, or float32 without a GPU. With
    `strict_length` a request is `too_long` unless all of its `max_tokens` fits. `template_args` are variables of the chat
    template.
    """

    lanes = 64
    """How many concurrent streams a service opens; their requests share the engine's batches."""

    def __init__(
        self,
        model: str,
        *,
        lora: str | None = None,
        dtype: str = "auto",
        tensor_parallel: int = 1,
        data_parallel: int | str = "auto",
        gpu_memory_utilization: float = 0.9,
        max_model_len: int | None = None,
        max_num_seqs: int = 256,
        strict_length: bool = False,
        template_args: Mapping[str, Any] | None = None,
    ) -> None:
        if importlib.util.find_spec("vllm") is None:
            raise UsageError("sampler=vllm needs vLLM: pip install 'deepcritic[vllm]'")
        if data_parallel != "auto" and not (isinstance(data_parallel, int) and data_parallel >= 1):
            raise InputError("out of range", field="sampler.data_parallel", found=data_parallel, expected="auto, or from 1")
        self._id = model_id(model) + (f"+{adapter_id(lora)}" if lora else "") + arguments_id(template_args)
        self._template_args = template_args
        self._source, self._lora, self._dtype = model, lora, dtype
        self._tensor_parallel, self._data_parallel = tensor_parallel, data_parallel
        self._memory, self._max_model_len, self._max_num_seqs = gpu_memory_utilization, max_model_len, max_num_seqs
        self._strict, self._context = strict_length, max_model_len
        self._tokenizer: PreTrainedTokenizerBase | None = None
        self._lock, self._numbers, self._cancellation = threading.Lock(), itertools.count(), Cancellation()

    @property
    def model_id(self) -> str:
        return self._id

    @property
    def tokenizer_source(self) -> str:
        return self._source

    @property
    def lengths(self) -> Lengths:
        return Lengths(self._context or context_length(self._source), self._strict)

    def cancel(self, keys: Iterable[Key]) -> None:
        """Have vLLM abort the draws of these keys."""
        self._cancellation.cancel(keys)

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        return self._background.stream(self._draws(requests), self._outcome, room=self._room)

    def _draws(self, requests: Iterable[Request]) -> Iterator[_Draw | Failure]:
        lengths = self.lengths
        for request in requests:
            self._cancellation.pulled(request.keys)
            with self._lock:  # a tokenizer keeps settings of the current call
                ids = prompt_ids(self._opened, request.messages, request.prefix)
            limit = lengths.limit(len(ids), request.sampling)
            if not limit:  # vLLM always knows its context
                yield from lengths.failures(request, len(ids))
                continue
            fingerprint = request.fingerprint(self._id)
            for key, seed in zip(request.keys, request.seeds, strict=True):
                yield _Draw(ids, key, seed, request, fingerprint, limit)

    async def _outcome(self, draw: _Draw | Failure) -> Generation | Failure:
        if isinstance(draw, Failure):
            self._cancellation.answered(draw.key)
            return draw
        return await self._cancellation.run(draw.key, self._answer(draw))

    async def _answer(self, draw: _Draw) -> Generation | Failure:
        prompt, parameters = (
            {"type": "token", "prompt_token_ids": draw.ids},
            _parameters(draw.request.sampling, draw.limit, draw.seed, self._end),
        )
        last = None
        try:
            async for output in self._engine.generate(prompt, parameters, str(next(self._numbers)), lora_request=self._adapter):
                last = output
        except self._died:
            raise StageIncomplete(
                "the vLLM engine died (see above); completed replies are kept; rerun the same command to resume"
            ) from None
        reason = last.outputs[0].finish_reason if last is not None else "nothing"
        if last is None or reason not in {"stop", "length"}:
            return Failure(key=draw.key, reason="engine", detail=f"unexpected finish reason from vLLM: {reason}")
        reply = list(last.outputs[0].token_ids)
        text = reply_text(self._reader, draw.ids, reply)
        for stop in draw.request.sampling.stop:
            text = text.partition(stop)[0]
        return Generation(
            key=draw.key,
            text=text,
            finish_reason=reason,
            model=self._id,
            fingerprint=draw.fingerprint,
            seed=draw.seed,
            prefix=draw.request.prefix,
            context=draw.request.context,
            prompt_tokens=len(draw.ids),
            completion_tokens=len(reply),
            cached_tokens=last.num_cached_tokens or 0,
        )

    @property
    def _opened(self) -> PreTrainedTokenizerBase:
        assert self._tokenizer is not None, "sampler used outside its `with` block"
        return self._tokenizer

    def __enter__(self) -> Self:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        self._tokenizer = load_tokenizer(self._source, template_args=self._template_args)
        self._end = int(self._tokenizer.eos_token_id)
        self._reader = copy.deepcopy(self._tokenizer)  # for the event loop thread, which must not wait for prompts
        settings = self._settings()
        with contextlib.ExitStack() as opened:
            self._background = opened.enter_context(Background())
            watchdog = opened.enter_context(Watchdog())
            try:
                with watchdog.children():
                    self._engine = self._background.run(_start(settings))
            except (ValueError, RuntimeError, OSError) as error:
                reason = str(error).strip().partition("\n")[0]
                problem = f"vLLM did not start ({reason})"
                raise InputError(problem, field="sampler", found=self._source) from error
            self._open = opened.pop_all()
        self._context = self._engine.model_config.max_model_len
        self._room = AHEAD * self._max_num_seqs * settings["data_parallel_size"]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._background.cancel()
        self._engine.shutdown()
        self._open.close()
        del self._engine
        gc.collect()  # the engine is in a reference cycle and holds GPU memory
        self._tokenizer = None

    def _settings(self) -> dict[str, Any]:
        """The arguments for vLLM's `AsyncEngineArgs`."""
        import torch
        from vllm.lora.request import LoRARequest
        from vllm.platforms import current_platform
        from vllm.v1.engine.exceptions import EngineDeadError

        self._died: type[Exception] = EngineDeadError
        path, revision = find_model(self._source)
        self._adapter = LoRARequest("adapter", 1, str(Path(self._lora).expanduser())) if self._lora else None
        engines = max(1, torch.cuda.device_count() // self._tensor_parallel)
        settings: dict[str, Any] = {
            "model": path,
            "revision": revision,
            "trust_remote_code": False,
            "load_format": "safetensors",
            "dtype": self._dtype,
            "max_model_len": self._max_model_len,
            "max_num_seqs": self._max_num_seqs,
            "tensor_parallel_size": self._tensor_parallel,
            "data_parallel_size": engines if self._data_parallel == "auto" else self._data_parallel,
            "gpu_memory_utilization": self._memory,
            "enable_prefix_caching": True,
            "disable_log_stats": True,
        }
        if self._lora:
            settings |= {"enable_lora": True, "max_lora_rank": _room_for(self._lora)}
        if current_platform.is_cpu():
            # Without a GPU, chunked prefill breaks seeded draws, blocks of 128 tokens find no cached prefix, and
            # compiling takes longer than running the small models that one tries here.
            settings |= {"enable_chunked_prefill": False, "block_size": 32, "enforce_eager": True}
            settings["dtype"] = "float32" if self._dtype == "auto" else self._dtype
            if "VLLM_CPU_KVCACHE_SPACE" not in os.environ:
                settings["kv_cache_memory_bytes"] = CPU_CACHE_BYTES
        return settings


async def _start(settings: dict[str, Any]) -> Any:
    """Create the engine inside the event loop. No local variable holds it: vLLM keeps this frame, which would keep it alive."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.v1.engine.async_llm import AsyncLLM

    return AsyncLLM.from_engine_args(AsyncEngineArgs(**settings))


def _parameters(sampling: Sampling, limit: int, seed: int, end: int) -> Any:
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    return SamplingParams(
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=limit,
        stop=list(sampling.stop),
        stop_token_ids=[end],  # the chat template's end of turn, which the model's own settings may lack
        seed=seed,
        detokenize=bool(sampling.stop),  # vLLM needs the text only for stop strings; otherwise it is decoded at the end
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _room_for(lora: str) -> int:
    rank = json.loads((Path(lora).expanduser() / "adapter_config.json").read_text("utf-8")).get("r")
    for room in RANKS:
        if isinstance(rank, int) and rank <= room:
            return room
    raise InputError("unsupported LoRA rank", field="sampler.lora", found=rank, expected=f"r up to {RANKS[-1]}")

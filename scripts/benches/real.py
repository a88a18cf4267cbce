"""A real model on real prompts: tokens a second of sampler=transformers beside `model.generate`, vLLM and llama.cpp.

scripts/bench real --processbench gsm8k.json [--rounds 3] [--server http://127.0.0.1:8080/v1]

The model is SmolLM2-135M-Instruct (`scripts/weights.py`), the prompts are those of `task=first_error` about rows of
ProcessBench. Each side writes one reply per prompt, at temperature 1 with top-p 0.9 and the same length limit, eight at a time,
in the same dtype. The sides alternate, and ratios are per round. Tokens are reply tokens. Seconds are wall-clock time
with prefill, without loading. `model.generate` gets the prompts sorted by length, eight at a time.
vLLM is timed if this runs in `.venv-engines`; `--server` is a llama.cpp server of the same GGUF file, asked through
sampler=openai with eight requests in flight.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from table import row, write

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from deepcritic.datasets import processbench
from deepcritic.samplers.base import Request, Sampler, Sampling
from deepcritic.samplers.resume import request
from deepcritic.schema import Generation
from deepcritic.tasks.first_error import FirstError
from deepcritic.text.chat_template import prompt_ids
from scripts.weights import fetch

BATCH, ROWS, TOKENS = 8, 32, 192
SAMPLING = Sampling(temperature=1.0, top_p=0.9, max_tokens=TOKENS)
Side = Callable[[int], tuple[int, float]]
"""Generate the replies of a round; returns their number of tokens, and the seconds."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--processbench", required=True, help="ProcessBench's gsm8k.json")
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--rows", type=int, default=ROWS)
    options.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    options.add_argument("--dtype", default="float32")
    options.add_argument("--server", help="base URL of a llama.cpp server with the same file")
    given = options.parse_args()
    import torch

    torch.set_num_threads(given.threads)
    model = str(fetch("smollm2"))
    items = [example.item for example in processbench.read(given.processbench)][: given.rows]
    sides: dict[str, Side] = {"model.generate": generate(model, items, given.dtype), "ours": ours(model, items, given.dtype)}
    if importlib.util.find_spec("vllm"):
        sides["vLLM"] = vllm(model, items, given.dtype)
    if given.server:
        sides["llama.cpp"] = llama(given.server, items)
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(given.rounds):
        order = list(sides) if turn % 2 == 0 else list(reversed(sides))
        for name in order:
            tokens, seconds = sides[name](turn)
            found[name].append(tokens / seconds)
            print(f"round {turn + 1}, {name}: {tokens} tokens in {seconds:.1f} s, {tokens / seconds:.1f} tokens/s", flush=True)
    mine = median(found["ours"])
    rows = []
    for name in sides:
        if name != "ours":
            ratio = median(own / other for own, other in zip(found["ours"], found[name], strict=True))
            least = 1.2 if name == "model.generate" else None
            rows.append(row(f"tokens a second beside {name}", mine, median(found[name]), ratio=ratio, at_least=least))
    write(
        "real", rows, command="scripts/bench real", model=Path(model).name, rows_of_processbench=given.rows, batch=BATCH,
        max_tokens=TOKENS, rounds=given.rounds, threads=given.threads, dtype=given.dtype, by_round=found,
    )  # fmt: skip


def asks(items: list[Any], turn: int) -> list[Request]:
    task = FirstError()
    return [request(task.ask(item), SAMPLING, example_id=str(at), call="bench", seed=turn) for at, item in enumerate(items)]


def drawn(sampler: Sampler, requests: list[Request]) -> tuple[int, float]:
    began = time.perf_counter()
    tokens = sum(one.completion_tokens for one in sampler.stream(requests) if isinstance(one, Generation))
    return tokens, time.perf_counter() - began


def ours(model: str, items: list[Any], dtype: str) -> Side:
    from deepcritic.samplers.transformers import TransformersSampler

    sampler = TransformersSampler(model, batch_size=BATCH, dtype=dtype, device="cpu").__enter__()
    return lambda turn: drawn(sampler, asks(items, turn))


def generate(model: str, items: list[Any], dtype: str) -> Side:
    import torch

    from deepcritic.hub.models import load_model, load_tokenizer

    weights, tokenizer = load_model(model, dtype=dtype, device="cpu").eval(), load_tokenizer(model)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id

    def side(turn: int) -> tuple[int, float]:
        torch.manual_seed(turn)
        began, tokens = time.perf_counter(), 0
        prompts = sorted((prompt_ids(tokenizer, one.messages) for one in asks(items, turn)), key=len)
        for start in range(0, len(prompts), BATCH):
            part = prompts[start : start + BATCH]
            width = max(map(len, part))
            ids = torch.tensor([[pad] * (width - len(one)) + one for one in part])
            mask = torch.tensor([[0] * (width - len(one)) + [1] * len(one) for one in part])
            replies = weights.generate(
                input_ids=ids, attention_mask=mask, do_sample=True, temperature=1.0, top_p=0.9, top_k=0, max_new_tokens=TOKENS,
                eos_token_id=tokenizer.eos_token_id, pad_token_id=pad,
            )[:, width:]  # fmt: skip
            for reply in replies.tolist():
                tokens += reply.index(tokenizer.eos_token_id) + 1 if tokenizer.eos_token_id in reply else len(reply)
        return tokens, time.perf_counter() - began

    return side


def vllm(model: str, items: list[Any], dtype: str) -> Side:
    from deepcritic.samplers.vllm import VLLMSampler

    sampler = VLLMSampler(model, dtype=dtype, max_num_seqs=BATCH).__enter__()
    return lambda turn: drawn(sampler, asks(items, turn))


def llama(url: str, items: list[Any]) -> Side:
    from deepcritic.samplers.openai import OpenAISampler

    sampler = OpenAISampler("smollm2", urls=url, concurrency=BATCH).__enter__()
    return lambda turn: drawn(sampler, asks(items, turn))


if __name__ == "__main__":
    main()

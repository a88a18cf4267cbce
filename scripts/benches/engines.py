"""Overhead of deepcritic over bare engines: the same requests, sent directly and through a stage, in alternation.

scripts/bench engines

A stage builds prompts, reads replies, writes every row to disk, and sorts the file at the end. The bare
side only sends prepared requests. The ratio is the median of the turns' ratios. `intervals` has its 95% bootstrap interval over
turns, because the machine is shared.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib.util
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
from table import Bench, row, write

from deepcritic.__main__ import QUIET
from deepcritic.metrics.bootstrap import percentiles
from deepcritic.runs.folder import RunFolder
from deepcritic.samplers.base import Request, Sampler, Sampling
from deepcritic.samplers.openai import OpenAISampler
from deepcritic.samplers.resume import Draws, request, user
from deepcritic.tasks.base import Question

ROUNDS = 30
IN_FLIGHT = 64
Part = Iterator[tuple[Bench, list[float]]]


def asks(count: int, *, max_tokens: int = 64) -> list[Request]:
    """`count` short requests, all different."""
    return [
        request(
            Question(messages=user(f"Is this step right? {index} + {index % 7} = {2 * index}")),
            Sampling(max_tokens=max_tokens), example_id=f"e-{index}", call="critique", seed=1,
        )
        for index in range(count)
    ]  # fmt: skip


def as_a_stage(engine: Sampler, requests: Iterable[Request]) -> int:
    """Draw `requests` as a stage does, from an open engine; returns the number of rows."""
    with tempfile.TemporaryDirectory() as place:
        folder = RunFolder(Path(place) / "run" / "bench", stage="bench", config={})
        with folder, Draws(folder) as draws:
            draws.collect(requests, _Open(engine), "rows")
            return draws.finish()["generations"]


class _Open:
    """An engine that the caller opens and closes."""

    def __init__(self, engine: Sampler) -> None:
        self.stream, self.model_id = engine.stream, engine.model_id

    def __enter__(self) -> _Open:
        return self

    def __exit__(self, *_: Any) -> None:
        return None


def alternate(
    what: str, ours: Callable[[], int], other: Callable[[], int], *, at_least: float, rounds: int = ROUNDS
) -> tuple[Bench, list[float]]:
    """Median requests a second of both sides, in alternation after a warm-up turn; the median ratio of the turns, which is
    robust to the changing load of a shared machine; and all ratios. Each side returns its number of requests."""
    rates: list[tuple[float, float]] = []
    for turn in range(rounds + 1):
        both = []
        for side in (ours, other) if turn % 2 else (other, ours):
            began = time.perf_counter()
            both.append(side() / (time.perf_counter() - began))
        rates.append((both[0], both[1]) if turn % 2 else (both[1], both[0]))
    mine, bare = zip(*rates[1:], strict=True)
    ratios = [first / second for first, second in rates[1:]]
    middle = statistics.median(ratios)
    return (
        row(what, statistics.median(mine), statistics.median(bare), at_least=at_least, ratio=middle),
        [round(ratio, 3) for ratio in ratios],
    )


def instant(count: int = 10_000) -> Part:
    """HTTP, compared with a bare aiohttp loop that sends the same bodies and reads the answers as JSON."""
    requests = asks(count)
    bodies = [
        {"model": "instant", "messages": [{"role": "user", "content": one.messages[0].content}], "max_tokens": 64,
         "temperature": 1.0, "top_p": 1.0, "seed": one.seeds[0]}
        for one in requests
    ]  # fmt: skip
    with _instant_server() as url, OpenAISampler("instant", urls=url, concurrency=IN_FLIGHT) as engine:
        yield alternate(
            "HTTP, a server that answers at once: requests a second",
            lambda: as_a_stage(engine, requests),
            lambda: asyncio.run(_bare(f"{url}/chat/completions", bodies)),
            at_least=0.7,
        )


def _run_bare(url: str, bodies: list[dict[str, Any]]) -> int:
    return asyncio.run(_bare(url, bodies))


async def _bare(url: str, bodies: list[dict[str, Any]]) -> int:
    waiting = iter(bodies)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=IN_FLIGHT)) as session:

        async def worker() -> int:
            read = 0
            for body in waiting:
                async with session.post(url, json=body) as response:
                    read += len((await response.json())["choices"])
            return read

        return sum(await asyncio.gather(*(worker() for _ in range(IN_FLIGHT))))


@contextlib.contextmanager
def _instant_server() -> Iterator[str]:
    script = Path(__file__).with_name("instant_server.py")
    process = subprocess.Popen([sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    finally:
        process.stdin.close()
        process.wait(10)


def served(count: int = 1000) -> Part:
    """`vllm serve`, compared with a bare aiohttp loop: with token-id prompts, prepared in advance for the bare loop, and with
    messages, from which the server builds prompts for both."""
    if importlib.util.find_spec("vllm") is None:
        return
    from deepcritic.hub.models import load_tokenizer
    from deepcritic.microworld.widen_heads import widen
    from deepcritic.text.chat_template import prompt_ids
    from tests.engines.serving import serve

    requests = asks(count, max_tokens=16)
    settings = {"max_tokens": 16, "temperature": 1.0, "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
    with tempfile.TemporaryDirectory() as place:
        model = widen("deepcritic://microworld/models/base", Path(place) / "critic")
        tokenizer = load_tokenizer(str(model))
        common = [{"model": "critic", **settings, "seed": one.seeds[0]} for one in requests]
        ids = [body | {"prompt": prompt_ids(tokenizer, one.messages)} for body, one in zip(common, requests, strict=True)]
        chats = [
            body | {"messages": [{"role": "user", "content": one.messages[0].content}]}
            for body, one in zip(common, requests, strict=True)
        ]
        with serve(model, Path(place) / "log", "--served-model-name", "critic") as url:
            for what, path, own, bodies in (
                ("", "completions", str(model), ids),
                (", which makes the prompts", "chat/completions", None, chats),
            ):
                with OpenAISampler("critic", tokenizer=own, urls=url, concurrency=IN_FLIGHT) as engine:
                    yield alternate(
                        f"HTTP, vllm serve{what}, {IN_FLIGHT} in flight: requests a second",
                        functools.partial(as_a_stage, engine, requests),
                        functools.partial(_run_bare, f"{url}/{path}", bodies),
                        at_least=0.95,
                    )


def in_process(count: int = 2000) -> Part:
    """vLLM in this process, compared with the same engine given all prepared token-id prompts at once. The bare side
    also detokenizes the replies, vLLM's default, so both sides give the same result."""
    if importlib.util.find_spec("vllm") is None:
        return
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    from deepcritic.hub.models import load_tokenizer
    from deepcritic.microworld.widen_heads import widen
    from deepcritic.samplers.vllm import VLLMSampler
    from deepcritic.text.chat_template import prompt_ids

    requests = asks(count, max_tokens=16)
    with tempfile.TemporaryDirectory() as place:
        model = str(widen("deepcritic://microworld/models/base", Path(place) / "critic"))
        tokenizer = load_tokenizer(model)
        prompts = [prompt_ids(tokenizer, one.messages) for one in requests]
        sampling = [
            SamplingParams(max_tokens=16, seed=one.seeds[0], output_kind=RequestOutputKind.FINAL_ONLY) for one in requests
        ]
        with VLLMSampler(model) as engine:

            async def one(index: int, turn: int) -> int:
                prompt = {"type": "token", "prompt_token_ids": prompts[index]}
                async for _ in engine._engine.generate(prompt, sampling[index], f"bare-{turn}-{index}"):
                    pass
                return 1

            turns = itertools.count()

            async def bare() -> int:
                turn = next(turns)
                return sum(await asyncio.gather(*(one(index, turn) for index in range(count))))

            yield alternate(
                "vLLM in this process: requests a second",
                lambda: as_a_stage(engine, requests),
                lambda: engine._background.run(bare()),
                at_least=0.97,
            )


PARTS: tuple[Callable[[], Part], ...] = (instant, served, in_process)
"""Each part returns rows with the ratios of their turns, or none if its packages are not installed."""


def interval(ratios: list[float]) -> list[float]:
    """95% bootstrap interval of the median over turns."""
    drawn = np.random.default_rng(0).choice(ratios, (10_000, len(ratios)))
    return [round(end, 3) for end in percentiles(np.median(drawn, axis=1))]


def main() -> None:
    os.environ |= QUIET  # as a command sets it: tokenizers then stay in their thread
    found = [pair for part in PARTS for pair in part()]
    intervals = {one.what: interval(ratios) for one, ratios in found}
    write(
        "engines", [one for one, _ in found], rounds=ROUNDS, intervals=intervals, ratios={one.what: each for one, each in found}
    )
    for what, (low, high) in intervals.items():
        print(f"{what}: 95% interval of the ratio {low} to {high}")


if __name__ == "__main__":
    main()

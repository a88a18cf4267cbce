"""The service compared with its engine: throughput with many clients, latency with one, memory over many requests.

    scripts/bench service            # ten minutes on two quiet cores
    scripts/bench service --quick    # a tenth of it, for a test: figures are not saved

The critic is the small world's, sampled by transformers in the same process; for latency and memory a rule gives the replies at
once. Clients and service share the processor. The two sides of a ratio alternate in one run, and the ratio is the median over
turns.

The other side of the throughput is the engine called from Python with the same solutions. With the default of 8 critiques for a
solution, 64 clients offer 512 samples, which fill the engine's batch of 256, and the other side is one call of
`Critic.critique_many` with all solutions. With one critique for a solution, 64 or 200 clients offer no more than 64 or 200
samples, and a batch of 256 is faster for any caller. There the other side keeps the same number of requests in flight: the
engine's `stream`, which gets its next request when one is answered. Rows without a bound show `critique_many` beside them.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import contextlib
import functools
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from table import Bench, row, write

from deepcritic import Critic, Critique
from deepcritic.critic import content_name, read_item
from deepcritic.microworld.source import written
from deepcritic.samplers.base import Request
from deepcritic.samplers.scripted import ScriptedSampler
from deepcritic.samplers.servers.critics import ServiceClient
from deepcritic.schema import Example, Item

MODEL = "deepcritic://microworld/models/base"
CLIENTS = (64, 200)
TURNS = 4
REQUESTS = {8: {64: 160, 200: 300}, 1: {64: 640, 200: 1000}}
"""Requests of one turn: by critiques for a solution, and clients."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests; writes nothing")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.port)
        return
    share = 10 if arguments.quick else 1
    rows = [
        *throughput(8, share, 2 if arguments.quick else TURNS),
        *throughput(1, share, 2 if arguments.quick else TURNS),
        latency(2000 // share),
        memory(100_000 // share),
        drill(10_000 // share),
    ]
    for one in rows:
        print(one)
    if not arguments.quick:
        write("service", rows)


def critic(kind: str) -> Critic:
    """`instant`, `small SAMPLES`, or the address of an engine."""
    if kind.startswith("http"):  # it can be killed
        return Critic("instant", sampler="openai", urls=[kind], samples=1, max_tokens=64, patience=60.0, retries=20)
    if kind == "instant":
        return Critic(sampler=ScriptedSampler("\\boxed{-1}"), samples=1)
    from deepcritic.tasks.first_error import FirstError

    task = FirstError(template="deepcritic://microworld/templates/critique.txt")
    return Critic(MODEL, samples=int(kind.removeprefix("small ")), task=task, max_tokens=224)


def serve(kind: str, port: int) -> None:
    import uvicorn

    from deepcritic.service.app import create_app
    from deepcritic.service.limits import Limits

    app = create_app(critic(kind), limits=Limits(queue=10_000), lanes=64 if kind.startswith("http") else 1)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="error", access_log=False)


@contextlib.contextmanager
def served(kind: str, port: int) -> Iterator[tuple[str, int]]:
    """Start a service in a separate process; yields its address and process id."""
    process = start(kind, port)
    url = f"http://127.0.0.1:{port}"
    try:
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(60)


def start(kind: str, port: int) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, __file__, "--serve", kind, "--port", str(port)])
    try:
        asyncio.run(_awaited(f"http://127.0.0.1:{port}"))
    except BaseException:
        process.kill()
        raise
    return process


async def _awaited(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        until = time.monotonic() + 300
        while time.monotonic() < until:
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"{url}/health") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.1)
    raise TimeoutError(url)


def rows_of(count: int, seed: int) -> list[Example]:
    return list(written(split="test", count=count, seed=seed, lengths=[4, 5, 6]))


async def asked(url: str, bodies: Sequence[dict[str, Any]], clients: int) -> list[float]:
    """The seconds of each request, with `clients` clients that each send their next request after an answer."""
    waiting, seconds = iter(bodies), []

    async def client(session: aiohttp.ClientSession) -> None:
        for body in waiting:
            began = time.perf_counter()
            async with session.post(f"{url}/v1/critiques", json=body) as response:
                found = (await response.json())["data"][0]
                assert response.status == 200, found
            seconds.append(time.perf_counter() - began)

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    return seconds


def throughput(samples: int, share: int, turns: int) -> list[Bench]:
    """Solutions a second with `samples` critiques for each."""
    rates: dict[tuple[int, str], list[float]] = collections.defaultdict(list)
    with served(f"small {samples}", free_port()) as (url, _), critic(f"small {samples}") as engine:
        asyncio.run(asked(url, bodies_of(rows_of(1, 99), samples), 1))
        at_once(engine, rows_of(1, 99))  # the first call of a model is slow
        for turn in range(turns):
            for clients in CLIENTS:
                rows = rows_of(max(2, REQUESTS[samples][clients] // share), turn)
                sides = {
                    "all at once": functools.partial(at_once, engine, rows),
                    "service": functools.partial(through, url, rows, samples, clients),
                }
                if samples == 1:
                    sides["in flight"] = functools.partial(in_flight, engine, rows, clients)
                for name, side in sides.items():
                    began = time.perf_counter()
                    assert len(side()) == len(rows)
                    rates[clients, name].append(len(rows) / (time.perf_counter() - began))

    def beside(clients: int, other: str, at_least: float | None) -> Bench:
        ours, theirs = rates[clients, "service"], rates[clients, other]
        ratio = statistics.median(mine / others for mine, others in zip(ours, theirs, strict=True))
        what = f"solutions a second, critiques for each: {samples}, clients: {clients}, beside the engine, {other}"
        return row(what, statistics.median(ours), statistics.median(theirs), at_least=at_least, ratio=ratio)

    strict = [beside(clients, "all at once" if samples > 1 else "in flight", 0.9) for clients in CLIENTS]
    return strict if samples > 1 else [*strict, *(beside(clients, "all at once", None) for clients in CLIENTS)]


def at_once(engine: Critic, rows: Sequence[Example]) -> Sequence[Any]:
    return list(engine.critique_many(pairs_of(rows)))


def through(url: str, rows: Sequence[Example], samples: int, clients: int) -> Sequence[Any]:
    return asyncio.run(asked(url, bodies_of(rows, samples), clients))


def in_flight(engine: Critic, rows: Sequence[Example], most: int) -> Sequence[Any]:
    """The critiques of `rows` by the engine's own `stream`, with `most` requests in flight."""
    waiting = iter(rows)
    items: dict[str, Item] = {}
    found: list[Critique] = []

    def requests() -> Iterator[Request | None]:
        """None as long as `most` are in flight."""
        for given in waiting:
            while len(items) >= most:
                yield None
            item = read_item(given.item.problem, given.item.steps)
            name = content_name(item)
            items[name] = item
            yield engine.question(item, example_id=name)

    for outcome in engine.opened().stream(requests()):  # type: ignore[arg-type]  # a refilling engine takes None
        found.append(engine.judge(items.pop(outcome.key.example_id), [outcome]))
    return found


def pairs_of(rows: Sequence[Example]) -> list[tuple[str, Sequence[str]]]:
    return [(given.item.problem, given.item.steps) for given in rows]


def bodies_of(rows: Sequence[Example], samples: int) -> list[dict[str, Any]]:
    return [{"problem": given.item.problem, "steps": list(given.item.steps), "samples": samples} for given in rows]


def latency(count: int) -> Bench:
    bodies = bodies_of(rows_of(count, 77), 1)
    with served("instant", free_port()) as (url, _), critic("instant") as engine:
        through = statistics.median(asyncio.run(asked(url, bodies, 1)))
        alone = []
        for body in bodies:
            began = time.perf_counter()
            engine.critique(body["problem"], body["steps"])
            alone.append(time.perf_counter() - began)
    return row("added median latency, one client, milliseconds", 1000 * (through - statistics.median(alone)), at_most=5)


def memory(count: int) -> Bench:
    """Growth of the service's memory from the first tenth of the requests to the last, in MB."""
    bodies = bodies_of(rows_of(1000, 78), 1)
    with served("instant", free_port()) as (url, pid):
        asyncio.run(asked(url, bodies * (count // 10_000 or 1), 64))
        before = resident(pid)
        asyncio.run(asked(url, bodies * (9 * count // 10_000 or 1), 64))
        return row(f"growth over {count} requests, MB", resident(pid) - before, at_most=10)


def drill(count: int) -> Bench:
    """200 clients, while the engine and then the service are killed and restarted; counts clients without exactly one answer."""
    engine_port, port = free_port(), free_port()
    engine = start_engine(engine_port)
    service = start(f"http://127.0.0.1:{engine_port}/v1", port)
    bodies = [{"problem": f"What is {number} + 1?", "steps": ["a", "b"], "id": str(number)} for number in range(count)]
    answers: collections.Counter[int] = collections.Counter()
    verdicts = 0
    try:
        with ServiceClient(f"http://127.0.0.1:{port}", concurrency=200, patience=120) as client:
            for answer in client.critiques(bodies):
                answers[answer.number] += 1
                verdicts += answer.found is not None and answer.found["first_error"] == -1
                assert answer.found is None or answer.found["id"] == str(answer.number)
                if answers.total() == count // 3:
                    engine.kill()
                    engine.wait()
                    engine = start_engine(engine_port)
                if answers.total() == 2 * count // 3:
                    service.kill()
                    service.wait()
                    service = start(f"http://127.0.0.1:{engine_port}/v1", port)
    finally:
        for process in (engine, service):
            process.kill()
            process.wait()
    print(f"{count} requests through a killed engine and a killed service: {verdicts} verdicts, {count - verdicts} refused")
    return row(f"of {count} requests, those without exactly one answer", sum(answers[n] != 1 for n in range(count)), at_most=0)


def start_engine(port: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(Path(__file__).with_name("instant_server.py")), str(port)]
    engine = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert engine.stdout is not None
    engine.stdout.readline()
    return engine


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def resident(pid: int) -> float:
    """The memory of a process in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main()

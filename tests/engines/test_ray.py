"""Engines on a Ray cluster of this machine alone, under the contract of all engines; killed engines and killed clients."""

from __future__ import annotations

import contextlib
import functools
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import pytest

from deepcritic.errors import InputError
from deepcritic.runs.jsonl import read_rows
from deepcritic.samplers.base import Request, Sampler, Sampling
from deepcritic.samplers.ray import AHEAD, RaySampler
from deepcritic.samplers.scripted import ScriptedSampler
from deepcritic.samplers.transformers import TransformersSampler
from deepcritic.schema import Failure, Generation
from tests.samplers.contract import Contract, ask, drawn

ACTORS, BLOCK = 2, 4


@pytest.fixture(scope="module")
def opened(critic_model: Path) -> Iterator[Sampler]:
    engine = functools.partial(TransformersSampler, device="cpu")
    with RaySampler(str(critic_model), engine=engine, actors=ACTORS, block=BLOCK) as sampler:
        yield sampler


class TestRay(Contract):
    ROOM = ACTORS * AHEAD * BLOCK + BLOCK


class Noting(ScriptedSampler):
    """Answers after a moment, and notes in a file what it was asked."""

    def __init__(self, model: str, notes: str) -> None:
        super().__init__("fine")
        self._notes = notes

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        for request in requests:
            with Path(self._notes).open("a") as file:
                file.write(request.keys[0].example_id + "\n")
            time.sleep(0.01)
            yield from super().stream([request])


class Missing(ScriptedSampler):
    """An engine that knows its model by name, and does not find it when it is to be loaded."""

    def __init__(self, model: str) -> None:
        super().__init__("fine")

    def __enter__(self) -> Self:
        raise InputError("the weights are gone", field="model", found="m", expected="a complete folder")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        raise AssertionError("it was never entered")


def _asks(count: int) -> Iterator[Request]:
    return (ask(f"p{index}", "7", Sampling(max_tokens=1)) for index in range(count))


def test_an_engine_that_is_killed_is_started_anew_and_nothing_is_lost(tmp_path: Path) -> None:
    engine = functools.partial(Noting, notes=str(tmp_path / "notes"))
    with RaySampler("m", engine=engine, actors=ACTORS, block=BLOCK, cpus=0.1) as sampler:
        rows = []
        for row in sampler.stream(_asks(400)):
            rows.append(row)
            if len(rows) == 40:
                os.kill(_engines()[0].pid, signal.SIGKILL)
    assert Counter(row.key.example_id for row in rows) == Counter(f"p{index}" for index in range(400))
    assert all(isinstance(row, Generation) for row in rows)
    asked = Counter((tmp_path / "notes").read_text("utf-8").split())
    assert sum(asked.values()) - 400 <= AHEAD * BLOCK, "what the dead engine was at"


def test_an_engine_that_does_not_start_says_why(opened: Sampler) -> None:
    with pytest.raises(InputError, match="model: the weights are gone; found 'm'; expected a complete folder"):
        RaySampler("m", engine=Missing, actors=1, cpus=0.1).__enter__()
    assert len(drawn(opened, list(_asks(3)))) == 3, "a cluster that is somebody else's goes on"


def test_no_cluster_at_that_address() -> None:
    script = (
        "from deepcritic.samplers.ray import RaySampler\nfrom deepcritic.samplers.scripted import ScriptedSampler\n"
        "RaySampler('m', engine=lambda model: ScriptedSampler('x'), address='127.0.0.1:9').__enter__()"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=100)
    assert told.returncode == 1
    assert "sampler.address: no Ray cluster" in told.stderr.splitlines()[-1]


CLIENT = """
import functools, sys
from pathlib import Path
from deepcritic.runs.folder import RunFolder
from deepcritic.samplers.ray import RaySampler
from deepcritic.samplers.resume import Draws
from tests.engines.test_ray import ACTORS, BLOCK, Noting, _asks

address, place, notes = sys.argv[1:]
engine = functools.partial(Noting, notes=notes)
sampler = RaySampler("m", engine=engine, address=address, actors=ACTORS, block=BLOCK, cpus=0.1)
with RunFolder(Path(place), stage="solve", config={}) as folder, Draws(folder) as draws:
    draws.collect(_asks(400), sampler, "rows")
    draws.finish()
    folder.finish()
"""


def test_a_killed_client_goes_on_and_asks_again_for_no_more_than_was_under_way(opened: Sampler, tmp_path: Path) -> None:
    import ray

    address, place = ray.get_runtime_context().gcs_address, tmp_path / "run" / "solve"
    rng, asked, before, starts = random.Random(0), Counter[str](), set[str](), 0
    while True:
        notes = tmp_path / f"notes-{starts}"
        client = subprocess.Popen([sys.executable, "-c", CLIENT, address, str(place), str(notes)])
        upto = None if starts == 5 else len(before) + rng.randrange(10, 80)
        while client.poll() is None and (upto is None or len(_kept(place)) < upto):
            time.sleep(0.005)
        if upto is not None:
            client.kill()
        assert client.wait() == (0 if upto is None else -signal.SIGKILL)
        now = _asked(notes)
        assert not set(now) & before, "what is on the disk is not asked for again"
        asked.update(now)
        starts += 1
        if upto is None:
            break
        before = _kept(place)
    assert len(_kept(place)) == sum(1 for _ in read_rows(place / "generations.jsonl", Generation)) == 400
    assert sum(asked.values()) - 400 <= (starts - 1) * ACTORS * AHEAD * BLOCK


def _asked(notes: Path) -> list[str]:
    """What the engines of one start were asked; they may be at it for a moment after their client is dead."""
    while True:
        seen = notes.read_text("utf-8") if notes.exists() else ""
        time.sleep(1.0)
        if seen == (notes.read_text("utf-8") if notes.exists() else ""):
            return seen.split()


def _kept(place: Path) -> set[str]:
    """The examples of the whole lines that are on the disk."""
    file = place / "generations.jsonl"
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    return {line.partition(b'"example_id":"')[2].partition(b'"')[0].decode() for line in lines}


def _engines() -> list[psutil.Process]:
    found = []
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # one that has just ended, and may still wait to be noticed
            found += [one] if "_Engine" in " ".join(one.cmdline()) else []
    return found

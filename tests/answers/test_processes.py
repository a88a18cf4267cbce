"""Comparing in threads, coroutines, forked and spawned processes and data loaders; workers that hang or are killed; the end."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from deepcritic.answers import Comparison, compare, equivalent
from deepcritic.answers.decide import Question
from deepcritic.answers.pool import Pool, workers

pytest.importorskip("math_verify", reason="pip install 'deepcritic[answers]'")
SLOW = (r"\int x^{9000} \sin x \cos(x^2) dx", "x")
PAIRS = [(f"x + {number}", f"{number} + x") for number in range(6)]


@pytest.fixture(autouse=True)
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Told by a folder in their search path, no process that was started during the test may live after it."""
    marker = str(tmp_path / "marker")
    monkeypatch.syspath_prepend(marker)
    workers().close()
    yield marker
    workers().close()
    limit = time.monotonic() + 10
    while _marked(marker) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not _marked(marker)


def _marked(marker: str) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"deepcritic.answers.worker" in (folder / "cmdline").read_bytes():
                environment = (folder / "environ").read_bytes()
                found += [int(folder.name)] * (marker.encode() in environment)
        except OSError:
            continue
    return found


def test_processes_are_told_by_the_marker(marker: str) -> None:
    assert not _marked(marker)
    assert equivalent("x + 71 y", "71 y + x", deadline=10), "a pair that no cache holds yet"
    assert sorted(_marked(marker)) == sorted(workers().pids())
    assert len(workers().pids()) == 2


def test_a_worker_that_hangs_is_replaced_and_order_holds() -> None:
    pairs = [SLOW if number % 10 == 3 else (f"{number} + x", f"x + {number}") for number in range(40)]
    results = list(compare(pairs, deadline=0.6))
    assert [result.equal for number, result in enumerate(results) if number % 10 != 3] == [True] * 36
    assert all(result.equal is not True for number, result in enumerate(results) if number % 10 == 3)


def test_a_pair_that_got_no_processor_is_tried_again() -> None:
    assert equivalent("p + 1", "1 + p", deadline=10)
    os.kill(workers().pids()[1], signal.SIGSTOP)
    assert equivalent("p + 2", "2 + p", deadline=2)
    assert len(workers().pids()) == 2


def test_one_pair_that_hangs_costs_its_deadline_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Question] = []
    ask = Pool.compare

    def counted(pool: Pool, question: Question, deadline: float) -> Comparison:
        asked.append(question)
        return ask(pool, question, deadline)

    monkeypatch.setattr(Pool, "compare", counted)
    hanging = (SLOW[0], "x + 1")
    assert list(compare([hanging] * 50, deadline=0.3)) == [Comparison(None, "time")] * 50
    assert len(asked) == 1


def test_a_pair_that_needs_too_much_memory_is_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    assert equivalent("m + 1", "1 + m", deadline=10)
    pages = int(Path(f"/proc/{workers().pids()[1]}/statm").read_text().split()[0])
    workers().close()
    monkeypatch.setattr("deepcritic.answers.pool._MEMORY", pages * os.sysconf("SC_PAGE_SIZE") + (8 << 20))
    (result,) = compare([(r"\sum_{k=1}^{9999} k^{k} x^{k}", "x")], deadline=60)
    assert result == Comparison(None, "memory")
    assert equivalent("m + 2", "2 + m", deadline=10)


@pytest.mark.parametrize("which", ["forkserver", "worker", "both"])
def test_processes_that_are_killed_from_outside_are_replaced(which: str) -> None:
    for number in range(3):
        assert equivalent(f"{which[0]} + {number}", f"{number} + {which[0]}", deadline=10)
        forkserver, *idle = workers().pids()
        for pid in idle * (which != "forkserver") + [forkserver] * (which != "worker"):
            os.kill(pid, signal.SIGKILL)


def test_any_thread() -> None:
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(lambda pair: equivalent(*pair, deadline=10), PAIRS * 4)) == [True] * 24


def test_coroutines() -> None:
    async def ask() -> list[bool | None]:
        here = equivalent(*PAIRS[0], deadline=10)  # the event loop runs: nothing here may want one of its own
        elsewhere = await asyncio.gather(*(asyncio.to_thread(equivalent, *pair, deadline=10) for pair in PAIRS))
        return [here, *elsewhere]

    assert asyncio.run(ask()) == [True] * 7


def test_a_forked_child_has_workers_of_its_own() -> None:
    assert equivalent("y + 1", "1 + y", deadline=10) is True
    ours = workers().pids()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            equal = equivalent("y + 2", "2 + y", deadline=10)
            os.write(writer, repr(equal and not set(ours) & set(workers().pids())).encode())
        finally:
            os._exit(0)
    os.close(writer)
    assert os.read(reader, 100) == b"True"
    os.waitpid(child, 0)
    assert workers().pids() == ours
    assert equivalent("y + 3", "3 + y", deadline=10) is True


def test_a_fork_while_other_threads_compare() -> None:
    stop = threading.Event()
    numbers = iter(range(10**6))

    def busy() -> None:
        while not stop.is_set():
            number = next(numbers)
            assert equivalent(f"z + {number}", f"{number} + z", deadline=10)

    threads = [threading.Thread(target=busy) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(3):
            child = os.fork()
            if not child:
                code = 1
                try:
                    code = 0 if equivalent(f"t + {number}", f"{number} + t", deadline=20) else 2
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_daemonic_processes(method: str) -> None:
    """Such as Ray and data loaders have: they may not have children of `multiprocessing`."""
    assert equivalent("y + 1", "1 + y", deadline=10) is True
    with multiprocessing.get_context(method).Pool(2) as processes:
        assert processes.starmap(equivalent, PAIRS, chunksize=1) == [True] * 6


def test_data_loader() -> None:
    data = pytest.importorskip("torch.utils.data", reason="pip install 'deepcritic[train]'")
    assert equivalent("y + 1", "1 + y", deadline=10) is True

    class Rewards(data.Dataset):  # type: ignore[misc, name-defined]
        def __len__(self) -> int:
            return len(PAIRS)

        def __getitem__(self, index: int) -> bool | None:
            return equivalent(*PAIRS[index], deadline=10)

    loader = data.DataLoader(Rewards(), batch_size=2, num_workers=2, multiprocessing_context="fork")
    assert [value.tolist() for value in loader] == [[True, True]] * 3


@pytest.mark.parametrize("end", ["", "raise SystemExit(0)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "leave"])
def test_no_process_is_left_by_a_script(end: str, tmp_path: Path, marker: str) -> None:
    """Without a main guard, on purpose; ended well, killed, and killed in the midst of a pair that hangs."""
    script = tmp_path / "script.py"
    last = f"equivalent({SLOW[0]!r}, 'x', deadline=60)" if end == "leave" else end
    script.write_text(
        "from deepcritic.answers import equivalent\n"
        "assert equivalent('x + 1', '1 + x', deadline=10)\n"
        f"print('compared', flush=True)\n{last}\n",
        "utf-8",
    )
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": f"{marker}:{os.environ['PYTHONPATH']}"}
    process = subprocess.Popen([sys.executable, script], env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "compared\n"
    if end == "leave":
        time.sleep(0.3)
        assert _marked(marker)
        process.kill()
    process.wait(60)

"""Whole commands against a server: one that is killed, one that is stopped, one that fails, and a key that must not show."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import read_rows
from deepcritic.samplers.base import Sampling
from deepcritic.samplers.openai import OpenAISampler
from deepcritic.samplers.resume import Draws, request, user
from deepcritic.schema import Generation
from deepcritic.tasks.base import Question
from tests.samplers.server import FakeServer, echo, never, status

ROWS, IN_FLIGHT, KILLS = 600, 8, 20
SECRET = "sk-canary-5f2d81c09ab34e77"
Command = Callable[..., Any]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as opened:
        yield opened


def evaluation(server: FakeServer, samples_dir: Path, *more: str) -> list[str]:
    path = samples_dir / "processbench.json"
    words = ["stage=evaluate", "benchmark=processbench", f"benchmark.path={path}", "run=mine", "sampler=openai", "model=m"]
    return [*words, f"sampler.urls=[{server.url}]", *more]


def test_a_hosted_model_is_measured_with_one_command(server: FakeServer, command: Command, samples_dir: Path) -> None:
    code, out, err = command(*evaluation(server, samples_dir))
    assert (code, err) == (0, "")
    assert "F1" in out
    count = len(json.loads((samples_dir / "processbench.json").read_text("utf-8")))
    assert len(server.asked) == count
    manifest = json.loads(Path("runs/mine/evaluate/manifest.json").read_text("utf-8"))
    expected = {"model": "m", "requests": count, "retries": 0, "prompt": 11 * count, "cached": 8 * count}
    assert {name: manifest[name] for name in expected} == expected
    code, out, _ = command(*evaluation(server, samples_dir, "sampler.urls=http://elsewhere", "sampler.concurrency=3"))
    assert code == 0, "where a model is served decides nothing"
    assert "already finished" in out
    code, _, err = command(*evaluation(server, samples_dir, "+sampler.extra.reasoning_effort=low"))
    assert code == 1
    assert """'m', now 'm+{"reasoning_effort": "low"}'""" in err


def test_an_address_is_asked_for(server: FakeServer, command: Command, samples_dir: Path) -> None:
    words = [word for word in evaluation(server, samples_dir) if not word.startswith("sampler.urls")]
    code, _, err = command(*words)
    assert (code, err) == (2, "error: missing option: sampler.urls=...\n")


def test_what_failed_is_listed_and_the_same_command_asks_for_it_alone(
    server: FakeServer, command: Command, samples_dir: Path
) -> None:
    rows = json.loads((samples_dir / "processbench.json").read_text("utf-8"))
    poor = {row["id"]: row["problem"] for row in rows if row["problem"] == rows[0]["problem"]}
    server.trouble = lambda count, body: status(500) if rows[0]["problem"] in body["messages"][-1]["content"] else None
    words = evaluation(server, samples_dir, "sampler.retries=1")
    code, _, err = command(*words)
    assert code == 3
    (line,) = err.splitlines()
    assert f"{len(poor)} requests failed (server_error: {len(poor)}; see failures.jsonl)" in line
    assert "rerun the same command to retry the failed ones" in line
    assert len(server.asked) == len(rows) + len(poor)
    failures = [json.loads(line) for line in Path("runs/mine/evaluate/failures.jsonl").read_text("utf-8").splitlines()]
    assert {failure["key"]["example_id"] for failure in failures} == poor.keys()
    server.trouble, asked = lambda count, body: None, len(server.asked)
    assert command(*words).code == 0
    assert len(server.asked) == asked + len(poor)


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_wrong_key_or_model_is_one_line(server: FakeServer, command: Command, samples_dir: Path, code: int) -> None:
    server.trouble = lambda count, body: status(code)
    outcome = command(*evaluation(server, samples_dir))
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert f"'{code} trouble {code}'" in outcome.err


@pytest.mark.parametrize("debug", ["", "debug=true"])
@pytest.mark.parametrize("when", ["every time", "later", "when asked for its models", "as an answer"])
def test_the_key_shows_nowhere(server: FakeServer, samples_dir: Path, tmp_path: Path, when: str, debug: str) -> None:
    """The server sends the key back in what it says; it must be in nothing that is written or printed."""
    if when == "when asked for its models":
        server.models = echo
    else:
        server.trouble = lambda count, body: None if when == "later" and count % 2 else echo
    if when == "as an answer":
        server.trouble = lambda count, body: lambda asked: echo(asked, as_reply=True)
    words = evaluation(server, samples_dir, *filter(None, [debug]))
    result = start(words, tmp_path, OPENAI_API_KEY=SECRET, PYTHONASYNCIODEBUG="1" if debug else "")
    out, err = result.communicate(timeout=300)
    assert server.asked or when == "when asked for its models"
    assert all(headers["Authorization"] == f"Bearer {SECRET}" for headers in server.headers)
    files = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert any(file.name == "config.json" for file in files)
    for name, text in {"out": out, "err": err, **{str(file): file.read_text("utf-8", "replace") for file in files}}.items():
        assert SECRET not in text, name
        assert SECRET[3:] not in text, name
    assert "[key]" in out + err + "".join(file.read_text("utf-8") for file in files)


def test_ctrl_c_leaves_at_once_and_keeps_what_is_there(server: FakeServer, samples_dir: Path, tmp_path: Path) -> None:
    server.trouble = lambda count, body: never if count > 4 else None
    process = start(evaluation(server, samples_dir, "sampler.concurrency=2"), tmp_path)
    wait_for(lambda: len(server.asked) >= 6 or process.poll() is not None)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=300)  # the replies that it has asked for never come
    assert process.returncode == 130, err
    assert err == "\nstopped; completed work is kept; rerun the same command to resume\n"
    assert len((tmp_path / "runs/mine/evaluate/generations.jsonl").read_bytes().splitlines()) == 4


def start(words: list[str], folder: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "deepcritic", *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip


def wait_for(done: Callable[[], bool]) -> None:
    until = time.monotonic() + 300
    while not done() and time.monotonic() < until:
        time.sleep(0.002)


# Killed


def draw(url: str, folder: Path) -> None:
    """A small stage: `ROWS` rows of one sample."""
    asks = (
        request(Question(messages=user(f"{index} + 5?")), Sampling(max_tokens=8), example_id=f"e-{index}", call="ask", seed=5)
        for index in range(ROWS)
    )
    with RunFolder(folder / "run" / "stage", stage="stage", config={}) as run, Draws(run) as draws:
        draws.collect(asks, OpenAISampler("m", urls=url, concurrency=IN_FLIGHT), "rows")
        draws.finish()


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_at_twenty_random_moments_nothing_is_asked_twice_that_is_there(server: FakeServer, tmp_path: Path) -> None:
    draw(server.url, tmp_path / "quiet")
    expected = (tmp_path / "quiet/run/stage/generations.jsonl").read_bytes()
    folder, moments, kills = tmp_path / "killed", random.Random(7), 0
    rows = folder / "run/stage/generations.jsonl"
    server.seconds = 0.004
    while True:
        kept = seeds_of(rows)
        time.sleep(0.1)  # requests of the process that was killed may still arrive
        server.asked.clear()
        process = subprocess.Popen(
            [sys.executable, __file__, server.url, str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if kills < KILLS:
            first = moments.randrange(30)
            wait_for(lambda first=first, process=process: len(server.asked) > first or process.poll() is not None)  # type: ignore[misc]
            time.sleep(moments.uniform(0.0, 0.01))
            process.kill()
        _, errors = process.communicate(timeout=300)
        assert process.returncode in {0, -signal.SIGKILL}, errors
        asked = Counter(body["seed"] for body in server.asked)
        assert not asked or max(asked.values()) == 1
        assert not kept & asked.keys(), "what was on the disk was asked for again"
        assert len(asked.keys() - seeds_of(rows)) <= IN_FLIGHT
        kills += process.returncode != 0
        if process.returncode == 0:
            break
    assert kills == KILLS
    assert rows.read_bytes() == expected
    assert len(list(read_rows(rows, Generation))) == ROWS


def seeds_of(path: Path) -> set[int]:
    """The seeds of the whole lines of `path`."""
    whole = path.read_bytes().rpartition(b"\n")[0].splitlines() if path.exists() else []
    return {json.loads(line)["seed"] for line in whole}


if __name__ == "__main__":
    draw(sys.argv[1], Path(sys.argv[2]))

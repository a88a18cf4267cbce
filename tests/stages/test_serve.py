"""The service as it is started: from the command line, stopped by a signal, with what it refuses to begin."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="needs the service: pip install deepcritic[service]")
pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")

import httpx

from deepcritic.critic import Critic
from deepcritic.tasks.first_error import FirstError

SMALL = "deepcritic://microworld"
PROBLEM = "Mod ten, from 7:\n1)*1\n2)-1\n3)-7\n4)+2"
STEPS = ["7*1=7", "7-1=6", "6-7=9", "9+2=2\n\\boxed{2}"]


@pytest.mark.slow
def test_a_service_from_the_command_line_that_a_signal_stops(tmp_path: Path) -> None:
    words = [f"model={SMALL}/models/base", f"task.template={SMALL}/templates/critique.txt", "samples=4", "max_tokens=224"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    command = [sys.executable, "-m", "deepcritic", "serve", *words, "port=0", "access_log=true"]
    service = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert service.stdout is not None
    first = service.stdout.readline()
    url = first.split(" on ")[1].split()[0]
    try:
        _until_up(url, service)
        body = {"problem": PROBLEM, "steps": STEPS}
        found = httpx.post(f"{url}/v1/critiques", json=body, timeout=60).json()["data"][0]
        many = {
            "items": [{"problem": PROBLEM, "steps": [*STEPS[:-1], f"9+2={n}\n\\boxed{{{n}}}"]} for n in range(10)],
            "samples": 64,
        }
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(httpx.post, f"{url}/v1/critiques", json=many, timeout=120)
            while not httpx.get(f"{url}/health").json()["under_way"]:
                time.sleep(0.01)
            service.send_signal(signal.SIGTERM)
            assert running.result().status_code == 200, "what runs is finished"
        assert service.wait(60) == 128 + signal.SIGTERM, "the exit code of every command that SIGTERM stops"
    finally:
        service.kill()
    task = FirstError(template=f"{SMALL}/templates/critique.txt")
    with Critic(f"{SMALL}/models/base", samples=4, task=task, max_tokens=224) as critic:
        assert found["first_error"] == critic.critique(PROBLEM, STEPS).first_error
    said = service.stdout.read()
    assert "serving base#" in first
    assert '"POST /v1/critiques HTTP/1.1" 200' in said
    assert said.endswith("\nstopped by SIGTERM\n"), "a service has nothing to resume"
    assert "Mod ten" not in said, "nothing of a request is logged"
    assert not list(tmp_path.rglob("*.jsonl"))


def _until_up(url: str, service: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        assert service.poll() is None, service.stdout.read() if service.stdout else ""
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise TimeoutError(url)


def test_a_port_that_is_taken_is_named(command: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        outcome = command("serve", f"model={SMALL}/models/base", f"port={port}")
    assert outcome.code == 1, outcome
    assert f"host and port: cannot listen here; found '127.0.0.1:{port}: Address already in use" in outcome.err
    assert "port=0" in outcome.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["host=0.0.0.0"], 1, "host: a public address requires a key; found '0.0.0.0'"),
        (["task=pointwise"], 2, "task=pointwise cannot be served: it needs more than a problem and one solution"),
        (["task=meta_verification"], 2, "expected task=first_error or task=proof"),
        (["stage.prm=PATH"], 2, "stage.prm=PATH and scorer=NAME must be set together"),
        (["port=70000"], 1, "stage.port: out of range; found 70000"),
        (["prot=80"], 2, "prot"),
        (["dry_run=true"], 0, ""),
    ],
)
def test_what_is_not_begun(
    command: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, says: str
) -> None:
    monkeypatch.delenv("DEEPCRITIC_API_KEY", raising=False)
    outcome = command("serve", f"model={SMALL}/models/base", *words)
    assert outcome.code == code, outcome
    assert says in outcome.err

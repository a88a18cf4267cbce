"""The jobs for Slurm, run by a stand-in for sbatch, srun and scontrol that does on this machine what they do on a cluster."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deepcritic.__main__ import main
from deepcritic.microworld.source import problems
from deepcritic.runs.jsonl import write_rows
from tests.conftest import ROOT

JOBS = ["array", "fleet", "serve", "train"]
SBATCH = """#!/usr/bin/env bash
# Runs each task of the array, one after the other, from a copy of the script as Slurm does.
set -u
first=0 last=0
while [[ "$1" == --* ]]; do
  if [[ "$1" == --array=* ]]; then
    range=${1#*=}
    array=yes first=${range%-*} last=${range#*-}
  fi
  shift
done
cp "$1" "$SPOOL/script"
shift
export SLURM_SUBMIT_DIR=$PWD SLURM_JOB_ID=$$ SLURM_JOB_NODELIST=nodes SLURM_NNODES=${NODES:-1}
for ((task = first; task <= last; task++)); do
  [[ -z "${array:-}" ]] || export SLURM_ARRAY_TASK_ID=$task
  (cd / && "$SPOOL/script" "$@") || exit
done
"""
SRUN = """#!/usr/bin/env bash
# Runs the command once for each machine: 127.0.0.1, 127.0.0.2 and so on.
while [[ "$1" == --* ]]; do shift; done
trap 'kill $(jobs -p)' TERM
for ((node = 0; node < SLURM_NNODES; node++)); do
  SLURM_NODEID=$node SLURMD_NODENAME=127.0.0.$((node + 1)) "$@" &
done
wait
"""
SCONTROL = """#!/usr/bin/env bash
if [[ "$1" == show ]]; then
  for ((node = 0; node < SLURM_NNODES; node++)); do echo "127.0.0.$((node + 1))"; done
else
  echo "$@" >> "$SPOOL/scontrol"
fi
"""
VLLM = """#!/usr/bin/env bash
exec "$PYTHON" "$SPOOL/vllm.py" "$SLURMD_NODENAME" "$@"
"""
SERVER = """
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

host, _, model, *words = sys.argv[1:]
options = dict(zip(words[::2], words[1::2]))

class Page(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer({"data": [{"id": model, "owned_by": "vllm", "max_model_len": 4096}]})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with open(os.environ["SPOOL"] + "/asked", "a") as file:
            file.write(f"{host} {self.headers['Authorization']} {body['seed']}\\n")
        choice = {"index": 0, "text": "1\\n\\\\boxed{1}", "finish_reason": "stop"}
        self.answer({"choices": [choice], "usage": {"prompt_tokens": len(body["prompt"]), "completion_tokens": 1}})

    def answer(self, content):
        held = self.headers["Authorization"] == "Bearer " + os.environ["VLLM_API_KEY"]
        text = json.dumps(content if held else {"error": {"message": "no"}}).encode()
        self.send_response(200 if held else 401)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass

ThreadingHTTPServer((host, int(options["--port"])), Page).serve_forever()
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cluster(tmp_path: Path) -> Run:
    """`cluster("array", ...)` runs a job's script, in a folder that looks like a checkout, with the stand-ins on the PATH."""
    tools, spool = tmp_path / "bin", tmp_path / "spool"
    tools.mkdir()
    spool.mkdir()
    (tmp_path / "scripts").mkdir()
    shutil.copytree(ROOT / "scripts" / "slurm", tmp_path / "scripts" / "slurm")
    python = f'#!/bin/sh\nexec "{sys.executable}" "$@"\n'
    accelerate = f'#!/bin/sh\nexec "{sys.executable}" -m accelerate.commands.accelerate_cli "$@"\n'
    for name, text in {
        "sbatch": SBATCH, "srun": SRUN, "scontrol": SCONTROL, "vllm": VLLM, "python": python, "accelerate": accelerate,
    }.items():  # fmt: skip
        (tools / name).write_text(text, "utf-8")
        (tools / name).chmod(0o755)
    (spool / "vllm.py").write_text(SERVER, "utf-8")

    def run(job: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [tmp_path / "scripts" / "slurm" / job, *words], cwd=tmp_path, capture_output=True, text=True, timeout=300,
            check=False, env={**_environment(tmp_path), **environment},
        )  # fmt: skip

    return run


def _environment(place: Path) -> dict[str, str]:
    path = f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}"
    outside = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    return {**outside, "PATH": path, "SPOOL": str(place / "spool"), "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Problems of the small world."""
    path = tmp_path / "problems.jsonl"
    write_rows(path, problems(split="train", count=10, seed=0))
    return path


SOLVE = [
    "stage=solve", "stage.problems={part}", "generator=deepcritic://microworld/models/generator", "stage.keep=all",
    "stage.template=deepcritic://microworld/templates/solve.txt", "stage.max_tokens=96", "stage.samples=4", "run=big",
]  # fmt: skip


def _alone(place: Path, rows: Path) -> bytes:
    """What one process makes of all rows."""
    words = [word.replace("{part}", str(rows)) for word in SOLVE]
    assert main([*words, "name=alone", f"runs={place / 'runs'}"]) == 0
    return (place / "runs" / "big" / "solve.alone" / "solutions.jsonl").read_bytes()


@pytest.mark.parametrize("job", JOBS)
def test_a_dry_run_shows_what_would_be_queued_and_queues_nothing(cluster: Run, job: str, tmp_path: Path) -> None:
    first = {"array": ["3", "rows.jsonl"], "fleet": ["MODEL"], "serve": ["MODEL"], "train": []}[job]
    shown = cluster(job, *first, "--dry-run", "--time=1:00:00", "--", "stage=solve", "run=a b", DEEPCRITIC_API_KEY="k")
    assert shown.returncode == 0, shown.stderr
    command, _, script = shown.stdout.partition("\n")
    array = "'--array=0-2' " if job == "array" else ""
    rest = " ".join(f"'{word}'" for word in [f"scripts/slurm/{job}", *first, "stage=solve", "run=a b"])
    assert command == f"$ sbatch {array}'--time=1:00:00' {rest}"
    assert script == (ROOT / "scripts" / "slurm" / job).read_text("utf-8")
    assert not (tmp_path / "spool" / "script").exists()


@pytest.mark.parametrize("job", JOBS)
def test_a_job_without_words_says_how_it_is_called(cluster: Run, job: str) -> None:
    told = cluster(job)
    assert told.returncode == 2
    assert told.stderr.startswith(f"usage: scripts/slurm/{job} ")


@pytest.mark.slow
def test_an_array_makes_what_one_process_makes(cluster: Run, tmp_path: Path, rows: Path) -> None:
    expected = _alone(tmp_path, rows)
    ran = cluster("array", "3", rows.name, "--", *SOLVE)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    merged = cluster("merge", "runs/big/solve", "3")
    assert merged.returncode == 0, merged.stderr
    folder = tmp_path / "runs" / "big" / "solve.merged"
    assert (folder / "solutions.jsonl").read_bytes() == expected
    assert json.loads((folder / "merged.json").read_text("utf-8"))["rows"]["generations.jsonl"] == 40

    part = tmp_path / "runs" / "big" / "solve.part-0001"
    before = (part / "solutions.jsonl").read_bytes()
    (part / "solutions.jsonl").write_bytes(before + before)
    assert (
        "solve.part-0001/solutions.jsonl: not the file that the manifest speaks of"
        in cluster("merge", "runs/big/solve", "3").stderr
    )
    (part / "manifest.json").unlink()
    refused = cluster("merge", "runs/big/solve", "3")
    assert refused.returncode == 1
    assert "solve.part-0001/manifest.json: the part is not finished" in refused.stderr


@pytest.mark.slow
def test_a_job_whose_time_is_up_is_queued_again_and_goes_on(cluster: Run, tmp_path: Path, rows: Path) -> None:
    """Slurm sends USR1 before the time is up; the job stops, asks for another turn, and does the rest in it."""
    expected = _alone(tmp_path, rows)
    slow = [*SOLVE, "sampler.batch_size=1"]
    environment = {
        **_environment(tmp_path), "SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "0",
    }  # fmt: skip
    script, drawn = tmp_path / "scripts" / "slurm" / "array", tmp_path / "runs" / "big" / "solve.part-0000" / "generations.jsonl"
    job = subprocess.Popen([script, "1", rows.name, *slow], env=environment, start_new_session=True)
    until = time.monotonic() + 200
    while not (drawn.exists() and drawn.stat().st_size):
        assert job.poll() is None
        assert time.monotonic() < until
        time.sleep(0.02)
    job.send_signal(signal.SIGUSR1)  # to the script alone, as --signal=B: has it
    assert job.wait(60) == 128 + signal.SIGTERM
    assert (tmp_path / "spool" / "scontrol").read_text("utf-8") == "requeue 17\n"
    kept = drawn.read_bytes()
    assert 0 < kept.count(b"\n") < 40, "stopped on the way"
    again = subprocess.run([script, "1", rows.name, *slow], env=environment, capture_output=True, text=True, check=True)
    assert f"resuming after {kept.count(bytes([10]))} rows" in again.stdout
    assert (drawn.parent / "solutions.jsonl").read_bytes() == expected


def test_too_many_parts_for_the_rows(cluster: Run, rows: Path) -> None:
    told = cluster("array", "11", rows.name, "--", *SOLVE)
    assert told.returncode == 2
    assert "problems.jsonl has 10 lines, too few for 11 parts" in told.stderr


@pytest.mark.slow
def test_a_fleet_is_asked_on_all_machines_with_a_key_of_its_own(cluster: Run, tmp_path: Path, rows: Path) -> None:
    words = [word.replace("{part}", rows.name) for word in SOLVE]
    model = str(ROOT / "deepcritic" / "microworld" / "models" / "generator")
    ran = cluster("fleet", model, "--nodes=2", "--", "--max-num-seqs", "8", "--", *words, f"generator={model}", NODES="2")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    asked = [line.split() for line in (tmp_path / "spool" / "asked").read_text("utf-8").splitlines()]
    assert {host for host, *_ in asked} == {"127.0.0.1", "127.0.0.2"}
    assert len({seed for *_, seed in asked}) == len(asked) == 40
    (key,) = {key for _, _, key, _ in asked}
    assert len(key) == 32
    told = "".join(file.read_text("utf-8", "replace") for file in (tmp_path / "runs").rglob("*") if file.is_file())
    assert key not in told + ran.stdout + ran.stderr
    assert len((tmp_path / "runs" / "big" / "solve" / "solutions.jsonl").read_bytes().splitlines()) == 40


def test_a_service_for_others_needs_a_key(cluster: Run) -> None:
    told = cluster("serve", "MODEL", "--dry-run", "--", "--max-num-seqs", "8", DEEPCRITIC_API_KEY="")
    assert told.returncode != 0
    assert "a key for the service" in told.stderr


@pytest.mark.slow
def test_a_service_in_front_of_servers_on_all_machines(cluster: Run, tmp_path: Path) -> None:
    pytest.importorskip("fastapi", reason="needs the service: pip install deepcritic[service]")
    import httpx

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    model = str(ROOT / "deepcritic" / "microworld" / "models" / "base")
    template = "task.template=deepcritic://microworld/templates/critique.txt"
    words = [model, "--nodes=2", "--", "--max-num-seqs", "8", "--", f"port={port}", "samples=8", "max_tokens=64", template]
    environment = {**_environment(tmp_path), "NODES": "2", "DEEPCRITIC_API_KEY": "s3cret"}
    job = subprocess.Popen(
        [tmp_path / "scripts" / "slurm" / "serve", *words], cwd=tmp_path, env=environment, start_new_session=True
    )
    try:
        url, until = f"http://127.0.0.1:{port}", time.monotonic() + 240
        while True:
            try:
                httpx.get(f"{url}/health").raise_for_status()
                break
            except httpx.HTTPError:
                assert job.poll() is None
                assert time.monotonic() < until
                time.sleep(0.2)
        body = {"problem": "Mod ten, from 7:\n1)*1", "steps": ["7*1=6"]}
        assert httpx.post(f"{url}/v1/critiques", json=body).status_code == 401
        answer = httpx.post(f"{url}/v1/critiques", json=body, headers={"Authorization": "Bearer s3cret"}, timeout=120)
        (found,) = answer.json()["data"]
    finally:
        os.killpg(job.pid, signal.SIGTERM)
        job.wait(60)
    assert (found["first_error"], found["votes"]) == (1, {"1": 8.0})
    asked = [line.split() for line in (tmp_path / "spool" / "asked").read_text("utf-8").splitlines()]
    assert {host for host, *_ in asked} == {"127.0.0.1", "127.0.0.2"}


@pytest.mark.slow
def test_training_is_launched_by_accelerate(cluster: Run, tmp_path: Path) -> None:
    from deepcritic.schema import Dialogue, Message

    messages = (Message(role="user", content="7 + 5 = 2?"), Message(role="assistant", content="Fine. \\boxed{-1}"))
    write_rows(
        tmp_path / "dialogues.jsonl",
        (Dialogue(id=f"d{index}", task="first_error", messages=messages, verdict=-1) for index in range(8)),
    )
    words = [
        "stage=sft",
        "stage.dialogues=dialogues.jsonl",
        "model=deepcritic://microworld/models/base",
        "run=big",
        "stage.max_steps=2",
    ]
    ran = cluster("train", "--nodes=1", "--", "--cpu", "--", *words)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (tmp_path / "runs" / "big" / "sft" / "manifest.json").is_file()

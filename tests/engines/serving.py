"""`vllm serve` on a free port of this machine: ready when its health page says so, its log kept, always stopped.

with serve(model, log) as url:
    ...  # url is what an OpenAI client calls the base URL
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

SECONDS = 300
LOCAL = {
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "1",
}
"""What vLLM needs to know to run beside other things on a small machine without a GPU."""


@contextlib.contextmanager
def serve(model: Path, log: Path, *more: str) -> Iterator[str]:
    """Yields the base URL. Raises `RuntimeError` with the end of the log if the server dies or is not ready in time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        *(str(Path(sys.executable).with_name("vllm")), "serve", str(model), "--host", "127.0.0.1", "--port", str(port)),
        *("--dtype", "float32", "--enforce-eager", "--block-size", "32", "--no-enable-chunked-prefill", "--max-num-seqs", "64"),
    ]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*words, *more], stdout=file, stderr=subprocess.STDOUT, start_new_session=True, env={**os.environ, **LOCAL}
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)  # its engine and its workers, too
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)


def _wait(process: subprocess.Popen[bytes], health: str, log: Path) -> None:
    until = time.monotonic() + SECONDS
    while True:
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(health, timeout=5) as page:
            if page.status == 200:
                return
        if process.poll() is not None or time.monotonic() > until:
            end = log.read_text("utf-8", "replace")[-3000:]
            raise RuntimeError(f"the server {'died' if process.poll() is not None else 'is not ready'}; {log} ends:\n{end}")
        time.sleep(0.5)

"""Storing draws: rows a second written and resumed, and memory per row, over a million rows.

    scripts/bench store            # a million rows
    scripts/bench store 200000     # fewer

Each part runs in a separate process, through the `Draws` of the stages, with an engine that answers at once.
Processor time is also measured: on a busy machine it estimates the time of an idle one.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from deepcritic.runs.folder import RunFolder
from deepcritic.samplers.base import Request, Sampling
from deepcritic.samplers.resume import Draws, request, user
from deepcritic.schema import Generation
from deepcritic.tasks.base import Question

ROWS, SAMPLES = 1_000_000, 8
TEXT = "The step multiplies 17 by 6 and gets 112. Ten times six is sixty and seven times six is forty-two. " * 8
PROMPT = "Solve the problem step by step. " * 20
SAMPLING = Sampling(max_tokens=1024)


class Instant:
    """Answers at once."""

    model_id = "instant#0123456789ab"

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation]:
        for one in requests:
            fingerprint = one.fingerprint(self.model_id)
            for key, seed in zip(one.keys, one.seeds, strict=True):
                yield Generation(
                    key=key, text=TEXT, finish_reason="stop", model=self.model_id, fingerprint=fingerprint, seed=seed,
                    prompt_tokens=150, completion_tokens=200,
                )  # fmt: skip

    def __enter__(self) -> Instant:
        return self

    def __exit__(self, *_: Any) -> None:
        return None


def requests(rows: int) -> Iterator[Request]:
    question = Question(messages=user(PROMPT))
    for index in range(rows // SAMPLES):
        name = f"olympiadbench-{index * 7919 % 1_000_003}/s3"
        yield request(question, SAMPLING, example_id=name, call="rollout", seed=5, step=2, samples=range(SAMPLES))


def resident() -> int:
    """Resident memory of this process in bytes."""
    status = Path("/proc/self/status").read_text("utf-8")
    return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def part(name: str, rows: int, path: Path) -> dict[str, float]:
    """Wall-clock seconds, processor seconds, and bytes of memory of one part."""
    for _ in requests(SAMPLES):  # what is imported on first use is no part of a row's memory
        pass
    before, clock, processor = resident(), time.perf_counter(), time.process_time()
    with RunFolder(path, stage="bench", config={}) as folder:
        folder.begin()
        with Draws(folder) as draws:
            drawn = draws.collect(requests(rows), Instant(), name)
            assert len(drawn) == rows
            figures = {
                "seconds": time.perf_counter() - clock, "processor": time.process_time() - processor,
                "bytes": resident() - before,
            }  # fmt: skip
            if name == "finish":
                clock, processor = time.perf_counter(), time.process_time()
                draws.finish()
                figures |= {"seconds": time.perf_counter() - clock, "processor": time.process_time() - processor}
                clock = time.perf_counter()
                assert sum(1 for _ in drawn) == rows
                figures["reading"] = time.perf_counter() - clock
    return figures


def main(rows: int) -> None:
    import table

    path = Path(tempfile.mkdtemp()) / "run"
    found: dict[str, dict[str, float]] = {}
    try:
        for name in ("write", "go on", "finish"):
            command = [sys.executable, __file__, name, str(rows), str(path)]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[name] = json.loads(out.splitlines()[-1])
        size = (path / "generations.jsonl").stat().st_size
    finally:
        shutil.rmtree(path.parent)
    lines = []
    for name, what in (("write", "rows a second, written"), ("go on", "rows a second, gone on with")):
        lines.append(table.row(what, rows / found[name]["seconds"], at_least=50_000))
        lines.append(table.row(f"{what}, of processor time", rows / found[name]["processor"]))
    lines += [
        table.row("bytes of memory a row, writing", found["write"]["bytes"] / rows, at_most=200),
        table.row("bytes of memory a row, going on", found["go on"]["bytes"] / rows, at_most=200),
        table.row("rows a second, put into canonical order", rows / found["finish"]["seconds"]),
        table.row("rows a second, read again with their texts", rows / found["finish"]["reading"]),
    ]
    table.write("store", lines, draws=rows, samples_a_request=SAMPLES, bytes_a_row_on_disk=round(size / rows))


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(json.dumps(part(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)

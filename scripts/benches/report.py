"""Cost of the report of a large evaluation: seconds to build its page, and to load it in a headless Chromium.

scripts/bench report

The evaluation is of 3,400 rows of ProcessBench with eight critiques of about 2,000 characters each. Rows are from the available
subsets ($DEEPCRITIC_DATASETS, else ../shared/datasets), repeated under other ids until there are enough. Critiques are built from
steps of other solutions. Building is a separate command, on at most two cores; each page is loaded into a new context.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from table import row, write

ROWS, SAMPLES, CHARACTERS, TURNS, CORES = 3400, 8, 2000, 3, 2
DATA = Path(os.environ.get("DEEPCRITIC_DATASETS") or Path(__file__).resolve().parents[3] / "shared" / "datasets")


def solutions() -> list[dict[str, Any]]:
    """The available rows of ProcessBench in its own format, repeated as needed."""
    found: list[dict[str, Any]] = []
    for file in sorted((DATA / "processbench").glob("*.json*")):
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        found += json.loads(content)
    if not found:
        sys.exit(f"no subset of ProcessBench in {DATA / 'processbench'}")
    rows = []
    for at in range(ROWS):
        source = found[at % len(found)]
        again = at // len(found)
        rows.append(
            {
                **source,
                "id": f"{source['id'].rpartition('-')[0]}-{at}",
                "problem": source["problem"] + (f" (Taken {again + 1} times.)" if again else ""),
            }
        )
    return rows


def write_inputs(folder: Path, chance: random.Random) -> int:
    """Write `benchmark.jsonl` and `replies.jsonl`; returns the number of distinct solutions."""
    rows = solutions()
    steps = [step for row in rows for step in row["steps"]]
    with (
        (folder / "benchmark.jsonl").open("w", encoding="utf-8") as benchmark,
        (folder / "replies.jsonl").open("w", encoding="utf-8") as replies,
    ):
        for one in rows:
            benchmark.write(json.dumps(one) + "\n")
            right = one["label"] + 1 or -1
            for sample in range(SAMPLES):
                text = ""
                while len(text) < CHARACTERS:
                    text += f"Let me look at this again: {chance.choice(steps)}\n\n"
                verdict = right if chance.random() < 0.6 else chance.choice([-1, *range(1, len(one["steps"]) + 1)])
                replies.write(
                    json.dumps({"example_id": one["id"], "sample": sample, "text": f"{text[:CHARACTERS]} \\boxed{{{verdict}}}"})
                    + "\n"
                )
    return len({json.dumps(row["steps"]) for row in rows})


def command(folder: Path, *words: str) -> tuple[float, float]:
    """Run a command; returns its wall-clock and processor seconds."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    called = [sys.executable, "-m", "deepcritic", *words, f"runs={folder / 'runs'}", "run=large"]
    subprocess.run(called, check=True, stdout=subprocess.DEVNULL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, processor


def load(browser: Any, page_file: Path) -> tuple[float, float, float]:
    """Seconds until the overview is shown, until the first critique is shown, and for the next row by key."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    began = time.perf_counter()
    page.goto(page_file.as_uri())
    page.wait_for_selector("#overview table")
    overview = time.perf_counter() - began
    page.close()
    page = context.new_page()
    began = time.perf_counter()
    page.goto(f"{page_file.as_uri()}#critiques")
    page.wait_for_selector("#row details[open] .prose")
    first = time.perf_counter() - began
    name = page.locator("#row h2").text_content()
    began = time.perf_counter()
    page.keyboard.press("j")
    while page.locator("#row h2").text_content() == name:
        page.wait_for_timeout(5)
    following = time.perf_counter() - began
    context.close()
    return overview, first, following


def main() -> None:
    from playwright.sync_api import sync_playwright

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        different = write_inputs(folder, random.Random(0))
        words = [
            "benchmark=processbench",
            f"benchmark.path={folder / 'benchmark.jsonl'}",
            f"stage.generations={folder / 'replies.jsonl'}",
        ]
        command(folder, "stage=evaluate", *words)
        builds = [command(folder, "stage=report") for _ in range(TURNS)]
        report = folder / "runs" / "large" / "report"
        beside = sum(file.stat().st_size for file in report.glob("data/*.js"))
        with sync_playwright() as driver:
            chosen = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
            browser = driver.chromium.launch(executable_path=chosen, args=[] if os.geteuid() else ["--no-sandbox"])
            loads = [load(browser, report / "index.html") for _ in range(TURNS)]
            version = browser.version
            browser.close()
        page = (report / "index.html").stat().st_size
    overview, first, following = (statistics.median(column) for column in zip(*loads, strict=True))
    shown = f"{ROWS:,} x {SAMPLES} critiques"
    rows = [
        row(f"seconds to build the page, {shown}", statistics.median(seconds for seconds, _ in builds), at_most=15),
        row("seconds until the overview stands", overview, at_most=3),
        row("seconds until the first critique can be read", first, at_most=3),
        row("seconds to the next row by key", following, at_most=0.5),
    ]
    sizes = {"page_megabytes": round(page / 1e6, 1), "beside_megabytes": round(beside / 1e6, 1)}
    processor = round(statistics.median(used for _, used in builds), 1)
    write(
        "report",
        rows,
        processor_seconds=processor,
        different_solutions=different,
        chromium=version,
        **sizes,
        load=os.getloadavg()[0],
    )


if __name__ == "__main__":
    main()

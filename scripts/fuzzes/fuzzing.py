"""Shared code of the searches `scripts/fuzz NAME`: texts, changes to a text, and the loop that counts and saves finds."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DATASETS = Path(os.environ.get("DEEPCRITIC_DATASETS") or ROOT.parent / "shared" / "datasets")
SIGNS = "0123456789xyzabeik+-*/^_!=<>,.;:()[]{}|\\ $%&~'\"\n½²√π≤∞−·\u200b"
MOST_KEPT = 50


def golden(name: str) -> Any:
    return json.loads((ROOT / "tests" / "golden" / f"{name}.json").read_text("utf-8"))


def rows_of(*names: str) -> list[Any]:
    """The rows of a file of the public data sets, JSON or JSON Lines; empty if it is missing."""
    path = DATASETS.joinpath(*names)
    if not path.is_file():
        return []
    content = path.read_bytes()
    text = (gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content).decode("utf-8")
    if text.lstrip().startswith("["):
        return list(json.loads(text))
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def spliced(draw: random.Random, text: str, other: str, signs: str = SIGNS) -> str:
    """`text` after one change: a part cut, a character inserted, a part repeated, or its start joined to the end of `other`."""
    at, to = sorted((draw.randrange(len(text) + 1), draw.randrange(len(text) + 1)))
    kind = draw.randrange(4)
    if kind == 0:
        return text[:at] + text[to:]
    if kind == 1:
        return text[:at] + draw.choice(signs) + text[at:]
    if kind == 2:
        return text[:at] + text[at:to] * draw.choice([2, 2, 3, 10, 100]) + text[to:]
    return text[:at] + other[draw.randrange(len(other) + 1) :]


def search(
    name: str, inputs: Callable[[random.Random], Iterator[Any]], finds: Callable[[random.Random, Any], Iterator[str]]
) -> None:
    """Try inputs until the time is over; an exception is also a find. Exits with 1 if there were finds.

    Limits that were reached (`limit: time`) are counted apart, beside the machine's load over 15 minutes: they are no faults.
    """
    parser = argparse.ArgumentParser(prog=f"scripts/fuzz {name}")
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    draw, began = random.Random(given.seed), time.monotonic()
    counts, limits, kept = Counter[str](), Counter[str](), list[dict[str, Any]]()
    for tried in inputs(draw):
        if time.monotonic() - began > 60 * given.minutes:
            break
        counts["inputs"] += 1
        for find in _found(finds, draw, tried):
            kind, _, what = find.partition(":")
            if kind == "limit":
                limits[what.strip()] += 1
                continue
            counts[kind] += 1
            case = {"found": find, "input": tried}
            print(json.dumps(case, ensure_ascii=False), flush=True)
            kept += [case] if len(kept) < MOST_KEPT else []
    folder = ROOT / "data" / "fuzz"
    folder.mkdir(exist_ok=True)
    tried_in_all = counts.pop("inputs")
    result = {
        "fuzz": name, "command": f"scripts/fuzz {name} --minutes {given.minutes:g} --seed {given.seed}",
        "inputs": tried_in_all, "finds": dict(counts), "cases": kept, "limits": dict(limits),
        "load": round(os.getloadavg()[2], 1), "cores": os.cpu_count(),
    }  # fmt: skip
    (folder / f"{name}.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")
    print(f"{tried_in_all} inputs, finds: {dict(counts) or 'none'}", file=sys.stderr)
    sys.exit(1 if counts else 0)


def _found(finds: Callable[[random.Random, Any], Iterator[str]], draw: random.Random, tried: Any) -> list[str]:
    found = []
    try:
        for find in finds(draw, tried):
            found.append(find)
    except Exception as error:
        found.append(f"raised: {type(error).__name__}: {error}"[:200])
    return found

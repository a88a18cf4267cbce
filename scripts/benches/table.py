"""Rows of a bench: printed, and saved in data/bench/NAME.json with a description of the machine."""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).resolve().parents[2] / "data" / "bench"


class Bench(NamedTuple):
    """One comparison. `bound` limits `ratio`, for example `>= 0.95`; `holds` is whether the bound is met."""

    what: str
    ours: float
    other: float | None
    ratio: float | None
    bound: str
    holds: bool


def row(
    what: str,
    ours: float,
    other: float | None = None,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    ratio: float | None = None,
) -> Bench:
    """A row with a bound on the ratio ours / other (or on a given `ratio`), or on `ours` if there is
    no other side.

    >>> row("rows a second", 90.0, 100.0, at_least=0.8)
    Bench(what='rows a second', ours=90.0, other=100.0, ratio=0.9, bound='>= 0.8', holds=True)
    """
    if ratio is None and other is not None:
        ratio = ours / other
    value = ours if ratio is None else ratio
    limits = ((">=", at_least), ("<=", at_most))
    bounds = [f"{sign} {limit:g}" for sign, limit in limits if limit is not None]
    holds = (at_least is None or value >= at_least) and (at_most is None or value <= at_most)
    return Bench(what, ours, other, ratio, " and ".join(bounds) or "none", holds)


def write(name: str, rows: list[Bench], **facts: Any) -> Path:
    """Print the rows and write `data/bench/NAME.json`; `facts` are saved with them (settings, notes)."""
    width = max(len(one.what) for one in rows)
    for one in rows:
        other = "" if one.other is None else f" beside {one.other:,.4g}, ratio {one.ratio:.3f}"
        print(f"{one.what:<{width}}  {one.ours:,.4g}{other}  (bound {one.bound}: {'holds' if one.holds else 'MISSED'})")
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.json"
    content = {"bench": name, "machine": machine(), **facts, "rows": [one._asdict() for one in rows]}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return path


def machine() -> dict[str, Any]:
    """The machine of the measurement."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8", "replace").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"

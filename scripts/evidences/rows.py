"""Rows of evidence: a claim has bounds and holds or fails; a description is only a figure.

One criterion for all claims: the interval of the mean over seeds (and over instances of the models, where there are
several) must lie within the claim's bounds. See `deepcritic.metrics.nested`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from made_by import EVIDENCE, made_by

from deepcritic.metrics.nested import nested_interval
from deepcritic.runs.jsonl import write_json

Row = dict[str, Any]


class Bounds(NamedTuple):
    """The bounds of a claim's interval, in the units of the figure."""

    above: float | None = None
    at_least: float | None = None
    at_most: float | None = None

    def hold(self, low: float, high: float) -> bool:
        return (
            (self.above is None or low > self.above)
            and (self.at_least is None or low >= self.at_least)
            and (self.at_most is None or high <= self.at_most)
        )

    @property
    def words(self) -> str:
        parts = ((self.above, "above"), (self.at_least, "at or above"), (self.at_most, "at or below"))
        return " and ".join(f"{word} {bound:g}" for bound, word in parts if bound is not None)


ABOVE_ZERO = Bounds(above=0.0)


class Found(NamedTuple):
    """The result of one seed: a figure, with its interval over rows if it has one. With `bounds` it is part of a claim. `share`:
    a percentage between 0 and 100, not a difference or a count."""

    what: str
    value: float
    interval: Sequence[float] | None = None
    bounds: Bounds | None = None
    share: bool = False


def row(
    what: str,
    seeds: Sequence[int],
    values: Sequence[float],
    intervals: Sequence[Sequence[float] | None] = (),
    *,
    bounds: Bounds | None = None,
    share: bool = False,
    instances: Sequence[int] = (),
) -> Row:
    """A claim if there are `bounds`, else a description: the mean and each seed's figure, with intervals."""
    over = nested_interval(values, intervals, instances, share=share)
    listed: list[Row] = [{"seed": seed, "value": round(value, 2)} for seed, value in zip(seeds, values, strict=True)]
    for entry, instance in zip(listed, instances, strict=False):
        entry["instance"] = instance
    for entry, interval in zip(listed, intervals, strict=False):
        if interval is not None:
            entry["interval"] = [round(bound, 2) for bound in interval]
    known = over.low == over.low  # not NaN
    own = intervals[0] if len(values) == len(intervals) == 1 and bounds is None else None  # of one run: that over its rows
    made: Row = {
        "kind": "description" if bounds is None else "claim",
        "what": what,
        "estimate": round(over.mean, 2),
        "interval": [round(bound, 2) for bound in own] if own else [round(over.low, 2), round(over.high, 2)] if known else None,
        "seeds": listed,
    }
    if bounds is not None:
        made["fails_if"] = f"the interval does not lie {bounds.words}"
        made["holds"] = bool(known and bounds.hold(over.low, over.high))
    return made


def by_seed(found: Mapping[int, Sequence[Found]], instances: Mapping[int, int] | None = None) -> list[Row]:
    """One row for each figure, from the seeds that have it."""
    told: dict[str, dict[int, Found]] = {}
    for seed, figures in found.items():
        for one in figures:
            told.setdefault(one.what, {})[seed] = one
    rows = []
    for what, of in told.items():
        first = next(iter(of.values()))
        made_with = [instances[seed] for seed in of] if instances else []
        values, intervals = [one.value for one in of.values()], [one.interval for one in of.values()]
        rows.append(row(what, list(of), values, intervals, bounds=first.bounds, share=first.share, instances=made_with))
    return rows


def begin(what: str, seeds: Sequence[int], minutes: int | None = None) -> None:
    """Print the plan of a script before it runs: the first line of its docstring, its seeds, and the approximate minutes per
    seed on two cores."""
    time = f"about {minutes} minutes each on two cores, {minutes * len(seeds)} in all" if minutes else "time not measured"
    print(
        f"{what.splitlines()[0]}\nseeds {', '.join(map(str, seeds))}: {time}; started again, it continues where it stopped",
        flush=True,
    )


def keep(name: str, rows: Sequence[Row], **more: Any) -> None:
    """Write data/evidence/NAME.json, with the hashes of its code, settings and models."""
    write_json(EVIDENCE / f"{name}.json", {"command": f"scripts/evidence {name}", "made_by": made_by(name), **more, "rows": rows})


def show(rows: Sequence[Row]) -> None:
    for one in rows:
        verdict = "        " if one["kind"] == "description" else "holds   " if one["holds"] else "FAILS   "
        print(f"{verdict}{one['what']}: {one['estimate']} {one['interval']}", json.dumps(one["seeds"]))


def read(file: Path) -> list[Row]:
    rows: list[Row] = json.loads(file.read_text("utf-8"))["rows"]
    return rows

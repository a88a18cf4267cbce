"""Put data/evidence/*.json and data/bench/*.json into README.md and docs/, each where it has a place: scripts/evidence table

`row` makes a line of evidence, `by_claim` the lines of what each seed found, `show` prints some.
A place is `<!-- evidence NAME -->` ... `<!-- end of evidence NAME -->`, or the same with `bench`. A place of `short` begins with
the claims that it takes of a file of evidence, a line each: the beginning of the claim, `=`, and what the table calls it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepcritic.metrics.bootstrap import multi_seed

Claim = tuple[str, float, list[float] | None, bool]
"""What one seed says: the claim, its figure, the interval of it where there is one, and whether it holds."""
_PLACE = re.compile(r"<!-- (evidence|bench|short) (\w+)([^>]*?) ?-->.*?<!-- end of \1 \2 -->", re.DOTALL)


def main() -> None:
    for page in pages():
        text = page.read_text("utf-8")
        page.write_text(filled(text), "utf-8")


def pages() -> list[Path]:
    """The files with places."""
    return [Path("README.md"), *sorted(Path("docs").rglob("*.md"))]


def filled(text: str) -> str:
    """A page with the tables that the files of evidence make now."""
    return _PLACE.sub(_filled, text)


def row(
    claim: str, seeds: Sequence[int], values: Sequence[float], holds: bool, intervals: Sequence[Sequence[float]] = ()
) -> dict[str, Any]:
    """The mean over seeds with its interval, and each seed with its own where it has one."""
    over = multi_seed(values)
    listed: list[dict[str, Any]] = [{"seed": seed, "value": round(value, 2)} for seed, value in zip(seeds, values, strict=True)]
    for entry, bounds in zip(listed, intervals, strict=False):
        entry["interval"] = [round(bound, 2) for bound in bounds]
    interval = [round(over.low, 2), round(over.high, 2)] if len(values) > 1 else None
    return {"claim": claim, "estimate": round(over.mean, 2), "interval": interval, "seeds": listed, "holds": bool(holds)}


def by_claim(found: dict[int, list[Claim]]) -> list[dict[str, Any]]:
    """One row for each claim, from what the seeds say of it that have it; it holds where it does on all of those."""
    told: dict[str, dict[int, Claim]] = {}
    for seed, claims in found.items():
        for claim in claims:
            told.setdefault(claim[0], {})[seed] = claim
    rows = []
    for name, by_seed in told.items():
        _, values, intervals, holds = zip(*by_seed.values(), strict=True)
        rows.append(row(name, list(by_seed), values, all(holds), () if None in intervals else intervals))
    return rows


def show(rows: Sequence[dict[str, Any]]) -> None:
    for one in rows:
        print(
            "holds" if one["holds"] else "FAILS", f"{one['claim']}: {one['estimate']} {one['interval']}", json.dumps(one["seeds"])
        )


def _filled(place: re.Match[str]) -> str:
    kind, name, chosen = place.groups()
    content = json.loads(Path(f"data/{'bench' if kind == 'bench' else 'evidence'}/{name}.json").read_text("utf-8"))
    if kind == "short":
        lines = short(content["rows"], chosen)
    else:
        lines = content.get("table") or (evidence if kind == "evidence" else bench)(content["rows"])
    return "\n".join([f"<!-- {kind} {name}{chosen} -->".replace("\n -->", "\n-->"), *lines, f"<!-- end of {kind} {name} -->"])


def short(rows: list[dict[str, Any]], chosen: str) -> list[str]:
    """One line for each claim of `chosen`: its mean over seeds with the interval. `ValueError` where no row is it."""
    lines = ["| what | mean | 95% interval |", "|---|---|---|"]
    for entry in filter(None, map(str.strip, chosen.splitlines())):
        begins, _, name = (part.strip() for part in entry.partition("="))
        found = [row for row in rows if row["claim"].startswith(begins)]
        if not found:
            raise ValueError(f"no claim begins with {begins!r}")
        lines.append(f"| {name} | {found[0]['estimate']:.1f} | {_interval(found[0]['interval'])} |")
    return lines


def evidence(rows: list[dict[str, Any]]) -> list[str]:
    """One line a claim: the mean with its interval over seeds, then each seed with its own."""
    lines = ["| claim | holds | mean | by seed |", "|---|---|---|---|"]
    for row in rows:
        mean = f"{row['estimate']:.1f}" + (f" ({_interval(row['interval'])})" if row["interval"] else "")
        seeds = "; ".join(
            f"{one['value']:.1f}" + (f" ({_interval(one['interval'])})" if one.get("interval") else "") for one in row["seeds"]
        )
        lines.append(f"| {row['claim']} | {_holds(row)} | {mean} | {seeds} |")
    return lines


def bench(rows: list[dict[str, Any]]) -> list[str]:
    """One line a comparison; ratio and bound are of ours over the other side, or of ours alone where there is none."""
    lines = ["| what | ours | other | ratio | bound | holds |", "|---|---|---|---|---|---|"]
    for row in rows:
        ours, other, ratio = (_figure(row[name]) for name in ("ours", "other", "ratio"))
        lines.append(f"| {row['what']} | {ours} | {other} | {ratio} | {row['bound']} | {_holds(row)} |")
    return lines


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _holds(row: dict[str, Any]) -> str:
    return "yes" if row["holds"] else "**no**"


def _interval(bounds: list[float]) -> str:
    return f"{bounds[0]:.1f} to {bounds[1]:.1f}"


if __name__ == "__main__":
    main()

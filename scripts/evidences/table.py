"""Write the tables of data/evidence/*.json and data/bench/*.json into README.md and docs/: scripts/evidence table

A place is `<!-- evidence NAME -->` ... `<!-- end of evidence NAME -->`, or the same with `bench`. A place of `short` begins
with its rows of a file of evidence, one per line: the beginning of the row's name, `=`, and its name in the table. It
shows no figures of a stale file.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from made_by import changed

OUTDATED = "The last measurement was made with an earlier version of the package. `scripts/evidence {name}` measures it again."
_PLACE = re.compile(r"<!-- (evidence|bench|short) (\w+)([^>]*?) ?-->.*?<!-- end of \1 \2 -->", re.DOTALL)


def main() -> None:
    for page in pages():
        text = page.read_text("utf-8")
        page.write_text(filled(text), "utf-8")


def pages() -> list[Path]:
    """The pages with places."""
    return [Path("README.md"), *sorted(Path("docs").rglob("*.md"))]


def filled(text: str) -> str:
    """The page with its tables updated from the files of evidence."""
    return _PLACE.sub(_filled, text)


def _filled(place: re.Match[str]) -> str:
    kind, name, chosen = place.groups()
    content = json.loads(Path(f"data/{'bench' if kind == 'bench' else 'evidence'}/{name}.json").read_text("utf-8"))
    if kind == "short":
        lines = [OUTDATED.format(name=name)] if changed(name, content) else short(content["rows"], chosen)
    else:
        lines = content.get("table") or (evidence if kind == "evidence" else bench)(content["rows"])
        if commit := content.get("made_by", {}).get("commit"):
            lines = [f"Measured at commit {commit}, with an earlier version of the package.", "", *lines]
    return "\n".join([f"<!-- {kind} {name}{chosen} -->".replace("\n -->", "\n-->"), *lines, f"<!-- end of {kind} {name} -->"])


def short(rows: list[dict[str, Any]], chosen: str) -> list[str]:
    """One line for each row of `chosen`: its mean over seeds with the interval. Raises `ValueError` if no row matches."""
    lines = ["| what | mean | 95% interval |", "|---|---|---|"]
    for entry in filter(None, map(str.strip, chosen.splitlines())):
        begins, _, name = (part.strip() for part in entry.partition("="))
        found = [row for row in rows if row["what"].startswith(begins)]
        if not found:
            raise ValueError(f"no row begins with {begins!r}")
        lines.append(f"| {name} | {found[0]['estimate']:.1f} | {_interval(found[0]['interval'])} |")
    return lines


def evidence(rows: list[dict[str, Any]]) -> list[str]:
    """One line per row: the mean and each seed's figure, with intervals, and whether a claim holds."""
    lines = ["| what | claim | mean | by seed |", "|---|---|---|---|"]
    for row in rows:
        mean = f"{row['estimate']:.1f}" + (f" ({_interval(row['interval'])})" if row["interval"] else "")
        seeds = "; ".join(
            f"{one['value']:.1f}" + (f" ({_interval(one['interval'])})" if one.get("interval") else "") for one in row["seeds"]
        )
        lines.append(f"| {row['what']} | {_claimed(row)} | {mean} | {seeds} |")
    return lines


def _claimed(row: dict[str, Any]) -> str:
    """The bounds of a claim, and whether it holds; empty for a description."""
    if row["kind"] == "description":
        return ""
    said = row["fails_if"].removeprefix("the interval does not lie ")
    return f"{said}: holds" if row["holds"] else f"{said}: **fails**"


def bench(rows: list[dict[str, Any]]) -> list[str]:
    """One line per comparison; ratio and bound are for ours over the other side, or for ours if there is no other side."""
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

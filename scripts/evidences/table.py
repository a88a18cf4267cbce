"""Put the rows of data/evidence/NAME.json into the README as a table: scripts/evidence table main"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any


def main(name: str) -> None:
    rows = json.loads(Path(f"data/evidence/{name}.json").read_text("utf-8"))["rows"]
    readme = Path("README.md")
    begin, end = f"<!-- evidence {name} -->", f"<!-- end of evidence {name} -->"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    text, count = pattern.subn(lambda _: f"{begin}\n{markdown(rows)}\n{end}", readme.read_text("utf-8"))
    if not count:
        sys.exit(f"README.md has no place for it: {begin} ... {end}")
    readme.write_text(text, "utf-8")


def markdown(rows: list[dict[str, Any]]) -> str:
    """One line a claim: the mean with its interval over seeds, then each seed with its own."""
    lines = ["| claim | holds | mean | by seed |", "|---|---|---|---|"]
    for row in rows:
        mean = f"{row['estimate']:.1f}" + (f" ({_interval(row['interval'])})" if row["interval"] else "")
        seeds = "; ".join(
            f"{one['value']:.1f}" + (f" ({_interval(one['interval'])})" if one.get("interval") else "") for one in row["seeds"]
        )
        lines.append(f"| {row['claim']} | {'yes' if row['holds'] else '**no**'} | {mean} | {seeds} |")
    return "\n".join(lines)


def _interval(bounds: list[float]) -> str:
    return f"{bounds[0]:.1f} to {bounds[1]:.1f}"


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["main"]))

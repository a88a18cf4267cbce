"""Compare two evaluations on the same rows: difference, interval, p-value and smallest detectable difference.

python -m deepcritic stage=compare compare=[A,B] run=NAME
python -m deepcritic stage=compare compare=[[A1,A2,A3],[B1,B2,B3]] run=NAME

A and B are names of runs with an evaluation, or evaluation folders. A list in brackets holds several seeds of one critic.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from deepcritic.datasets.forged import kind_of
from deepcritic.errors import InputError
from deepcritic.evaluation.comparison import compare
from deepcritic.evaluation.load import read_metrics
from deepcritic.evaluation.table import beside_published, write_table
from deepcritic.options import Options, option, wrong
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import as_written, read_json, read_rows, write_json
from deepcritic.schema import Judged

TITLES = {
    "f1": "F1", "error_accuracy": "errors found", "correct_accuracy": "all-correct seen", "maj_f1": "Maj F1",
    "final_f1": "F1, vote or only reply",
    "accuracy": "strict accuracy", "vote_accuracy": "accuracy of the sum",
}  # fmt: skip
ROWS = "verdicts.jsonl"


@dataclass(frozen=True, kw_only=True)
class CompareOptions(Options):
    """Compare two evaluations on the same rows: difference, interval, p-value and the smallest difference they could show."""

    compare: Sequence[Any] | None = option(
        None, "evaluations to compare: [A,B], or several seeds of each: [[A1,A2],[B1,B2]]", group="Data", top=True, was="runs"
    )

    def __post_init__(self) -> None:
        sides = self.compare
        if isinstance(sides, str) or sides is None or len(sides) != 2 or not all(sides):
            expected = "compare=[A,B], or compare=[[A1,A2],[B1,B2]] for several seeds of each"
            raise wrong("compare", sides, expected, "two evaluations are needed")


def run(folder: RunFolder, options: CompareOptions) -> dict[str, Any]:
    """Return the differences. Writes `compare.json`, and `table.*` with both results and published ones."""
    names = [[side] if isinstance(side, str) else [str(one) for one in side] for side in options.compare or ()]
    places = [[find_evaluation(one, folder.path.parent.parent) for one in side] for side in names]
    if not folder.begin(**{f"rows of {place}": place / ROWS for side in places for place in side}):
        with as_written(folder.path / "compare.json"):
            return _shown(read_json(folder.path / "compare.json"))
    sides = [[_rows(place) for place in side] for side in places]
    found: dict[str, Any] = {"a": names[0], "b": names[1], **compare(sides[0], sides[1], names=[*names[0], *names[1]])}
    results = {name: read_metrics(place) for side in (0, 1) for name, place in zip(names[side], places[side], strict=True)}
    remarks = {name: one.critic["remark"] for name, one in results.items() if one.critic.get("remark")}
    if remarks:
        found["remarks"] = remarks
    write_json(folder / "compare.json", found)
    if "accuracy" not in next(iter(found["benchmarks"].values())):  # only F1 has published figures
        with as_written(*(place / "metrics.json" for side in places for place in side)):
            write_table(folder.path, beside_published(results))
    ledger = folder.ledger("rows")
    ledger.enter(found["rows"] + found["left_out"])
    ledger.keep(found["rows"])
    ledger.drop("without a score in one of the runs", found["left_out"])
    folder.finish(metrics="compare.json")
    return _shown(found)


def find_evaluation(name: str, root: Path) -> Path:
    """The folder of a finished evaluation. `name` is a folder, or a run (`demo`) or its stage (`demo/evaluate.sft`) in `root`."""
    places = [place for base in (Path(name), root / name) for place in (base, base / "evaluate")]
    for place in places:
        if (place / ROWS).is_file():
            if (place / "manifest.json").is_file():
                return place
            raise InputError(
                "the evaluation is not finished",
                field="compare",
                found=name,
                remedy="rerun its command to finish it",
            )
    near = [f"{name}/{place.parent.name}" for base in (Path(name), root / name) for place in sorted(base.glob(f"*/{ROWS}"))]
    expected = " or ".join(near) if near else f"a run in {root}, or the folder of an evaluation"
    raise InputError("no evaluation found", field="compare", found=name, expected=expected)


def _rows(place: Path) -> list[Judged]:
    """The rows that the metrics use: all but forged ones."""
    return [row for row in read_rows(place / ROWS, Judged) if kind_of(row.id)[1] is None]


def _shown(found: dict[str, Any]) -> dict[str, Any]:
    table = Table(title=f"A: {', '.join(found['a'])}\nB: {', '.join(found['b'])}", title_justify="left")
    for name in ("benchmark", "figure", "A", "B", "A - B", "95% interval", "p", "could show"):
        table.add_column(name, justify="left" if name in {"benchmark", "figure"} else "right")
    for benchmark, part in found["benchmarks"].items():
        for name, title in TITLES.items():
            if name in part:
                table.add_row(f"{benchmark} ({part['rows']})", title, *_cells(part[name]))
    for name, title in TITLES.items():
        if f"mean_{name}" in found:
            table.add_row("mean", title, *_cells(found[f"mean_{name}"]))
    (Console() if sys.stdout.isatty() else Console(width=120)).print(table)
    if found["left_out"]:
        print(f"{found['left_out']} rows are excluded because they failed in at least one run")
    print("could show: the smallest true difference detectable with 80% power (two-sided test at the 5% level)")
    for name, remark in found.get("remarks", {}).items():
        print(f"{name}: {remark}, so its figures are not those of its authors' settings")
    return found


def _cells(figure: dict[str, Any]) -> list[str]:
    low, high = (_number(bound) for bound in figure["interval"])
    p = "unknown" if figure["p"] is None else "< 0.001" if figure["p"] < 0.001 else f"{figure['p']:.3f}"
    numbers = [_number(figure[name]) for name in ("a", "b", "difference")]
    return [*numbers, f"{low} to {high}", p, _number(figure["detectable"])]


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"

"""Paired differences of evaluations on the same rows, as a table and as a sentence.

compared = differences(found)
print(leads(compared), difference_table(compared)["rows"])
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import quote

from deepcritic.datasets.forged import kind_of
from deepcritic.errors import InputError
from deepcritic.evaluation.comparison import compare
from deepcritic.evaluation.load import read_judged
from deepcritic.evaluation.table import column_title
from deepcritic.report.evaluations import FAMILIAR, Evaluation, place_of
from deepcritic.report.late_errors import LEVEL, Late, late_errors

Cell = str | tuple[str, str] | tuple[str, str, str]
"""A text, a text and a small line below it, or these and the address that the small line leads to."""
PAIRS: Final = 6
"""The most pairs of evaluations compared, starting with those of the first one."""
NAMES: Final = {
    "f1": "F1", "maj_f1": "F1 of the vote", "final_f1": "F1, vote against single reply", "accuracy": "accuracy",
    "vote_accuracy": "accuracy of the sum",
}  # fmt: skip
VOTES: Final = ("final_f1", "maj_f1", "vote_accuracy")
SINGLE: Final = ("f1", "accuracy")
"""The figures that a sentence is about: the first that there is."""


@dataclass(frozen=True)
class Difference:
    """The result of `comparison.compare` for two named evaluations."""

    names: tuple[str, str]
    found: Mapping[str, Any]
    keys: tuple[str, str] = ("", "")
    """The evaluations in the addresses of the page: `run/evaluate.name`."""
    late: tuple[str, str] | None = None
    """The evaluation that finds late errors worse although it is trained later or better overall, and a sentence on it."""

    @property
    def parts(self) -> dict[str, Mapping[str, Any]]:
        """Figures by benchmark, and their means if there are several."""
        means = {name.removeprefix("mean_"): value for name, value in self.found.items() if name.startswith("mean_")}
        return {**self.found["benchmarks"], **({f"mean of {len(self.found['benchmarks'])}": means} if means else {})}


def differences(found: Sequence[Evaluation], beside: Sequence[Evaluation] = ()) -> list[Difference]:
    """Compare evaluations on the same rows with each other and with those in `beside`; the first `PAIRS` pairs."""
    rows = functools.cache(lambda path: [row for row in read_judged(path) if kind_of(row.id)[1] is None])
    compared: list[Difference] = []
    tested: list[tuple[int, tuple[str, str], Late]] = []
    for a, b in [*itertools.combinations(found, 2), *itertools.product(found, beside)]:
        if len(compared) == PAIRS:
            break
        if _level(a) < _level(b):  # the better one first, so that its lead is a positive number
            a, b = b, a
        names = (_named(a, found), _named(b, found))
        with contextlib.suppress(InputError):  # different rows, or no scores
            keys = (f"{a.path.parent.name}/{a.name}", f"{b.path.parent.name}/{b.name}")
            compared.append(Difference(names, compare([rows(a.path)], [rows(b.path)], names), keys))
            suspects = [(names, a, b)]  # the better one overall, and one that was trained later
            if a.path.parent == b.path.parent and {a.name, b.name} <= FAMILIAR.keys() and place_of(b.name) > place_of(a.name):
                suspects.append(((names[1], names[0]), b, a))
            for named, one, other in suspects:
                if (late := late_errors(rows(one.path), rows(other.path))) is not None:
                    tested.append((len(compared) - 1, named, late))
    for at, named, late in tested:
        if late.p < LEVEL / len(tested):
            compared[at] = replace(compared[at], late=_late(named, late))
    return compared


def _late(names: tuple[str, str], found: Late) -> tuple[str, str]:
    """The evaluation that finds late errors worse, and what to say of it."""
    p = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"
    said = f"finds late errors worse than {names[1]}: {found.a:.1f}% against {found.b:.1f}%"
    return names[0], f"{said} of the {found.rows:,} first errors at step {found.step} or later ({p})"


def _level(one: Evaluation) -> float:
    """The mean F1, or the mean accuracy, over the benchmarks; 0 if unknown."""
    levels = [getattr(part, "f1", None) or getattr(part, "accuracy", None) or 0.0 for part in one.parts.values()]
    return sum(levels) / len(levels) if levels else 0.0


def difference_table(compared: Sequence[Difference]) -> dict[str, Any] | None:
    """Paired differences on the same rows, with a plain verdict, intervals and p-values; means first."""
    lines = [
        (one, benchmark, figures[key], name)
        for one in compared
        for benchmark, figures in sorted(one.parts.items(), key=lambda part: not part[0].startswith("mean of "))
        for key, name in _figures(benchmark, figures, one)
    ]
    rows: list[list[Cell]] = [
        [(f"{one.names[0]} − {one.names[1]}", f"{benchmark_title(benchmark)}, {name}"), *_cells(figure, one.names)]
        for one, benchmark, figure, name in lines
    ]
    if not rows:
        return None
    linked: set[tuple[str, str]] = set()
    for (one, *_), row in zip(lines, rows, strict=True):
        if one.keys[0] and one.keys not in linked:
            linked.add(one.keys)
            a, b = (quote(key, safe="") for key in one.keys)
            row[1] = (str(row[1]), "rows that only the first gets right", f"#critiques?e={a}&b={b}&pair=left")
    head = ["difference", "in words", "points", "p", "detectable"]
    said = [
        "Points: the difference with its 95% interval, over the same solutions; 0 within it means not sure. Detectable: the "
        "smallest true difference that these rows find with a power of 80%. Nothing is corrected for how many differences one "
        "looks at.",
        *(["stage=compare has the figures of votes for each benchmark."] if any(len(one.parts) > 1 for one in compared) else []),
        *([f"Only the first {PAIRS} pairs are here; stage=compare compares any two."] if len(compared) == PAIRS else []),
    ]
    return {"title": "Which is better, and is that sure?", "head": head, "rows": rows, "text_at": 2, "notes": said}


def _figures(benchmark: str, figures: Mapping[str, Any], one: Difference) -> list[tuple[str, str]]:
    """All figures of the only benchmark or of the mean; of each benchmark beside a mean, only the first."""
    found = [(key, name) for key, name in NAMES.items() if key in figures]
    return found if len(one.parts) == 1 or benchmark.startswith("mean of ") else found[:1]


def benchmark_title(name: str) -> str:
    """The title of a benchmark, or its name with line breaks allowed at slashes."""
    return column_title(name).replace("/", "/\u200b")


def _named(one: Evaluation, found: Sequence[Evaluation]) -> str:
    return one.title if one in found else f"{one.path.parent.name}: {one.title}"


def _cells(figure: Mapping[str, Any], names: Sequence[str]) -> list[Cell]:
    low, high = figure["interval"]
    if figure["difference"] is None or low is None or high is None:
        return ["one of the classes is missing", "unknown", "", ""]
    p = figure["p"]
    shown = "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
    could = "" if figure["detectable"] is None else f"{figure['detectable']:.1f}"
    return [verdict(low, high, names), (f"{figure['difference']:+.1f}", f"{low:+.1f} to {high:+.1f}"), shown, could]


def verdict(low: float, high: float, names: Sequence[str]) -> str:
    """The conclusion from the interval of a difference.

    >>> verdict(1.0, 5.0, ["alpha", "beta"]), verdict(-2.0, 1.0, ["alpha", "beta"])
    ('alpha is better', 'not sure: either may be better')
    """
    if low > 0:
        return f"{names[0]} is better"
    return f"{names[1]} is better" if high < 0 else "not sure: either may be better"


def leads(compared: Sequence[Difference]) -> list[str]:
    """The answer to "which critic is best, and is that sure?": sentences for each set of comparable evaluations, for single
    replies and, if there are votes, for these."""
    groups: list[list[Difference]] = []
    for one in compared:
        mine = next((group for group in groups if any({*one.names} & {*other.names} for other in group)), None)
        if mine is None:
            groups.append([one])
        else:
            mine.append(one)
    said = []
    for group in groups:
        voting = any(name in figures for one in group for figures in one.parts.values() for name in VOTES)
        said += [
            f"{lead}{found}"
            for lead, keys in ((("One reply each: ", SINGLE), ("With votes: ", (*VOTES, *SINGLE))) if voting else (("", SINGLE),))
            if (found := sentence(group, keys) if len(group) == 1 else _best(group, keys))
        ]
    return said


def _best(compared: Sequence[Difference], keys: Sequence[str]) -> str:
    """The critic with the highest figure, and which of the others it surely beats; empty unless every pair was compared."""
    names = list(dict.fromkeys(name for one in compared for name in one.names))
    where = [*compared[0].parts][-1]
    if len(compared) != len(names) * (len(names) - 1) // 2 or any([*one.parts][-1] != where for one in compared):
        return ""
    ahead: dict[str, dict[str, tuple[float, float, float]]] = {name: {} for name in names}
    for one in compared:
        found = _main(one, keys)
        if found is None:
            return ""
        (a, b), (_, points, low, high) = one.names, found
        ahead[a][b], ahead[b][a] = (points, low, high), (-points, -high, -low)
    first = next((name for name, others in ahead.items() if all(points >= 0 for points, _, _ in others.values())), None)
    if first is None:
        return ""
    sure = [name for name, (_, low, _) in ahead[first].items() if low > 0]
    unsure = [
        f"{name} ({points:+.1f}, {low:+.1f} to {high:+.1f})" for name, (points, low, high) in ahead[first].items() if low <= 0
    ]
    said = [f"surely better than {' and '.join(sure)}"] if sure else []
    said += [f"not surely better than {' and '.join(unsure)}"] if unsure else []
    told = "accuracy" if "accuracy" in keys[-1] and "accuracy" in compared[0].parts[where] else "F1"
    return f"{first} has the highest {told} on {_where(where)}: {', but '.join(said)}."


def _main(one: Difference, keys: Sequence[str]) -> tuple[str, float, float, float] | None:
    """The first of the figures that there is, over all benchmarks: its key, the difference and its interval."""
    figures = [*one.parts.values()][-1]
    key = next((name for name in keys if name in figures), None)
    if key is None or figures[key]["difference"] is None or None in figures[key]["interval"]:
        return None
    low, high = figures[key]["interval"]
    return key, figures[key]["difference"], low, high


def _where(name: str) -> str:
    return f"the {name} benchmarks" if name.startswith("mean of ") else column_title(name)


def sentence(compared: Sequence[Difference], keys: Sequence[str]) -> str:
    """One sentence on the difference of two evaluations, by the first of the figures that there is; empty unless exactly one pair
    is comparable."""
    found = _main(compared[0], keys) if len(compared) == 1 else None
    if found is None:
        return ""
    names, where = compared[0].names, [*compared[0].parts][-1]
    key, difference, low, high = found
    said, points, better = f"{NAMES[key]} on {_where(where)}", f"{abs(difference):.1f} points", verdict(low, high, names)
    if better.startswith("not"):
        which = f"Which of {names[0]} and {names[1]} is better is not sure"
        return f"{which}: they differ by {points} ({low:+.1f} to {high:+.1f}) of {said}."
    ends = (low, high) if low > 0 else (-high, -low)
    return f"{better} by {points} (95% interval {ends[0]:.1f} to {ends[1]:.1f}) of {said}."

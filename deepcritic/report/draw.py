"""Draws plots with matplotlib in the colours of the page, with an alternative text and the data as CSV.

    with figure("reward", rows=1) as (drawn, axes):
        axes.plot(steps, rewards, **line(0))
    plot = Plot(name="reward", title="Reward", text="It rises.", svg=drawn.svg, head=("step", "reward"), rows=rows)

Colours are CSS variables, so one drawing serves light and dark pages. Series also differ in markers and dashes, for
colour-blind readers (the palette is that of Okabe and Ito).
"""

from __future__ import annotations

import base64
import contextlib
import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

INK, MUTED, GRID, PAPER = "#0000e0", "#0000e1", "#0000e2", "#0000e3"
SERIES: Final = tuple(f"#0000f{number}" for number in range(8))
_NAMES: Final = {INK: "--ink", MUTED: "--muted", GRID: "--line", PAPER: "--paper"} | {
    colour: f"--series-{number}" for number, colour in enumerate(SERIES)
}
STANDARD, WIDE = 4.7, 8.4
"""Widths in inches. Drawings of both widths have the same letter size on the page."""
_MARKS: Final = "osD^vPX*"
_DASHES: Final = ("-", (0, (5, 1.6)), (0, (1.4, 1.4)), (0, (6, 1.6, 1.4, 1.6)))
_STYLE: Final[dict[str, Any]] = {
    "svg.fonttype": "none",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "ytick.major.size": 0,
    "xtick.major.size": 3,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 2.6,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "hatch.linewidth": 0.8,
    "hatch.color": PAPER,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.unicode_minus": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "errorbar.capsize": 0,
}


@dataclass(frozen=True, kw_only=True)
class Plot:
    """A drawing with its text and data. `head` names the columns of `rows`."""

    name: str
    title: str
    text: str
    svg: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    section: str = "Results"
    wide: bool = False

    @property
    def csv_link(self) -> str:
        """The data as a `data:` link to a CSV file."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self.head)
        writer.writerows([plain(cell) for cell in row] for row in self.rows)
        return "data:text/csv;charset=utf-8;base64," + base64.b64encode(text.getvalue().encode()).decode()


@dataclass
class Drawing:
    """The result of a `figure` block."""

    svg: str = field(default="")


@contextlib.contextmanager
def figure(name: str, *, width: float = STANDARD, height: float = 2.7, columns: int = 1, share: bool = False) -> Iterator[Any]:
    """Yield `(drawing, axes)` with `columns` axes side by side; sizes are in inches. Sets `drawing.svg` when the block ends."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({**_STYLE, "svg.hashsalt": f"deepcritic/{name}"}):  # the same data give the same SVG
        drawn, made = Drawing(), Figure(figsize=(width, height), layout="constrained")
        axes = made.subplots(1, columns, sharey=share)
        yield drawn, axes
        out = io.StringIO()
        made.savefig(out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        drawn.svg = themed(out.getvalue())


def themed(svg: str) -> str:
    """The bare drawing, without ids that would repeat in a page, with colours as CSS variables.

    >>> themed('<?xml?><svg width="72pt"><g id="axes_1"><path style="fill: #0000f1"/></g></svg>')
    '<svg><g><path style="fill: var(--series-1)"/></g></svg>'
    """
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>\s*|<style.*?</style>\s*|<!--.*?-->\s*", "", svg, flags=re.S)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'\s(?:width|height)="[\d.]+pt"', "", svg, count=2)
    svg = re.sub(r"#0000[ef]\d", lambda found: f"var({_NAMES[found[0]]})", svg)
    return re.sub(r"\n\s*", "\n", re.sub(r"font: ([^;\"]*?)'[^;\"]*", r"font: \1var(--sans)", svg))


def line(number: int, *, marked: bool = True) -> dict[str, Any]:
    """The style of series `number`: colour, dashes and marker."""
    style: dict[str, Any] = {"color": SERIES[number % len(SERIES)], "linestyle": _DASHES[number % len(_DASHES)]}
    if marked:
        style |= {"marker": _MARKS[number % len(_MARKS)], "markeredgecolor": PAPER, "markeredgewidth": 0.8}
    return style


def band(axes: Any, x: Sequence[Any], intervals: Sequence[Sequence[float | None]], number: int) -> None:
    """Draw the intervals around series `number`."""
    axes.fill_between(
        x,
        [low for low, _ in intervals],
        [high for _, high in intervals],
        color=SERIES[number % len(SERIES)],
        alpha=0.15,
        linewidth=0,
    )


Curve = tuple[str, Sequence[tuple[int, float | None, Sequence[float | None]]]]
"""A name and, for each number of votes, the figure and its interval."""


def vote_curves(axes: Any, curves: Sequence[Curve]) -> list[list[Any]]:
    """Draw each curve by number of votes as a line with a band; returns rows of name, k, value, low, high."""
    rows: list[list[Any]] = []
    for number, (name, points) in enumerate(curves):
        k, values, bounds = [point[0] for point in points], [point[1] for point in points], [point[2] for point in points]
        with contextlib.suppress(TypeError):  # an unknown figure has no interval
            band(axes, k, bounds, number)
        axes.plot(k, values, label=shortened(name), **line(number))
        rows += [[name, key, figure, *bound] for key, figure, bound in zip(k, values, bounds, strict=True)]
    axes.xaxis.get_major_locator().set_params(integer=True)
    legend_above(axes, 2)
    return rows


def percent_axis(axes: Any, label: str, *, along: str = "y") -> None:
    """An axis from 0 to 100 percent."""
    getattr(axes, f"set_{along}lim")(-1.5, 101.5)
    getattr(axes, f"set_{along}ticks")(range(0, 101, 20))
    getattr(axes, f"set_{along}label")(label)


def legend_above(axes: Any, columns: int = 3) -> None:
    """Put the legend above the drawing, in at most `columns` columns and no more than fit its width."""
    labels = axes.get_legend_handles_labels()[1]
    if not labels:
        return
    names = max((len(text.get_text()) for text in axes.get_yticklabels()), default=0)
    room = (axes.figure.get_size_inches()[0] * 13 - 0.8 * names) / len(axes.figure.axes)
    columns = max(1, min(columns, int(room / (max(map(len, labels)) + 5))))
    axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=columns, borderaxespad=0.2, columnspacing=1.4)


def bars(axes: Any, names: Sequence[str], most: int = 34) -> None:
    """Set up an axis for horizontal bars with these names, the first on top."""
    axes.set_yticks(range(len(names)), [shortened(name, most) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", labelcolor=INK)


def shortened(name: str, most: int = 34) -> str:
    """Shorten an untrusted name in its middle to `most` characters and escape matplotlib's markup.

    >>> shortened("DeepCritic-7B-RL, processbench/math", 20), shortened("a$b")
    ('DeepCriti…bench/math', 'a\\\\$b')
    """
    shown = "".join(character if character.isprintable() else " " for character in str(name))
    half = most // 2
    shown = shown if len(shown) <= most else f"{shown[: most - half - 1]}…{shown[-half:]}"
    return shown.replace("$", r"\$")


def plain(cell: Any) -> Any:
    """A CSV cell: numbers rounded, None empty. Texts that a spreadsheet would run as a formula are quoted.

    >>> plain("=cmd()"), plain(12.345678), plain(None)
    ("'=cmd()", 12.3457, '')
    """
    if cell is None:
        return ""
    if isinstance(cell, float):
        return round(cell, 4)
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in "=+-@\t\r" else cell

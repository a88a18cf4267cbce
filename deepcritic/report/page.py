"""Writes the page: one self-contained HTML file, with script files beside it if it has too many texts.

    written = write_page(run, run / "report", beside=None)
    written.file, written.characters, written.chunks

Its content security policy allows only the scripts below, by hash, and only fonts inside the page. Texts are stored as JSON with
every `<` escaped, or as compressed base64, and scripts insert them as text.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any, Final

from deepcritic.report import plots_data, plots_evaluation, plots_preferences, plots_training
from deepcritic.report.browser import browse
from deepcritic.report.chunks import FOLDER, INSIDE, Chunks, write_beside
from deepcritic.report.data_tables import data_cards, data_tables
from deepcritic.report.differences import differences, leads
from deepcritic.report.draw import Plot
from deepcritic.report.evaluations import MARK, evaluations, mark_notes
from deepcritic.report.filterings import filterings
from deepcritic.report.groups import browse_groups
from deepcritic.report.judge_tables import preference_table, proof_table
from deepcritic.report.made_table import made_table
from deepcritic.report.overview import baseline_notes, headline, sample, stage_table
from deepcritic.report.results_tables import reply_table, results_tables
from deepcritic.report.tables import tables
from deepcritic.report.warnings import by_severity, warnings
from deepcritic.runs.folder import package_version
from deepcritic.runs.jsonl import replacing
from deepcritic.runs.manifest import Manifest, finished_manifests

PAGE: Final = "index.html"
SCRIPTS: Final = ("dom", "chunks", "text", "markdown", "state", "list", "detail", "groups", "main")
"""The scripts in dependency order."""
_ASSETS = files("deepcritic.report") / "assets"


@dataclass(frozen=True)
class Written:
    """A written page."""

    file: Path
    characters: int
    chunks: int
    beside: bool
    tables: tuple[Mapping[str, Any], ...] = ()
    """The tables of the page: title, head and rows."""


def write_page(run: Path, folder: Path, summary: Mapping[str, Any], *, beside: Path | None = None) -> Written:
    """Write the page of `run` into `folder`; `beside` is another run whose critiques are compared."""
    chunks = Chunks()
    found = evaluations(run)
    others = evaluations(beside) if beside else []
    compared = differences(found, others)
    manifests = dict(finished_manifests(run))
    index = browse([*found, *others, *filterings(run, manifests)], chunks)
    index |= {"run": run.name, "groups": browse_groups(run, chunks)}
    drawings = chain(
        plots_evaluation.plots(found), plots_preferences.plots(found), plots_training.plots(run), plots_data.plots(run, manifests)
    )
    content: dict[str, Any] = {
        "title": sample(found) or f"Run {run.name}",
        "leads": leads(compared),
        "facts": _facts(run, manifests, found),
        "cards": [*headline(summary, found), *data_cards(run, manifests)],
        "explained": baseline_notes(found),
        "warnings": by_severity(warnings(run, manifests, found, compared)),
        "tables": [
            *results_tables(found, compared),
            *filter(None, [preference_table(found), proof_table(found), reply_table(found)]),
            *data_tables(run, manifests),
            *_own_tables(summary),
            *filter(None, [made_table(found)]),
            stage_table(run, manifests),
        ],
        "plots": list(drawings),
        "marks": mark_notes([*found, *others]),
    }
    content["tables"] = [_with_marks(table, content["marks"]) for table in content["tables"]]
    packed = chunks.take()
    outside = sum(map(len, packed.values())) > INSIDE
    if outside or (folder / FOLDER).is_dir():
        write_beside(folder / FOLDER, packed if outside else {})
    text = render(index=index, chunks={} if outside else packed, folder=FOLDER if outside else "", **content)
    with replacing(folder / PAGE) as file:
        file.write(text.encode())
    return Written(folder / PAGE, len(text), len(packed), outside, tuple(content["tables"]))


def render(
    *,
    title: str,
    leads: Sequence[str] = (),
    facts: Sequence[str] = (),
    cards: Sequence[tuple[str, str, str]] = (),
    explained: Sequence[str] = (),
    warnings: Sequence[Any] = (),
    tables: Sequence[Mapping[str, Any]] = (),
    plots: Sequence[Plot] = (),
    marks: Sequence[str] = (),
    index: Mapping[str, Any] | None = None,
    chunks: Mapping[str, str] | None = None,
    folder: str = "",
) -> str:
    """The HTML of the page. All texts are escaped except the drawings, which this package made."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    style = _asset("page.css")
    drawn, classes = unstyled([plot.svg for plot in plots])
    script = "(() => {\n'use strict';\n" + "\n".join(_asset(f"{name}.js") for name in SCRIPTS) + "\n})();"
    katex, fonts = (_asset("katex/katex.min.js"), _typesetting()) if index and index["evaluations"] else ("", "")
    styles = [part for part in (fonts, style + classes) if part]
    scripts = [part for part in (katex, script) if part]
    data = json.dumps(
        {**(index or {"evaluations": [], "outcomes": [], "texts": [], "learnt": [], "groups": []}), "folder": folder}
    )
    data = re.sub(r"[<>&\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", data)
    nonce = hashlib.sha256("".join([data, title, *drawn]).encode("utf-8", "replace")).hexdigest()[:32]
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {' '.join(map(_hash, scripts))}" + (f" 'nonce-{nonce}'" if folder else ""),
            f"style-src {' '.join(map(_hash, styles))}",
            "font-src data:",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(
        _asset("page.html")
    )
    return page.render(
        title=title,
        leads=leads,
        marks=marks,
        facts=facts,
        cards=cards,
        explained=explained,
        warnings=warnings,
        tables=tables,
        policy=policy,
        nonce=nonce if folder else "",
        version=package_version(),
        sections={
            section: [(plot, Markup(svg)) for plot, svg in zip(plots, drawn, strict=True) if plot.section == section]
            for section in dict.fromkeys(plot.section for plot in plots)
        },  # our own drawings
        styles=[Markup(part) for part in styles],
        scripts=[Markup(part) for part in scripts],
        data=Markup(data),  # escaped above
        chunks=chunks or {},
        evaluations=len(index["evaluations"]) if index else 0,
        groups=len(index["groups"]) if index else 0,
    )


def unstyled(drawings: Sequence[str]) -> tuple[list[str], str]:
    """Replace inline styles, which a strict policy blocks, by classes; returns the drawings and the CSS.

    >>> unstyled(['<svg><g style="a: b"/><g style="a: b"/></svg>'])
    (['<svg><g class="s0"/><g class="s0"/></svg>'], '\\n.s0{a: b}')
    """
    names: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        return f'class="{names.setdefault(found[1], f"s{len(names)}")}"'

    changed = [re.sub(r'style="([^"]*)"', named, svg) for svg in drawings]
    return changed, "".join(f"\n.{name}{{{style}}}" for style, name in names.items())


def _with_marks(table: Mapping[str, Any], marks: Sequence[str]) -> dict[str, Any]:
    """The table with the notes on the marked critics that it names."""
    texts = "\n".join(text for row in table["rows"] for cell in row for text in ([cell] if isinstance(cell, str) else cell))
    needed = [note for note in marks if f"{note.removeprefix(MARK).partition(':')[0].strip()}\u00a0{MARK}" in texts]
    return {**table, "notes": [*table.get("notes", ()), *needed]} if needed else dict(table)


def _own_tables(summary: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tables of the summary, without F1, accuracy and time, which are elsewhere on the page."""
    told = ("F1 on", "Accuracy of preferences", "Seconds")
    return [table for table in tables(dict(summary)) if not table["title"].startswith(told)]


def _facts(run: Path, manifests: Mapping[str, Manifest], found: Sequence[Any]) -> list[str]:
    seconds = sum(manifest.seconds for manifest in manifests.values())
    cost = sum(manifest.cost or 0 for manifest in manifests.values())
    verdicts = sum(len(one.rows) for one in found)
    facts = [f"run {run.name}", f"{len(manifests)} stages", f"{seconds / 60:,.1f} minutes"]
    return facts + ([f"{verdicts:,} judged solutions"] if verdicts else []) + ([f"cost {cost:,.2f}"] if cost else [])


@functools.cache
def _asset(name: str) -> str:
    return _ASSETS.joinpath(*name.split("/")).read_text("utf-8")


@functools.cache
def _typesetting() -> str:
    """KaTeX's styles with embedded fonts, only in the format that all browsers support."""

    def inside(found: re.Match[str]) -> str:
        font = _ASSETS.joinpath("katex", *found[1].split("/")).read_bytes()
        return f'url(data:font/woff2;base64,{base64.b64encode(font).decode()}) format("woff2")'

    css = re.sub(r'url\((fonts/[\w-]+\.woff2)\) format\("woff2"\)', inside, _asset("katex/katex.min.css"))
    return re.sub(r',url\(fonts/[\w-]+\.(?:woff|ttf)\) format\("\w+"\)', "", css)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

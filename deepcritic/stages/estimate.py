"""Estimate a data set's error rate from verdicts on all rows and human labels of a few; choose the rows to label next.

python -m deepcritic stage=estimate stage.verdicts=runs/x/filter run=x name=first
python -m deepcritic stage=estimate stage.verdicts=runs/x/filter stage.labels=labels.jsonl run=x

Without labels, `next.jsonl` holds the first rows to label. Fill in `first_error` (-1: every step is right) and pass the file as
`stage.labels`. For the statistics see `deepcritic.metrics.prediction_powered` and `deepcritic.metrics.active_labels`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from deepcritic.datasets import human_labels
from deepcritic.datasets.human_labels import HumanLabel
from deepcritic.datasets.solutions import read_solutions
from deepcritic.errors import InputError
from deepcritic.evaluation.error_rates import ErrorRate, Label, error_rates, rate_lines
from deepcritic.evaluation.load import METRICS, Metrics
from deepcritic.evaluation.recorded_votes import RowVotes, find_verdicts, read_votes
from deepcritic.metrics.active_labels import doubt, draw, in_either, inclusion
from deepcritic.options import REQUIRED, Options, option
from deepcritic.runs.folder import Ledger, RunFolder, existing
from deepcritic.runs.jsonl import read_json, write_json, write_rows
from deepcritic.schema import Row

NEXT = "next.jsonl"


@dataclass(frozen=True, kw_only=True)
class EstimateOptions(Options):
    """Estimate the error rate of a data set from a critic's verdicts on all rows and labels of a few."""

    verdicts: str = option(
        REQUIRED,
        "a critic's verdicts on all rows: the folder of stage=evaluate or stage=filter, or a verdicts file",
        group="Data",
    )
    labels: str | None = option(
        None, "human labels of randomly sampled rows, or a completed next.jsonl, with id and first_error (-1: no error)"
    )
    columns: Mapping[str, str] | None = option(
        None, "column names of the labels file, if they differ: {first_error: verdict}", needs="labels"
    )
    examples: str | None = option(None, "examples to copy texts from into next.jsonl; null: the examples of the verdicts")
    next: int = option(50, "number of rows to suggest for labelling; 0: none", group="Labels", at_least=0)
    seed: int = option(0, "random seed", top=True)


class ToLabel(Row, frozen=True, kw_only=True):
    """A row of `next.jsonl`, to label or already labelled. `probability` is its chance of being sampled into this file, and
    `share` the critic's share of votes for an error."""

    id: str
    part: str
    first_error: int | None
    has_error: bool | None
    probability: float
    share: float | None
    problem: str | None = None
    steps: tuple[str, ...] = ()


def run(folder: RunFolder, options: EstimateOptions) -> dict[str, Any]:
    """Return the metrics. Writes `metrics.json` (see `load_results`) and, if rows are to be labelled, `next.jsonl`."""
    source = find_verdicts(options.verdicts, "stage.verdicts")
    examples = existing(Path(options.examples), "stage.examples") if options.examples else source.examples
    inputs = {"verdicts": source.file, "labels": Path(options.labels) if options.labels else None, "examples": examples}
    if not folder.begin(**{name: path for name, path in inputs.items() if path is not None}):
        metrics = read_json(folder.path / METRICS)
        _show(folder.path, Metrics.of(metrics).estimates, metrics["warnings"], metrics["next"])
        return metrics
    rows, forged = read_votes(source.file)
    ledger = folder.ledger("rows")
    ledger.enter(len(rows) + forged)
    ledger.keep(len(rows))
    if forged:
        ledger.drop("forged", forged)
    given = _read_labels(options, {row.id for row in rows}, folder.ledger("labels")) if options.labels else {}
    labels = {name: Label(bool(one.has_error), one.probability) for name, one in given.items() if one.has_error is not None}
    rates: dict[str, ErrorRate] = {}
    warnings: list[str] = []
    if options.labels:
        labels, warnings = _of_those_that_answered(labels, given)
        rates, more = error_rates(rows, labels)
        warnings += more
    drawn, next_ = _next(rows, given, options)
    if drawn:
        texts = _texts(examples, source.columns, {row.id for row in drawn})
        next_["texts"] = len(texts)
        write_rows(folder / NEXT, (msgspec.structs.replace(row, **texts.get(row.id, {})) for row in drawn))
    metrics = {
        "model": source.model, "rows": len(rows), "labels": len(labels), "estimates": msgspec.to_builtins(rates),
        "warnings": warnings, "next": next_,
    }  # fmt: skip
    Metrics.of(metrics)
    write_json(folder / METRICS, metrics)
    folder.finish(metrics=METRICS, model=source.model, hints=warnings)
    _show(folder.path, rates, warnings, next_)
    return metrics


def _read_labels(options: EstimateOptions, known: set[str], ledger: Ledger) -> dict[str, HumanLabel]:
    """The labels by id; rows with a probability are included even without a label. Every row of the file is counted."""
    numbered = {name.rpartition("-")[2]: name for name in sorted(known)}
    found: dict[str, HumanLabel] = {}
    for place, label in human_labels.read(str(options.labels), columns=options.columns):
        ledger.enter()
        if label.has_error is None and label.probability is None:
            ledger.drop("no label")
            continue
        name = label.id if label.id in known else numbered.get(label.id, "") if label.id.isdigit() else ""
        if not name:
            near = difflib.get_close_matches(label.id, known, n=1) or [min(known)]
            raise InputError(
                "the label's row has no verdict", file=place.file, line=place.line, field="id", found=label.id,
                expected=f"an id with a verdict, such as {near[0]!r}",
            )  # fmt: skip
        before = found.get(name)
        if before is not None:
            if before[1:] != label[1:]:
                raise InputError(
                    "the row has two labels",
                    file=place.file,
                    line=place.line,
                    field="id",
                    found=label.id,
                    expected="one label per row",
                )
            ledger.drop("repeated")
            continue
        if label.has_error is None:
            ledger.fail("not labelled")
        else:
            ledger.keep()
        found[name] = label
    without = [one.id for one in found.values() if one.probability is None]
    if without and len(without) < len(found):
        raise InputError(
            f"{len(found) - len(without)} labels have a probability, {len(without)} do not", file=options.labels,
            field="probability", found=without[0], expected="a probability for every label, as in next.jsonl, or for none",
        )  # fmt: skip
    return found


def _of_those_that_answered(labels: dict[str, Label], given: Mapping[str, HumanLabel]) -> tuple[dict[str, Label], list[str]]:
    """Drop rows that were sampled but not labelled, and rescale as if fewer rows had been sampled."""
    missing = len(given) - len(labels)
    if not missing:
        return labels, []
    share = len(labels) / len(given)
    kept = {name: Label(one.has_error, (one.probability or 1.0) * share) for name, one in labels.items()}
    warning = f"{missing} of {len(given)} sampled rows have no label; the estimate assumes that they resemble the labelled rows"
    return kept, [warning]


def _next(
    rows: Sequence[RowVotes], given: Mapping[str, HumanLabel], options: EstimateOptions
) -> tuple[list[ToLabel], dict[str, Any]]:
    """Sample rows to label from all rows, with known probabilities. Rows that already have a label are included."""
    labelled = {name for name, one in given.items() if one.has_error is not None}
    count = min(options.next, len(rows) - len(labelled))
    if count <= 0:
        return [], {"rows": 0}
    if any(one.probability is not None for one in given.values()):
        why = "these labels come from a next.jsonl; for more rows, rerun with the earlier labels and a larger stage.next"
        return [], {"rows": 0, "why": why}
    before = len(labelled) / len(rows)
    everything = min(len(rows), round(count / (1 - before)))  # some already have a label
    chances = inclusion(doubt([row.share for row in rows], [row.votes for row in rows]), everything)
    generator = np.random.default_rng([options.seed, 1])
    drawn, both = draw(chances, generator), in_either(np.full(len(rows), before), chances)
    new = [at for at in generator.permutation(len(rows)) if drawn[at] and rows[at].id not in labelled]
    old = [at for at, row in enumerate(rows) if row.id in labelled]
    found = [
        ToLabel(
            id=rows[at].id, part=rows[at].part, probability=float(both[at]),
            share=None if np.isnan(rows[at].share) else rows[at].share,
            first_error=given[rows[at].id].first_error if rows[at].id in given else None,
            has_error=given[rows[at].id].has_error if rows[at].id in given else None,
        )
        for at in [*new, *old]
    ]  # fmt: skip
    even = all(row.votes <= 1 for row in rows)
    return found, {"rows": len(new), "labelled": len(old), "one_vote": even}


def _texts(examples: Path | None, columns: Mapping[str, str] | None, wanted: set[str]) -> dict[str, dict[str, Any]]:
    """The problems and the steps of the rows to label."""
    if examples is None:
        return {}
    rows = read_solutions(str(examples), columns=columns)
    return {row.id: {"problem": row.item.problem, "steps": row.item.steps} for row in rows if row.id in wanted}


def _show(path: Path, rates: Mapping[str, ErrorRate], warnings: Sequence[str], next_: Mapping[str, Any]) -> None:
    if rates:
        print(f"{path}: estimates assume randomly sampled labels, uniform or as in next.jsonl")
    print("\n".join(rate_lines(rates)) if rates else f"{path}: no labels, so no estimate")
    for warning in warnings:
        print(f"warning: {warning}")
    if next_["rows"]:
        with_old = f", followed by the {next_['labelled']} labelled rows" if next_["labelled"] else ""
        even = "; with one vote per row the sampling is nearly uniform" if next_["one_vote"] else ""
        print(f"{path / NEXT}: {next_['rows']} rows to label{with_old}; fill in first_error and set stage.labels={even}")
        if not next_["texts"]:
            print(f"warning: {NEXT} has no texts because the examples were not found; set stage.examples=FILE")
    elif "why" in next_:
        print(f"no rows to label next: {next_['why']}")

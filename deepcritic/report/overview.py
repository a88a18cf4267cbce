"""What was run, with what result, and first of all what to be wary of.

for warning in warnings(run, manifests, found):
    print(warning.text)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepcritic.evaluation.table import not_beaten
from deepcritic.metrics.baselines import CONSTANT
from deepcritic.report.evaluations import Evaluation
from deepcritic.runs.budget import amount

FEW = 100
"""Rows of a class under which a rate says little."""
SEEN = 0.05
"""Percent under which a share would be shown as 0.0%."""
LEAN = 0.8
"""The share of one class from which data count as unbalanced."""


@dataclass(frozen=True)
class Caution:
    """Something that a reader should know before the figures."""

    stage: str
    text: str


def warnings(run: Path, manifests: Mapping[str, Mapping[str, Any]], found: Sequence[Evaluation]) -> Iterator[Caution]:
    """What was cut, unparsed, lost or unbalanced, and what is not finished."""
    for folder in sorted(path.parent for path in run.glob("*/config.json")):
        if folder.name not in manifests:
            yield Caution(folder.name, "is not finished: nothing of it is shown")
    for name, manifest in manifests.items():
        if manifest.get("incomplete"):
            yield Caution(name, f"{manifest['incomplete']:,} draws failed and can be asked for again")
        counts = manifest.get("prefilter") if isinstance(manifest.get("prefilter"), dict) else manifest
        if manifest.get("stage") != "evaluate":
            drawn, cut = (counts or {}).get("generations") or 0, (counts or {}).get("truncated") or 0
            if cut and cut >= drawn / 1000:
                yield Caution(name, f"{cut:,} of {drawn:,} replies ({_share(cut, drawn)}) were cut at max_tokens")
        for reason, count in ((manifest.get("counts") or {}).get("rows") or {}).get("failed", {}).items():
            if count:
                yield Caution(name, f"{count:,} rows failed: {reason}")
        if manifest.get("stage") == "label":
            yield from _labels(name, manifest)
    for one in found:
        yield from _evaluation(one)


def _labels(name: str, manifest: Mapping[str, Any]) -> Iterator[Caution]:
    labels: dict[str, int] = manifest.get("first_errors") or {}
    total, fine = sum(labels.values()), labels.get("-1", 0)
    if total and max(fine, total - fine) > LEAN * total:
        rarer = "all correct" if fine < total - fine else "with an error"
        yield Caution(name, f"unbalanced: {_share(min(fine, total - fine), total)} of the labelled solutions are {rarer}")
    if manifest.get("unconfirmed"):
        yield Caution(name, f"the published form of the rule {manifest.get('rule')} is not confirmed")
    counts = (manifest.get("counts") or {}).get("solutions") or {}
    gone = sum((counts.get("filtered") or {}).values())
    if counts.get("in") and gone > counts["in"] / 5:
        yield Caution(name, f"{gone:,} of {counts['in']:,} solutions ({_share(gone, counts['in'])}) have no label")


def _evaluation(one: Evaluation) -> Iterator[Caution]:
    """One caution for each kind of trouble, with the parts that have it."""
    found: dict[str, list[str]] = {}
    for name, part in one.parts.items():
        where = f" on {name.rpartition('/')[2]}" if len(one.parts) > 1 else ""
        for trouble, amount_of_it in _troubles(part):
            found.setdefault(trouble, []).append(f"{amount_of_it}{where}")
    for trouble, places in found.items():
        yield Caution(one.name, f"{trouble}: {', '.join(places)}")
    remark = (one.metrics.get("critic") or {}).get("remark")
    if remark:
        yield Caution(one.name, f"measured otherwise than its authors measured it: {remark}")
    held = (one.metrics.get("contamination") or {}).get("held") or {}
    if held:
        yield Caution(one.name, f"{len(held):,} problems occur in the training data that was looked through")
    classes = [row.get("stratum") for row in one.rows]
    for stratum in dict.fromkeys(classes):
        count = classes.count(stratum)
        if one.stepwise and (count < FEW or count > LEAN * len(classes)):
            less = (
                f"only {count:,} solutions are “{stratum}”"
                if count < FEW
                else f"{_share(count, len(classes))} of the solutions are “{stratum}”"
            )
            yield Caution(one.name, f"unbalanced or small: {less}")


def _troubles(part: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(what is the matter, how much of it) for the figures of one benchmark."""
    for key, trouble in (
        ("truncated_rate", "replies cut at max_tokens"),
        ("unparsed_rate", "replies without a readable verdict, which count as wrong"),
    ):
        if (part.get(key) or 0) >= SEEN:
            yield trouble, f"{part[key]:.1f}%"
    replies = part.get("replies") or {}
    lost = (replies.get("failed") or 0) + (replies.get("refused") or 0)
    if lost:
        low, high = part.get("f1_bounds") or (None, None)
        known = low is not None and high is not None
        spread = f" (F1 lies between {low:.1f} and {high:.1f}, whatever they would have been)" if known else ""
        yield "replies that did not come", f"{lost:,}{spread}"
    if part.get("missing"):
        yield "rows without a reply, which count as wrong", f"{part['missing']:,}"
    whole = (part.get("benchmark") or {}).get("rows_when_whole")
    if whole and part.get("examples") and part["examples"] != whole:
        yield "rows measured", f"{part['examples']:,} of {whole:,}"
    for prefix, what in (("", "F1"), ("maj_", "F1 of the vote")):
        for baseline in not_beaten(part, prefix):
            mine, its = part[f"{prefix}f1"], part["baselines"][baseline]["f1"]
            yield f"{what} is not shown to beat the baseline “{baseline}”", f"{mine:.1f} against {its:.1f}"
    f1, constant = part.get("f1"), part.get("constant_baseline_f1")
    if "baselines" not in part and f1 is not None and constant is not None and f1 < constant:
        yield f"F1 is below that of the baseline “{CONSTANT}”", f"{f1:.1f} against {constant:.1f}"
    if part.get("f1_unknown"):
        yield "F1 is unknown", str(part["f1_unknown"])


def sample(found: Sequence[Evaluation]) -> str:
    """What was measured on what, as the title of a page.

    >>> sample([])
    ''
    """
    if not found:
        return ""
    critics = list(dict.fromkeys(one.title for one in found))
    named = " and ".join(critics) if len(critics) < 4 else f"{len(critics)} critics"
    parts = list(dict.fromkeys(name for one in found for name in one.parts))
    families = list(dict.fromkeys(name.partition("/")[0] for name in parts))
    return f"{named} on {' and '.join(families) if len(families) < 4 else f'{len(parts)} benchmarks'}"


def headline(summary: Mapping[str, Any], found: Sequence[Evaluation]) -> list[tuple[str, str, str]]:
    """What one would say in a minute: (number, what it is, its interval or what it is beside)."""
    cards = []
    for one in found[:3]:
        for key, what in (("mean_f1", "F1"), ("f1", "F1"), ("accuracy", "better one found")):
            if one.metrics.get(key) is not None:
                beside = [_range(one.metrics.get(f"{key}_interval")), _on(one)]
                cards.append((f"{one.metrics[key]:.1f}", f"{what}, {one.title}", ", ".join(filter(None, beside))))
                break
        key = "mean_maj_f1" if "mean_maj_f1" in one.metrics else "maj_f1"
        if one.metrics.get(key) is not None:
            votes = max(part.get("samples") or 0 for part in one.parts.values())
            beside = [_range(one.metrics.get(f"{key}_interval")), _on(one)]
            cards.append((f"{one.metrics[key]:.1f}", f"F1, {one.title}, Maj@{votes}", ", ".join(filter(None, beside))))
    if "rl_gain" in summary:
        cards.append((f"{summary['rl_gain']:+.1f}", "points of F1 by RL", _range(summary.get("rl_gain_interval"))))
    if summary.get("labels", {}).get("exact") is not None:
        cards.append(
            (f"{summary['labels']['exact']:.1f}%", "automatic labels right", _range(summary["labels"].get("exact_interval")))
        )
    if "refine" in summary:
        refine = summary["refine"]
        cards.append((f"{refine['after']:.1f}%", "answers right after refinement", f"{refine['before']:.1f}% before"))
    return cards


def _on(one: Evaluation) -> str:
    """The benchmark of a figure over all parts."""
    return next(iter(one.parts)) if len(one.parts) == 1 else f"mean of {len(one.parts)} benchmarks"


def stage_table(run: Path, manifests: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Every stage with its models, data, rows, tokens, time and cost."""
    priced = any(manifest.get("cost") for manifest in manifests.values())
    head = ["stage", "model", "reads", "rows in", "rows out", "tokens written", "seconds", *(["cost"] if priced else []), "seed"]
    rows = []
    for name, manifest in manifests.items():
        if manifest.get("stage") == "report":
            continue
        config = _config(run / name)
        counts: Mapping[str, Any] = next(iter((manifest.get("counts") or {}).values()), {})
        tokens = manifest.get("completion") or (manifest.get("prefilter") or {}).get("completion")
        models = [str(manifest[key]) for key in ("model", "critic", "generator", "teacher") if manifest.get(key)]
        trained = f" → {manifest['trained']}" if manifest.get("trained") else ""
        row = [
            name,
            " + ".join(dict.fromkeys(models)) + trained,
            _reads(config),
            counts.get("in", ""),
            counts.get("out", ""),
            tokens or "",
            manifest.get("seconds", ""),
        ]
        row += [amount(manifest["cost"]) if manifest.get("cost") else ""] if priced else []
        rows.append([*row, config.get("seed", "")])
    return {"title": "What was run", "head": head, "rows": [[shown(cell) for cell in row] for row in rows], "words": 3}


def preference_table(found: Sequence[Evaluation]) -> dict[str, Any] | None:
    """Every judge of responses on every benchmark."""
    parts = [(one, name, part) for one in found if not one.stepwise for name, part in one.parts.items()]
    known = ("accuracy", "vote_accuracy", "pairwise_accuracy", "roc_auc", "unparsed_rate")
    keys = [key for key in known if any(part.get(key) is not None for _, _, part in parts)]
    names = {"accuracy": "better one found", "vote_accuracy": "by vote", "pairwise_accuracy": "of two", "roc_auc": "ROC-AUC"}
    head = ["judge", "benchmark", "rows", *(names.get(key, "unparsed") for key in keys), "chance level"]
    rows = [
        [one.title, name, part.get("examples"), *(_with_range(part, key) for key in keys), part.get("chance_accuracy")]
        for one, name, part in parts
    ]
    table = {"title": "Judged responses, in percent", "head": head, "words": 2}
    return {**table, "rows": [[shown(cell) for cell in row] for row in rows]} if rows else None


def shown(cell: Any) -> str:
    """A cell for people.

    >>> shown(1234567), shown(0.25), shown(None)
    ('1,234,567', '0.2', '')
    """
    if cell is None:
        return ""
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return str(cell)
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.1f}"


def _with_range(part: Mapping[str, Any], key: str) -> str:
    value = part.get(key)
    interval = _range(part.get(f"{key}_interval"))
    return "" if value is None else f"{value:.1f} ({interval})" if interval else f"{value:.1f}"


def _range(interval: Sequence[float | None] | None) -> str:
    return "" if not interval or None in interval else f"{interval[0]:.1f} to {interval[1]:.1f}"


def _share(count: int, of: int) -> str:
    return f"{100 * count / max(1, of):.1f}%"


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def _reads(config: Mapping[str, Any]) -> str:
    """The data that a stage was given, by the ends of their names."""
    keys = ("benchmark.path", "source.path", "examples", "dialogues", "solutions", "rollouts", "problems", "generations")
    files = [str(config[key]) for key in keys if isinstance(config.get(key), str)]
    source = str(config.get("source._target_") or "").split(".")
    if not files and len(source) > 2:
        files = [source[-2] if source[-1] == "read" else f"{source[-3]} {source[-1]}"]
    return ", ".join("/".join(file.split("/")[-2:]) for file in files)

"""The report's overview: title, headline figures and stages.

print(sample(found), headline(summary, found))
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepcritic.evaluation.table import column_title
from deepcritic.report.differences import Cell
from deepcritic.report.evaluations import Evaluation
from deepcritic.report.shown import MEANING, range_of, shown
from deepcritic.report.warnings import below_chance, draws
from deepcritic.runs.budget import amount
from deepcritic.runs.manifest import Manifest
from deepcritic.tasks.metrics_types import Baseline, FirstErrorFigures, Interval, PointwiseFigures, ProofFigures

RUN = "Stages"
"""The title of the table of stages."""
KEPT_ASIDE = ("failures.jsonl", "starts.jsonl", "compared.jsonl")
"""Files of a stage's own book-keeping."""


def sample(found: Sequence[Evaluation]) -> str:
    """The title of the page: the critics, or how many models in how many evaluations, and the benchmarks.

    >>> sample([])
    ''
    """
    if not found:
        return ""
    critics = list(dict.fromkeys(one.plain_title for one in found))
    named = " and ".join(critics) if len(critics) < 4 else _counted(found)
    parts = list(dict.fromkeys(name for one in found for name in one.parts))
    families = list(dict.fromkeys(name.partition("/")[0] for name in parts))
    return f"{named} on {' and '.join(families) if len(families) < 4 else f'{len(parts)} benchmarks'}"


def _counted(found: Sequence[Evaluation]) -> str:
    """How many models there are, and how many evaluations of them."""
    models = len({one.metrics.label or one.model or one.name for one in found})
    return f"{models} model{'s' if models > 1 else ''} in {len(found)} evaluations"


def headline(summary: Mapping[str, Any], found: Sequence[Evaluation]) -> list[tuple[str, str, str]]:
    """The headline figures: (number, description, interval or comparison)."""
    cards = []
    for one in found[:3]:
        for what, value, interval, against in _main(one):
            if value is not None:
                beside = [range_of(interval), _on(one), against]
                cards.append((f"{value:.1f}", f"{what}", ", ".join(filter(None, beside))))
    if "rl_gain" in summary:
        cards.append((f"{summary['rl_gain']:+.1f}", "F1 points gained by RL", range_of(summary.get("rl_gain_interval"))))
    if summary.get("labels", {}).get("exact") is not None:
        cards.append(
            (f"{summary['labels']['exact']:.1f}%", "correct automatic labels", range_of(summary["labels"].get("exact_interval")))
        )
    if "refine" in summary:
        refine = summary["refine"]
        cards.append((f"{refine['after']:.1f}%", "correct answers after refinement", f"{refine['before']:.1f}% before"))
    return cards


def _main(one: Evaluation) -> Iterator[tuple[str, float | None, Interval | None, str]]:
    """The main figures with their intervals and baselines, for single replies and for the vote."""
    whole, only = one.metrics, next(iter(one.parts.values())) if len(one.parts) == 1 else None
    votes = max((part.samples for part in one.parts.values()), default=0)
    if isinstance(only, FirstErrorFigures):
        yield f"F1, {one.title}", only.f1, only.f1_interval, _against(only.baselines)
        yield f"F1, {one.title}, Maj@{votes}", only.maj_f1, only.maj_f1_interval, _against(only.baselines, vote=True)
    elif isinstance(only, ProofFigures):
        yield f"exact grades, {one.title}", only.accuracy, only.accuracy_interval, ""
    elif isinstance(only, PointwiseFigures):
        chance = "" if only.chance_accuracy is None else f"chance level {only.chance_accuracy:.1f}"
        said = f"not shown to beat the {chance}" if below_chance(only) else chance
        yield f"accuracy, {one.title}", only.accuracy, only.accuracy_interval, said
    else:
        yield f"F1, {one.title}", whole.mean_f1, whole.mean_f1_interval, _against(whole.mean_baselines)
        beaten = _against(whole.mean_baselines, vote=True)
        yield f"F1, {one.title}, Maj@{votes}", whole.mean_maj_f1, whole.mean_maj_f1_interval, beaten


def _against(baselines: Mapping[str, Baseline], *, vote: bool = False) -> str:
    """The best baseline, and whether it is beaten."""
    known = {name: one for name, one in baselines.items() if one.f1 is not None}
    if not known:
        return ""
    best = max(known, key=lambda name: known[name].f1 or 0.0)
    failed = [name for name, one in known.items() if (one.maj_beaten if vote else one.beaten) is False]
    if failed:
        worst = max(failed, key=lambda name: known[name].f1 or 0.0)
        return f"not shown to beat the baseline {worst} {known[worst].f1:.1f}"
    return f"beats all baselines, of which {best} is best with {known[best].f1:.1f}"


def baseline_notes(found: Sequence[Evaluation]) -> list[str]:
    """What the baselines of these evaluations do, one sentence each, for readers of the headline figures."""
    parts = [part for one in found for part in one.critic_parts.values()]
    names = dict.fromkeys(name for part in parts for name in part.baselines)
    return [f"Baseline {name}: {MEANING[name]}." for name in names if name in MEANING]


def _on(one: Evaluation) -> str:
    """The benchmark's name, or the number of benchmarks in the mean."""
    return column_title(next(iter(one.parts))) if len(one.parts) == 1 else f"mean of {len(one.parts)} benchmarks"


def stage_table(run: Path, manifests: Mapping[str, Manifest]) -> dict[str, Any]:
    """One row per stage: models, data, rows, tokens, time and cost."""
    priced = any(manifest.cost for manifest in manifests.values())
    head = ["stage", "model", "reads", "rows in", "rows out", "tokens written", "seconds", *(["cost"] if priced else []), "seed"]
    rows: list[list[Cell]] = []
    for name, manifest in manifests.items():
        if manifest.stage == "report":
            continue
        config = _config(run / name)
        counts = next(iter(manifest.counts.values()), None)
        tokens = manifest.completion or draws(manifest, "completion")
        models = [_model(manifest), *(manifest.facts.get(key) for key in ("critic", "generator", "teacher"))]
        trained = f" → {manifest.facts['trained']}" if manifest.facts.get("trained") else ""
        row = [
            name,
            " + ".join(dict.fromkeys(model for model in models if model and isinstance(model, str))) + trained,
            _reads(config),
            counts.entered if counts else "",
            counts.kept if counts else "",
            tokens or "",
            manifest.seconds,
        ]
        row += [amount(manifest.cost) if manifest.cost else ""] if priced else []
        cells = [shown(cell) for cell in [*row, config.get("seed", "")]]
        files = ", ".join(file for file in manifest.files if file not in KEPT_ASIDE)
        rows.append([(name, files) if files else name, *cells[1:]])
    notes = [f"Below each stage: the row files in its folder of {run.name}."]
    return {"title": RUN, "head": head, "rows": rows, "words": 3, "notes": notes}


def _model(manifest: Manifest) -> str | None:
    """The model with the name that tables give it."""
    label = manifest.facts.get("label")
    return f"{label}: {manifest.model}" if label and manifest.model and label != manifest.model else label or manifest.model


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return found


def _reads(config: Mapping[str, Any]) -> str:
    """The input files of a stage, by the last two parts of their paths."""
    keys = ("benchmark.path", "source.path", "examples", "dialogues", "solutions", "rollouts", "problems", "generations")
    files = [str(config[key]) for key in keys if isinstance(config.get(key), str)]
    source = str(config.get("source._target_") or "").split(".")
    if not files and config.get("source.name"):
        files = [str(config["source.name"])]
    if not files and len(source) > 2:
        files = [source[-2] if source[-1] == "read" else f"{source[-3]} {source[-1]}"]
    return ", ".join("/".join(file.split("/")[-2:]) for file in files)

"""The report's overview: warnings, headline figures and stages.

for warning in warnings(run, manifests, found):
    print(warning.text)
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepcritic.evaluation.table import column_title, not_beaten
from deepcritic.metrics.baselines import CONSTANT
from deepcritic.report.evaluations import Evaluation
from deepcritic.runs.budget import amount
from deepcritic.runs.manifest import Manifest, RowCounts
from deepcritic.tasks.metrics_types import Baseline, Figures, FirstErrorFigures, Interval, PointwiseFigures, ProofFigures

RUN = "Stages"
"""The title of the table of stages."""
FEW = 100
"""Below this many rows in a class, a rate is unreliable."""
SEEN = 0.05
"""Percentages below this would be shown as 0.0%."""
LEAN = 0.8
"""Above this share of one class, data count as unbalanced."""


@dataclass(frozen=True)
class Caution:
    """A warning to read before the figures. `stage` is the stage's name, or the title of an evaluation."""

    stage: str
    text: str


def by_stage(found: Iterable[Caution]) -> list[tuple[str, list[str]]]:
    """The warnings of each stage together, in the order of the first of each."""
    grouped: dict[str, list[str]] = {}
    for one in found:
        grouped.setdefault(one.stage, []).append(one.text)
    return list(grouped.items())


def warnings(run: Path, manifests: Mapping[str, Manifest], found: Sequence[Evaluation]) -> Iterator[Caution]:
    """Truncated, unparsed, failed or unbalanced rows, and unfinished stages."""
    for folder in sorted(path.parent for path in run.glob("*/config.json")):
        if folder.name not in manifests:
            yield Caution(folder.name, "is not finished, so it is not shown")
    for name, manifest in manifests.items():
        if manifest.incomplete:
            yield Caution(name, f"{manifest.incomplete:,} requests failed and can be retried")
        if manifest.stage != "evaluate":
            drawn, cut = _draws(manifest, "generations"), _draws(manifest, "truncated")
            if cut and cut >= drawn / 1000:
                yield Caution(name, f"{cut:,} of {drawn:,} replies ({_share(cut, drawn)}) were truncated at max_tokens")
        for reason, count in manifest.counts.get("rows", RowCounts()).failed.items():
            if count:
                yield Caution(name, f"{count:,} rows failed: {reason}")
        if manifest.stage == "label":
            yield from _labels(name, manifest)
        if manifest.stage in ("estimate", "filter"):
            for hint in manifest.facts.get("hints") or ():
                yield Caution(name, str(hint))
    for one in found:
        yield from _evaluation(one)


def _labels(name: str, manifest: Manifest) -> Iterator[Caution]:
    labels: dict[str, int] = manifest.facts.get("first_errors") or {}
    total, fine = sum(labels.values()), labels.get("-1", 0)
    if total and max(fine, total - fine) > LEAN * total:
        rarer = "all correct" if fine < total - fine else "with an error"
        yield Caution(name, f"unbalanced: {_share(min(fine, total - fine), total)} of the labelled solutions are {rarer}")
    if manifest.facts.get("unconfirmed"):
        yield Caution(name, f"the published form of rule {manifest.facts.get('rule')} is unconfirmed")
    counts = manifest.counts.get("solutions", RowCounts())
    gone = sum(counts.filtered.values())
    if counts.entered and gone > counts.entered / 5:
        yield Caution(name, f"{gone:,} of {counts.entered:,} solutions ({_share(gone, counts.entered)}) have no label")


def _draws(manifest: Manifest, name: str) -> int:
    """A count of the stage's draws; for RL, those of its prefilter."""
    before = manifest.facts.get("prefilter")
    return int((before.get(name) if isinstance(before, dict) else getattr(manifest, name)) or 0)


def _evaluation(one: Evaluation) -> Iterator[Caution]:
    """One caution per kind of problem, with the parts affected."""
    found: dict[str, list[str]] = {}
    for name, part in one.parts.items():
        where = f" on {column_title(name)}" if len(one.parts) > 1 else ""
        for trouble, amount_of_it in _troubles(part):
            found.setdefault(trouble, []).append(f"{amount_of_it}{where}")
    for trouble, places in found.items():
        yield Caution(one.title, f"{trouble}: {'; '.join(places)}")
    for hint in one.manifest.facts.get("hints") or ():
        yield Caution(one.title, str(hint))
    remark = one.metrics.critic.get("remark")
    if remark:
        yield Caution(one.title, f"evaluated differently from its authors: {remark}")
    held = one.metrics.contamination.held if one.metrics.contamination else {}
    if held:
        yield Caution(one.title, f"{len(held):,} problems occur in the given training data")
    classes = [row.get("stratum") for row in one.rows]
    for stratum in dict.fromkeys(classes):
        count = classes.count(stratum)
        if one.stepwise and (count < FEW or count > LEAN * len(classes)):
            less = (
                f"only {count:,} solutions are “{stratum}”"
                if count < FEW
                else f"{_share(count, len(classes))} of the solutions are “{stratum}”"
            )
            yield Caution(one.title, f"unbalanced or small: {less}")


def _troubles(part: Figures) -> Iterator[tuple[str, str]]:
    """(problem, amount) pairs for the figures of one benchmark, the most serious first."""
    steps = part if isinstance(part, FirstErrorFigures) else FirstErrorFigures()
    if steps.f1_unknown:
        yield "F1 is unknown", steps.f1_unknown
    for mine, vote, what in ((steps.f1, False, "F1"), (steps.maj_f1, True, "F1 of the vote")):
        names = not_beaten(steps, vote=vote)
        if names:
            against = ", ".join(f"“{name}” {shown(steps.baselines[name].f1)}" for name in names)
            yield f"{what} is not shown to beat baselines", f"{shown(mine)} against {against}"
    f1, constant = steps.f1, steps.constant_baseline_f1
    if not steps.baselines and f1 is not None and constant is not None and f1 < constant:
        yield f"F1 is below that of the baseline “{CONSTANT}”", f"{f1:.1f} against {constant:.1f}"
    if isinstance(part, PointwiseFigures) and below_chance(part):
        against = f"{shown(part.accuracy)}% against {shown(part.chance_accuracy)}%"
        yield "the better one is not shown to be found more often than by chance", against
    whole = part.benchmark.rows_when_whole
    if whole and part.examples and part.examples != whole:
        yield "rows evaluated", f"{part.examples:,} of {whole:,}"
    lost = part.replies.failed + part.replies.refused
    if lost:
        low, high = steps.f1_bounds or (None, None)
        known = low is not None and high is not None
        spread = f" (F1 between {low:.1f} and {high:.1f} for any outcome)" if known else ""
        yield "missing replies", f"{lost:,}{spread}"
    if part.missing:
        yield "rows without a reply, counted as wrong", f"{part.missing:,}"
    for rate, trouble in (
        (part.unparsed_rate, "unparsed replies, counted as wrong"),
        (part.truncated_rate, "replies truncated at max_tokens"),
    ):
        if rate is not None and rate >= SEEN:
            asked = part.replies.samples - part.replies.refused - part.replies.failed
            yield trouble, f"{rate:.1f}%" + (f" ({round(rate * asked / 100):,} of {asked:,})" if asked > 0 else "")


def below_chance(part: PointwiseFigures) -> bool:
    """Whether the interval of the accuracy reaches down to the chance level."""
    low = part.accuracy_interval[0]
    return low is not None and part.chance_accuracy is not None and low <= part.chance_accuracy


def sample(found: Sequence[Evaluation]) -> str:
    """The title of the page: critics and benchmarks.

    >>> sample([])
    ''
    """
    if not found:
        return ""
    critics = list(dict.fromkeys(one.plain_title for one in found))
    named = " and ".join(critics) if len(critics) < 4 else f"{len(critics)} critics"
    parts = list(dict.fromkeys(name for one in found for name in one.parts))
    families = list(dict.fromkeys(name.partition("/")[0] for name in parts))
    return f"{named} on {' and '.join(families) if len(families) < 4 else f'{len(parts)} benchmarks'}"


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


def _on(one: Evaluation) -> str:
    """The benchmark's name, or the number of benchmarks in the mean."""
    return column_title(next(iter(one.parts))) if len(one.parts) == 1 else f"mean of {len(one.parts)} benchmarks"


def stage_table(run: Path, manifests: Mapping[str, Manifest]) -> dict[str, Any]:
    """One row per stage: models, data, rows, tokens, time and cost."""
    priced = any(manifest.cost for manifest in manifests.values())
    head = ["stage", "model", "reads", "rows in", "rows out", "tokens written", "seconds", *(["cost"] if priced else []), "seed"]
    rows = []
    for name, manifest in manifests.items():
        if manifest.stage == "report":
            continue
        config = _config(run / name)
        counts = next(iter(manifest.counts.values()), None)
        tokens = manifest.completion or _draws(manifest, "completion")
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
        rows.append([*row, config.get("seed", "")])
    return {"title": RUN, "head": head, "rows": [[shown(cell) for cell in row] for row in rows], "words": 3}


def _model(manifest: Manifest) -> str | None:
    """The model with the name that tables give it."""
    label = manifest.facts.get("label")
    return f"{label}: {manifest.model}" if label and manifest.model and label != manifest.model else label or manifest.model


def shown(cell: Any) -> str:
    """A cell formatted for display.

    >>> shown(1234567), shown(0.25), shown(None)
    ('1,234,567', '0.2', '')
    """
    if cell is None:
        return ""
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        return str(cell)
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:,.1f}"


def range_of(interval: Sequence[float | None] | None) -> str:
    """An interval for display; empty if unknown."""
    return "" if not interval or None in interval else f"{interval[0]:.1f} to {interval[1]:.1f}"


def _share(count: int, of: int) -> str:
    return f"{100 * count / max(1, of):.1f}%"


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

"""What to know before the figures, worst first.

for level, cautions in by_severity(warnings(run, manifests, found, compared)):
    print(level.heading, [(one.stage, one.text) for one in cautions])

| level | what it holds |
|---|---|
| `UNRELIABLE` | no figure, test problems in the training data, replies that look wrong, or at least `MUCH` of the replies lost |
| `NO_GAIN` | not shown to beat a baseline or chance, or worse at late errors than an evaluation that it is compared with |
| `INCOMPLETE` | smaller losses: stages, requests, rows or replies that are missing, cut or unparsed |
| `CONTEXT` | correct as measured, but easy to misread: another prompt, few rows, one class much larger |

Within a level, larger shares of the rows come first.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deepcritic.evaluation.table import column_title, not_beaten
from deepcritic.metrics.baselines import CONSTANT
from deepcritic.report.differences import Difference
from deepcritic.report.evaluations import Evaluation
from deepcritic.report.shown import shown
from deepcritic.runs.manifest import Manifest, RowCounts
from deepcritic.tasks.metrics_types import Figures, FirstErrorFigures, PointwiseFigures

MUCH: Final = 0.1
"""From this share on, lost replies can decide which of two critics is better."""
FEW: Final = 100
"""Below this many rows in a class, a rate is unreliable."""
SEEN: Final = 0.05
"""Percentages below this would be shown as 0.0%."""
LEAN: Final = 0.8
"""Above this share of one class, data count as unbalanced."""


class Severity(enum.IntEnum):
    """How much a warning takes from the figures; 0 is worst."""

    UNRELIABLE = 0
    NO_GAIN = 1
    INCOMPLETE = 2
    CONTEXT = 3

    @property
    def heading(self) -> str:
        return _HEADINGS[self]


_HEADINGS: Final = {
    Severity.UNRELIABLE: "Check before you use the figures",
    Severity.NO_GAIN: "Not better than something simpler, or worse than before",
    Severity.INCOMPLETE: "Something is missing",
    Severity.CONTEXT: "Keep in mind",
}


@dataclass(frozen=True)
class Caution:
    """A warning. `stage` is the stage's name, or the title of an evaluation; `share` the share of the rows that it is about, 0
    if that does not apply."""

    stage: str
    text: str
    severity: Severity
    share: float = 0.0


def by_severity(found: Iterable[Caution]) -> list[tuple[Severity, list[tuple[str, list[str]]]]]:
    """The warnings by level, worst first; within a level by stage, the stage with the largest share first."""
    levels: dict[Severity, dict[str, list[str]]] = {}
    for one in sorted(found, key=lambda one: (one.severity, -one.share)):  # a stable sort
        levels.setdefault(one.severity, {}).setdefault(one.stage, []).append(one.text)
    return [(level, [*stages.items()]) for level, stages in levels.items()]


def warnings(
    run: Path, manifests: Mapping[str, Manifest], found: Sequence[Evaluation], compared: Sequence[Difference] = ()
) -> Iterator[Caution]:
    """The warnings about a run's stages and evaluations, and about the compared pairs."""
    for folder in sorted(path.parent for path in run.glob("*/config.json")):
        if folder.name not in manifests:
            yield Caution(folder.name, "is not finished, so it is not shown", Severity.INCOMPLETE, 1.0)
    for name, manifest in manifests.items():
        yield from _stage(name, manifest)
    for one in found:
        yield from _evaluation(one)
    for pair in compared:
        if pair.late is not None:
            yield Caution(*pair.late, Severity.NO_GAIN)


def _stage(name: str, manifest: Manifest) -> Iterator[Caution]:
    counts = manifest.counts.get("rows", RowCounts())
    if manifest.incomplete:
        share = manifest.incomplete / (manifest.incomplete + (manifest.generations or 0))
        yield _lost(name, f"{manifest.incomplete:,} requests failed and can be retried", share)
    if manifest.stage != "evaluate":
        drawn, cut = draws(manifest, "generations"), draws(manifest, "truncated")
        if cut and cut >= drawn / 1000:
            text = f"{cut:,} of {drawn:,} replies ({_share(cut, drawn)}) were truncated at max_tokens"
            yield _lost(name, text, cut / max(1, drawn))
    for reason, count in counts.failed.items():
        if count:
            yield _lost(name, f"{count:,} rows failed: {reason}", count / max(1, counts.entered))
    if manifest.stage == "label":
        yield from _labels(name, manifest)
    if manifest.stage != "evaluate":  # an evaluation's are yielded under its title
        level = Severity.INCOMPLETE if manifest.stage == "estimate" else Severity.UNRELIABLE
        for hint in manifest.facts.get("hints") or ():
            yield Caution(name, str(hint), level)


def _lost(stage: str, text: str, share: float) -> Caution:
    """A warning about lost rows or replies; its level depends on how many they are."""
    return Caution(stage, text, Severity.UNRELIABLE if share >= MUCH else Severity.INCOMPLETE, share)


def _labels(name: str, manifest: Manifest) -> Iterator[Caution]:
    labels: dict[str, int] = manifest.facts.get("first_errors") or {}
    total, fine = sum(labels.values()), labels.get("-1", 0)
    if total and max(fine, total - fine) > LEAN * total:
        rarer = "all correct" if fine < total - fine else "with an error"
        text = f"unbalanced: {_share(min(fine, total - fine), total)} of the labelled solutions are {rarer}"
        yield Caution(name, text, Severity.CONTEXT)
    if manifest.facts.get("unconfirmed"):
        yield Caution(name, f"the published form of rule {manifest.facts.get('rule')} is unconfirmed", Severity.CONTEXT)
    counts = manifest.counts.get("solutions", RowCounts())
    gone = sum(counts.filtered.values())
    if counts.entered and gone > counts.entered / 5:
        text = f"{gone:,} of {counts.entered:,} solutions ({_share(gone, counts.entered)}) have no label"
        yield Caution(name, text, Severity.INCOMPLETE, gone / counts.entered)


def draws(manifest: Manifest, name: str) -> int:
    """A count of the stage's draws; for RL, those of its prefilter."""
    before = manifest.facts.get("prefilter")
    return int((before.get(name) if isinstance(before, dict) else getattr(manifest, name)) or 0)


def _evaluation(one: Evaluation) -> Iterator[Caution]:
    """One warning per kind of problem, with the parts affected."""
    several = len(one.parts) > 1
    found: dict[str, list[tuple[Severity, float, str]]] = {}
    for name, part in one.parts.items():
        where = f" on {column_title(name)}" if several else ""
        for trouble, amount, severity, share in _troubles(part):
            found.setdefault(trouble, []).append((severity, share, f"{amount}{where}"))
    for trouble, places in found.items():
        worst, share = min(severity for severity, _, _ in places), max(share for _, share, _ in places)
        yield Caution(one.title, f"{trouble}: {'; '.join(text for _, _, text in places)}", worst, share)
    for hint in one.manifest.facts.get("hints") or ():
        yield Caution(one.title, str(hint), Severity.UNRELIABLE)
    held = one.metrics.contamination.held if one.metrics.contamination else {}
    if held:
        text = f"{len(held):,} problems occur in the given training data"
        yield Caution(one.title, text, Severity.UNRELIABLE, len(held) / max(1, len(one.rows)))
    remark = one.metrics.critic.get("remark")
    if remark:
        yield Caution(one.title, f"evaluated differently from its authors: {remark}", Severity.CONTEXT)
    classes = [row.get("stratum") for row in one.rows]
    for stratum in dict.fromkeys(classes):
        count = classes.count(stratum)
        if one.stepwise and (count < FEW or count > LEAN * len(classes)):
            less = (
                f"only {count:,} solutions are “{stratum}”"
                if count < FEW
                else f"{_share(count, len(classes))} of the solutions are “{stratum}”"
            )
            yield Caution(one.title, f"unbalanced or small: {less}", Severity.CONTEXT)


def _troubles(part: Figures) -> Iterator[tuple[str, str, Severity, float]]:
    """(problem, amount, level, share of the rows) for the figures of one benchmark."""
    steps = part if isinstance(part, FirstErrorFigures) else FirstErrorFigures()
    if steps.f1_unknown:
        yield "F1 is unknown", steps.f1_unknown, Severity.UNRELIABLE, 1.0
    for mine, vote, what in ((steps.f1, False, "F1"), (steps.maj_f1, True, "F1 of the vote")):
        names = not_beaten(steps, vote=vote)
        if names:
            against = ", ".join(f"“{name}” {shown(steps.baselines[name].f1)}" for name in names)
            yield f"{what} is not shown to beat baselines", f"{shown(mine)} against {against}", Severity.NO_GAIN, 0.0
    f1, constant = steps.f1, steps.constant_baseline_f1
    if not steps.baselines and f1 is not None and constant is not None and f1 < constant:
        yield f"F1 is below that of the baseline “{CONSTANT}”", f"{f1:.1f} against {constant:.1f}", Severity.NO_GAIN, 0.0
    if isinstance(part, PointwiseFigures) and below_chance(part):
        against = f"{shown(part.accuracy)}% against {shown(part.chance_accuracy)}%"
        yield "the better one is not shown to be found more often than by chance", against, Severity.NO_GAIN, 0.0
    whole = part.benchmark.rows_when_whole
    if whole and part.examples and part.examples != whole:
        yield "rows evaluated", f"{part.examples:,} of {whole:,}", Severity.INCOMPLETE, 0.0
    asked = part.replies.samples - part.replies.refused - part.replies.failed
    lost = part.replies.failed + part.replies.refused
    if lost:
        low, high = steps.f1_bounds or (None, None)
        known = low is not None and high is not None
        spread = f" (F1 between {low:.1f} and {high:.1f} for any outcome)" if known else ""
        yield "missing replies", f"{lost:,}{spread}", *_level(lost / max(part.replies.samples, part.examples, 1))
    if part.missing:
        share = part.missing / max(1, part.examples)
        yield "rows without a reply, counted as wrong", f"{part.missing:,}", *_level(share)
    for rate, trouble in (
        (part.unparsed_rate, "unparsed replies, counted as wrong"),
        (part.truncated_rate, "replies truncated at max_tokens"),
    ):
        if rate is not None and rate >= SEEN:
            counted = f" ({round(rate * asked / 100):,} of {asked:,})" if asked > 0 else ""
            yield trouble, f"{rate:.1f}%{counted}", *_level(rate / 100)


def _level(share: float) -> tuple[Severity, float]:
    return (Severity.UNRELIABLE if share >= MUCH else Severity.INCOMPLETE), share


def below_chance(part: PointwiseFigures) -> bool:
    """Whether the interval of the accuracy reaches down to the chance level."""
    low = part.accuracy_interval[0]
    return low is not None and part.chance_accuracy is not None and low <= part.chance_accuracy


def _share(count: int, of: int) -> str:
    return f"{100 * count / max(1, of):.1f}%"

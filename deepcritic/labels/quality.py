"""Quality of step labels: how often rollouts succeed, what each rule returns, and the agreement of the rules with each other and
with the truth.

    report = LabelReport("zero_of_k")
    report.add(row, table, {"zero_of_k": label, ...}, truth=2)     # for each solution
    report.as_dict()

Known truth is reported beside the labels and never influences them.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from deepcritic.labels.rules import UNCONFIRMED, Discard, Label, Outcome, Table
from deepcritic.metrics.bootstrap import wilson
from deepcritic.schema import ALL_CORRECT, SCHEMA, Row


class SolutionLabel(Row, frozen=True, kw_only=True):
    """The label that a rule gave to one solution, kept or not, with the counts behind it.

    `right[i]` of `judged[i]` rollouts from the first i + 1 steps reached the reference answer. `low` and `high` are the 95%
    Wilson interval of their rate. Rates are biased upwards if a rule that needs one success stopped the sampling early.
    """

    id: str
    rule: str
    first_error: int | None
    reason: str | None = None
    """The reason if there is no label."""
    lacks: int = 0
    """The minimum number of missing rollouts if the rule could not decide."""
    answer_right: bool | None = None
    right: tuple[int, ...] = ()
    judged: tuple[int, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    schema: int = SCHEMA


def explain(outcome: Outcome) -> tuple[int | None, str | None, int]:
    """The first error, or None with the reason, and the number of missing rollouts."""
    if isinstance(outcome, Label):
        return outcome.first_error, None, 0
    if isinstance(outcome, Discard):
        return None, outcome.reason, 0
    return None, "lacks rollouts", outcome.unknown


def solution_label(identity: str, rule: str, outcome: Outcome, table: Table) -> SolutionLabel:
    """The row for `labels.jsonl`."""
    first_error, reason, lacks = explain(outcome)
    counts = table.counts()
    intervals = [tuple(round(bound, 4) for bound in wilson(*count)) for count in counts]
    return SolutionLabel(
        id=identity,
        rule=rule,
        first_error=first_error,
        reason=reason,
        lacks=lacks,
        answer_right=table.answer_right,
        right=tuple(count.right for count in counts),
        judged=tuple(count.judged for count in counts),
        low=tuple(low for low, _ in intervals),
        high=tuple(high for _, high in intervals),
    )


class LabelReport:
    """Counts over solutions, in constant memory."""

    def __init__(self, rule: str) -> None:
        self._rule = rule
        self._success: dict[bool, dict[int, Counter[str]]] = {True: defaultdict(Counter), False: defaultdict(Counter)}
        self._labels: dict[str, Counter[int]] = defaultdict(Counter)
        self._reasons: dict[str, Counter[str]] = defaultdict(Counter)
        self._lacking: Counter[str] = Counter()
        self._pairs: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
        self._truth: dict[str, Counter[str]] = defaultdict(Counter)

    def add(self, table: Table, outcomes: Mapping[str, Outcome], truth: int | None = None) -> None:
        """Count one solution. `outcomes` by rule, with the same rules each time."""
        for step, count in enumerate(table.counts(), start=1):
            self._success[table.answer_right][step].update(right=count.right, judged=count.judged, drawn=table.drawn(step))
        labels: dict[str, int] = {}
        for rule, outcome in outcomes.items():
            first_error, reason, lacks = explain(outcome)
            self._lacking[rule] += lacks
            if first_error is None:
                self._reasons[rule][reason or ""] += 1
            else:
                labels[rule] = first_error
                self._labels[rule][first_error] += 1
            if truth is not None:
                self._truth[rule].update(_against(first_error, truth))
        for one, other in itertools.combinations(outcomes, 2):
            both = one in labels and other in labels
            self._pairs[one, other].update(both=both, same=both and labels[one] == labels[other])

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON values; shares are fractions with their 95% interval."""
        return {
            "rule": self._rule,
            "unconfirmed": self._rule in UNCONFIRMED,
            "success": {
                name: [
                    {"prefix": step, "drawn": count["drawn"], **share(count["right"], count["judged"])}
                    for step, count in sorted(self._success[right].items())
                ]
                for name, right in (("right answer", True), ("wrong answer", False))
            },
            "rules": {rule: self._of(rule) for rule in dict.fromkeys([*self._labels, *self._reasons])},
            "agreement": [
                {"rules": [one, other], **share(count["same"], count["both"])} for (one, other), count in self._pairs.items()
            ],
        }

    def _of(self, rule: str) -> dict[str, Any]:
        found: dict[str, Any] = {
            "labelled": self._labels[rule].total(),
            "labels": {str(label): count for label, count in sorted(self._labels[rule].items())},
            "discarded": dict(sorted(self._reasons[rule].items())),
            "lacks": self._lacking[rule],
        }
        if truth := self._truth.get(rule):
            found["truth"] = {
                "exact": share(truth["exact"], truth["labelled"]),
                "precision": share(truth["found"], truth["named"]),
                "recall": share(truth["found"], truth["with error"]),
                "all_correct_precision": share(truth["seen"], truth["called all correct"]),
                "all_correct_recall": share(truth["seen"], truth["all correct"]),
            }
        return found

    def lines(self) -> list[str]:
        """The report as a few lines for a terminal."""
        shown = []
        for rule, of in self.as_dict()["rules"].items():
            line = f"  {rule:<20}{of['labelled']:>7} labelled, {sum(of['discarded'].values())} not"
            if of["lacks"]:
                line += f" (at least {of['lacks']} rollouts missing)"
            if "truth" in of and of["truth"]["precision"]["of"] and of["truth"]["recall"]["of"]:
                precision, recall = (100 * of["truth"][name]["share"] for name in ("precision", "recall"))
                line += f"; first errors: precision {precision:.1f}%, recall {recall:.1f}%"
            shown.append(line)
        return shown


def share(count: int, of: int) -> dict[str, Any]:
    """A share with its counts and its interval. None if `of` is 0."""
    low, high = wilson(count, of)
    return {"count": count, "of": of, "share": round(count / of, 4) if of else None, "interval": [round(low, 4), round(high, 4)]}


def _against(label: int | None, truth: int) -> Counter[str]:
    """Precision is over the solutions with a named error, recall over those that have one. Both require the exact step."""
    return Counter({
        "labelled": label is not None,
        "exact": label == truth,
        "named": label not in (None, ALL_CORRECT),
        "found": label == truth != ALL_CORRECT,
        "with error": truth != ALL_CORRECT,
        "called all correct": label == ALL_CORRECT,
        "seen": label == truth == ALL_CORRECT,
        "all correct": truth == ALL_CORRECT,
    })  # fmt: skip

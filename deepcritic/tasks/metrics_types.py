"""The figures of an evaluation as types: what `metrics.json` holds for one benchmark, in percent.

A figure is None if there was nothing to measure, such as F1 without any all-correct row. `NAME_interval` is the 95% interval of
`NAME`; within a group it is called `interval`.

>>> found = figures_of({"examples": 4, "f1": 50.0, "f1_interval": [20.0, 80.0]})
>>> type(found).__name__, found.f1, found.f1_interval, found.maj_f1
('FirstErrorFigures', 50.0, (20.0, 80.0), None)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

Interval = tuple[float | None, float | None]


class Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base class of the types in this file. Undeclared fields are rejected."""


class Replies(Part, frozen=True, kw_only=True):
    """Reply counts: how many were requested, and of those how many were truncated at `max_tokens`, were unparsed, were refused by
    the model or its server, or failed."""

    samples: int = 0
    truncated: int = 0
    unparsed: int = 0
    refused: int = 0
    failed: int = 0


class ConstantBaseline(Part, frozen=True, kw_only=True):
    """The score of the best critic that does not read the solution."""

    f1: float | None
    error_accuracy: float | None
    correct_accuracy: float | None


class Baseline(Part, frozen=True, kw_only=True):
    """A baseline's F1, and the critic's F1 (`maj_`: that of its vote) minus it. `beaten`: that interval is above 0."""

    f1: float | None
    interval: Interval
    difference: float | None = None
    difference_interval: Interval = (None, None)
    beaten: bool = False
    maj_difference: float | None = None
    maj_difference_interval: Interval = (None, None)
    maj_beaten: bool | None = None


class Share(Part, frozen=True, kw_only=True):
    """A share of the replies."""

    share: float | None
    interval: Interval


class Accuracy(Part, frozen=True, kw_only=True):
    """The accuracy on a group of rows."""

    rows: int
    accuracy: float | None
    interval: Interval


class Accuracies(Part, frozen=True, kw_only=True):
    """Both accuracies and F1 on a group of rows. `with_error` is the number of rows with an error."""

    rows: int
    with_error: int
    error_accuracy: float | None
    error_accuracy_interval: Interval
    correct_accuracy: float | None
    correct_accuracy_interval: Interval
    f1: float | None
    f1_interval: Interval


class VoteF1(Part, frozen=True, kw_only=True):
    """F1 of a vote."""

    f1: float | None
    interval: Interval


class VoteAccuracy(Part, frozen=True, kw_only=True):
    """Accuracy of a vote."""

    accuracy: float | None
    interval: Interval


class GuidedVote(Part, frozen=True, kw_only=True):
    """A vote of k replies, plain and guided by a Meta RM. `interval` is that of the difference."""

    plain: float | None
    guided: float | None
    difference: float | None
    interval: Interval


class Bin(Part, frozen=True, kw_only=True, rename={"low": "from", "high": "to"}):
    """The rows with confidence from `low` to `high`: their mean confidence and their accuracy."""

    low: float
    high: float
    rows: int
    confidence: float | None
    accuracy: float | None
    interval: Interval


class Coverage(Part, frozen=True, kw_only=True):
    """The accuracy on the most confident rows (`coverage` percent of all)."""

    coverage: float
    accuracy: float | None
    interval: Interval


class Confidence(Part, frozen=True, kw_only=True):
    """Vote agreement as confidence; see `deepcritic.metrics.calibration`."""

    ece: float | None
    ece_interval: Interval
    aurc: float | None
    aurc_interval: Interval
    calibration: tuple[Bin, ...]
    coverage: tuple[Coverage, ...]


class MRScore(Part, frozen=True, kw_only=True):
    """MR-Score and its parts. `skipped` is the reason if there is no score."""

    score: float | None
    score_interval: Interval
    mcc: float | None
    mcc_interval: Interval
    step_accuracy: float | None
    step_accuracy_interval: Interval
    reason_accuracy: float | None
    reason_accuracy_interval: Interval
    score_bounds: Interval
    ungraded: float | None
    skipped: str | None = None


class ScorePart(Part, frozen=True, kw_only=True):
    """A part of a benchmark's own score, with its number of rows."""

    value: float | None
    interval: Interval
    rows: int = 0


class BenchmarkScore(Part, frozen=True, kw_only=True):
    """The score that a benchmark's authors report, in percent. `skipped` is the reason if there is none. `left_out` counts the
    rows without a reply. See `deepcritic.evaluation.benchmark_scores`."""

    name: str
    value: float | None
    interval: Interval
    rows: int = 0
    parts: dict[str, ScorePart] = {}
    left_out: int = 0
    skipped: str | None = None


class AttackSuccess(Part, frozen=True, kw_only=True):
    """Of `rows` whose verdict was not the forged one: how many then change to it, and how many change to another verdict."""

    rows: int
    rate: float | None
    interval: Interval
    otherwise: float | None


class WithoutHeld(Part, frozen=True, kw_only=True):
    """The main figure without the problems that occur in training data."""

    examples: int
    f1: float | None = None
    f1_interval: Interval | None = None
    accuracy: float | None = None
    accuracy_interval: Interval | None = None


class PositionBias(Part, frozen=True, kw_only=True):
    """The effect of the order of the responses; see `deepcritic.tasks.pointwise_metrics.position_bias`."""

    changed: float | None = None
    changed_interval: Interval | None = None
    changed_by_chance: float | None = None
    changed_by_chance_interval: Interval | None = None
    first_shown: float | None = None
    first_shown_interval: Interval | None = None


class RocAuc(Part, frozen=True, kw_only=True):
    """ROC-AUC on a group of rows."""

    rows: int
    roc_auc: float | None
    interval: Interval


class BenchmarkFacts(Part, frozen=True, kw_only=True):
    """The rows that were measured. `rows_when_whole` is the size of the published set, `sha256` the hash of the rows."""

    name: str
    path: str | None = None
    revision: str | None = None
    sha256: str | None = None
    rows: int | None = None
    rows_when_whole: int | None = None
    split: str | None = None
    license: str | None = None
    metric: str | None = None


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of any task: counts of rows and of replies, and the main figure, which is `f1` or `accuracy`."""

    benchmark: BenchmarkFacts = BenchmarkFacts(name="")
    examples: int = 0
    failed: int = 0
    """Rows of which no reply arrived."""
    missing: int = 0
    """Rows missing from a recording, which count as wrong."""
    replies: Replies = Replies()
    truncated_rate: float | None = None
    unparsed_rate: float | None = None
    unparsed_rate_interval: Interval | None = None
    samples: int = 1
    """The largest number of replies of any row."""
    f1: float | None = None
    f1_interval: Interval = (None, None)
    accuracy: float | None = None
    accuracy_interval: Interval = (None, None)
    ties: str | None = None
    agreement: float | None = None
    guided_by_votes: dict[str, GuidedVote] = {}
    unguided: int = 0
    """Rows without Meta RM scores."""
    without_held: WithoutHeld | None = None
    score: BenchmarkScore | None = None
    """The score that the benchmark's authors report, if it is not F1 or accuracy."""


class FirstErrorFigures(Figures, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The figures of `task=first_error`."""

    error_accuracy: float | None = None
    error_accuracy_interval: Interval = (None, None)
    correct_accuracy: float | None = None
    correct_accuracy_interval: Interval = (None, None)
    f1_unknown: str | None = None
    """The reason if there is no F1."""
    f1_bounds: Interval | None = None
    """F1 if all missing replies were wrong, and if all were right."""
    constant_baseline_f1: float | None = None
    constant_baseline: ConstantBaseline | None = None
    baselines: dict[str, Baseline] = {}
    mistakes: dict[str, dict[str, Share]] = {}
    error_accuracy_by_position: dict[str, Accuracy] = {}
    error_accuracy_by_kind: dict[str, Accuracy] = {}
    error_accuracy_by_answer: dict[str, Accuracy] = {}
    by_length: dict[str, Accuracies] = {}
    by_generator: dict[str, Accuracies] = {}
    maj_f1: float | None = None
    maj_f1_interval: Interval | None = None
    maj_f1_by_ties: dict[str, VoteF1] = {}
    maj_f1_by_votes: dict[str, VoteF1] = {}
    agreement_interval: Interval | None = None
    adaptive_share: float | None = None
    """Of adaptive votes: percent of the samples that were requested."""
    confidence: Confidence | None = None
    mr_score: MRScore | None = None
    attack_success_rates: dict[str, AttackSuccess] = {}


class PointwiseFigures(Figures, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The figures of `task=pointwise`; see `deepcritic.tasks.pointwise_metrics.figures`."""

    strict_accuracy: float | None = None
    strict_accuracy_interval: Interval | None = None
    chance_accuracy: float | None = None
    pairwise_accuracy: float | None = None
    pairwise_accuracy_interval: Interval | None = None
    best_of_n_accuracy: float | None = None
    best_of_n_accuracy_interval: Interval | None = None
    vote_accuracy: float | None = None
    vote_accuracy_interval: Interval | None = None
    right: int | None = None
    """How many recorded decisions are right, by JudgeBench's rule."""
    accuracy_by_responses: dict[str, Accuracy] = {}
    accuracy_by_domain: dict[str, Accuracy] = {}
    accuracy_by_votes: dict[str, VoteAccuracy] = {}
    position: PositionBias | None = None
    roc_auc: float | None = None
    roc_auc_interval: Interval | None = None
    roc_auc_by_domain: dict[str, RocAuc] = {}
    single_accuracy: float | None = None
    single_accuracy_interval: Interval | None = None
    singles: int = 0


class GradeBaseline(Part, frozen=True, kw_only=True):
    """The best critics that grade every proof alike: `grade` has the least error, the commonest one the highest accuracy. The
    differences are those of the critic minus the baseline; `beaten`: that interval is below 0."""

    grade: str
    mae: float | None
    mae_interval: Interval
    mae_difference: float | None
    mae_difference_interval: Interval
    beaten: bool
    accuracy: float | None
    accuracy_interval: Interval


class ProofFigures(Figures, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The figures of `task=proof` and `task=meta_verification`; see `deepcritic.tasks.proof_metrics.figures`. Errors are in
    percent of the full marks."""

    full_marks: int = 1
    mae: float | None = None
    mae_interval: Interval = (None, None)
    kappa: float | None = None
    kappa_interval: Interval = (None, None)
    mae_parsed: float | None = None
    mae_parsed_interval: Interval = (None, None)
    bias: float | None = None
    bias_interval: Interval = (None, None)
    constant_baseline: GradeBaseline | None = None
    vote_accuracy: float | None = None
    vote_accuracy_interval: Interval | None = None
    vote_mae: float | None = None
    vote_mae_interval: Interval | None = None
    vote_kappa: float | None = None
    vote_kappa_interval: Interval | None = None
    mae_of_mean: float | None = None
    mae_of_mean_interval: Interval | None = None
    accuracy_by_votes: dict[str, VoteAccuracy] = {}
    accuracy_by_grade: dict[str, Accuracy] = {}
    accuracy_by_generator: dict[str, Accuracy] = {}
    confusion: dict[str, dict[str, float | None]] = {}
    """For each true grade, the shares of the replies with each grade, in percent."""


def figures_of(values: Mapping[str, Any]) -> Figures:
    """The figures of one benchmark from JSON values. For an unknown task, only the figures that all tasks share.

    Raises `msgspec.ValidationError` for a value of the wrong type, and for an undeclared figure of a known task.
    """
    return msgspec.convert(values, kind_of_figures(values))


def kind_of_figures(values: Mapping[str, Any]) -> type[Figures]:
    """The type that holds these figures."""
    if "f1" in values:
        return FirstErrorFigures
    if "mae" in values:
        return ProofFigures
    return PointwiseFigures if "accuracy" in values or "roc_auc" in values else Figures

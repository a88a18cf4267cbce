"""Estimates the error rate of a data set and its parts from a critic's verdicts on all rows and human labels for some.

    rates, warnings = error_rates(rows, labels)             # rows: `read_votes`; labels: `Label` by id
    print(rates["all rows"].error_rate, rates["all rows"].interval)

Figures are in percent. `deepcritic.metrics.prediction_powered` describes the method.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from deepcritic.errors import InputError
from deepcritic.evaluation.recorded_votes import RowVotes
from deepcritic.metrics.f1 import Array
from deepcritic.metrics.prediction_powered import Estimate, labels_alone, prediction_powered
from deepcritic.tasks.metrics_types import Interval, Part

ALL: Final = "all rows"
LEAST: Final = 10
"""The fewest labels for an estimate."""
_FAR: Final = 3.29
"""Standard deviations from the expected count; one in a thousand simple random samples exceeds it."""
_NOT_RANDOM: Final = "the estimate needs randomly sampled labels"


class Label(NamedTuple):
    """Whether a row has an error, and the probability with which it was chosen for labelling (None: uniform)."""

    has_error: bool
    probability: float | None = None


class ErrorRate(Part, frozen=True, kw_only=True):
    """The share of solutions with an error, in percent, with its 95% interval and the two baselines.

    `method` names the interval: `ppi++`, `exact` (few labels, or few on which critic and label differ), `bounded` (the same for
    labels with unequal probabilities) or `by part`. `weight` is the critic's weight: near 1, its bias-corrected share is used; at
    0, only the labels count. `same_width` is the number of labels that alone would give as narrow an interval. `why` explains a
    missing estimate.
    """

    rows: int
    labels: int
    error_rate: float | None = None
    interval: Interval = (None, None)
    method: str | None = None
    weight: float | None = None
    labels_alone: float | None = None
    labels_alone_interval: Interval = (None, None)
    critic_alone: float | None = None
    without_verdict: int = 0
    failed: int = 0
    same_width: int | None = None
    why: str | None = None


def error_rates(rows: Sequence[RowVotes], labels: Mapping[str, Label]) -> tuple[dict[str, ErrorRate], list[str]]:
    """The error rate of all rows and, if there are several, of each part; and warnings if the labels do not look like a random
    sample. Raises `InputError` for fewer than `LEAST` labels.

    >>> rows = [RowVotes(f"r{at}", "", float(at % 4 == 0), 1, at % 4 == 0) for at in range(400)]
    >>> labels = {f"r{at}": Label(at % 3 == 0 or at % 4 == 0) for at in range(0, 400, 5)}
    >>> rates, warnings = error_rates(rows, labels)
    >>> rates["all rows"].error_rate, rates["all rows"].labels_alone, rates["all rows"].critic_alone
    (50.0, 50.0, 25.0)
    """
    if len(labels) < LEAST:
        raise InputError(
            "too few labels for an estimate", field="stage.labels", found=len(labels), expected=f"at least {LEAST}",
            remedy="run without stage.labels= to get rows to label",
        )  # fmt: skip
    groups: dict[str, list[RowVotes]] = {}
    for row in rows:
        groups.setdefault(row.part, []).append(row)
    weighted = any(label.probability is not None for label in labels.values())
    if weighted:
        warnings = _weights_off(rows, labels)
    else:
        warnings = [one for part, of in groups.items() for one in _verdicts_off(part, of, labels)]
    spread = "" if weighted or len(groups) < 2 else _parts_off(groups, labels)
    whole = _rate(rows, labels)
    rates = {ALL: whole, **({part: _rate(of, labels) for part, of in groups.items()} if len(groups) > 1 else {})}
    if spread:
        warnings.insert(0, spread)
        rates[ALL] = _by_part(whole, [rates[part] for part in groups])
    return rates, warnings


def rate_lines(rates: Mapping[str, ErrorRate]) -> Iterator[str]:
    """The rates as lines for the terminal."""
    for name, one in rates.items():
        where = f"{name}: {one.rows:,} rows, {one.labels:,} labels"
        if one.error_rate is None:
            yield f"{where}, error rate unknown: {one.why}"
        else:
            low, high = one.interval
            yield f"{where}, error rate {one.error_rate:.1f}% (95% interval {low:.1f} to {high:.1f}, {one.method})"
        parts = []
        if one.labels_alone is not None:
            low, high = one.labels_alone_interval
            parts.append(f"labels alone {one.labels_alone:.1f}% ({low:.1f} to {high:.1f})")
        if one.critic_alone is not None:
            parts.append(f"critic alone {one.critic_alone:.1f}% (biased)")
        if one.weight is not None:
            parts.append(f"weight of critic {one.weight:.2f}")
        if one.same_width is not None and one.same_width > one.labels:
            parts.append(f"equivalent to {one.same_width:,} labels alone")
        if one.without_verdict:
            parts.append(f"{one.without_verdict:,} rows without a verdict")
        if parts:
            yield f"  {', '.join(parts)}"


def _rate(rows: Sequence[RowVotes], labels: Mapping[str, Label]) -> ErrorRate:
    shares = np.array([row.share for row in rows])
    said = [row.says_error for row in rows if row.says_error is not None]
    labelled = [at for at, row in enumerate(rows) if row.id in labels]
    found = ErrorRate(
        rows=len(rows), labels=len(labelled), critic_alone=_percent(float(np.mean(said))) if said else None,
        without_verdict=len(rows) - len(said), failed=sum(row.failed for row in rows),
    )  # fmt: skip
    if not labelled:
        return _replaced(found, why="no labelled rows")
    of = [labels[rows[at].id] for at in labelled]
    y = np.array([float(label.has_error) for label in of])
    p = None if of[0].probability is None else np.array([label.probability or math.nan for label in of])
    alone = labels_alone(y, len(rows), p)
    found = _replaced(found, labels_alone=_percent(alone.rate), labels_alone_interval=_interval(alone))
    if len(labelled) < LEAST:
        return _replaced(found, why=f"{len(labelled)} labels, but at least {LEAST} are needed")
    one = prediction_powered(y, shares[labelled], shares, p)
    return _replaced(
        found, error_rate=_percent(one.rate), interval=_interval(one), method=one.method, weight=round(one.weight, 4),
        same_width=_same_width(one, alone, len(labelled), len(rows)),
    )  # fmt: skip


def _by_part(whole: ErrorRate, parts: Sequence[ErrorRate]) -> ErrorRate:
    """The mean over parts weighted by rows, for labels that are a random sample only within each part. Distances to the bounds
    are added in squares (Zou and Donner 2008, Statistics in Medicine 27, 1693-1702)."""
    unknown = dict.fromkeys(("error_rate", "method", "weight", "same_width", "labels_alone"))
    bare = _replaced(whole, **unknown, interval=(None, None), labels_alone_interval=(None, None))
    if any(one.error_rate is None for one in parts):
        return _replaced(bare, why="the labels are not a random sample of all rows, and a part has too few labels")

    def mean(rates: str, intervals: str) -> tuple[float, Interval]:
        shares = np.array([one.rows / whole.rows for one in parts])
        values, bounds = np.array([getattr(one, rates) for one in parts]), np.array([getattr(one, intervals) for one in parts])
        middle = float(shares @ values)
        below, above = (math.sqrt(float(((shares * (values - bounds[:, side])) ** 2).sum())) for side in (0, 1))
        return round(middle, 4), (round(max(0.0, middle - below), 4), round(min(100.0, middle + above), 4))

    rate, interval = mean("error_rate", "interval")
    alone, alone_interval = mean("labels_alone", "labels_alone_interval")
    return _replaced(
        bare, error_rate=rate, interval=interval, method="by part", labels_alone=alone, labels_alone_interval=alone_interval
    )


def _parts_off(groups: Mapping[str, Sequence[RowVotes]], labels: Mapping[str, Label]) -> str:
    """A warning if a part's share of the labels differs from its share of the rows beyond chance."""
    total = sum(map(len, groups.values()))
    for part, rows in groups.items():
        count = sum(row.id in labels for row in rows)
        expected = len(labels) * len(rows) / total
        if _far(count, expected, len(labels), total):
            return (
                f"{part} has {count} of {len(labels)} labels; a random sample would have about {expected:.0f}; "
                "parts are estimated separately and weighted by rows"
            )
    return ""


def _verdicts_off(part: str, rows: Sequence[RowVotes], labels: Mapping[str, Label]) -> Iterator[str]:
    """A warning if verdicts on labelled rows differ from those on all rows beyond chance."""
    n = sum(row.id in labels for row in rows)
    for verdict, words in ((True, "wrong"), (False, "right"), (None, "neither")):
        of = [row for row in rows if row.says_error is verdict]
        count, expected = sum(row.id in labels for row in of), n * len(of) / len(rows)
        if n and _far(count, expected, n, len(rows)):
            yield (
                f"{part + ': ' if part else ''}the critic calls {count} of {n} labelled solutions {words}, but about "
                f"{expected:.0f} of a random sample; {_NOT_RANDOM}"
            )
            return


def _weights_off(rows: Sequence[RowVotes], labels: Mapping[str, Label]) -> list[str]:
    """A warning if the labels' probabilities are implausible: 1 / probability must sum to about the number of rows."""
    p: Array = np.array([label.probability for label in labels.values()], dtype=float)
    counted, off = float((1 / p).sum()), math.sqrt(float(((1 - p) / p**2).sum()))
    if abs(counted - len(rows)) <= _FAR * off + 1e-6 * len(rows):
        return []
    return [
        f"the labels' probabilities imply {counted:,.0f} rows, but there are {len(rows):,}; pass every row of "
        "next.jsonl with its probability unchanged"
    ]


def _far(count: int, expected: float, n: int, total: int) -> bool:
    rate = expected / n
    spread = math.sqrt(n * rate * (1 - rate) * (total - n) / max(1, total - 1))
    return abs(count - expected) > max(_FAR * spread, 2)


def _same_width(one: Estimate, alone: Estimate, n: int, total: int) -> int | None:
    """How many labels alone would give an interval as narrow as that of `one`, with finite-population correction."""
    width, other = one.high - one.low, alone.high - alone.low
    if width <= 0 or other <= 0:
        return None
    odds = n / max(1e-9, total - n) * (other / width) ** 2
    return min(total, round(total * odds / (1 + odds)))


def _percent(rate: float) -> float:
    return round(100 * rate, 4)


def _interval(one: Estimate) -> Interval:
    return _percent(one.low), _percent(one.high)


def _replaced(one: ErrorRate, **values: Any) -> ErrorRate:
    return msgspec.structs.replace(one, **values)

"""Scores of critics that do not read the solution: the baselines that a critic has to beat.

| name | what it predicts | what it is given |
|---|---|---|
| `best constant` | the same step for every solution, or "all correct" with some probability | the rows that it is scored on |
| `position` | a step by position (k-th, k-th from the end, a fraction), or "all correct" with some probability | other rows |
| `number of steps` | for each number of steps its own most frequent verdict | other rows |
| `final answer` | "all correct" where the final answer is right, else the last step | whether the final answer is right |

`position` and `number of steps` are fitted for F1 by 10-fold cross-validation over problems, so they never see the rows that they
are scored on. `best constant` does see them, which makes it harder to beat.

>>> gold, steps = np.array([3, 3, 3, -1, -1, -1] * 50), np.array([3, 3, 3, 5, 5, 5] * 50)
>>> found = baselines(gold, steps, [None] * 300, [f"problem {row % 100}" for row in range(300)])
>>> [(name, round(float(right.mean()), 2)) for name, right in found.items()]
[('best constant', 0.5), ('position', 0.5), ('number of steps', 1.0)]
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepcritic.metrics.f1 import Array, constant_baseline, harmonic_f1s
from deepcritic.schema import ALL_CORRECT

CONSTANT: Final = "best constant"
POSITION: Final = "position"
STEPS: Final = "number of steps"
ANSWER: Final = "final answer"
FOLDS: Final = 10
LONGEST: Final = 200
"""Longer solutions count as this long, which keeps the tables below small."""
_Counts = NDArray[np.int64]


def baselines(gold: ArrayLike, steps: ArrayLike, answer_right: Sequence[bool | None], problem: Sequence[str]) -> dict[str, Array]:
    """The probability that each baseline is right on each row, shape (rows,).

    `gold` is the first wrong step from 1, or `ALL_CORRECT`; `steps` are the lengths of the solutions. Baselines that cannot be
    computed are left out: all of them if a class is missing, `position` and `number of steps` if a length is unknown (0), `final
    answer` if it is unknown for some row whether the answer is right.
    """
    first, length = np.asarray(gold, np.int64), np.asarray(steps, np.int64)
    error = first != ALL_CORRECT
    if not error.any() or error.all():
        return {}
    baseline = constant_baseline(first)
    most = np.bincount(first[error]).argmax()
    found = {CONSTANT: np.where(error, (first == most) * (1 - baseline.correct_accuracy), baseline.correct_accuracy)}
    if (length > 0).all():
        found |= _fitted(np.where(error, np.minimum(first, LONGEST), 0), np.minimum(length, LONGEST), problem)
    if all(right is not None for right in answer_right):
        right = np.array(answer_right, bool)
        found[ANSWER] = np.where(error, ~right & (first == length), right).astype(float)
    return found


def _fitted(first: _Counts, length: _Counts, problem: Sequence[str]) -> dict[str, Array]:
    """`position` and `number of steps`: each row scored by rules fitted on the other folds. `first` is 0 for "all correct"."""
    fold = np.array([zlib.crc32(name.encode("utf-8", "replace")) % FOLDS for name in problem])
    width = int(max(length.max(), first.max())) + 1
    table = np.zeros((FOLDS, width, width), np.int64)
    np.add.at(table, (fold, length, first), 1)
    whole, found = table.sum(0), {POSITION: np.zeros(first.size), STEPS: np.zeros(first.size)}
    for at in np.unique(fold):
        known, rows = whole - table[at], fold == at
        place, silent = _best_position(known)
        said = place[length[rows]]
        found[POSITION][rows] = (1 - silent) * (said == first[rows]) + silent * (first[rows] == 0)
        found[STEPS][rows] = _best_by_length(known)[length[rows]] == first[rows]
    return found


def _best_position(known: _Counts) -> tuple[_Counts, float]:
    """The best rule's step for each length, and how often it says "all correct" instead."""
    silences = np.linspace(0.0, 1.0, 101)
    best, chosen, silent = -1.0, np.zeros(len(known), np.int64), 1.0
    for rule in _positions(len(known)):
        found, seen = _accuracies(known, rule)
        f1s = harmonic_f1s((1 - silences) * found, silences + (1 - silences) * seen)
        top = int(np.argmax(f1s))
        if f1s[top] > best:
            best, chosen, silent = float(f1s[top]), rule, float(silences[top])
    return chosen, silent


def _positions(width: int) -> Iterator[_Counts]:
    """The candidate rules: a step for each length from 0, and 0 ("all correct") for solutions that are too short for the rule."""
    lengths = np.arange(width)
    for place in range(1, width):
        yield np.where(lengths >= place, place, 0)
        yield np.where(lengths >= place, lengths - place + 1, 0)
    for tenth in range(1, 10):
        yield np.ceil(lengths * tenth / 10).astype(np.int64)


def _best_by_length(known: _Counts) -> _Counts:
    """For each length the most frequent step or "all correct". Lengths switch to a step in ascending order of their cost on rows
    without an error, as long as F1 rises."""
    errors, fine = known.copy(), known[:, 0].astype(float)
    errors[:, 0] = 0
    step, hits = errors.argmax(1), errors.max(1).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = hits / fine
    best, chosen, verdict = -1.0, np.zeros(len(known), np.int64), np.zeros(len(known), np.int64)
    for length in np.argsort(-np.where(hits > 0, worth, -1.0), kind="stable"):
        if not hits[length]:
            break
        verdict[length] = step[length]
        f1 = float(harmonic_f1s(*_accuracies(known, verdict)))
        if f1 > best:
            best, chosen = f1, verdict.copy()
    return chosen


def _accuracies(known: _Counts, verdict: _Counts) -> tuple[float, float]:
    """The accuracies on rows with an error and without, 0 where there are none."""
    fine, errors = known[:, 0].sum(), known[:, 1:].sum()
    right = known[np.arange(len(known)), verdict]
    seen = float(right[verdict == 0].sum() / fine) if fine else 0.0
    found = float(right[verdict > 0].sum() / errors) if errors else 0.0
    return found, seen

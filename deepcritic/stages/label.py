"""Turn saved rollouts into step labels by a rule, without a model and without any gold but the reference answer.

python -m deepcritic stage=label stage.solutions=.../solutions.jsonl stage.rollouts=.../generations.jsonl run=x
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from deepcritic.answers import compare
from deepcritic.errors import InputError, UsageError
from deepcritic.metrics import wilson
from deepcritic.parsing import last_boxed
from deepcritic.rows import ALL_CORRECT, Example, Generation
from deepcritic.runs import RunFolder
from deepcritic.sources import examples as example_rows
from deepcritic.store import read_rows, write_json, write_rows

FILE = "labelled.jsonl"


class Count(NamedTuple):
    """The rollouts from one prefix: how many reached the reference answer, of how many that could be judged."""

    right: int
    judged: int


def run(folder: RunFolder, *, solutions: str, rollouts: str, rule: str = "deepcritic") -> dict[str, Any]:
    """Returns the manifest; writes `labelled.jsonl` (Example rows with `first_error`) and `counts.json`."""
    if rule not in RULES:
        raise UsageError(f"stage.rule must be one of {', '.join(RULES)}; found {rule!r}")
    if not folder.begin(solutions=Path(solutions), rollouts=Path(rollouts)):
        return folder.manifest or {}
    rows = list(example_rows.read(solutions))
    counts = count_successes(rows, Path(rollouts))
    ledger = folder.ledger("solutions")
    ledger.enter(len(rows))
    labelled = []
    for row in rows:
        label = RULES[rule](counts.get(row.id, []), bool(row.gold.answer_right), len(row.item.steps))
        if isinstance(label, str):
            ledger.drop(label)
            continue
        ledger.keep()
        labelled.append(msgspec.structs.replace(row, gold=msgspec.structs.replace(row.gold, first_error=label)))
    write_rows(folder / FILE, labelled)
    write_json(folder / "counts.json", {name: [[*count, *wilson(*count)] for count in of] for name, of in counts.items()})
    positions = [row.gold.first_error for row in labelled]
    by_position = {str(value): positions.count(value) for value in sorted(set(positions), key=str)}
    print(f"{folder.path}: {len(labelled)} of {len(rows)} solutions labelled, first errors {by_position}")
    return folder.finish(rule=rule, first_errors=by_position)


def count_successes(rows: list[Example], rollouts: Path) -> dict[str, list[Count]]:
    """For each solution, the count at every prefix of 1 .. n-1 steps. A rollout without a readable answer fails; one whose
    answer the checker could not decide is not counted."""
    references = {row.id: row.gold.reference_answer or "" for row in rows}
    known = {row.id: [[0, 0] for _ in row.item.steps[1:]] for row in rows}
    pairs, places = [], []
    for number, draw in enumerate(read_rows(rollouts, Generation), start=1):
        name, given = draw.key.example_id, draw.key.step
        if name not in known or not 1 <= given <= len(known[name]):
            field, found = ("key.step", given) if name in known else ("key.example_id", name)
            raise InputError(
                "a rollout of another solution", file=rollouts, line=number, field=field, found=found,
                remedy="the rollouts of these solutions",
            )  # fmt: skip
        cell = known[name][given - 1]
        answer = last_boxed(draw.prefix + draw.text)
        if answer is None:
            cell[1] += 1
        else:
            pairs.append((answer, references[name]))
            places.append(cell)
    for cell, result in zip(places, compare(pairs), strict=True):
        if result.equal is not None:
            cell[0] += result.equal
            cell[1] += 1
    return {name: [Count(right, judged) for right, judged in cells] for name, cells in known.items()}


def deepcritic_rule(counts: Sequence[Count], answer_right: bool, steps: int) -> int | str:
    """DeepCritic's rule (arXiv 2505.00662; its exact form is unconfirmed).

    A wrong solution's first error is the first step from which on every rollout fails, while more than half succeed
    from every step before; the last step counts as failing, since the answer is wrong. A right solution is all correct
    if more than half succeed from every prefix. Else the reason why it is discarded.

    >>> deepcritic_rule([Count(8, 8), Count(0, 8)], False, 3), deepcritic_rule([Count(8, 8), Count(5, 8)], True, 3)
    (2, -1)
    """
    rates = _rates(counts, steps)
    if rates is None:
        return "too few rollouts"
    if answer_right:
        return ALL_CORRECT if all(rate > 0.5 for rate in rates) else "right answer, but a prefix rarely succeeds"
    failing = len(rates)
    while failing > 0 and rates[failing - 1] == 0:
        failing -= 1
    return failing + 1 if all(rate > 0.5 for rate in rates[:failing]) else "no clear first error"


def zero_of_k_rule(counts: Sequence[Count], answer_right: bool, steps: int) -> int | str:
    """The first step from which no rollout succeeds is the first error (found best by arXiv 2501.07301).

    >>> zero_of_k_rule([Count(1, 8), Count(0, 8)], False, 3), zero_of_k_rule([Count(1, 8), Count(2, 8)], True, 3)
    (2, -1)
    """
    rates = _rates(counts, steps)
    if rates is None:
        return "too few rollouts"
    first = next((index for index, rate in enumerate(rates, start=1) if rate == 0), None)
    if first is not None:
        return first if not answer_right else "right answer, but a prefix never succeeds"
    return ALL_CORRECT if answer_right else steps


RULES = {"deepcritic": deepcritic_rule, "zero_of_k": zero_of_k_rule}


def _rates(counts: Sequence[Count], steps: int) -> list[float] | None:
    if len(counts) != steps - 1 or any(count.judged == 0 for count in counts):
        return None
    rates = [count.right / count.judged for count in counts]
    assert all(math.isfinite(rate) for rate in rates)
    return rates

"""Cost of step labels if only the rollouts that a rule needs are drawn, simulated on the first errors of real solutions.

scripts/bench labels

Solutions, their lengths, first errors and right or wrong answers are ProcessBench's (gsm8k and math). Rollouts from
prefixes before the first error have one success rate, those from prefixes with the error another. The package's code decides.
The official method draws 8 from every prefix. Both methods first draw 8 solutions per problem; the prefilter keeps solutions of
problems with right and wrong ones (one right, all wrong). A solution succeeds with the rate of good prefixes.
"""

from __future__ import annotations

import math
import operator
import os
import random
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from table import Bench, row, write

from deepcritic.datasets import processbench
from deepcritic.labels.rules import RULES, Discard, Label, Table, decide, replay
from deepcritic.schema import ALL_CORRECT, Example

K = 8
GOOD, BAD = (0.3, 0.5, 0.7, 0.9), (0.0, 0.02, 0.1)
DATA = Path(os.environ.get("DEEPCRITIC_DATASETS") or Path(__file__).resolve().parents[3] / "shared" / "datasets")


class Cost(NamedTuple):
    """Totals over the solutions that a rule labels or discards: their number; rollouts drawn, available and at least needed;
    and steps to generate, in the drawn and in all rollouts."""

    solutions: int
    drawn: int
    everything: int
    least: int
    written: int
    all_written: int


def main() -> None:
    files = [DATA / "processbench" / name for name in ("gsm8k.json", "math.json.gz")]
    solutions = [row for file in files for row in processbench.read(file)]
    rows: list[Bench] = []
    lines = ["| rule | good | bad | all | labelled | discarded | with solving | discards |", "|---|---|---|---|---|---|---|---|"]
    differ = 0
    for rule in RULES:
        if rule == "math_shepherd_soft":  # needs every rollout
            continue
        for good in GOOD:
            for bad in BAD:
                costs, different = simulate(rule, solutions, good, bad)
                differ += different
                solves = len(solutions) * K / kept_of_a_problem(good)
                rows += compared(rule, good, bad, costs, solves)
                lines.append(line(rule, good, bad, costs, solves))
    rows.append(row("labels other than those of all rollouts", differ, at_most=0))
    facts = {"k": K, "solutions": len(solutions), "solves_a_problem": K, "unit": "draws for each solution of ProcessBench"}
    write("labels", rows, **facts, table=lines)
    print("\n".join(lines))


def simulate(rule: str, solutions: list[Example], good: float, bad: float) -> tuple[dict[str, Cost], int]:
    """The costs of labelled and of discarded solutions, and the number of labels that differ from those of all rollouts."""
    sums: dict[str, Counter[str]] = {"labelled": Counter(), "discarded": Counter()}
    different = 0
    for solution in solutions:
        whole = draw_all(solution, good, bad)
        outcome, part = replay(rule, whole)
        different += outcome != decide(rule, whole)
        counts = [part.drawn(step) for step in range(1, part.steps)]
        steps = [whole.steps - step for step in range(1, whole.steps)]
        drawn = sum(counts)
        of = sums["labelled" if isinstance(outcome, Label) else "discarded"]
        of.update(solutions=1, drawn=drawn, everything=K * len(counts), least=least(rule, whole, drawn))
        of.update(written=sum(map(operator.mul, counts, steps)), all_written=K * sum(steps))
    return {fate: Cost(*(of[name] for name in Cost._fields)) for fate, of in sums.items()}, different


def draw_all(solution: Example, good: float, bad: float) -> Table:
    """All rollouts of a solution, the same for every rule."""
    error, steps = solution.gold.first_error, len(solution.item.steps)
    assert isinstance(error, int)
    assert solution.gold.answer_right is not None
    whole = Table(steps, K, solution.gold.answer_right)
    rng = random.Random(f"{solution.id}/{good}/{bad}")
    for step in range(1, steps):
        rate = good if error == ALL_CORRECT or step < error else bad
        for sample in range(K):
            whole.put(step, sample, rng.random() < rate)
    return whole


def least(rule: str, whole: Table, drawn: int) -> int:
    """The fewest rollouts that can prove the result of the rule `deepcritic`, with an optimal choice of prefixes.

    More than half of k are k // 2 + 1 successes, none are k failures; half of k failures, and a success there or later where
    the answer is wrong, prove a discard.
    """
    if rule != "deepcritic":
        return drawn
    outcome = decide(rule, whole)
    if isinstance(outcome, Discard):
        return K - K // 2 + (not whole.answer_right)
    return sum(K // 2 + 1 if count.right else K for count in whole.counts())


def kept_of_a_problem(rate: float) -> float:
    """Average number of solutions per problem that the prefilter keeps."""
    chance = [math.comb(K, right) * rate**right * (1 - rate) ** (K - right) for right in range(K + 1)]
    return sum(chance[right] * (1 + K - right) for right in range(1, K))


def compared(rule: str, good: float, bad: float, costs: dict[str, Cost], solves: float) -> list[Bench]:
    """Our method and the official one, in draws per solution."""
    name, count = f"{rule}, good {good}, bad {bad}", sum(cost.solutions for cost in costs.values())
    drawn, everything = (sum(getattr(cost, field) for cost in costs.values()) for field in ("drawn", "everything"))
    written, all_written = (sum(getattr(cost, field) for cost in costs.values()) for field in ("written", "all_written"))
    bound = {"at_most": 0.35} if rule == "zero_of_k" else {}
    found = [
        row(f"{name}: rollouts", drawn / count, everything / count, **bound),
        row(f"{name}: rollouts and solving, both ways", (drawn + solves) / count, (everything + solves) / count, **bound),
    ]
    found.append(row(f"{name}: steps to be written in rollouts", written / count, all_written / count))
    for fate, cost in costs.items():
        if cost.solutions:
            found.append(row(f"{name}: rollouts of those {fate}", cost.drawn / cost.solutions, cost.everything / cost.solutions))
            if rule == "deepcritic":
                title = f"{name}: rollouts of those {fate}, beside the least that could prove it"
                found.append(row(title, cost.drawn / cost.solutions, cost.least / cost.solutions))
    return found


def line(rule: str, good: float, bad: float, costs: dict[str, Cost], solves: float) -> str:
    """A printed line: percent of the official cost; in brackets the minimum that could prove the result."""

    def share(drawn: float, of: float) -> str:
        return f"{100 * drawn / of:.0f}%" if of else "-"

    both, either = list(costs.values()), costs["labelled"]
    drawn, everything = sum(cost.drawn for cost in both), sum(cost.everything for cost in both)
    cells = [share(drawn, everything)]
    for cost in both:
        least = f" ({share(cost.least, cost.everything)})" if rule == "deepcritic" and cost.solutions else ""
        cells.append(share(cost.drawn, cost.everything) + least)
    discards = share(sum(cost.solutions for cost in both) - either.solutions, sum(cost.solutions for cost in both))
    return f"| {' | '.join([rule, str(good), str(bad), *cells, share(drawn + solves, everything + solves), discards])} |"


if __name__ == "__main__":
    main()

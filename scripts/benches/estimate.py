"""Coverage of the intervals of stage=estimate, and their width relative to human labels alone.

    scripts/bench estimate              # some minutes
    scripts/bench estimate --quick      # a tenth of the draws, for a test: figures are not saved

The truth is ProcessBench's labels (gsm8k, 400 rows, and math, 1,000 rows). Critics of several qualities are simulated: each
votes 8 times, with one probability of finding an error and another of a false alarm, both varying between rows, and gives
no verdict on 3% of the rows. Three predictors are real: "the final answer is wrong", from ProcessBench, on both
parts; and the recorded decisions of claude-3-haiku on 270 pairs of JudgeBench, each in both orders, for the share of pairs in
which the first response is better.

Each repetition draws rows to label and compares the interval from their labels with the rate of all rows. The
bounds of coverage are 95% plus or minus 3.29 standard deviations of a binomial count. If at least one of 100 intervals
is exact, there is no upper bound, because exact intervals are wider than necessary. Reads $DEEPCRITIC_DATASETS, else
../shared/datasets.
"""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from table import Bench, row, write

from deepcritic.datasets import preference_pairs, processbench
from deepcritic.datasets.reading import read_records
from deepcritic.metrics.active_labels import doubt, draw, in_either, inclusion
from deepcritic.metrics.prediction_powered import Estimate, labels_alone, prediction_powered
from deepcritic.schema import ALL_CORRECT

DATA = Path(os.environ.get("DEEPCRITIC_DATASETS") or Path(__file__).resolve().parents[3] / "shared" / "datasets")
DRAWS, VOTES, FAR = 2000, 8, 3.29
Draw = Callable[[np.random.Generator], tuple[Any, Any]]
"""Returns the labelled rows and their probabilities (None: uniform)."""


class Critic(NamedTuple):
    """Probability of finding an error, probability of a false alarm, and their variation between rows (0: none)."""

    finds: float
    alarms: float
    spread: float = 0.5


CRITICS = {
    "perfect critic": Critic(1.0, 0.0, 0.0),
    "good critic": Critic(0.85, 0.1),
    "weak critic": Critic(0.6, 0.3),
    "critic that guesses": Critic(0.5, 0.5, 0.0),
    "critic that is mostly wrong": Critic(0.2, 0.7),
}


WIDEST = {"perfect critic": 0.6, "good critic": 0.9, "weak critic": 1.0}
"""Bounds of the width relative to labels alone; slightly above 1 for uninformative critics. Runs with few labels and exact
intervals have none."""


class Outcome(NamedTuple):
    """Over all draws: the coverage, mean widths, the share of exact intervals, and the bias of
    the estimate in its standard deviations."""

    holds: float
    width: float
    alone_width: float
    exact: float
    bias: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the draws; writes nothing")
    draws = DRAWS // 10 if parser.parse_args().quick else DRAWS
    biases: list[float] = []
    rows = [*simulated(draws, biases), *recorded(draws, biases), *active(draws, biases)]
    rows.append(row("the largest bias of an estimate, in its standard deviations", max(map(abs, biases)), at_most=0.1))
    for one in rows:
        print(one)
    if draws == DRAWS:
        write("estimate", rows, draws=draws, votes=VOTES)


def simulated(draws: int, biases: list[float]) -> Iterator[Bench]:
    for part, labels in (("gsm8k", 20), ("gsm8k", 100), ("math", 300)):
        truth, _ = labelled(part)
        for name, critic in CRITICS.items():
            if labels < 100 and name not in ("good critic", "critic that guesses"):
                continue
            found = measured(truth, votes(truth, critic), evenly(len(truth), labels), draws)
            biases.append(found.bias)
            widest = None if labels < 100 else WIDEST.get(name, 1.06)
            yield from shown(f"{part}, {name}, {labels} labels", found, draws, widest)


def recorded(draws: int, biases: list[float]) -> Iterator[Bench]:
    for part, labels in (("gsm8k", 100), ("math", 300)):
        truth, wrong = labelled(part)
        found = measured(truth, wrong, evenly(len(truth), labels), draws)
        biases.append(found.bias)
        yield from shown(f"{part}, the final answer is wrong, {labels} labels", found, draws, 0.9)
    truth, shares = judged_pairs()
    found = measured(truth, shares, evenly(len(truth), 100), draws)
    biases.append(found.bias)
    yield from shown("judgebench, claude-3-haiku, 100 labels", found, draws, 1.06)


def active(draws: int, biases: list[float]) -> Iterator[Bench]:
    """60 random labels and about 140 more, chosen by split votes, compared with as many more at random."""
    truth, _ = labelled("math")
    total, first, more = len(truth), 60, 140
    for name in ("perfect critic", "good critic", "weak critic"):
        shares = votes(truth, CRITICS[name])
        chances = inclusion(doubt(shares, np.where(np.isnan(shares), 0, VOTES)), round(more / (1 - first / total)))
        both = in_either(np.full(total, first / total), chances)

        def drawn(rng: np.random.Generator, chances: Any = chances, both: Any = both) -> tuple[Any, Any]:
            chosen = draw(chances, rng)
            chosen[rng.choice(total, first, replace=False)] = True
            return np.flatnonzero(chosen), both[chosen]

        found = measured(truth, shares, drawn, draws)
        biases.append(found.bias)
        even = measured(truth, shares, evenly(total, first + more), draws)
        what = f"math, {name}, 60 labels and 140 where votes are split"
        yield from shown(what, found, draws, None)
        yield row(f"{what}: width beside 200 labels at random, with the same critic", found.width, even.width, at_most=1.02)


def shown(what: str, found: Outcome, draws: int, at_most: float | None) -> Iterator[Bench]:
    tolerance = FAR * math.sqrt(0.95 * 0.05 / draws)
    most = None if found.exact >= 0.01 else round(0.95 + tolerance, 4)
    said = f", {found.exact:.0%} of them by exact bounds" if found.exact else ""
    yield row(f"{what}: intervals that hold{said}", found.holds, at_least=round(0.95 - tolerance, 4), at_most=most)
    yield row(f"{what}: width beside labels alone", found.width, found.alone_width, at_most=at_most)


def measured(truth: Any, shares: Any, drawn: Draw, draws: int) -> Outcome:
    rng, rate = np.random.default_rng(7), float(truth.mean())
    found: list[Estimate] = []
    alone: list[Estimate] = []
    for _ in range(draws):
        some, p = drawn(rng)
        found.append(prediction_powered(truth[some], shares[some], shares, p))
        alone.append(labels_alone(truth[some], len(truth), p))
    rates = np.array([one.rate for one in found])
    return Outcome(
        holds=held(found, rate), width=wide(found), alone_width=wide(alone),
        exact=float(np.mean([one.method != "ppi++" for one in found])),
        bias=float((rates.mean() - rate) / (rates.std(ddof=1) or math.inf)),
    )  # fmt: skip


def held(found: list[Estimate], rate: float) -> float:
    return float(np.mean([one.low - 1e-12 <= rate <= one.high + 1e-12 for one in found]))


def wide(found: list[Estimate]) -> float:
    return float(np.mean([one.high - one.low for one in found]))


def evenly(total: int, labels: int) -> Draw:
    return lambda rng: (rng.choice(total, labels, replace=False), None)


def votes(truth: Any, critic: Critic) -> Any:
    """The share of votes for an error on each row; NaN on 3% of them."""
    rng = np.random.default_rng(1)
    chance = np.where(truth > 0, critic.finds, critic.alarms)
    if critic.spread:
        chance = rng.beta(chance / critic.spread, (1 - chance) / critic.spread)
    shares = (rng.random((len(truth), VOTES)) < chance[:, None]).mean(1)
    shares[rng.random(len(truth)) < 0.03] = math.nan
    return shares


def labelled(part: str) -> tuple[Any, Any]:
    """For each solution: whether it has an error, and whether its final answer is wrong."""
    file = next(DATA.joinpath("processbench").glob(f"{part}.json*"))
    rows = list(processbench.read(str(file)))
    wrong = np.array([float(not row.gold.answer_right) for row in rows])
    return np.array([float(row.gold.first_error != ALL_CORRECT) for row in rows]), wrong


def judged_pairs() -> tuple[Any, Any]:
    """For each pair: whether the first response is better, and the share of recorded decisions that say so."""
    file = next(DATA.joinpath("judgebench").glob("judgments_*"))
    truth = [float(record["label"] == "A>B") for _, record in read_records(file)]
    _, decisions = preference_pairs.judgments(file)
    points = {(2, 1): 1.0, (1, 2): 0.0, (1, 1): 0.5}
    shares = []
    for _, record in read_records(file):
        said = [points[one] for one in decisions[record["pair_id"]] if one is not None]
        shares.append(float(np.mean(said)) if said else math.nan)
    return np.array(truth), np.array(shares)


if __name__ == "__main__":
    main()

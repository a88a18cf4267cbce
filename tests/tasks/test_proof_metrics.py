"""Figures of graded proofs: against sklearn's kappa, against a count by hand, and with baselines beside."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepcritic.errors import InputError
from deepcritic.evaluation.judging import judge_verdicts
from deepcritic.schema import Example, Gold, Item, Judged
from deepcritic.tasks.metrics_types import ProofFigures, figures_of
from deepcritic.tasks.proof import Proof
from deepcritic.tasks.proof_metrics import quadratic_kappa

GRADES = st.sampled_from([0.0, 0.5, 1.0])
HALVES, POINTS = Proof(), Proof(scale="points")


_EXAMPLE = Example(id="a", item=Item(problem="p", steps=("s",)), gold=Gold(grade=1.0), source="made")


def _row(name: str, truth: float, verdicts: list[float | None], task: Proof = HALVES, problem: str | None = None) -> Judged:
    item = Item(problem=problem or f"Prove {name}.", steps=("Trivial.",), meta={"generator": f"model-{len(name) % 2}"})
    example = Example(id=name, item=item, gold=Gold(grade=truth / task.scale.full), source="made")
    return judge_verdicts(example, verdicts, task, asked=len(verdicts))


def _figures(rows: list[Judged], task: Proof = HALVES) -> dict[str, Any]:
    return task.figures({"made": rows})


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=2, max_size=40))
def test_kappa_is_the_weighted_sum_of_its_definition(pairs: list[tuple[int, int]]) -> None:
    table = np.zeros((8, 8))
    for true, given_grade in pairs:
        table[true, given_grade] += 1
    first, second = (np.array(column, float) for column in zip(*pairs, strict=True))
    chance = np.mean([(a - b) ** 2 for a in first for b in second])
    found = float(quadratic_kappa(table))
    if chance == 0:
        assert np.isnan(found)
    else:
        assert found == pytest.approx(1 - np.mean((first - second) ** 2) / chance)


def test_kappa_agrees_with_sklearn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = random.Random(0)
    pairs = [(rng.randrange(8), rng.randrange(8)) for _ in range(200)]
    table = np.zeros((8, 8))
    for true, given_grade in pairs:
        table[true, given_grade] += 1
    wanted = metrics.cohen_kappa_score(*zip(*pairs, strict=True), weights="quadratic", labels=list(range(8)))
    assert float(quadratic_kappa(table)) == pytest.approx(wanted)


def test_figures_by_hand() -> None:
    rows = [_row("a", 1, [1.0]), _row("bb", 0, [0.5]), _row("c", 0.5, [0.5]), _row("dd", 0, [None])]
    found = _figures(rows)
    assert found["accuracy"] == 50.0
    assert found["mae"] == pytest.approx(100 * (0 + 0.5 + 0 + 1) / 4), "an unparsed reply counts as the farthest grade"
    assert found["mae_parsed"] == pytest.approx(100 * 0.5 / 3, abs=1e-3)
    assert found["bias"] == pytest.approx(100 * 0.5 / 3, abs=1e-3)
    assert found["unparsed_rate"] == 25.0
    base = found["constant_baseline"]
    assert (base["grade"], base["mae"], base["accuracy"]) == ("0", 37.5, 50.0)
    assert base["mae_difference"] == 0.0
    assert base["beaten"] is False
    assert found["confusion"]["0"] == {"0": 0.0, "0.5": 50.0, "1": 0.0, "unparsed": 50.0}
    assert found["accuracy_by_grade"]["0"]["rows"] == 2
    assert set(found["accuracy_by_generator"]) == {"model-0", "model-1"}
    assert "vote_accuracy" not in found


def test_votes_and_means() -> None:
    rows = [_row("a", 1, [1.0, 1.0, 0.0]), _row("b", 0.5, [0.0, 1.0, None]), _row("c", 0, [None, None, None])]
    found = _figures(rows)
    assert found["vote_accuracy"] == pytest.approx(100 / 3, abs=1e-3)
    assert found["vote_mae"] == pytest.approx(100 * (0 + 0.5 + 1) / 3, abs=1e-3), "tied grades count in equal parts"
    assert found["mae_of_mean"] == pytest.approx(100 * (1 / 3 + 0 + 1) / 3, abs=1e-3)
    assert found["accuracy_by_votes"]["1"]["accuracy"] == pytest.approx(found["accuracy"], abs=1e-3)
    assert found["accuracy_by_votes"]["3"]["accuracy"] == pytest.approx(found["vote_accuracy"], abs=1e-3)


def test_a_perfect_critic_and_a_constant_one() -> None:
    truths = [0.0, 0.5, 1.0, 1.0, 0.0, 0.5, 1.0, 0.0] * 5
    perfect = _figures([_row(f"p{at}", truth, [truth]) for at, truth in enumerate(truths)])
    assert (perfect["accuracy"], perfect["mae"], perfect["kappa"], perfect["kappa_interval"]) == (100, 0, 100, [100, 100])
    assert perfect["constant_baseline"]["beaten"] is True
    constant = _figures([_row(f"p{at}", truth, [0.5]) for at, truth in enumerate(truths)])
    assert constant["kappa"] == 0
    assert constant["constant_baseline"]["mae_difference"] == 0
    assert constant["constant_baseline"]["beaten"] is False


def test_problems_are_resampled_with_all_of_their_rows() -> None:
    """Copies of a row make no interval narrower where they are of one problem."""
    once = [_row(f"p{at}", at % 2, [float(at % 3 == 0)]) for at in range(12)]
    copied = [
        _row(f"p{at}-{copy}", at % 2, [float(at % 3 == 0)], problem=f"Prove p{at}.") for at in range(12) for copy in range(20)
    ]
    few, many = _figures(once), _figures(copied)
    for name in ("accuracy_interval", "mae_interval", "kappa_interval"):
        widths = [found[name][1] - found[name][0] for found in (few, many)]
        assert widths[1] > 0.7 * widths[0], name


def test_the_interval_of_kappa_covers_what_it_should() -> None:
    """Of 60 samples of 80 rows from a world with a known kappa, about 95% of the intervals hold it."""
    rng = random.Random(7)

    def pair() -> tuple[float, float]:
        truth = rng.choice([0.0, 0.5, 1.0])
        return truth, truth if rng.random() < 0.6 else rng.choice([0.0, 0.5, 1.0])

    table = np.zeros((3, 3))
    for _ in range(200_000):
        truth, said = pair()
        table[int(2 * truth), int(2 * said)] += 1
    known = 100 * float(quadratic_kappa(table))
    hits = 0
    for _ in range(60):
        rows = [_row(f"p{at}", truth, [said]) for at, (truth, said) in enumerate(pair() for _ in range(80))]
        low, high = _figures(rows)["kappa_interval"]
        hits += low <= known <= high
    assert hits >= 50


def test_points_have_their_own_scale() -> None:
    rows = [_row("a", 7, [5.0], POINTS), _row("b", 0, [1.0], POINTS)]
    found = _figures(rows, POINTS)
    assert found["mae"] == pytest.approx(100 * 1.5 / 7, abs=1e-3)
    assert "1.50 of 7 points" in "\n".join(POINTS.lines(found))


def test_a_suite_has_means() -> None:
    rows = [_row("a", 1, [1.0]), _row("b", 0, [0.5])]
    found = HALVES.figures({"x": rows, "y": rows})
    assert found["mean_accuracy"] == 50.0
    assert found["mean_mae"] == 25.0
    assert set(found["benchmarks"]) == {"x", "y"}
    assert len(HALVES.lines(found)) == 7


def test_the_figures_have_types() -> None:
    for verdicts in ([1.0], [1.0, 0.5]):
        typed = figures_of(_figures([_row("a", 1, list(verdicts)), _row("b", 0, list(verdicts))]))
        assert isinstance(typed, ProofFigures)
        assert typed.constant_baseline is not None


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(InputError, match="no row has a reply"):
        _figures([judge_verdicts(_EXAMPLE, [], HALVES, asked=1)])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(GRADES, st.lists(st.none() | GRADES, min_size=1, max_size=3)), min_size=1, max_size=8))
def test_intervals_hold_their_figures(rows: list[tuple[float, list[float | None]]]) -> None:
    found = _figures([_row(f"p{at}", truth, verdicts) for at, (truth, verdicts) in enumerate(rows)])
    for name in ("accuracy", "mae"):
        low, high = found[f"{name}_interval"]
        assert low - 1e-3 <= found[name] <= high + 1e-3
    assert 0 <= found["mae"] <= 100
    assert found["mae"] <= 100 - found["accuracy"] + 1e-3


def test_a_mean_over_benchmarks_has_four_places() -> None:
    parts = {"a": [_row("a", 1, [1.0])], "b": [_row("b", 1, [0.0])], "c": [_row("c", 1, [0.0])]}
    found = HALVES.figures(parts)
    assert (found["mean_accuracy"], found["mean_mae"]) == (33.3333, 66.6667)
    assert found["benchmarks"]["a"]["kappa"] is None, "all grades are equal"
    assert found["mean_kappa"] == 0, "of the two that have one"

"""Baselines that do not read: what they say, what they are fitted on, and how critics stand beside them."""

from __future__ import annotations

import gzip
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.metrics.baselines import ANSWER, CONSTANT, POSITION, STEPS, _best_by_length, _best_position, _positions, baselines
from deepcritic.metrics.f1 import constant_baseline, f1, harmonic_f1
from deepcritic.schema import ALL_CORRECT, Judged
from deepcritic.tasks.first_error import FirstError
from deepcritic.tasks.first_error_metrics import figures, suite_figures

WEIGHTS = [2.0**power for power in np.arange(-6, 6.1, 0.25)]


def _scores(rows: Sequence[tuple[int, int, bool | None, str]]) -> dict[str, float]:
    gold, steps, right, problem = zip(*rows, strict=True)
    return {name: f1(line, np.array(gold) != -1) for name, line in baselines(gold, steps, right, problem).items()}


def test_each_baseline_finds_what_it_can_know() -> None:
    late = [(5, 5, False, f"p{at}") for at in range(60)] + [(-1, 7, True, f"q{at}") for at in range(60)]
    assert _scores(late) == pytest.approx({CONSTANT: 0.5, POSITION: 0.5, STEPS: 1.0, ANSWER: 1.0}, abs=0.02)
    lengths = [4 + at % 5 for at in range(100)]
    ends = [(n, n, False, f"p{at}") for at, n in enumerate(lengths)] + [(-1, n, True, f"q{at}") for at, n in enumerate(lengths)]
    found = _scores(ends)
    assert found[POSITION] == pytest.approx(0.5, abs=0.02)  # the last step, half of the time
    assert found[POSITION] > found[CONSTANT] + 0.1
    assert found[ANSWER] == 1.0


def test_what_is_not_known_leaves_a_baseline_out() -> None:
    assert _scores([(1, 2, True, "a"), (2, 2, False, "b")]) == {}
    assert _scores([(-1, 2, True, "a")]) == {}
    assert set(_scores([(1, 2, None, "a"), (-1, 2, True, "b")])) == {CONSTANT, POSITION, STEPS}
    assert set(_scores([(1, 0, False, "a"), (-1, 2, True, "b")])) == {CONSTANT, ANSWER}
    long = _scores([(300, 5000, False, "a"), (-1, 2, True, "b")])
    assert set(long) == {CONSTANT, POSITION, STEPS, ANSWER}


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6), st.integers(0, 20)), min_size=4, max_size=60), st.data())
def test_a_row_is_scored_without_its_own_fold(rows: list[tuple[int, int, int]], data: st.DataObject) -> None:
    """Another truth for one problem changes what its rows score, but not what is said of them: a row that was right stays right
    exactly if it still has the truth that was said."""
    gold = np.array([-1 if first == 0 else min(first, steps) for steps, first, _ in rows])
    steps, problem = np.array([steps for steps, _, _ in rows]), [f"p{number}" for _, _, number in rows]
    changed = gold.copy()
    name = data.draw(st.sampled_from(problem))
    mine = np.array([one == name for one in problem])
    changed[mine] = [data.draw(st.sampled_from([-1, *range(1, n + 1)])) for n in steps[mine]]
    before, after = (baselines(some, steps, [None] * len(rows), problem) for some in (gold, changed))
    if STEPS not in before or STEPS not in after:
        return
    same = mine & (gold == changed)
    assert before[STEPS][same].tolist() == after[STEPS][same].tolist()
    assert before[POSITION][same].tolist() == after[POSITION][same].tolist()


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 3)), min_size=2, max_size=25))
def test_the_rules_are_the_best_of_their_kind(rows: list[tuple[int, int]]) -> None:
    table = np.zeros((4, 4), np.int64)
    for steps, first in rows:
        table[steps, min(first, steps)] += 1
    fine, errors = table[:, 0].sum(), table[:, 1:].sum()
    if not fine or not errors:
        return

    def score(rule: tuple[int, ...], silent: float = 0.0) -> float:
        found = sum(table[n, said] for n, said in enumerate(rule) if said) / errors
        seen = sum(table[n, 0] for n, said in enumerate(rule) if not said) / fine
        return harmonic_f1((1 - silent) * found, silent + (1 - silent) * seen)

    rules = [(0, *rule) for rule in itertools.product(range(2), range(3), range(4))]
    found = [sum(table[n, said] for n, said in enumerate(rule) if said) / errors for rule in rules]
    seen = [sum(table[n, 0] for n, said in enumerate(rule) if not said) / fine for rule in rules]
    outer = [
        max(zip(found, seen, rules, strict=True), key=lambda one: (one[0] + weight * one[1], one[1]))[2] for weight in WEIGHTS
    ]
    assert score(tuple(_best_by_length(table))) >= max(score(rule) for rule in outer) - 1e-12
    place, silent = _best_position(table)
    constants = [tuple(k if n >= k else 0 for n in range(4)) for k in (1, 2, 3)]
    assert score(tuple(place), silent) >= max(score(rule, p / 100) for rule in constants for p in range(101)) - 1e-12


def test_noise_teaches_nothing() -> None:
    """Where the first error is drawn evenly, whatever the length, no fitted baseline does better than the constant."""
    rng = np.random.default_rng(0)
    steps = rng.integers(2, 12, 3000)
    gold = np.where(rng.random(3000) < 0.5, -1, rng.integers(1, 3, 3000))
    found = _scores([(int(g), int(n), None, f"p{at}") for at, (g, n) in enumerate(zip(gold, steps, strict=True))])
    assert found[CONSTANT] == pytest.approx(constant_baseline(gold).f1)
    assert found[POSITION] <= found[CONSTANT] + 0.02
    assert found[STEPS] <= found[CONSTANT] + 0.05


def _judged(rows: list[tuple[int, int, bool]], said: list[int]) -> list[Judged]:
    return [
        Judged(
            id=f"r{at}", gold=gold, stratum="all correct" if gold == ALL_CORRECT else "with an error", cluster=f"p{at}",
            verdicts=(verdict,), correct=float(verdict == gold), vote=verdict, vote_correct=float(verdict == gold), samples=1,
            steps=steps, answer_right=right, benchmark="b",
        )
        for at, ((gold, steps, right), verdict) in enumerate(zip(rows, said, strict=True))
    ]  # fmt: skip


def test_a_critic_that_only_looks_at_the_answer_does_not_beat_the_baseline(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(5, 5, False), (3, 5, False), (-1, 6, True), (-1, 4, True)] * 30
    answer = [-1 if right else steps for _, steps, right in rows]
    task = FirstError()
    copied, perfect = (figures(_judged(rows, said), task) for said in (answer, [gold for gold, _, _ in rows]))
    assert copied["baselines"][ANSWER]["difference"] == 0
    assert copied["baselines"][ANSWER]["beaten"] is False
    assert copied["baselines"][CONSTANT]["beaten"] is True
    assert all(one["beaten"] for one in perfect["baselines"].values())
    for one in perfect["baselines"].values():
        low, high = one["difference_interval"]
        assert low <= one["difference"] <= high
    out = "\n".join(task.lines(copied))
    assert "NOT SHOWN TO BEAT final answer: difference 0.0" in out
    assert "NOT SHOWN TO BEAT best constant" not in out
    both = suite_figures({"x": _judged(rows, answer), "y": _judged(rows, answer)}, task)
    assert both["mean_baselines"][ANSWER]["beaten"] is False
    assert both["mean_baselines"][ANSWER]["f1"] == copied["baselines"][ANSWER]["f1"]
    said = "\n".join(task.lines(both))
    assert said.count("  NOT SHOWN TO BEAT final answer: difference 0.0") == 3, "on each benchmark, and of the mean"
    thrice = [msgspec.structs.replace(row, verdicts=row.verdicts * 3, samples=3) for row in _judged(rows, answer)]
    assert "  Maj@3 NOT SHOWN TO BEAT final answer: difference 0.0" in "\n".join(task.lines(figures(thrice, task)))


def test_it_is_said_why_f1_is_unknown() -> None:
    task = FirstError()
    found = figures(_judged([(2, 3, False)] * 5, [2] * 5), task)
    assert found["f1"] is None
    assert "  F1 is unknown: F1 needs both classes, but none of the 5 solutions is without an error" in task.lines(found)
    assert "f1_unknown" not in figures(_judged([(2, 3, False), (-1, 3, True)], [2, 2]), task)


def test_processbench(datasets_dir: Path) -> None:
    rows = json.loads(gzip.decompress((datasets_dir / "processbench/math.json.gz").read_bytes()))
    gold = [row["label"] + 1 if row["label"] >= 0 else -1 for row in rows]
    described = [(len(row["steps"]), row["final_answer_correct"], row["problem"]) for row in rows]
    found = _scores([(first, *one) for first, one in zip(gold, described, strict=True)])
    assert {name: round(100 * value, 1) for name, value in found.items()} == {
        CONSTANT: 22.1, POSITION: 22.9, STEPS: 26.5, ANSWER: 9.3,
    }  # fmt: skip


def test_the_rules_by_position() -> None:
    """For solutions of 0 to 3 steps: the k-th step, the k-th from the end, and a fraction of the way."""
    rules = [rule.tolist() for rule in _positions(4)]
    assert rules[:6] == [[0, 1, 1, 1], [0, 1, 2, 3], [0, 0, 2, 2], [0, 0, 1, 2], [0, 0, 0, 3], [0, 0, 0, 1]]
    assert len(rules) == 6 + 9
    assert (rules[6], rules[10], rules[14]) == ([0, 1, 1, 1], [0, 1, 1, 2], [0, 1, 2, 3])


def test_the_final_answer_names_the_last_step_where_it_is_wrong() -> None:
    rows = [(3, 3, False, "a"), (2, 3, False, "b"), (3, 3, True, "c"), (-1, 3, True, "d"), (-1, 3, False, "e")]
    gold, steps, right, problem = zip(*rows, strict=True)
    assert baselines(gold, steps, right, problem)[ANSWER].tolist() == [1, 0, 0, 1, 0]

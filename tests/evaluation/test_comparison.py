"""Comparisons of judged rows: figures by definition, refusals, and means over benchmarks."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest

from deepcritic.errors import InputError
from deepcritic.evaluation.comparison import compare
from deepcritic.evaluation.judging import judge_verdicts
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item, Judged
from deepcritic.tasks.first_error import FirstError
from deepcritic.tasks.first_error_metrics import figures, suite_figures

TASK = FirstError()


def _run(
    skill: float, seed: int, *, benchmark: str = "one", samples: int = 1, problems: int = 120, twice: bool = False
) -> list[Judged]:
    gold, drawn, rows = random.Random(f"gold {benchmark}"), random.Random(f"{skill} {seed}"), []
    for at in range(problems):
        label = gold.choice([ALL_CORRECT, 1, 2, 3])
        verdicts = [label if drawn.random() < skill else drawn.choice([ALL_CORRECT, 4]) for _ in range(samples)]
        problem = f"p{at // 2 if twice else at}"
        example = Example(
            id=f"x-{at}", item=Item(problem=problem, steps=("s",) * 4), gold=Gold(first_error=label), source="made"
        )  # fmt: skip
        rows.append(judge_verdicts(example, verdicts, TASK, asked=samples, benchmark=benchmark))
    return rows


def test_the_figures_are_those_of_either_run() -> None:
    a, b = _run(0.8, 1, samples=3), _run(0.6, 2, samples=3)
    found = compare([a], [b])["benchmarks"]["one"]
    ours, theirs = figures(a, TASK), figures(b, TASK)
    for name in ("f1", "error_accuracy", "correct_accuracy", "maj_f1"):
        one = found[name]
        assert (one["a"], one["b"]) == (pytest.approx(ours[name], abs=1e-3), pytest.approx(theirs[name], abs=1e-3))
        assert one["difference"] == pytest.approx(one["a"] - one["b"], abs=1e-3)
        low, high = one["interval"]
        assert low < one["difference"] < high
        assert one["test"] == "problems swapped"
        assert one["detectable"] == pytest.approx((high - low) / (2 * 1.96) * 2.8, rel=0.1)
    assert found["f1"]["p"] < 0.001
    turned = compare([b], [a])["benchmarks"]["one"]["f1"]
    assert turned["difference"] == pytest.approx(-found["f1"]["difference"])
    assert turned["interval"] == [pytest.approx(-bound) for bound in reversed(found["f1"]["interval"])]
    assert turned["p"] == found["f1"]["p"]


def test_single_verdicts_on_problems_of_their_own_get_mcnemar() -> None:
    a, b = _run(0.8, 1), _run(0.6, 2)
    found = compare([a], [b])["benchmarks"]["one"]
    pairs = [(x.correct, y.correct) for x, y in zip(a, b, strict=True) if x.gold == ALL_CORRECT]
    assert found["correct_accuracy"]["test"] == "McNemar, exact"
    assert (found["correct_accuracy"]["only_a"], found["correct_accuracy"]["only_b"]) == (
        pairs.count((1, 0)),
        pairs.count((0, 1)),
    )
    assert "maj_f1" not in found
    shared = compare([_run(0.8, 1, twice=True)], [_run(0.6, 2, twice=True)])["benchmarks"]["one"]
    assert shared["correct_accuracy"]["test"] == "problems swapped"


def test_a_run_does_not_differ_from_itself() -> None:
    a = _run(0.7, 1)
    found = compare([a], [a])["benchmarks"]["one"]
    for name in ("f1", "error_accuracy", "correct_accuracy"):
        assert (found[name]["difference"], found[name]["interval"], found[name]["p"]) == (0, [0, 0], 1)
        assert found[name]["detectable"] is None


def test_the_mean_over_benchmarks() -> None:
    a = _run(0.8, 1, samples=3) + _run(0.8, 1, benchmark="two", samples=3, problems=60)
    b = _run(0.7, 2, samples=3) + _run(0.7, 2, benchmark="two", samples=3, problems=60)
    found = compare([a], [b])
    assert found["rows"] == 180
    both = {name: [row for row in a if row.benchmark == name] for name in ("one", "two")}
    assert found["mean_f1"]["a"] == pytest.approx(suite_figures(both, TASK)["mean_f1"], abs=1e-3)
    each = [found["benchmarks"][name]["f1"]["difference"] for name in ("one", "two")]
    assert found["mean_f1"]["difference"] == pytest.approx(sum(each) / 2, abs=1e-3)
    assert found["mean_f1"]["test"] == "problems swapped"
    assert "mean_maj_f1" in found
    assert "mean_f1" not in compare([both["one"]], [_run(0.7, 2, samples=3)])


def test_seeds_of_one_critic() -> None:
    a, b = [_run(skill, seed) for seed, skill in enumerate((0.7, 0.8, 0.9))], [_run(0.6, 7), _run(0.65, 8)]
    found = compare(a, b)["benchmarks"]["one"]["f1"]
    each = [[figures(run, TASK)["f1"] for run in side] for side in (a, b)]
    assert found["a"] == pytest.approx(sum(each[0]) / 3, abs=1e-3)
    assert found["b"] == pytest.approx(sum(each[1]) / 2, abs=1e-3)
    assert found["test"] == "seeds and problems resampled"
    alone = compare([a[1]], [b[0]])["benchmarks"]["one"]["f1"]
    assert found["interval"][0] < found["difference"] < found["interval"][1]
    assert alone["test"] == "problems swapped"


def test_what_failed_in_one_run_is_left_out_of_both() -> None:
    a, b = _run(0.8, 1), _run(0.6, 2)
    b[3] = msgspec.structs.replace(b[3], correct=None, vote_correct=None, verdicts=(), failed=1)
    found = compare([a], [b])
    assert (found["rows"], found["left_out"]) == (119, 1)
    nothing = [msgspec.structs.replace(row, correct=None, vote_correct=None, verdicts=(), failed=1) for row in b]
    with pytest.raises(InputError, match="no row has a score in all runs; found 'one'"):
        compare([a], [nothing])


def _refused(a: Sequence[Judged], b: Sequence[Judged]) -> str:
    with pytest.raises(InputError) as refused:
        compare([a], [b], ["mine", "theirs"])
    return str(refused.value)


def test_the_same_rows_are_needed() -> None:
    a, b = _run(0.8, 1), _run(0.6, 2)
    assert "mine has 2 rows that theirs lacks, such as 'x-118' of one" in _refused(a, b[:-2])
    assert "theirs has 1 rows that mine lacks, such as 'x-119' of one" in _refused(a[:-1], b)
    assert "theirs lacks, such as 'x-0' of one" in _refused(a, _run(0.6, 2, benchmark="two"))
    other = [msgspec.structs.replace(b[0], gold=4), *b[1:]]
    assert "the label of 'x-0' of one differs between mine and theirs" in _refused(a, other)
    other = [*b[:5], msgspec.structs.replace(b[5], cluster="another"), *b[6:]]
    assert "the problem of 'x-5' of one differs between mine and theirs" in _refused(a, other)


def test_one_stratum_alone() -> None:
    a, b = ([row for row in run if row.gold == ALL_CORRECT] for run in (_run(0.8, 1), _run(0.6, 2)))
    found = compare([a], [b])["benchmarks"]["one"]
    assert found["f1"]["a"] is found["f1"]["p"] is found["f1"]["detectable"] is found["error_accuracy"]["difference"] is None
    assert found["correct_accuracy"]["difference"] is not None


def test_a_vote_is_compared_with_the_only_reply_of_the_other() -> None:
    a, b = _run(0.8, 1, samples=3), _run(0.6, 2)
    found = compare([a], [b])["benchmarks"]["one"]
    assert "maj_f1" not in found
    assert found["final_f1"]["a"] == pytest.approx(figures(a, TASK)["maj_f1"], abs=1e-3)
    assert found["final_f1"]["b"] == pytest.approx(figures(b, TASK)["f1"], abs=1e-3)
    low, high = found["final_f1"]["interval"]
    assert low <= found["final_f1"]["difference"] <= high
    both = compare([a + _run(0.8, 1, samples=3, benchmark="two")], [b + _run(0.6, 2, benchmark="two")])
    assert both["mean_final_f1"]["difference"] == pytest.approx(
        sum(part["final_f1"]["difference"] for part in both["benchmarks"].values()) / 2, abs=1e-3
    )
    assert "final_f1" not in compare([b], [_run(0.7, 3)])["benchmarks"]["one"], "nobody votes"

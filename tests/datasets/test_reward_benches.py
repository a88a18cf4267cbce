"""RewardBench 2 and RM-Bench: one record, several questions, and no trace of which response is right."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets.reward_benches import rewardbench_2, rm_bench
from deepcritic.errors import InputError
from deepcritic.schema import Preference
from tests.datasets import made_up_benches as made


def _best(row: Preference) -> str:
    assert isinstance(row.gold.best, int)
    return row.item.responses[row.gold.best - 1]


def test_the_best_of_four(tmp_path: Path) -> None:
    rows = list(rewardbench_2(made.written(tmp_path, [made.rewardbench_2(str(at), "Math") for at in range(200)])))
    assert len(rows) == 200
    assert {_best(row) for row in rows} == {"right 0"}
    assert all(sorted(row.item.responses) == ["right 0", "wrong 0", "wrong 1", "wrong 2"] for row in rows)
    places = Counter(row.gold.best for row in rows)
    assert min(places[at] for at in (1, 2, 3, 4)) > 25, "the best response stands anywhere"
    assert {str(row.item.meta) for row in rows} == {"{'domain': 'Math'}"}


def test_ties_are_asked_about_one_by_one(tmp_path: Path) -> None:
    record = made.rewardbench_2("tied:3", "Ties", right=4, wrong=6)
    rows = list(rewardbench_2(made.written(tmp_path, [record])))
    assert Counter((row.item.responses[0].split()[0], row.gold.scores) for row in rows) == {
        ("right", (1.0,)): 4, ("wrong", (0.0,)): 6,
    }  # fmt: skip
    assert {str(row.item.meta) for row in rows} == {"{'domain': 'Ties', 'group': 'tied:3'}"}
    ordered = [(row.gold.scores or ())[0] for row in sorted(rows, key=lambda row: row.id)]
    assert ordered not in (sorted(ordered), sorted(ordered, reverse=True)), "nor do ids tell"


def test_nine_pairs(tmp_path: Path) -> None:
    records = [made.rm_bench(at, "safety-refuse") for at in range(100)]
    rows = list(rm_bench(made.written(tmp_path, records)))
    assert len(rows) == 900
    assert len({row.id for row in rows}) == 900
    assert 350 < sum(row.gold.best == 1 for row in rows) < 550
    styles = {"concise": 0, "detailed": 1, "markdown": 2}
    for row in rows:
        (other,) = set(row.item.responses) - {_best(row)}
        assert [styles[_best(row).split()[1]], styles[other.split()[1]]] == row.item.meta["styles"]
        assert _best(row).startswith("right")


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (made.rewardbench_2("1", "Math", right=2), "chosen: several best responses; found '2 texts'"),
        (made.rewardbench_2("1", "Math", chosen=["x"], rejected=[]), "rejected: not responses"),
        (made.rewardbench_2("1", "Ties"), "id: not an id of this subset"),
        (made.rewardbench_2("1", "Math", chosen="right"), "chosen: wrong type"),
        (made.rewardbench_2("1", "Math", prompt=None), "prompt: wrong type"),
    ],
)
def test_a_bad_row_of_rewardbench_2_is_named(tmp_path: Path, record: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as error:
        list(rewardbench_2(made.written(tmp_path, [record])))
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"chosen": ["a", "b"]}, "chosen: not three styles; found '2 texts'"),
        ({"rejected": ["right concise", "b", "c"]}, "rejected: two best responses"),
        ({"domain": 3}, "domain: wrong type"),
        ({"id": None}, "id: wrong type"),
    ],
)
def test_a_bad_row_of_rm_bench_is_named(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as error:
        list(rm_bench(made.written(tmp_path, [{**made.rm_bench(1, "math"), **change}])))
    assert says in str(error.value)

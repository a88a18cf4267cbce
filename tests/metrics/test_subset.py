"""A subset stands for the whole: by class, whatever the order of the file, and a smaller one is part of a larger."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from deepcritic.datasets import processbench
from deepcritic.metrics.subset import subset
from deepcritic.schema import ALL_CORRECT

NAMES = st.lists(st.text(max_size=5), unique=True, max_size=60)


@given(NAMES, st.integers(0, 70), st.data())
def test_each_class_has_its_share(names: list[str], count: int, data: st.DataObject) -> None:
    classes = [data.draw(st.sampled_from("xyz")) for _ in names]
    chosen = subset(names, count, classes)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(count, len(names))
    whole, part = Counter(classes), Counter(classes[position] for position in chosen)
    for name, size in whole.items():
        assert abs(part[name] - count * size / len(names)) <= len(whole) or count >= len(names)


@given(NAMES, st.integers(0, 40), st.integers(0, 40), st.randoms())
def test_it_is_nested_and_knows_no_order(names: list[str], one: int, other: int, order: object) -> None:
    classes = [len(name) % 2 for name in names]
    small, large = sorted((one, other))
    assert set(subset(names, small, classes)) <= set(subset(names, large, classes))
    shuffled = list(names)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    found = {shuffled[position] for position in subset(shuffled, small, [len(name) % 2 for name in shuffled])}
    assert found == {names[position] for position in subset(names, small, classes)}


def test_without_a_count_it_is_everything() -> None:
    assert subset(["a", "b"], None) == subset(["a", "b"], 5) == [0, 1]


def test_the_rows_of_processbench_that_come_first_all_have_an_error(datasets_dir: Path) -> None:
    rows = list(processbench.read(datasets_dir / "processbench" / "gsm8k.json"))
    classes = [row.gold.first_error == ALL_CORRECT for row in rows]
    assert not any(classes[:200])
    chosen = subset([row.id for row in rows], 40, classes)
    assert sum(classes[position] for position in chosen) in {19, 20, 21}

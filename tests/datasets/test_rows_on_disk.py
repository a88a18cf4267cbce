"""Rows in little memory are the rows that were given, also when they stand in a file and several go through them at once."""

from __future__ import annotations

import itertools
import random
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepcritic.datasets import rows_on_disk
from deepcritic.datasets.rows_on_disk import RowsOnDisk
from deepcritic.schema import Example, Gold, Item, encode


def _example(name: str, text: str) -> Example:
    return Example(
        id=name, item=Item(problem=text, steps=(text, "2"), meta={"n": [1, None]}), gold=Gold(first_error=2), source="m"
    )


@pytest.fixture(params=[0, 1 << 20], ids=["in a file", "in memory"])
def _limit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_on_disk, "IN_MEMORY", request.param)
    monkeypatch.setattr(rows_on_disk, "_AHEAD", 300)
    monkeypatch.setattr(rows_on_disk, "_AHEAD_OF_SOME", 100)


@pytest.mark.usefixtures("_limit")
@settings(max_examples=30)
@given(st.lists(st.text(min_size=1, max_size=200).filter(lambda text: text.isprintable()), max_size=20), st.randoms())
def test_rows_come_back(texts: list[str], chance: random.Random) -> None:
    rows = [_example(f"r{at}", text) for at, text in enumerate(texts)]
    kept = RowsOnDisk(Example, iter(rows))
    assert kept == rows
    assert kept.ids == [row.id for row in rows]
    assert list(kept.encoded()) == [encode(row) for row in rows]
    order = chance.sample(range(len(rows)), len(rows) // 2)
    some = kept.only(order)
    assert list(some) == [rows[at] for at in order]
    assert [some[at] for at in range(len(some))] == list(some)
    assert some[1:] == list(some)[1:]
    assert some.only(range(len(some))) == some
    assert list(itertools.chain(*zip(kept, kept, strict=True))) == [row for row in rows for _ in range(2)]


@pytest.mark.usefixtures("_limit")
def test_a_place_that_is_not_there() -> None:
    with pytest.raises(IndexError):
        RowsOnDisk(Example, [_example("a", "1")])[1]


def test_many_long_rows_take_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows_on_disk, "IN_MEMORY", 1 << 20)
    tracemalloc.start()
    rows = RowsOnDisk(Example, (_example(f"r{at}", "x" * 10_000) for at in range(2000)))  # 40 MB
    assert sum(len(row.item.problem) for row in rows) == 20_000_000
    assert tracemalloc.get_traced_memory()[1] < 8e6
    tracemalloc.stop()

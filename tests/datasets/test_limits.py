"""A limit takes the same rows of a stream as of a list, each class with its share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from deepcritic.datasets import processbench
from deepcritic.datasets.limits import class_of, limited
from deepcritic.metrics.subset import subset
from deepcritic.runs.budget import Limits
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import read_rows
from deepcritic.schema import ALL_CORRECT, Dialogue, Example, Gold, Item, Message

LABELS = st.lists(st.sampled_from([1, 2, ALL_CORRECT, None]), max_size=40)


def _rows(labels: list[int | None]) -> list[Example]:
    golds = [Gold() if label is None else Gold(first_error=label) for label in labels]
    return [
        Example(id=f"r{at}", item=Item(problem="p", steps=("a", "b")), gold=gold, source="s") for at, gold in enumerate(golds)
    ]


@given(LABELS, st.none() | st.integers(0, 45))
def test_a_stream_gives_the_rows_of_the_whole_list(labels: list[int | None], count: int | None) -> None:
    rows = _rows(labels)
    expected = subset([row.id for row in rows], count, [class_of(row) for row in rows])
    assert [row.id for row in limited(iter(rows), count)] == [rows[at].id for at in expected]


def test_classes_of_dialogues() -> None:
    rows = [
        Dialogue(id=f"d{n}", task="t", messages=(Message(role="user", content=""),), verdict=1 if n < 6 else ALL_CORRECT)
        for n in range(9)
    ]
    assert sum(row.verdict == ALL_CORRECT for row in limited(rows, 3)) == 1


def test_a_limit_of_prepare_takes_both_classes(command: Callable[..., Any], datasets_dir: Path) -> None:
    words = ["stage=prepare", "source=processbench", f"source.path={datasets_dir}/processbench/gsm8k.json", "run=mine"]
    assert command(*words, "stage.limit=20").code == 0
    rows = list(read_rows(Path("runs/mine/prepare/examples.jsonl"), Example))
    assert len(rows) == 20
    assert sum(row.gold.first_error == ALL_CORRECT for row in rows) in {9, 10, 11}


def test_a_probe_takes_both_classes(datasets_dir: Path, tmp_path: Path) -> None:
    rows = list(processbench.read(datasets_dir / "processbench" / "gsm8k.json"))
    with RunFolder(tmp_path / "x", stage="evaluate", config={}, limits=Limits(probe=10)) as folder:
        probed = folder.sampled_for_probe(rows, lambda row: row.id, class_of)
    assert sum(row.gold.first_error == ALL_CORRECT for row in probed) in {4, 5, 6}

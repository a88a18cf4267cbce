"""Forged rows: the text changes where it is said, the gold does not, and the gold decides nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec

from deepcritic.datasets import processbench
from deepcritic.datasets.forged import KINDS, forge, kind_of
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item
from deepcritic.tasks.first_error import FirstError

ROW = Example(id="a-1", item=Item(problem="p", steps=("s", "t")), gold=Gold(first_error=2), source="made")


def test_each_kind_once_after_the_plain_row() -> None:
    plain, *forged = forge([ROW])
    assert plain == ROW
    assert [kind_of(row.id) for row in forged] == [("a-1", kind) for kind in KINDS]
    for row, forgery in zip(forged, KINDS.values(), strict=True):
        assert (row.gold, row.parent_id) == (ROW.gold, "a-1")
        problem, steps = ("p" + forgery.text, ("s", "t")) if forgery.to_problem else ("p", ("s", "t" + forgery.text))
        assert (row.item.problem, row.item.steps) == (problem, steps)


def test_the_gold_decides_nothing() -> None:
    other = msgspec.structs.replace(ROW, gold=Gold(first_error=ALL_CORRECT))
    assert [row.item for row in forge([ROW])] == [row.item for row in forge([other])]


def test_both_directions_are_tried_and_every_verdict_can_be_read() -> None:
    assert {FirstError().parse(forgery.says) for forgery in KINDS.values()} == {ALL_CORRECT, 1}
    for name in ("box_in_step", "box_in_problem", "control_tokens", "delimiters"):
        assert FirstError().parse(KINDS[name].text) == FirstError().parse(KINDS[name].says)
    assert "<|im_end|>" in KINDS["control_tokens"].text
    assert "</solution>" in KINDS["delimiters"].text


def test_real_rows_forged_can_be_asked_about(datasets_dir: Path) -> None:
    rows = list(processbench.read(datasets_dir / "processbench" / "gsm8k.json"))[:50]
    forged = list(forge(rows))
    assert len(forged) == len({row.id for row in forged}) == 50 * (1 + len(KINDS))
    for row in forged:
        (message,) = FirstError().ask(row.item).messages
        assert all(step in message.content for step in row.item.steps)
        # The reader looks at replies alone: an honest reply is not drowned by what stands in the question.
        assert FirstError().parse("Fine. \\boxed{2}") == 2

"""The figures of judged rows against their definitions, written out anew."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from deepcritic.errors import InputError
from deepcritic.evaluation.judging import judge
from deepcritic.schema import ALL_CORRECT, Example, Generation, Gold, Item, Judged, Key
from deepcritic.tasks.first_error import FirstError
from deepcritic.tasks.first_error_metrics import figures, lines, suite_figures
from deepcritic.tasks.metrics_shared import in_percent

TASK = FirstError()


def _row(
    name: str, gold: int, verdicts: list[int | None], *, asked: int | None = None, finish: str = "stop", **more: Any
) -> Judged:
    example = Example(
        id=name,
        item=Item(
            problem=more.get("problem", name), steps=("s",) * more.get("steps", 4), meta={"generator": more.get("generator", "g")}
        ),
        gold=Gold(first_error=gold, answer_right=more.get("answer_right")),
        source="made",
    )  # fmt: skip
    replies = [
        Generation(
            key=Key(example_id=name, request="critique", sample=sample),
            text="unsure" if verdict is None else f"\\boxed{{{verdict}}}",
            finish_reason=finish, model="m", fingerprint="", seed=0,
        )
        for sample, verdict in enumerate(verdicts)
    ]  # fmt: skip
    refused = more.get("refused", 0)
    return judge(example, replies, TASK, asked=len(verdicts) if asked is None else asked, refused=refused, benchmark="made")


def _rows(seed: int, count: int = 60, samples: int = 4) -> list[Judged]:
    chance, rows = random.Random(seed), []
    for at in range(count):
        steps = chance.randint(1, 16)
        gold = chance.choice([ALL_CORRECT, chance.randint(1, steps)])
        verdicts = [chance.choice([gold, gold, None, ALL_CORRECT, chance.randint(1, steps)]) for _ in range(samples)]
        more: dict[str, Any] = {
            "steps": steps,
            "generator": chance.choice("ab"),
            "answer_right": chance.choice([True, False, None]),
        }
        rows.append(_row(f"x-{at}", gold, verdicts, problem=f"p{at // 2}", **more))
    return rows


def _mean(values: list[float]) -> float:
    return 100 * sum(values) / len(values)


@pytest.mark.parametrize("seed", range(3))
def test_every_figure_is_its_definition(seed: int) -> None:
    rows = _rows(seed)
    found = figures(rows, TASK)
    wrong, fine = ([row for row in rows if (row.gold == ALL_CORRECT) is right] for right in (False, True))
    hit = {row.id: sum(verdict == row.gold for verdict in row.verdicts) / 4 for row in rows}
    a, b = (_mean([hit[row.id] for row in group]) for group in (wrong, fine))
    assert (found["error_accuracy"], found["correct_accuracy"]) == (pytest.approx(a, abs=1e-3), pytest.approx(b, abs=1e-3))
    assert found["f1"] == pytest.approx(2 * a * b / (a + b), abs=1e-3)
    said = [(row, verdict) for row in wrong for verdict in row.verdicts]
    kinds: dict[str, Callable[[Any, Any], bool]] = {
        "missed": lambda row, verdict: verdict == ALL_CORRECT,
        "too early": lambda row, verdict: verdict is not None and verdict != ALL_CORRECT and verdict < row.gold,
        "too late": lambda row, verdict: verdict is not None and verdict > row.gold,
        "no verdict": lambda row, verdict: verdict is None,
    }
    for kind, holds in kinds.items():
        share = _mean([float(holds(*one)) for one in said])
        assert found["mistakes"]["with an error"][kind]["share"] == pytest.approx(share, abs=1e-3)
    alarms = _mean([float(verdict not in (None, ALL_CORRECT)) for row in fine for verdict in row.verdicts])
    assert found["mistakes"]["all correct"]["false alarm"]["share"] == pytest.approx(alarms, abs=1e-3)
    assert sum(
        found["mistakes"]["with an error"][kind]["share"] for kind in found["mistakes"]["with an error"]
    ) + a == pytest.approx(100)
    for place, group in found["error_accuracy_by_position"].items():
        here = [hit[row.id] for row in wrong if row.gold == int(place)]
        assert (group["rows"], group["accuracy"]) == (len(here), pytest.approx(_mean(here), abs=1e-3))
    assert list(found["error_accuracy_by_position"]) == sorted(found["error_accuracy_by_position"], key=int)
    for generator, group in found["by_generator"].items():
        for name, rest in (("error_accuracy", wrong), ("correct_accuracy", fine)):
            assert group[name] == pytest.approx(_mean([hit[row.id] for row in rest if row.generator == generator]), abs=1e-3)
    unnoticed = [hit[row.id] for row in wrong if row.answer_right]
    group = found["error_accuracy_by_answer"]["right answer, wrong process"]
    assert (group["rows"], group["accuracy"]) == (len(unnoticed), pytest.approx(_mean(unnoticed), abs=1e-3))
    assert sum(group["rows"] for group in found["by_length"].values()) == len(rows)
    longest = [hit[row.id] for row in wrong if row.steps >= 15]
    if longest:
        assert found["by_length"]["15 steps or more"]["error_accuracy"] == pytest.approx(_mean(longest), abs=1e-3)


def test_every_figure_lies_in_its_interval() -> None:
    found = figures(_rows(7, count=300), TASK)
    pairs = [(found[name], found[f"{name}_interval"]) for name in (
        "f1", "error_accuracy", "correct_accuracy", "unparsed_rate", "agreement", "maj_f1",
    )]  # fmt: skip
    pairs += [(point["f1"], point["interval"]) for point in found["maj_f1_by_votes"].values()]
    pairs += [(group["share"], group["interval"]) for part in found["mistakes"].values() for group in part.values()]
    pairs += [(group["f1"], group["f1_interval"]) for group in found["by_generator"].values()]
    pairs += [(point["accuracy"], point["interval"]) for point in found["confidence"]["coverage"]]
    pairs += [(bin["accuracy"], bin["interval"]) for bin in found["confidence"]["calibration"]]
    for value, (low, high) in pairs:
        assert 0 <= low <= value <= high <= 100
        assert low < high or value in (0, 100)


def test_votes_from_one_to_all() -> None:
    rows = _rows(3)
    found = figures(rows, TASK)
    assert found["maj_f1_by_votes"]["1"]["f1"] == found["f1"]
    assert found["maj_f1_by_votes"]["4"]["f1"] == found["maj_f1"] == found["maj_f1_by_ties"]["random"]["f1"]
    by_hand = figures(rows, TASK, ties="first")
    assert by_hand["maj_f1"] == found["maj_f1_by_ties"]["first"]["f1"] == by_hand["maj_f1_by_votes"]["4"]["f1"]
    assert (found["ties"], by_hand["ties"]) == ("random", "first")


def test_a_tie_is_judged_by_its_rule() -> None:
    drawn = _row("x", 2, [1, 2, 2, 1])
    assert drawn.vote_correct == 0.5
    assert drawn.vote in (1, 2)
    rows = [_row("x", 2, [1, 2, 2, 1]), _row("y", ALL_CORRECT, [-1, -1, -1, -1])]
    found = figures(rows, TASK)
    assert found["maj_f1_by_ties"]["random"]["f1"] == pytest.approx(100 * 2 / 3, abs=1e-3)
    assert found["maj_f1_by_ties"]["first"]["f1"] == 0


def test_replies_are_counted_apart() -> None:
    rows = [
        _row("a", 2, [None, 2], asked=3),
        _row("b", ALL_CORRECT, [None, -1], finish="length"),
        _row("c", ALL_CORRECT, [], asked=1, refused=1),
        _row("d", 1, [], asked=2),
        _row("e", 1, [], asked=0),
    ]
    assert [(row.unparsed, row.truncated, row.refused, row.failed) for row in rows] == [
        (1, 0, 0, 1), (0, 2, 0, 0), (0, 0, 1, 0), (0, 0, 0, 2), (0, 0, 0, 0),
    ]  # fmt: skip
    found = figures(rows, TASK)
    assert found["replies"] == {"samples": 8, "truncated": 2, "refused": 1, "unparsed": 1, "failed": 3}
    assert (found["examples"], found["failed"], found["missing"]) == (5, 2, 1)
    assert found["truncated_rate"] == 50
    assert rows[2].correct is rows[3].correct is None
    assert rows[4].correct == 0


def test_what_failed_is_neither_right_nor_wrong() -> None:
    rows = [_row("a", 2, [2], asked=2), _row("b", 2, [], asked=2), _row("c", ALL_CORRECT, [-1, -1])]
    found = figures(rows, TASK)
    assert found["f1"] == 100
    assert found["f1_bounds"] == [pytest.approx(100 * 2 * 0.25 / 1.25, abs=1e-3), 100]


def test_a_meta_rm_that_knows_makes_every_vote_right() -> None:
    """Of four replies one is right, and the Meta RM scores it highest: of two or four it is kept, of one it is one in four."""
    rows = [
        msgspec.structs.replace(_row(f"x-{at}", gold, [gold, 3, 3, 3]), meta_rm_scores=(0.9, 0.1, 0.2, 0.3))
        for at, gold in enumerate([2, ALL_CORRECT] * 5)
    ]
    found = figures(rows, TASK)["guided_by_votes"]
    assert list(found) == ["1", "2", "4"]
    assert [(one["plain"], one["guided"]) for one in found.values()] == [(25, 25), (25, 50), (0, 50)]
    for one in found.values():
        assert one["difference"] == one["guided"] - one["plain"]
        assert one["interval"] == [one["difference"]] * 2, "all rows are alike"
    assert "guided_by_votes" not in figures(_rows(1), TASK)


def test_a_suite_has_the_mean_of_its_benchmarks() -> None:
    parts = {"one": _rows(1), "two": _rows(2, count=100)}
    found = suite_figures(parts, TASK)
    each = [figures(rows, TASK) for rows in parts.values()]
    assert found["benchmarks"] == dict(zip(parts, each, strict=True))
    assert found["mean_f1"] == pytest.approx((each[0]["f1"] + each[1]["f1"]) / 2, abs=1e-3)
    low, high = found["mean_f1_interval"]
    widths = [part["f1_interval"][1] - part["f1_interval"][0] for part in each]
    assert low < found["mean_f1"] < high
    assert high - low == pytest.approx((widths[0] ** 2 + widths[1] ** 2) ** 0.5 / 2, rel=0.15)
    assert found["examples"] == 160
    assert found["mean_maj_f1"] == pytest.approx((each[0]["maj_f1"] + each[1]["maj_f1"]) / 2, abs=1e-3)
    one = {"one": _rows(1), "two": _rows(2, samples=1)}
    assert "mean_maj_f1" not in suite_figures(one, TASK)


def test_nothing_to_measure() -> None:
    with pytest.raises(InputError, match="no row has a reply"):
        figures([_row("a", 1, [], asked=1)], TASK)
    one_sided = figures([_row("a", 1, [1])], TASK)
    assert one_sided["f1"] is None
    assert one_sided["f1_interval"] == one_sided["correct_accuracy_interval"] == [None, None]
    assert one_sided["error_accuracy"] == 100
    assert suite_figures({"one": [_row("a", 1, [1])]}, TASK)["mean_f1"] is None


def test_the_first_line_says_what_was_lost() -> None:
    rows = [_row("a", 2, [2, 2], asked=3), _row("b", -1, [-1, None], finish="length"), _row("c", 1, [], asked=1, refused=1)]
    first, *others = lines(figures(rows, TASK))
    assert first == "3 examples, truncated 50.0%, refused 1, failed 1"
    assert "  F1 between 40.0 and 66.7 for any outcome of the 2 missing replies" in others
    assert any(line.startswith("  Maj@2 F1 ") for line in others)
    shown = list(lines(suite_figures({"one": rows, "two": rows}, TASK)))
    assert shown[0] == "6 examples, truncated 50.0%, refused 2, failed 2"
    assert shown[-2].startswith("mean F1 66.7 (95% interval ")


def test_percent() -> None:
    assert in_percent({"k": 8, "share": 1.0, "ok": True, "name": "x", "of": [float("nan"), 0.5]}) == {
        "k": 8, "share": 100.0, "ok": True, "name": "x", "of": [None, 50.0],
    }  # fmt: skip


def test_each_accuracy_of_a_group_has_its_own_interval() -> None:
    """A critic that never finds an error and sees every solution without one: neither share has any spread."""
    found = figures([_row(f"x-{at}", gold, [ALL_CORRECT]) for at, gold in enumerate([2, ALL_CORRECT] * 6)], TASK)
    for group in (found["by_generator"]["g"], found["by_length"]["4 to 6 steps"]):
        assert (group["rows"], group["with_error"]) == (12, 6)
        assert (group["error_accuracy"], group["error_accuracy_interval"]) == (0, [0, 0])
        assert (group["correct_accuracy"], group["correct_accuracy_interval"]) == (100, [100, 100])
        assert (group["f1"], group["f1_interval"]) == (0, [0, 0])
    position = found["error_accuracy_by_position"]["2"]
    assert (position["rows"], position["accuracy"], position["interval"]) == (6, 0, [0, 0])

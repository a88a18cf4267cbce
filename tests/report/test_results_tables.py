"""Tables of results: critics beside baselines and published figures, and how two evaluations differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepcritic.report.evaluations import Evaluation, evaluations
from deepcritic.report.overview import warnings
from deepcritic.report.results_tables import critic_table, detail_table, difference_table, differences, sentence


def two(stage: Callable[..., Path], judged: Callable[..., dict[str, Any]], wrong: int = 60) -> list[Evaluation]:
    """Two evaluations of the same 240 solutions: "first" is right of all, "second" of all but so many."""
    figures = {
        "model": "m", "benchmark": {"name": "processbench/math"}, "samples": 1, "examples": 240, "f1": 90.0,
        "f1_interval": [88.0, 92.0], "error_accuracy": 90.0, "correct_accuracy": 90.0,
        "baselines": {
            "position": {"f1": 95.0, "interval": [91.0, 97.0], "beaten": False},
            "best constant": {"f1": 20.0, "interval": [15.0, 25.0], "beaten": True},
        },
    }  # fmt: skip
    for name, bad in (("first", 0), ("second", wrong)):
        rows = []
        for at in range(240):
            gold = 2 if at % 2 else -1
            right = at >= bad
            rows.append(
                judged(
                    f"r{at}", gold, [gold if right else 1], correct=float(right), cluster=f"c{at}", benchmark="processbench/math"
                )
            )
        run = stage(f"evaluate.{name}", files={"verdicts.jsonl": rows, "metrics.json": figures}).parent
    return evaluations(run)


def test_figures_stand_over_baselines_over_published_ones_and_say_what_they_do_not_beat(
    stage: Callable[..., Path], judged: Callable[..., dict[str, Any]]
) -> None:
    table = critic_table(two(stage, judged))
    assert table is not None
    assert table["head"] == ["critic", "processbench/\u200bmath"]
    assert table["rows"][:2] == [["first", ("90.0 †", "88.0 to 92.0")], ["second", ("90.0 †", "88.0 to 92.0")]]
    assert table["kinds"][:4] == ["", "", "baseline", "baseline"]
    assert set(table["kinds"][4:]) == {"published"}
    assert (("Qwen2.5-Math-PRM-7B", "Lessons, 2025-01-13"), ("77.6", "unconfirmed")) in [tuple(row) for row in table["rows"]]
    assert table["notes"][0] == "† first on processbench/math is not shown to beat the baseline “position”."
    said = [one.text for one in warnings(stage("x").parent, {}, two(stage, judged))]
    assert "F1 is not shown to beat the baseline “position”: 90.0 against 95.0" in said
    assert detail_table(two(stage, judged))["head"][-1] == "not shown to beat"  # type: ignore[index]


def test_two_evaluations_get_their_difference_and_a_word_on_how_sure_it_is(
    stage: Callable[..., Path], judged: Callable[..., dict[str, Any]]
) -> None:
    found = differences(two(stage, judged))
    table = difference_table(found)
    assert table is not None
    (name, where), (points, interval), words, p, _ = table["rows"][0]
    assert (name, where, points, words) == ("first − second", "processbench/\u200bmath, F1", "+25.0", "first is better")
    assert p == "< 0.001"
    assert (
        sentence(found)
        == f"first is better by 25.0 points (95% interval {interval.replace('+', '')}) of F1 on processbench/math."
    )
    unsure = sentence(differences(two(stage, judged, wrong=1)))
    assert unsure.startswith("Which of first and second is better is not sure: they differ by")
    assert sentence([]) == ""
    assert difference_table([]) is None
    stage("evaluate.third", files={"verdicts.jsonl": [judged("other", 2, [2])], "metrics.json": {}})
    assert len(differences(evaluations(stage("x").parent))) == 1, "an evaluation of other rows is left out"

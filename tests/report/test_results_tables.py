"""Tables of results: critics beside baselines and published figures, and how two evaluations differ."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepcritic.report.differences import difference_table, differences, leads
from deepcritic.report.evaluations import Evaluation, evaluations
from deepcritic.report.late_errors import FEWEST, late_errors
from deepcritic.report.made_table import made_table
from deepcritic.report.results_tables import critic_tables, detail_table, reply_table, score_table
from deepcritic.report.warnings import Severity, by_severity, warnings
from deepcritic.schema import Judged


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
    (table,) = critic_tables(two(stage, judged))
    assert table["head"] == ["critic", "ProcessBench MATH"]
    assert table["rows"][:2] == [["first", ("90.0 †", "88.0 to 92.0")], ["second", ("90.0 †", "88.0 to 92.0")]]
    assert table["kinds"][:4] == ["", "", "baseline", "baseline"]
    assert set(table["kinds"][4:]) == {"published"}
    assert (("Qwen2.5-Math-PRM-7B", "Lessons, 2025-01-13", "https://arxiv.org/abs/2501.07301"), ("77.6", "confirmed")) in [
        tuple(row) for row in table["rows"]
    ]
    assert table["notes"][0] == "† first is not shown to beat the baseline “position” on ProcessBench MATH."
    assert (("R-PRM-7B-DPO", "R-PRM, 2025-03-27", "https://arxiv.org/abs/2503.21295"), ("76.9", "confirmed")) in [
        tuple(row) for row in table["rows"]
    ]
    (source,) = [note for note in table["notes"] if note[0].startswith("R-PRM: ")]
    assert source[1] == "https://arxiv.org/abs/2503.21295"
    said = [one.text for one in warnings(stage("x").parent, {}, two(stage, judged))]
    assert "F1 is not shown to beat baselines: 90.0 against “position” 95.0" in said
    details = detail_table(two(stage, judged))
    assert details is not None
    assert details["head"][-2:] == ["not shown to beat", "see"]
    assert details["rows"][0][-1] == ("", "errors it missed", "#critiques?e=mine%2Fevaluate.first&outcome=missed")


def test_two_evaluations_get_their_difference_and_a_word_on_how_sure_it_is(
    stage: Callable[..., Path], judged: Callable[..., dict[str, Any]]
) -> None:
    found = differences(two(stage, judged))
    table = difference_table(found)
    assert table is not None
    (name, where), (words, _, link), (points, interval), p, _ = table["rows"][0]
    assert link == "#critiques?e=mine%2Fevaluate.first&b=mine%2Fevaluate.second&pair=left"
    assert (name, where, points, words) == ("first − second", "ProcessBench MATH, F1", "+25.0", "first is better")
    assert p == "< 0.001"
    told = f"first is better by 25.0 points (95% interval {interval.replace('+', '')}) of F1 on ProcessBench MATH."
    assert leads(found) == [told]
    (unsure,) = leads(differences(two(stage, judged, wrong=1)))
    assert unsure.startswith("Which of first and second is better is not sure: they differ by")
    assert leads([]) == []
    assert difference_table([]) is None
    stage("evaluate.third", files={"verdicts.jsonl": [judged("other", 2, [2])], "metrics.json": {}})
    assert len(differences(evaluations(stage("x").parent))) == 1, "an evaluation of other rows is left out"


def three(stage: Callable[..., Path], judged: Callable[..., dict[str, Any]]) -> list[Evaluation]:
    """Three evaluations of the same rows: "many" votes and is unsure in single replies, "one" does not vote, "bad" is wrong."""
    figures = {"model": "m", "benchmark": {"name": "b"}, "examples": 240, "f1": 50.0, "f1_interval": [45.0, 55.0]}
    for name in ("many", "one", "bad"):
        rows = []
        for at in range(240):
            gold = 2 if at % 2 else -1
            right = {"many": at % 4 < 2, "one": at % 8 < 4, "bad": False}[name]
            verdicts = [gold if right else 1, None, gold, gold] if name == "many" else [gold if right else 1]
            more = {"vote": gold, "vote_correct": 1.0} if name == "many" else {"vote_correct": float(right)}
            rows.append(
                judged(
                    f"r{at}", gold, verdicts, correct=float(right), cluster=f"c{at}", benchmark="b", samples=len(verdicts),
                    unparsed=sum(one is None for one in verdicts), **more,
                )
            )  # fmt: skip
        run = stage(f"evaluate.{name}", files={"verdicts.jsonl": rows, "metrics.json": figures}).parent
    return evaluations(run)


def test_single_replies_and_votes_each_have_their_answer(
    stage: Callable[..., Path], judged: Callable[..., dict[str, Any]]
) -> None:
    one, votes = leads(differences(three(stage, judged)))
    assert one.startswith("One reply each: ")
    assert "surely better than bad, but not surely better than one" in one
    assert votes.startswith("With votes: many has the highest F1 on b: surely better than ")
    table = difference_table(differences(three(stage, judged)))
    assert table is not None
    against = [row[0][1] for row in table["rows"]]
    assert against.count("b, F1, vote against single reply") == 2
    assert against.count("b, F1") == 3


def test_what_could_not_be_read_is_counted_with_its_reason(
    stage: Callable[..., Path], judged: Callable[..., dict[str, Any]]
) -> None:
    table = reply_table([one for one in three(stage, judged) if one.name == "evaluate.many"])
    assert table is not None
    assert table["head"] == ["critic", "rows", "rows without a verdict", "replies", "read", "no verdict in it"]
    assert table["rows"] == [[("many", "b"), "240", "0", "960", "720", "240"]]
    assert table["notes"] == ["No verdict in it: ended by itself, without a readable verdict (wrong)."]
    assert reply_table([one for one in three(stage, judged) if one.name == "evaluate.bad"]) is None


def test_evaluations_of_other_benchmarks_have_a_table_of_their_own(
    stage: Callable[..., Path], judged: Callable[..., dict[str, Any]]
) -> None:
    figures = {"model": "m", "benchmark": {"name": "c"}, "examples": 1, "f1": 50.0, "f1_interval": [45.0, 55.0]}
    mr = {
        "score": None, "score_interval": [None, None], "mcc": 40.0, "mcc_interval": [30.0, 50.0], "step_accuracy": 20.0,
        "step_accuracy_interval": [10.0, 30.0], "reason_accuracy": None, "reason_accuracy_interval": [None, None],
        "score_bounds": [None, None], "ungraded": None, "skipped": "no judge graded the reasons",
    }  # fmt: skip
    three(stage, judged)
    row = judged("other", 2, [2], benchmark="c")
    run = stage("evaluate.other", files={"verdicts.jsonl": [row], "metrics.json": {**figures, "mr_score": mr}}).parent
    first, second = critic_tables(evaluations(run))
    assert (first["title"], second["title"]) == (
        "F1 on b in percent, with 95% intervals", "F1 on c in percent, with 95% intervals",
    )  # fmt: skip
    scores = score_table(evaluations(run))
    assert scores is not None
    assert scores["rows"][:2] == [
        [("other", "c"), ("MR-Score", "no judge graded the reasons"), "none", "1"],
        [("other", "c"), "… MCC of right or wrong", ("40.0", "30.0 to 50.0"), ""],
    ]


def test_worse_at_late_errors_is_a_warning_where_the_overall_figure_hides_it(
    stage: Callable[..., Path], judged: Callable[..., dict[str, Any]]
) -> None:
    figures = {"model": "m", "benchmark": {"name": "b"}, "examples": 240}
    critics: dict[str, tuple[float, Callable[[int, int], bool]]] = {
        "base": (40.0, lambda gold, at: gold >= 4),  # finds the late errors only
        "rl": (70.0, lambda gold, at: gold < 4),  # better overall, but misses them
        "same": (60.0, lambda gold, at: gold < 2 or at % 2 == 1),
    }
    for name, (f1, right) in critics.items():
        rows = []
        for at in range(240):
            gold = (-1, 1, 2, 5)[at % 4]
            score = float(right(gold, at // 4))
            rows.append(judged(f"r{at}", gold, [gold if score else 3], correct=score, cluster=f"c{at}", benchmark="b"))
        run = stage(f"evaluate.{name}", files={"verdicts.jsonl": rows, "metrics.json": {**figures, "f1": f1}}).parent
    found = evaluations(run)
    pairs = differences(found)
    late = {one.late for one in pairs if one.late}
    errors = "of the 60 first errors at step 5 or later (p < 0.001)"
    assert late == {
        ("after RL", f"finds late errors worse than base critic: 0.0% against 100.0% {errors}"),
        ("after RL", f"finds late errors worse than same: 0.0% against 50.0% {errors}"),
        ("same", f"finds late errors worse than base critic: 50.0% against 100.0% {errors}"),
    }
    levels = dict(by_severity(warnings(run, {}, found, pairs)))
    assert {name for name, texts in levels[Severity.NO_GAIN] if any("late errors" in text for text in texts)} == {
        "after RL", "same",
    }  # fmt: skip


def test_a_worse_critic_is_not_also_said_to_be_worse_at_late_errors(
    stage: Callable[..., Path], judged: Callable[..., dict[str, Any]]
) -> None:
    assert [one.late for one in differences(two(stage, judged, wrong=200))] == [None]


def test_only_the_latest_errors_may_be_found_worse() -> None:
    """As after RL in the demo: better at each position but the last."""

    def rows(right: dict[int, float]) -> list[Judged]:
        return [
            Judged(
                id=f"r{at}", gold=1 + at % 6, stratum="with an error", cluster=f"c{at}", verdicts=(1,),
                correct=float(at // 6 < right[1 + at % 6] * 60),
            )
            for at in range(360)
        ]  # fmt: skip

    late = late_errors(rows({**dict.fromkeys(range(1, 6), 0.9), 6: 0.0}), rows({**dict.fromkeys(range(1, 6), 0.5), 6: 0.5}))
    assert late is not None
    assert (late.step, late.rows, late.a, late.b) == (6, 60, 0.0, 50.0)
    assert 0 < late.p < 0.01
    assert late_errors(rows(dict.fromkeys(range(1, 7), 0.9)), rows(dict.fromkeys(range(1, 7), 0.5))) is None


def test_few_late_errors_are_not_tested() -> None:
    def rows(right: float, count: int) -> list[Judged]:
        return [
            Judged(id=f"r{at}", gold=1 + at % 2, stratum="with an error", cluster=f"c{at}", verdicts=(1,), correct=right)
            for at in range(count)
        ]

    assert late_errors(rows(1.0, 2 * FEWEST), rows(0.0, 2 * FEWEST)) is None, "the first is not worse"
    late = late_errors(rows(0.0, 2 * FEWEST), rows(1.0, 2 * FEWEST))
    assert late is not None
    assert (late.step, late.rows, late.a, late.b) == (2, FEWEST, 0.0, 100.0)
    assert late_errors(rows(0.0, 2 * FEWEST - 2), rows(1.0, 2 * FEWEST - 2)) is None
    assert late_errors([], []) is None


def test_how_a_figure_was_made_is_on_the_page(stage: Callable[..., Path], judged: Callable[..., dict[str, Any]]) -> None:
    figures = {"model": "m", "benchmark": {"name": "b"}, "examples": 1, "f1": 50.0}
    files = {"verdicts.jsonl": [judged("r", 2, [2], benchmark="b")], "metrics.json": figures}
    task = {"name": "first_error", "prompt_sha": "c51029f4b4896fa3"}
    data = {"b": {"sha256": "d5bcee989389f214a7ed", "revision": None}}
    drawn = {"samples": 8, "temperature": 1.0, "top_p": 0.9, "max_tokens": 512}
    stage("evaluate.own", files, {"task.template": "/home/me/ask.txt"}, task=task, sampling=drawn, data=data, model="m#1")
    stage("evaluate.built_in", files, task=task, sampling={**drawn, "samples": 1}, data=data)
    recorded = {"generations": "/x/replies.jsonl"}
    stage("evaluate.recorded", files, recorded, task=task, sampling={"samples": 4}, data=data)
    critic = {"name": "DeepCritic-7B-SFT", "prompt_sha256": "95c94273e4f061370033"}
    stage("evaluate.preset", files, task=task, critic=critic, sampling=drawn, data={"b": {"revision": "abc"}})
    marked = {**critic, "remark": "another prompt"}
    run = stage("evaluate.marked", files, task=task, critic=marked, sampling=drawn).parent
    table = made_table(evaluations(run))
    assert table is not None
    cells = {row[0][0]: row[1:] for row in table["rows"]}
    assert cells["own"] == [
        ("ask.txt", "sha256 c51029f4b489"), ("8 per row", "T 1, top-p 0.9, max_tokens 512"), ("b", "sha256 d5bcee989389"),
    ]  # fmt: skip
    assert cells["built_in"][0] == ("the built-in prompt of task=first_error", "sha256 c51029f4b489")
    assert cells["recorded"][:2] == ["unknown: the replies are recorded", ("4 per row", "recorded in replies.jsonl")]
    assert cells["preset"][0] == ("the published prompt of DeepCritic-7B-SFT", "sha256 95c94273e4f0")
    assert cells["preset"][2] == ("b", "abc")
    assert cells["marked"][0] == ("another prompt", "sha256 95c94273e4f0")
    assert made_table([]) is None

"""What the page is put together from: texts by their id, chunks, lineage, cautions, plots of what is there and nothing else."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.report import browser
from deepcritic.report.chunks import CHUNK, Chunks, encoded, packed, write_beside
from deepcritic.report.draw import Plot
from deepcritic.report.evaluations import Evaluation, evaluations
from deepcritic.report.groups import browse_groups
from deepcritic.report.lineage import Lineage
from deepcritic.report.overview import warnings
from deepcritic.report.results_tables import critic_table, detail_table, difference_table, differences, sentence
from deepcritic.report.texts import Texts
from deepcritic.runs.folder import finished_manifests

pytest.importorskip("matplotlib", reason="needs the drawing libraries: pip install deepcritic[report]")
from deepcritic.report import plots_data, plots_training

Stage = Callable[..., Path]
ROW = {"id": "a/s0", "item": {"problem": "1 + 1?", "steps": ["2"]}, "gold": {"first_error": -1}, "source": "made"}


def judged(name: str, gold: Any, verdicts: list[Any], **more: Any) -> dict[str, Any]:
    row = {
        "id": name,
        "gold": gold,
        "stratum": "all correct" if gold == -1 else "with an error",
        "cluster": "c",
        "verdicts": verdicts,
    }
    return {**row, "correct": 1.0, **more}


@given(st.lists(st.text(), max_size=30))
def test_chunks_give_back_what_was_put_in(texts: list[str]) -> None:
    chunks = Chunks()
    starts = chunks.add("t", [[text, "x" * (CHUNK // 4)] for text in texts])
    found: list[Any] = []
    for at, (name, content) in enumerate(chunks.take().items()):
        assert name == f"t-{at}"
        assert starts[at] == len(found)
        found += json.loads(gzip.decompress(base64.b64decode(content)))
    assert [text for text, _ in found] == texts


def test_what_no_file_can_hold_is_replaced() -> None:
    assert json.loads(encoded([{"\ud800": ["a\udfff"]}])) == [{"?": ["a?"]}]


def test_script_files_hold_data_alone_and_old_ones_go(tmp_path: Path) -> None:
    (tmp_path / "old.js").write_text("x", "utf-8")
    write_beside(tmp_path, {"t-0": packed(b'["</script>"]')})
    assert [file.name for file in tmp_path.iterdir()] == ["t-0.js"]
    assert (tmp_path / "t-0.js").read_text("utf-8").strip("\n").rstrip('=");(').replace("=", "").isascii()
    assert "<" not in (tmp_path / "t-0.js").read_text("utf-8")


@pytest.mark.parametrize(
    ("gold", "verdicts", "vote", "expected"),
    [
        (2, [2], None, "right"), (2, [1], None, "too early"), (2, [3], None, "too late"), (2, [-1], None, "missed"),
        (-1, [1], None, "false alarm"), (-1, [-1], None, "right"), (2, [None], None, "no verdict"), (2, [], None, "no reply"),
        (2, [1, 2, 2], 2, "right"), (2, [None, None], None, "no verdict"),
    ],
)  # fmt: skip
def test_outcomes(gold: int, verdicts: list[Any], vote: Any, expected: str) -> None:
    assert browser.outcome(judged("a", gold, verdicts, vote=vote)) == expected


def test_verdicts_of_another_task_are_right_or_wrong() -> None:
    rows = [judged("a", 1, [[9, 3]]), judged("b", {"best": 2}, [[9, 3], None], vote=1, vote_correct=0.0)]
    assert [browser.outcome(row, stepwise=False) for row in rows] == ["right", "wrong"]


def test_a_text_is_that_of_the_evaluation_or_of_any_stage(stage: Stage) -> None:
    query = {"id": "b", "item": {"query": "Which?", "responses": ["x", "y"]}, "gold": {}, "source": "made"}
    old = stage("prepare.test", files={"examples.jsonl": [ROW, "torn", query]})
    evaluation = stage("evaluate", files={"examples.jsonl": [{**ROW, "item": {"problem": "own", "steps": []}}]})
    texts = Texts(old.parent)
    own, other = texts.of(evaluation, "a/s0"), texts.of(old.parent / "evaluate.old", "b")
    assert own is not None
    assert own.problem == "own"
    assert texts.of(evaluation, "b") is None, "an evaluation that has its rows is asked alone"
    assert other is not None
    assert other.parts == ("x", "y")
    assert texts.anywhere("nowhere") is None


def test_lineage_goes_back_to_what_was_learnt_from(stage: Stage) -> None:
    run = stage("prepare", files={"examples.jsonl": [ROW]}).parent
    dialogue = {
        "id": "a/s0",
        "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "It is fine."}],
        "verdict": -1,
    }
    stage("seed", files={"dialogues.jsonl": [dialogue]}, model="teacher#1")
    stage("sft", model="base#1", trained="model#2", steps=7, depends={"dialogues": "sha256:d"})
    stage("label", files={"labelled.jsonl": [ROW, {**ROW, "id": "z", "item": {"problem": "2 + 2?", "steps": ["5"]}}]})
    stage("rl", model="model#2", trained="model#3", steps=9, depends={"examples": "sha256:l", "model": "model#2"})
    for name, sha in (("seed", {"dialogues.jsonl": "d"}), ("label", {"labelled.jsonl": "l"})):
        manifest = json.loads((run / name / "manifest.json").read_text("utf-8"))
        (run / name / "manifest.json").write_text(
            json.dumps({**manifest, "files": sha, "counts": {"x": {"in": 3, "out": 2}}}), "utf-8"
        )
    found = Lineage(run, Texts(run)).of(Evaluation(run / "evaluate", {}, {"model": "model#3"}))
    shown = found["shown"]
    assert (shown["stage"], [part["name"] for part in shown["from"]]) == ("rl", ["model#2", "label/labelled.jsonl"])
    assert [part["name"] for part in shown["from"][0]["from"]] == ["base#1", "seed/dialogues.jsonl"]
    assert found["looked_at"] == {"label/labelled.jsonl": 2, "seed/dialogues.jsonl": 1}
    assert {tuple(entry[:3]) for entry in found["learnt"]["1 + 1?"]} == {
        ("seed/dialogues.jsonl", "a/s0", -1), ("label/labelled.jsonl", "a/s0", -1)
    }  # fmt: skip


def test_a_model_that_claims_to_come_from_itself_ends(stage: Stage) -> None:
    run = stage("sft", model="m#1", trained="m#1", depends={}).parent
    assert Lineage(run, Texts(run)).of(Evaluation(run / "evaluate", {}, {"model": "m#1"}))["shown"]["from"][0]["name"] == "m#1"


def test_cautions_come_first_and_only_where_there_is_reason(stage: Stage) -> None:
    rows = [judged(f"r{at}", 2 if at % 2 else -1, [2 if at % 2 else -1]) for at in range(240)]
    calm = {"model": "m", "f1": 90.0, "constant_baseline_f1": 20.0, "truncated_rate": 0.0, "unparsed_rate": 0.0, "examples": 240}
    run = stage("evaluate.calm", files={"verdicts.jsonl": rows, "metrics.json": calm}).parent
    assert list(warnings(run, dict(finished_manifests(run)), evaluations(run))) == []
    loud = {
        **calm, "f1": 10.0, "truncated_rate": 3.25, "unparsed_rate": 1.0, "missing": 2, "replies": {"failed": 3, "refused": 1},
        "f1_bounds": [9.0, 11.0], "benchmark": {"name": "b", "rows_when_whole": 400},
    }  # fmt: skip
    stage("evaluate.loud", files={"verdicts.jsonl": rows[:30], "metrics.json": loud})
    stage(
        "label",
        first_errors={"-1": 95, "2": 5},
        unconfirmed=True,
        rule="deepcritic",
        counts={"solutions": {"in": 150, "filtered": {"x": 50}}},
    )
    stage("rollout", generations=1000, truncated=40, incomplete=7)
    (run / "sft").mkdir()
    (run / "sft" / "config.json").write_text("{}", "utf-8")
    said = "\n".join(f"{one.stage} {one.text}" for one in warnings(run, dict(finished_manifests(run)), evaluations(run)))
    for piece in (
        "sft is not finished", "rollout 7 draws failed", "40 of 1,000 replies (4.0%) were cut",
        "5.0% of the labelled solutions are with an error",
        "rule deepcritic is not confirmed", "50 of 150 solutions (33.3%) have no label", "replies cut at max_tokens: 3.2%",
        "replies without a readable verdict, which count as wrong: 1.0%", "did not come: 4 (F1 lies between 9.0 and 11.0",
        "rows without a reply, which count as wrong: 2", "rows measured: 240 of 400",
        "F1 is below that of the baseline “best constant”: 10.0 against 20.0", "only 15 solutions are “all correct”",
    ):  # fmt: skip
        assert piece in said, piece
    assert "evaluate.calm" not in said


def two(stage: Stage, wrong: int = 60) -> list[Evaluation]:
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


def test_figures_stand_over_baselines_over_published_ones_and_say_what_they_do_not_beat(stage: Stage) -> None:
    table = critic_table(two(stage))
    assert table is not None
    assert table["head"] == ["critic", "processbench/\u200bmath"]
    assert table["rows"][:2] == [["first", ("90.0 †", "88.0 to 92.0")], ["second", ("90.0 †", "88.0 to 92.0")]]
    assert table["kinds"][:4] == ["", "", "baseline", "baseline"]
    assert set(table["kinds"][4:]) == {"published"}
    assert (("Qwen2.5-Math-PRM-7B", "Lessons, 2025-01-13"), ("77.6", "unconfirmed")) in [tuple(row) for row in table["rows"]]
    assert table["notes"][0] == "† first on processbench/math is not shown to beat the baseline “position”."
    said = [one.text for one in warnings(stage("x").parent, {}, two(stage))]
    assert "F1 is not shown to beat the baseline “position”: 90.0 against 95.0" in said
    assert detail_table(two(stage))["head"][-1] == "not shown to beat"  # type: ignore[index]


def test_two_evaluations_get_their_difference_and_a_word_on_how_sure_it_is(stage: Stage) -> None:
    found = differences(two(stage))
    table = difference_table(found)
    assert table is not None
    (name, where), (points, interval), words, p, _ = table["rows"][0]
    assert (name, where, points, words) == ("first − second", "processbench/\u200bmath, F1", "+25.0", "first is better")
    assert p == "< 0.001"
    assert (
        sentence(found)
        == f"first is better by 25.0 points (95% interval {interval.replace('+', '')}) of F1 on processbench/math."
    )
    unsure = sentence(differences(two(stage, wrong=1)))
    assert unsure.startswith("Which of first and second is better is not sure: they differ by")
    assert sentence([]) == ""
    assert difference_table([]) is None
    stage("evaluate.third", files={"verdicts.jsonl": [judged("other", 2, [2])], "metrics.json": {}})
    assert len(differences(evaluations(stage("x").parent))) == 1, "an evaluation of other rows is left out"


def test_training_is_drawn_as_far_as_it_is_logged(stage: Stage) -> None:
    log = [
        {"step": step, "loss": 1 / step, "reward": 0.5, "reward_with_error": 0.25, "reward_std": 0.1, "eval_f1": 40.0, "odd": "x"}
        for step in (1, 2, 3)
    ]
    samples = [
        {"text": "<b>", "verdict": 2, "reward": 1.0, "advantage": 0.7, "finish_reason": "stop"},
        {"text": "", "reward": 0.0},
    ]
    groups = [
        {"step": 1, "example_id": "a/s0", "gold": 2, "samples": samples},
        {"step": 2, "example_id": "b", "gold": -1, "samples": samples[:1]},
    ]
    run = stage("rl", files={"training.jsonl": log, "groups.jsonl": groups}).parent
    stage("prepare", files={"examples.jsonl": [ROW]})
    drawn = {plot.name: plot for plot in plots_training.plots(run)}
    assert set(drawn) == {"rl-loss", "rl-reward", "rl-validation", "rl-groups"}
    assert drawn["rl-reward"].head == ("step", "all", "with an error")
    assert drawn["rl-groups"].rows == [[1, 1, 0.5, True], [2, 1, 1.0, False]]
    chunks = Chunks()
    (shown,) = browse_groups(run, chunks)
    assert shown["rewards"] == [[1.0, 0.0], [1.0]]
    content = json.loads(gzip.decompress(base64.b64decode(chunks.take()["g0-0"])))
    assert content[0] == [["1 + 1?", ["2"]], [["<b>", 2, 1.0, 0.7, "stop"], ["", None, 0.0, None, None]]]
    assert content[1][0] is None


def test_data_and_costs_are_drawn_as_far_as_they_are_known(stage: Stage) -> None:
    share = {"count": 3, "of": 4, "share": 0.75, "interval": [0.3, 0.95]}
    report = {
        "rule": "zero_of_k", "success": {"right answer": [{"prefix": 1, "drawn": 4, **share}], "wrong answer": []},
        "rules": {"zero_of_k": {"truth": {"precision": share, "recall": share, "exact": {**share, "share": None}}}},
    }  # fmt: skip
    run = stage("label", files={"report.json": report}, seconds=60).parent
    stage("rollout", labelled={"solutions": 2, "rollouts": 30, "rollouts_saved": 10}, completion=5000, seconds=120, cost=1.5)
    stage("seed", funnel=[{"rule": "read", "dropped": 0, "left": 9}, {"rule": "wrong $x$", "dropped": 2, "left": 7}])
    moved = {"solutions": 10, "before": 50.0, "after": 70.0, "wrong_to_right": 3, "right_to_wrong": 1}
    stage("refine", files={"metrics.json": moved})
    drawn = {plot.name: plot for plot in plots_data.plots(run, dict(finished_manifests(run)))}
    assert set(drawn) == {
        "label-success", "label-truth", "rollout-saved", "seed-funnel", "refine-flows", "effort-seconds",
        "effort-completion", "effort-cost",
    }  # fmt: skip
    assert drawn["refine-flows"].rows == [
        ["right", "right", 4],
        ["right", "wrong", 1],
        ["wrong", "right", 3],
        ["wrong", "wrong", 2],
    ]
    assert "10 (25%) were not needed" in drawn["rollout-saved"].text
    assert all(plot.svg.startswith("<svg") and "#0000" not in plot.svg for plot in drawn.values())


def test_the_data_of_a_plot_are_in_its_link() -> None:
    plot = Plot(name="x", title="x", text="x", svg="", head=("a", "b"), rows=[["=1+1", 0.123456], ['é, "q"', None]])
    content = base64.b64decode(plot.csv_link.partition("base64,")[2]).decode()
    assert list(csv.reader(io.StringIO(content))) == [["a", "b"], ["'=1+1", "0.1235"], ['é, "q"', ""]]

"""Cautions: each with its reason, and none without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.report.evaluations import evaluations, mark_notes
from deepcritic.report.judge_tables import preference_table
from deepcritic.report.overview import baseline_notes, headline, sample, stage_table
from deepcritic.report.warnings import MUCH, Severity, by_severity, warnings
from deepcritic.runs.manifest import finished_manifests


def test_cautions_come_first_and_only_where_there_is_reason(
    stage: Callable[..., Path], judged: Callable[..., dict[str, Any]]
) -> None:
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
        "sft is not finished", "rollout 7 requests failed", "loud F1 is below", "40 of 1,000 replies (4.0%) were truncated",
        "5.0% of the labelled solutions are with an error",
        "rule deepcritic is unconfirmed", "50 of 150 solutions (33.3%) have no label", "replies truncated at max_tokens: 3.2%",
        "unparsed replies, counted as wrong: 1.0%", "missing replies: 4 (F1 between 9.0 and 11.0",
        "rows without a reply, counted as wrong: 2", "rows evaluated: 240 of 400",
        "F1 is below that of the baseline “best constant”: 10.0 against 20.0", "only 15 solutions are “all correct”",
    ):  # fmt: skip
        assert piece in said, piece
    assert "calm" not in said
    levels = by_severity(warnings(run, dict(finished_manifests(run)), evaluations(run)))
    assert [level for level, _ in levels] == sorted(Severity)[1:]
    assert all([name for name, _ in stages].count("loud") == 1 for _, stages in levels)


@pytest.mark.parametrize(
    ("figures", "text", "level"),
    [
        ({"f1": None, "f1_unknown": "no row of a class"}, "F1 is unknown", Severity.UNRELIABLE),
        ({"unparsed_rate": 100 * MUCH}, "unparsed replies", Severity.UNRELIABLE),
        ({"unparsed_rate": 100 * MUCH - 0.1}, "unparsed replies", Severity.INCOMPLETE),
        ({"truncated_rate": 50.0}, "replies truncated", Severity.UNRELIABLE),
        ({"replies": {"samples": 240, "failed": 24}}, "missing replies", Severity.UNRELIABLE),
        ({"replies": {"samples": 240, "failed": 23}}, "missing replies", Severity.INCOMPLETE),
        ({"missing": 2}, "rows without a reply", Severity.INCOMPLETE),
        ({"f1": 10.0}, "F1 is below that of the baseline", Severity.NO_GAIN),
        ({"benchmark": {"name": "b", "rows_when_whole": 400}}, "rows evaluated", Severity.INCOMPLETE),
        ({"critic": {"remark": "own prompt"}}, "evaluated differently", Severity.CONTEXT),
        ({"contamination": {"texts": {}, "held": {"r1": "a:1"}, "resembled": {}}}, "occur in the given", Severity.UNRELIABLE),
    ],
)  # fmt: skip
def test_a_warning_is_as_severe_as_what_it_takes_from_the_figures(
    stage: Callable[..., Path], judged: Callable[..., dict[str, Any]], figures: dict[str, Any], text: str, level: Severity
) -> None:
    rows = [judged(f"r{at}", 2 if at % 2 else -1, [2 if at % 2 else -1]) for at in range(240)]
    whole = {"model": "m", "f1": 90.0, "constant_baseline_f1": 20.0, "examples": 240, "benchmark": {"name": "b"}, **figures}
    run = stage("evaluate.one", files={"verdicts.jsonl": rows, "metrics.json": whole}).parent
    (one,) = warnings(run, dict(finished_manifests(run)), evaluations(run))
    assert (text in one.text, one.severity) == (True, level)


def test_the_worst_warnings_come_first_and_of_equal_ones_the_largest(
    stage: Callable[..., Path], judged: Callable[..., dict[str, Any]]
) -> None:
    rows = [judged(f"r{at}", 2 if at % 2 else -1, [2 if at % 2 else -1]) for at in range(240)]
    for name, more in (
        ("few", {"unparsed_rate": 1.0}),
        ("many", {"unparsed_rate": 30.0}),
        ("most", {"unparsed_rate": 60.0}),
        ("weak", {"f1": 1.0}),
    ):
        figures = {"model": "m", "f1": 90.0, "constant_baseline_f1": 20.0, "examples": 240, "benchmark": {"name": "b"}, **more}
        run = stage(f"evaluate.{name}", files={"verdicts.jsonl": rows, "metrics.json": figures}).parent
    levels = by_severity(warnings(run, dict(finished_manifests(run)), evaluations(run)))
    assert [(level, [name for name, _ in stages]) for level, stages in levels] == [
        (Severity.UNRELIABLE, ["most", "many"]), (Severity.NO_GAIN, ["weak"]), (Severity.INCOMPLETE, ["few"]),
    ]  # fmt: skip


def test_models_and_their_evaluations_are_counted_apart(
    stage: Callable[..., Path], judged: Callable[..., dict[str, Any]]
) -> None:
    baselines = {"position": {"f1": 20.0, "interval": [15.0, 25.0], "beaten": True}}
    for model in ("a", "b", "c"):
        for name in (model, f"{model}_longer"):
            figures = {"model": f"{model}#1", "benchmark": {"name": "b"}, "examples": 1, "f1": 50.0, "baselines": baselines}
            run = stage(f"evaluate.{name}", files={"verdicts.jsonl": [judged("r", 2, [2])], "metrics.json": figures}).parent
    assert sample(evaluations(run)) == "3 models in 6 evaluations on b"
    assert baseline_notes(evaluations(run)) == [
        "Baseline position: names a step by its position alone, by a rule fitted on other problems."
    ]


def test_the_stages_are_called_by_name_and_model(stage: Callable[..., Path]) -> None:
    run = stage("evaluate.one", model="recorded#12", label="mine", critic={"label": "mine", "remark": "x"}).parent
    stage("refine", model="m", critic="m", generator="g")
    stage("solve", files={"solutions.jsonl": []})
    (run / "solve" / "manifest.json").write_text(
        '{"stage": "solve", "files": {"solutions.jsonl": "a", "failures.jsonl": "b"}}', "utf-8"
    )
    assert [row[:2] for row in stage_table(run, dict(finished_manifests(run)))["rows"]] == [
        ["evaluate.one", "mine: recorded#12"], ["refine", "m + g"], [("solve", "solutions.jsonl"), ""],
    ]  # fmt: skip


def test_a_judge_that_only_guesses_is_said_to(stage: Callable[..., Path], judged: Callable[..., dict[str, Any]]) -> None:
    figures = {"model": "m", "examples": 40, "accuracy": 55.0, "accuracy_interval": [45.0, 65.0], "chance_accuracy": 50.0}
    row = judged("a", 1, [[2, 1]], stratum="several")
    run = stage("evaluate.j", files={"verdicts.jsonl": [row], "metrics.json": figures}).parent
    found = evaluations(run)
    said = [one.text for one in warnings(run, dict(finished_manifests(run)), found)]
    assert "the better one is not shown to be found more often than by chance: 55.0% against 50.0%" in said
    table = preference_table(found)
    assert table is not None
    assert table["rows"][0][-1] == "50.0 †"
    assert headline({}, found)[0][2].endswith("not shown to beat the chance level 50.0")


def test_critics_are_called_by_the_names_that_tables_give_them(tmp_path: Path) -> None:
    from deepcritic.evaluation.load import Metrics
    from deepcritic.report.evaluations import Evaluation
    from deepcritic.runs.manifest import Manifest

    def title(folder: str, label: str | None) -> str:
        return Evaluation(tmp_path / folder, Manifest(stage="evaluate"), Metrics(benchmarks={}, label=label)).title

    assert title("evaluate", "Qwen3-32B") == "Qwen3-32B"
    assert title("evaluate.warm", "Qwen3-32B") == "Qwen3-32B (warm)"
    assert title("evaluate.rl", None) == "after RL"
    assert title("evaluate", None) == "evaluate"
    marked = Evaluation(
        tmp_path / "evaluate", Manifest(stage="evaluate"), Metrics(benchmarks={}, label="X", critic={"remark": "another prompt"})
    )
    assert (marked.title, marked.plain_title) == ("X\u00a0‡", "X")
    assert mark_notes([marked]) == ["‡ X: another prompt, so the figures are not those of its authors' settings."]

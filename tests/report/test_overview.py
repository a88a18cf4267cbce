"""Cautions: each with its reason, and none without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepcritic.report.evaluations import evaluations, mark_notes
from deepcritic.report.judge_tables import preference_table
from deepcritic.report.overview import by_stage, headline, stage_table, warnings
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
    assert [stage for stage, _ in by_stage(warnings(run, dict(finished_manifests(run)), evaluations(run)))].count("loud") == 1


def test_the_stages_are_called_by_name_and_model(stage: Callable[..., Path]) -> None:
    run = stage("evaluate.one", model="recorded#12", label="mine", critic={"label": "mine", "remark": "x"}).parent
    stage("refine", model="m", critic="m", generator="g")
    assert [row[:2] for row in stage_table(run, dict(finished_manifests(run)))["rows"]] == [
        ["evaluate.one", "mine: recorded#12"], ["refine", "m + g"],
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

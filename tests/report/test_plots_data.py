"""Data, refinement and costs, drawn as far as they are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from deepcritic.report import plots_data
from deepcritic.runs.manifest import finished_manifests

pytest.importorskip("matplotlib", reason="needs the drawing libraries: pip install deepcritic[report]")


def test_data_and_costs_are_drawn_as_far_as_they_are_known(stage: Callable[..., Path]) -> None:
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

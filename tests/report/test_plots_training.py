"""Curves of training, and the groups of GRPO, as far as they were logged."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from deepcritic.report import plots_training
from deepcritic.report.chunks import Chunks
from deepcritic.report.groups import browse_groups

pytest.importorskip("matplotlib", reason="needs the drawing libraries: pip install deepcritic[report]")

ROW = {"id": "a/s0", "item": {"problem": "1 + 1?", "steps": ["2"]}, "gold": {"first_error": -1}, "source": "made"}


def test_training_is_drawn_as_far_as_it_is_logged(stage: Callable[..., Path]) -> None:
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

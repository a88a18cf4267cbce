"""Lineage: what a model was trained on, back to the first stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from deepcritic.report.lineage import Lineage
from deepcritic.report.texts import Texts

ROW = {"id": "a/s0", "item": {"problem": "1 + 1?", "steps": ["2"]}, "gold": {"first_error": -1}, "source": "made"}


def test_lineage_goes_back_to_what_was_learnt_from(stage: Callable[..., Path]) -> None:
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
    found = Lineage(run, Texts(run)).of("model#3")
    shown = found["shown"]
    assert (shown["stage"], [part["name"] for part in shown["from"]]) == ("rl", ["model#2", "label/labelled.jsonl"])
    assert [part["name"] for part in shown["from"][0]["from"]] == ["base#1", "seed/dialogues.jsonl"]
    assert found["looked_at"] == {"label/labelled.jsonl": 2, "seed/dialogues.jsonl": 1}
    assert {tuple(entry[:3]) for entry in found["learnt"]["1 + 1?"]} == {
        ("seed/dialogues.jsonl", "a/s0", -1), ("label/labelled.jsonl", "a/s0", -1)
    }  # fmt: skip


def test_a_model_that_claims_to_come_from_itself_ends(stage: Callable[..., Path]) -> None:
    run = stage("sft", model="m#1", trained="m#1", depends={}).parent
    assert Lineage(run, Texts(run)).of("m#1")["shown"]["from"][0]["name"] == "m#1"

"""A trained model's card: data, settings, figures, the licence of the base; and its way to others."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from deepcritic.training.card import base_license, model_card, push_model

CARD = "---\nlicense: apache-2.0\ntags: [x]\n---\n# A base\n"


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "somewhere" / "base"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", "utf-8")
    (folder / "README.md").write_text(CARD, "utf-8")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "best").mkdir(parents=True)
    settings = {
        "learning_rate": 1e-5, "dialogues": "/home/me/rows.jsonl", "model": "/home/me/base", "trainer.lora_rank": 8,
        "trainer._target_": "deepcritic.x", "trainer.mfu": 0.4, "limit": None, "content of dialogues": "sha256:abc",
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(settings), "utf-8")
    lines = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 0.5, "eval_f1": 61.25}, {"step": 3, "eval_runtime": 7.0}]
    (folder / "training.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines), "utf-8")
    (folder / "best" / "validation.json").write_text('{"step": 2, "eval_f1": 63.5}', "utf-8")
    return folder


def _card(run: Path, base: Path) -> tuple[dict[str, Any], str]:
    data = {"dialogues": "12 of made (MIT)"}
    _, front, text = model_card(run, base=str(base), method="SFT", data=data, facts={"steps": 1234}).split("---\n", 2)
    return yaml.safe_load(front), text


def test_what_it_says(run: Path, base: Path) -> None:
    front, text = _card(run, base)
    assert front["license"] == "apache-2.0"
    assert {"deepcritic", "sft"} <= set(front["tags"])
    for said in (
        "| dialogues | 12 of made (MIT) |", "| dialogues | sha256:abc |", "| learning_rate | 1e-05 |",
        "| trainer.lora_rank | 8 |", "| steps | 1,234 |", "| last loss | 0.5 |", "| last eval_f1 | 61.25 |",
        "| best eval_f1 | 63.5 |", "| best step | 2 |",
        "That of the base model: apache-2.0", "from `base`",
    ):  # fmt: skip
        assert said in text, said
    for kept in ("/home/me", str(base.parent), "trainer.mfu", "limit", "runtime", "_target_"):
        assert kept not in text, kept


def test_a_base_without_a_card_has_no_licence_that_we_know(run: Path, base: Path) -> None:
    for text in ("", "# no front matter\n", "---\ntags: [x]\n---\n", "---\n{ broken\n---\n"):
        (base / "README.md").write_text(text, "utf-8")
        assert base_license(str(base)) is None
    (base / "README.md").unlink()
    front, text = _card(run, base)
    assert (front["license"], front["license_name"]) == ("other", "that-of-the-base-model")
    assert "unknown: see the card of the base model" in text


def test_a_model_is_put_into_a_folder(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "model").mkdir()
    for name in ("model.safetensors", "README.md", "tokenizer.json"):
        (run / "model" / name).write_text(name, "utf-8")
    push_model(run, None)
    push_model(run, str(tmp_path / "mine"))
    assert {file.name: file.read_text("utf-8") for file in (tmp_path / "mine").iterdir()} == {
        name: name for name in ("model.safetensors", "README.md", "tokenizer.json")
    }
    assert "published to" in capsys.readouterr().out


def test_a_hub_id_is_named_and_a_path_is_not(run: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from deepcritic.training import card

    monkeypatch.setattr(card, "find_model", lambda model: ("org/name", "abc"))
    monkeypatch.setattr(card, "base_license", lambda model: "mit")
    front, text = _card(run, base)
    assert (front["base_model"], front["license"]) == ("org/name", "mit")
    assert "`org/name@abc`" in text
    assert SimpleNamespace(**front).library_name == "transformers"

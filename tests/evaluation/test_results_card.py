"""Results in model cards: read back with the hub's own library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deepcritic.errors import InputError
from deepcritic.evaluation.results_card import check_target, put_results

huggingface_hub = pytest.importorskip("huggingface_hub")

CARD = """---
license: mit
language:
- en
model-index:
- name: mine
  results:
  - task:
      type: text-generation
    dataset:
      type: gsm8k
      name: GSM8K
    metrics:
    - type: accuracy
      value: 81.5
---
# A critic

Some words with a --- in them.
"""


def _metrics(f1: float = 67.123, *, benchmark: str = "processbench/math", **more: Any) -> dict[str, Any]:
    return {
        "benchmark": {"name": benchmark}, "examples": 1000, "f1": f1, "f1_interval": [65.0, 69.0], "samples": 8,
        "maj_f1": 70.0, "maj_f1_interval": [68.0, 72.0], **more,
    }  # fmt: skip


def _results(folder: Path) -> dict[str, Any]:
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    return {f"{result.dataset_name} {result.metric_name or result.metric_type}": result for result in card.data.eval_results}


def test_a_card_that_is_there_keeps_everything_else(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(CARD, "utf-8")
    assert put_results(str(tmp_path), _metrics()) == str(tmp_path / "README.md")
    text = (tmp_path / "README.md").read_text("utf-8")
    assert text.endswith("# A critic\n\nSome words with a --- in them.\n")
    card = huggingface_hub.ModelCard(text)
    assert (card.data.license, card.data.language, card.data.model_name) == ("mit", ["en"], "mine")
    results = _results(tmp_path)
    assert results["GSM8K accuracy"].metric_value == 81.5
    ours = results["ProcessBench MATH F1"]
    assert (ours.metric_value, ours.dataset_type, ours.dataset_split) == (67.12, "Qwen/ProcessBench", "math")
    assert ours.metric_args == {"interval_95": [65.0, 69.0], "rows": 1000, "samples": 8}
    assert results["ProcessBench MATH Maj@8 F1"].metric_value == 70.0


def test_new_results_take_the_place_of_old_ones(tmp_path: Path) -> None:
    put_results(str(tmp_path), _metrics())
    put_results(str(tmp_path), _metrics(50.0))
    assert {name: result.metric_value for name, result in _results(tmp_path).items()} == {
        "ProcessBench MATH F1": 50.0, "ProcessBench MATH Maj@8 F1": 70.0,
    }  # fmt: skip


def test_a_folder_without_a_card_gets_one(tmp_path: Path) -> None:
    folder = tmp_path / "critic"
    folder.mkdir()
    put_results(str(folder), _metrics(benchmark="my own"))
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    assert card.data.model_name == "critic"
    assert {result.dataset_type for result in card.data.eval_results} == {"my own"}


def test_a_suite_and_what_could_not_be_measured(tmp_path: Path) -> None:
    parts = {name: _metrics(benchmark=name) for name in ("processbench/gsm8k", "mr_gsm8k/original")}
    parts["mr_gsm8k/original"]["f1"] = None
    put_results(str(tmp_path), {"benchmarks": parts, "mean_f1": None})
    assert _results(tmp_path).keys() == {"ProcessBench GSM8K F1", "ProcessBench GSM8K Maj@8 F1", "MR-GSM8K Maj@8 F1"}


@pytest.mark.parametrize("card", ["---\n[\n---\n", "---\n- a list\n---\n", "---\nmodel-index: 7\n---\n"])
def test_a_card_that_is_none_is_left_as_it_is(tmp_path: Path, card: str) -> None:
    (tmp_path / "README.md").write_text(card, "utf-8")
    with pytest.raises(InputError, match="the card cannot be read"):
        put_results(str(tmp_path), _metrics())
    assert (tmp_path / "README.md").read_text("utf-8") == card


def test_a_hub_id_needs_a_token_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with pytest.raises(InputError, match="no token for the hub; found 'org/name'; set HF_TOKEN in the environment"):
        check_target("org/name")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    check_target("org/name")
    with pytest.raises(InputError, match="neither a folder nor a hub id"):
        check_target("/there/is/none")


def test_a_hub_that_cannot_be_reached_ends_in_one_line_without_the_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="the hub rejected the results") as refused:
        put_results("org/name-that-is-not-in-the-cache", _metrics())
    assert "hf_secret" not in str(refused.value)
    assert "\n" not in str(refused.value)

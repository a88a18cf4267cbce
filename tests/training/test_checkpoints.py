"""Checkpoints of another model are refused, and what is saved is a whole model that plain transformers loads."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deepcritic.errors import InputError
from deepcritic.hub.models import load_model, load_tokenizer
from deepcritic.training.checkpoints import check_checkpoint, save_model
from deepcritic.training.settings import TrainerSettings

torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
pytest.importorskip("trl", reason="needs the trainers: pip install deepcritic[train]")

BASE = "deepcritic://microworld/models/base"


class Trained:
    """As much of a trainer as saving its model needs."""

    def __init__(self, model: Any, *, bf16: bool = False) -> None:
        self.model, self.args = model, SimpleNamespace(bf16=bf16)
        self.accelerator = SimpleNamespace(state=SimpleNamespace(), wait_for_everyone=lambda: None)

    def save_model(self, place: str) -> None:
        self.model.save_pretrained(place)


@pytest.fixture
def base() -> Any:
    return load_model(BASE, device="cpu")


@pytest.fixture
def adapted(base: Any) -> Any:
    from peft import get_peft_model

    torch.manual_seed(0)
    model = get_peft_model(base, TrainerSettings(lora_rank=4).adapter())
    for name, part in model.named_parameters():
        if "lora_B" in name:  # they begin as zeros, under which an adapter changes nothing
            torch.nn.init.normal_(part, std=0.05)
    return model.eval()


def test_a_checkpoint_of_another_architecture_is_refused(base: Any, tmp_path: Path) -> None:
    base.save_pretrained(tmp_path)
    check_checkpoint(tmp_path, base)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    for name, value in (("model_type", "llama"), ("hidden_size", 8), ("num_hidden_layers", 99), ("vocab_size", 7)):
        (tmp_path / "config.json").write_text(json.dumps({**config, name: value}), "utf-8")
        with pytest.raises(InputError, match=f"{name}: the checkpoint has another architecture; found {value!r}; expected"):
            check_checkpoint(tmp_path, base)


def test_a_checkpoint_of_an_adapter_goes_with_an_adapter_of_its_rank(adapted: Any, tmp_path: Path) -> None:
    whole = load_model(BASE, device="cpu")
    adapted.save_pretrained(tmp_path / "adapter")
    whole.save_pretrained(tmp_path / "whole")
    check_checkpoint(tmp_path / "adapter", adapted)
    with pytest.raises(InputError, match="the checkpoint is of an adapter, but all weights are trained"):
        check_checkpoint(tmp_path / "adapter", whole)
    with pytest.raises(InputError, match="the checkpoint is of a full model, but an adapter is trained"):
        check_checkpoint(tmp_path / "whole", adapted)
    adapted.peft_config["default"].r = 16
    with pytest.raises(InputError, match="the checkpoint's adapter has another rank; found 4; expected 16"):
        check_checkpoint(tmp_path / "adapter", adapted)


def test_an_adapter_is_merged_into_a_model_that_writes_the_same(adapted: Any, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(BASE)
    place = save_model(Trained(adapted), tokenizer, tmp_path, base=BASE)
    ids = torch.tensor([tokenizer("Step 1: 7 + 5 = 2")["input_ids"]])
    merged, plain = load_model(str(place), device="cpu").eval(), load_model(BASE, device="cpu").eval()
    with torch.no_grad():
        expected, found, before = (model(input_ids=ids).logits for model in (adapted, merged, plain))
    assert torch.allclose(found, expected, atol=1e-4)
    assert not torch.allclose(found, before, atol=1e-2)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
    assert not list(place.glob("adapter*"))
    assert load_tokenizer(str(place)).chat_template == tokenizer.chat_template


def test_trained_in_bfloat16_the_model_has_the_numbers_of_its_base(base: Any, tmp_path: Path) -> None:
    from transformers import AutoConfig

    base.to(torch.bfloat16).save_pretrained(tmp_path / "half")
    load_tokenizer(BASE).save_pretrained(tmp_path / "half")
    master = load_model(str(tmp_path / "half"), dtype="float32", device="cpu")
    for bf16, kind in ((True, torch.bfloat16), (False, torch.float32)):
        place = save_model(Trained(master, bf16=bf16), load_tokenizer(BASE), tmp_path, base=str(tmp_path / "half"))
        assert AutoConfig.from_pretrained(place).dtype == kind
        loaded = load_model(str(place), dtype="auto", device="cpu")
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(loaded.parameters(), master.parameters(), strict=True))

"""The plan of a dry run: its figures are those of the model that would be trained, and no weights are read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from deepcritic.errors import InputError
from deepcritic.hub.models import load_model
from deepcritic.shipped import shipped_path
from deepcritic.training import plan as plans
from deepcritic.training.plan import GIB, Plan, Shape
from deepcritic.training.settings import TrainerSettings

torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
BASE = "deepcritic://microworld/models/base"
SEVEN = Shape(parameters=7_615_616_512, adapter=0, layers=28, width=3584, vocabulary=152_064)


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """A folder with a model's configuration alone."""
    shutil.copyfile(Path(shipped_path(BASE)) / "config.json", tmp_path / "config.json")
    return str(tmp_path)


def test_parameters_are_those_of_the_model(bare: str) -> None:
    model = load_model(BASE, device="cpu")
    assert Shape.of(bare, TrainerSettings()).parameters == sum(part.numel() for part in model.parameters())


def test_an_adapters_parameters_are_those_of_peft(bare: str) -> None:
    from peft import get_peft_model

    settings = TrainerSettings(lora_rank=6)
    model = get_peft_model(load_model(BASE, device="cpu"), settings.adapter())
    assert Shape.of(bare, settings).adapter == sum(part.numel() for part in model.parameters() if part.requires_grad)


def test_qwen_of_7b(tmp_path: Path) -> None:
    """The published number of parameters, from the published configuration."""
    config = {
        "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "vocab_size": 152064,
        "num_attention_heads": 28, "num_key_value_heads": 4, "tie_word_embeddings": False, "architectures": ["Qwen2ForCausalLM"],
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config), "utf-8")
    assert Shape.of(str(tmp_path), TrainerSettings()) == SEVEN


def _plan(shape: Shape = SEVEN, devices: int = 1, **settings: object) -> Plan:
    return Plan(
        shape=shape, settings=TrainerSettings(gradient_checkpointing=True, **settings),  # type: ignore[arg-type]
        tokens=1_000_000, steps=10, mean=1000.0, longest=4096, rows=2, devices=devices,
    )  # fmt: skip


def test_memory_by_part() -> None:
    """16 bytes a parameter: weight 4, gradient 4, Adam 8; the activations by hand from the formula."""
    memory = _plan().memory
    assert sum(memory[part] for part in ("weights", "gradients", "optimizer")) == 16 * SEVEN.parameters
    assert memory["activations"] == 2 * 4096 * 3584 * (2 * 28 + 34)
    adapter = Shape(**{**vars(SEVEN), "adapter": 1_000_000})
    assert _plan(adapter, lora_rank=8, dtype="bfloat16").memory["weights"] == 2 * SEVEN.parameters + 4 * 1_000_000
    quantised = _plan(adapter, lora_rank=8, quantised=True).memory
    assert quantised["weights"] == 0.5 * SEVEN.parameters + 4 * 1_000_000
    assert (quantised["gradients"], quantised["optimizer"]) == (4_000_000, 8_000_000)


def test_hours_at_an_mfu() -> None:
    """6 operations a parameter and token, and 6 x layers x width x length for attention; by hand."""
    plan = _plan(mfu=0.5, tflops=1000.0, devices=4)
    assert plan.operations == pytest.approx(1e6 * (6 * 7_615_616_512 + 6 * 28 * 3584 * 1000))
    assert plan.hours == pytest.approx(plan.operations / (4 * 0.5e15) / 3600)
    adapter = Shape(**{**vars(SEVEN), "adapter": 1_000_000})
    assert _plan(adapter, lora_rank=8).operations == pytest.approx(1e6 * (4 * 7_615_616_512 + 6 * 28 * 3584 * 1000))


def test_what_cannot_fit_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = 16 * SEVEN.parameters
    monkeypatch.setattr(plans, "_room", lambda: (needed - 1.0, "a small card"))
    with pytest.raises(InputError, match=r"training needs 113.5 GiB .* a small card has 113.5; take a smaller model"):
        _plan().check_memory()
    monkeypatch.setenv("WORLD_SIZE", "4")
    with pytest.raises(InputError, match=r"113\.5 GiB"):
        _plan().check_memory()  # of copies each is as large
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    _plan().check_memory()
    monkeypatch.delenv("WORLD_SIZE")
    monkeypatch.setattr(plans, "_room", lambda: (needed + 1.0, "a card"))
    _plan().check_memory()


def test_this_machine_has_memory() -> None:
    assert plans._room()[0] > GIB / 4


def test_tokens_of_rows(bare: str) -> None:
    plan = Plan.of(bare, TrainerSettings(devices=3), lengths=[10, 20, 60], reads=2.5, steps=7, rows=2)
    assert (plan.tokens, plan.mean, plan.longest, plan.devices, plan.rows) == (225, 30.0, 60, 3, 2)
    assert "225 tokens in 7 steps" in str(plan)

"""The plan of a dry run: its figures are those of the model that would be trained, and no weights are read."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from deepcritic.errors import InputError
from deepcritic.hub.models import load_model
from deepcritic.shipped_models import shipped_path
from deepcritic.training import plan as plans
from deepcritic.training.plan import GIB, Drawing, Plan, Shape
from deepcritic.training.settings import TrainerSettings

torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
BASE = "deepcritic://microworld/models/base"
SEVEN = Shape(parameters=7_615_616_512, adapter=0, layers=28, width=3584, inner=18_944, keys=512, vocabulary=152_064)

QWEN_7B = {
    "model_type": "qwen2", "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "vocab_size": 152064,
    "num_attention_heads": 28, "num_key_value_heads": 4, "tie_word_embeddings": False, "architectures": ["Qwen2ForCausalLM"],
}  # fmt: skip


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
    (tmp_path / "config.json").write_text(json.dumps(QWEN_7B), "utf-8")
    assert Shape.of(str(tmp_path), TrainerSettings()) == SEVEN


def _plan(shape: Shape = SEVEN, devices: int = 1, drawing: Drawing | None = None, **settings: object) -> Plan:
    return Plan(
        shape=shape, settings=TrainerSettings(gradient_checkpointing=True, **settings),  # type: ignore[arg-type]
        tokens=1_000_000, steps=10, mean=1000.0, longest=4096, rows=2, devices=devices, drawing=drawing,
    )  # fmt: skip


def test_memory_by_part() -> None:
    """16 bytes a parameter: weight 4, gradient 4, Adam 8; the activations by hand from the formula."""
    memory = _plan().memory
    assert sum(memory[part] for part in ("weights", "gradients", "optimizer")) == 16 * SEVEN.parameters
    layer = 2 * (8 * 3584 + 4 * 18_944 + 2 * 512) + 6 * 3584
    head = 2 * 4096 * 32_768 + 4 * 3584 * (2 * 4096 + 152_064)  # a tile in bfloat16, and gradients in float32
    assert head > 2 * 4096 * layer, "so the head decides, not the recomputed layer"
    assert memory["activations"] == 2 * 4096 * 2 * 3584 * 28 + head
    adapter = Shape(**{**vars(SEVEN), "adapter": 1_000_000})
    assert _plan(adapter, lora_rank=8, dtype="bfloat16").memory["weights"] == 2 * SEVEN.parameters + 4 * 1_000_000
    quantised = _plan(adapter, lora_rank=8, quantised=True).memory
    assert quantised["weights"] == 0.5 * SEVEN.parameters + 4 * 1_000_000
    assert (quantised["gradients"], quantised["optimizer"]) == (4_000_000, 8_000_000)
    assert quantised["activations"] == 2 * 4096 * (2 * 3584 * 28 + layer), "the head is frozen"


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
    with pytest.raises(InputError, match=r"training needs 113.5 GiB .* a small card has 113.5; use a smaller model"):
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
    said = plan.dry_run()
    assert "per GPU (3 GPUs)" in said
    assert "this machine has no GPU; on its CPU, training needs" in said or torch.cuda.is_available()


def test_7b_with_an_adapter_takes_sixteen_gibibytes_of_a_gpu_wherever_it_is_asked(tmp_path: Path) -> None:
    """Weights in bfloat16: 14.2 GiB, an adapter of rank 16 with what Adam keeps: 0.6, activations of one row: 1.6."""
    (tmp_path / "config.json").write_text(json.dumps(QWEN_7B), "utf-8")
    settings = TrainerSettings(lora_rank=16, devices=1)
    plan = Plan.of(str(tmp_path), settings, lengths=[4096, 2048], reads=3.0, steps=10, rows=1).on_gpus()
    assert plan.shape.adapter == 40_370_176  # as peft counts for Qwen2.5-7B
    assert (plan.kept + plan.passing) / GIB == pytest.approx(16.4, abs=0.1)
    assert "memory of the GPU: 16.4 GiB" in str(plan)


def test_what_autograd_keeps_of_a_layer() -> None:
    """The count of the module, beside torch's own of a model with random weights."""
    from transformers import AutoModelForCausalLM, Qwen2Config

    shape = {"hidden_size": 96, "intermediate_size": 256, "num_attention_heads": 6, "num_key_value_heads": 2}
    config = Qwen2Config(num_hidden_layers=4, vocab_size=300, **shape)
    for dtype, settings in ((torch.float32, TrainerSettings()), (torch.bfloat16, TrainerSettings(dtype="bfloat16"))):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        weights = {part.untyped_storage().data_ptr() for part in model.parameters()}
        seen: dict[int, int] = {}

        def keep(tensor: Any, seen: dict[int, int] = seen, weights: set[int] = weights) -> Any:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in weights:
                seen[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            held = model.model(torch.arange(256)[None], use_cache=False).last_hidden_state
        told = Plan(
            shape=Shape(parameters=0, adapter=0, layers=4, width=96, inner=256, keys=32, vocabulary=0),
            settings=settings, tokens=256, steps=1,
            mean=256.0, longest=256, rows=1, devices=1, gpu=False,
        ).memory["activations"]  # fmt: skip
        assert told == pytest.approx(sum(seen.values()), rel=0.12)
        del held


def test_the_drawing_of_grpo_is_counted() -> None:
    """By hand: 1,000,000 tokens, 100 together on each of 4 devices, read the weights 10,000 / 4 times, and the cache of 100
    replies of 1,000 tokens each time."""
    plain, drawn = _plan(devices=4), _plan(devices=4, drawing=Drawing(tokens=1_000_000, rows=100))
    cached = 2 * 28 * 512 * 2
    seconds = 2_500 * (2 * 7_615_616_512 + 100 * 1000 * cached) / (3.35e12 * 0.4)
    assert drawn.drawing_hours * 3600 == pytest.approx(seconds, rel=0.01)
    assert drawn.hours == pytest.approx(plain.hours + drawn.drawing_hours)
    assert drawn.memory["drawing"] == 100 * 4096 * cached
    assert drawn.passing == max(drawn.memory["activations"], drawn.memory["drawing"])
    assert "to sample 1,000,000 tokens" in str(drawn)
    engine = _plan(devices=4, drawing=Drawing(tokens=1_000_000, rows=100, engine=True, passes=1))
    assert engine.memory["drawing"] == 2 * 7_615_616_512 + 100 * 4096 * cached
    assert engine.operations == pytest.approx(plain.operations * 4 / 3)

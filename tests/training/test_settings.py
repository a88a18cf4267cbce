"""What is trained and how: counts that must come out whole, packages that are missing, files that accelerate reads."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

from deepcritic.cli.config import build, compose, configuration_folder
from deepcritic.errors import InputError, UsageError
from deepcritic.training.settings import TrainerSettings, accumulation

torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
BASE = "deepcritic://microworld/models/base"


@pytest.mark.parametrize(
    ("devices", "each", "times"),
    [(1, 1, 64), (1, 64, 1), (2, 4, 8), (4, 1, 16), (8, 8, 1), (64, 1, 1), (3, None, None), (16, 8, None)],
)
def test_a_step_sees_the_same_batch_whatever_the_number_of_devices(
    monkeypatch: pytest.MonkeyPatch, devices: int, each: int | None, times: int | None
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(devices))
    if times is None:
        on = rf"stage.batch_size=64 is not a multiple of stage.device_batch_size={each or 1} on {devices} devices"
        with pytest.raises(UsageError, match=on):
            accumulation(64, each or 1)
    else:
        assert accumulation(64, each or 1) == times
        assert accumulation(64, each or 1) * devices * (each or 1) == 64


def test_a_batch_of_nothing_is_refused() -> None:
    for batch, each in ((0, 1), (64, 0), (-64, 1)):
        with pytest.raises(UsageError, match="not a multiple"):
            accumulation(batch, each)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"lora_rank": 0}, "trainer.lora_rank: out of range; found 0"),
        ({"mfu": 0.0}, "trainer.mfu: out of range; found 0.0; expected a share above 0"),
        ({"devices": 0}, "trainer.devices: out of range; found 0"),
        ({"quantised": True}, "trainer.quantised: 4-bit weights cannot be trained directly"),
        ({"packing": True, "attention": "paged"}, "attention=paged may attend across packed dialogues"),
    ],
)
def test_settings_that_cannot_be(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TrainerSettings(**given)


def test_a_package_that_is_missing_is_named_with_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    for given, said in (
        ({"lora_rank": 8}, "peft is not installed: pip install peft, or set trainer=full"),
        ({"lora_rank": 8, "quantised": True}, "bitsandbytes is not installed: pip install bitsandbytes, or set trainer=lora"),
        ({"liger": True}, "liger-kernel is not installed"),
        ({"report_to": ["trackio"]}, "trainer.report_to: trackio is not installed; pip install trackio"),
        (
            {"report_to": ["clearml"]},
            "trainer.report_to: clearml is not known; expected some of tensorboard, trackio, wandb",
        ),
        (
            {"attention": "flash_attention_2"},
            "flash-attn is not installed: pip install flash-attn, or set trainer.attention=sdpa",
        ),
    ):
        lacking = {"peft", "bitsandbytes", "liger_kernel", "flash_attn", "trackio"} - (
            {"peft"} if "quantised" in given else set()
        )
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, lacking=lacking: None if name in lacking else there(name))
        with pytest.raises(UsageError, match=said):
            TrainerSettings(**given).check(BASE)
    TrainerSettings().check(BASE)


def test_a_model_that_does_not_write_is_refused_before_it_is_loaded(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen2", "architectures": ["Qwen2ForTokenClassification"]}', "utf-8")
    with pytest.raises(InputError, match=r"model: not a generative model; found '.*Qwen2ForTokenClassification\)'; expected"):
        TrainerSettings().check(str(tmp_path))


def test_what_suits_a_processor() -> None:
    settings = TrainerSettings()
    assert not settings.padding_free
    assert settings.weights_dtype == "float32"
    found = settings.arguments()
    assert (found["bf16"], found["use_cpu"], found["gradient_checkpointing"], found["use_liger_kernel"]) == (
        False,
        True,
        False,
        False,
    )


def test_what_suits_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert TrainerSettings().kernel is None
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: there("json") if name in {"flash_attn", "liger_kernel"} else there(name)
    )
    settings = TrainerSettings()
    assert (settings.kernel, settings.padding_free, settings.weights_dtype) == ("flash_attention_2", True, "float32")
    assert TrainerSettings(lora_rank=8).weights_dtype == "bfloat16"
    found = settings.arguments()
    assert (found["bf16"], found["use_cpu"], found["gradient_checkpointing"], found["use_liger_kernel"]) == (
        True,
        False,
        True,
        True,
    )
    assert not TrainerSettings(attention="sdpa").padding_free


@pytest.mark.parametrize(("name", "rank", "quantised"), [("full", None, False), ("lora", 16, False), ("qlora", 16, True)])
def test_the_group(name: str, rank: int | None, quantised: bool) -> None:
    from omegaconf import OmegaConf

    settings = build(OmegaConf.to_container(compose([f"trainer={name}"]).trainer))
    assert (settings.lora_rank, settings.quantised) == (rank, quantised)
    if name == "full":
        assert settings == TrainerSettings(), "what is left out in code is what stands in the file"
        assert settings.adapter() is None
    else:
        assert settings.adapter().r == 16
        assert settings.adapter().task_type == "CAUSAL_LM"


def test_the_papers_settings() -> None:
    stage = compose(["experiment=deepcritic_7b_sft", "stage.dialogues=x"])
    assert (stage.model, stage.seed) == ("Qwen/Qwen2.5-7B-Instruct", 42)
    wanted = {"learning_rate": 1e-5, "epochs": 3.0, "max_length": 16384, "batch_size": 64, "warmup_ratio": 0.1}
    assert {name: stage.stage[name] for name in wanted} == wanted


# Files for accelerate launch


def _environment(name: str, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, dict[str, str]]:
    """What `accelerate launch --config_file` makes of a file: its arguments, and the environment of the processes."""
    from accelerate.commands import launch
    from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env

    file = str(configuration_folder() / "accelerate" / f"{name}.yaml")
    given = launch.launch_command_parser().parse_args(
        ["--config_file", file, "--num_processes", "4", "-m", "deepcritic", "stage=sft"]
    )
    given, defaults, _ = launch._validate_launch_command(given)
    before = dict(os.environ)
    if given.use_deepspeed:
        given.deepspeed_fields_from_accelerate_config = ",".join(defaults.deepspeed_config)
        _, environment = prepare_deepspeed_cmd_env(given)
    else:
        environment = prepare_multi_gpu_env(given)
    for key, value in environment.items():
        if before.get(key) != value:
            monkeypatch.setenv(key, value)
    return given, environment


def test_fsdp2_as_accelerate_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.utils import FullyShardedDataParallelPlugin

    given, _ = _environment("fsdp2", monkeypatch)
    assert (given.use_fsdp, given.mixed_precision, given.num_processes) == (True, "bf16", 4)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.cpu_ram_efficient_loading
    assert "SHARDED_STATE_DICT" in str(plugin.state_dict_type)
    plugin.set_state_dict_type("FULL_STATE_DICT")  # as is done where a whole model is saved
    assert "FULL_STATE_DICT" in str(plugin.state_dict_type)


def test_zero3_as_accelerate_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given, environment = _environment("zero3", monkeypatch)
    assert (given.use_deepspeed, given.mixed_precision, given.num_processes) == (True, "bf16", 4)
    named = {key.removeprefix("ACCELERATE_DEEPSPEED_"): value for key, value in environment.items() if "DEEPSPEED" in key}
    assert named["ZERO_STAGE"] == "3"
    assert named["ZERO3_INIT"] == "true"
    assert named["ZERO3_SAVE_16BIT_MODEL"] == "true"
    assert named["OFFLOAD_OPTIMIZER_DEVICE"] == named["OFFLOAD_PARAM_DEVICE"] == "none"

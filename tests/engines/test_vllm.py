"""vLLM in this process, under the contract of all engines, and what is its own: adapters, an engine that dies."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from deepcritic.errors import InputError, StageIncomplete
from deepcritic.hub.models import load_model, load_tokenizer
from deepcritic.samplers.base import Sampler
from deepcritic.samplers.transformers import TransformersSampler
from deepcritic.samplers.vllm import AHEAD, VLLMSampler
from tests.samplers.contract import GREEDY, VARIED, Contract, WithoutEnd, ask, asks, drawn, texts


@pytest.fixture(scope="module")
def opened(critic_model: Path) -> Iterator[Sampler]:
    with VLLMSampler(str(critic_model), max_num_seqs=32) as sampler:
        yield sampler


@pytest.fixture(scope="module")
def endless(endless_model: Path) -> Iterator[Sampler]:
    with VLLMSampler(str(endless_model)) as sampler:
        yield sampler


class TestVLLM(Contract, WithoutEnd):
    ROOM = AHEAD * 32 + 5


@pytest.mark.parametrize("way", ["tensor_parallel", "data_parallel"])
def test_several_engines_and_a_cut_model_write_the_same(way: str, critic_model: Path, opened: Sampler) -> None:
    options: dict[str, Any] = {way: 2}
    with VLLMSampler(str(critic_model), **options) as sampler:
        assert texts(drawn(sampler, asks(GREEDY))) == texts(drawn(opened, asks(GREEDY)))


@pytest.fixture(scope="module")
def adapted(critic_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """An adapter with strong random weights, and the model that it and the critic make together."""
    import torch
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("adapted")
    model, rank, alpha = load_model(str(critic_model), dtype="float32", device="cpu"), 4, 8
    torch.manual_seed(1)
    weights: dict[str, Any] = {}
    for index, layer in enumerate(model.model.layers):
        for name in ("q_proj", "v_proj"):
            linear = getattr(layer.self_attn, name)
            low, high = torch.randn(rank, linear.in_features) * 0.2, torch.randn(linear.out_features, rank) * 0.2
            linear.weight.data += high @ low * (alpha / rank)
            place = f"base_model.model.model.layers.{index}.self_attn.{name}"
            weights |= {f"{place}.lora_A.weight": low, f"{place}.lora_B.weight": high}
    (folder / "lora").mkdir()
    save_file(weights, folder / "lora" / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": alpha, "bias": "none"}
    settings["target_modules"] = ["q_proj", "v_proj"]
    (folder / "lora" / "adapter_config.json").write_text(json.dumps(settings), "utf-8")
    model.save_pretrained(folder / "whole")
    load_tokenizer(str(critic_model)).save_pretrained(folder / "whole")
    return folder / "lora", folder / "whole"


def test_an_adapter_writes_as_the_model_that_it_makes(adapted: tuple[Path, Path], critic_model: Path, opened: Sampler) -> None:
    lora, whole = adapted
    with TransformersSampler(str(whole), device="cpu") as sampler:
        expected = texts(drawn(sampler, asks(GREEDY, samples=1)))
    assert expected != texts(drawn(opened, asks(GREEDY, samples=1)))
    with VLLMSampler(str(critic_model), lora=str(lora)) as adapted_sampler:
        assert texts(drawn(adapted_sampler, asks(GREEDY, samples=1))) == expected
    assert adapted_sampler.model_id.startswith(f"{opened.model_id}+lora#")


def test_an_adapter_that_is_none(critic_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sampler.lora: the folder has no adapter; .*adapter_model.safetensors"):
        VLLMSampler(str(critic_model), lora=str(tmp_path))


CLIENT = """
import sys
from deepcritic.samplers.base import Sampling
from deepcritic.samplers.vllm import VLLMSampler
from tests.samplers.contract import PROBLEM, ask

if __name__ == "__main__":
    with VLLMSampler(sys.argv[1]) as sampler:
        endless = (ask(f"p{index}", PROBLEM, Sampling(max_tokens=64)) for index in range(10**9))
        for index, row in enumerate(sampler.stream(endless)):
            if index == 20:
                print("drawing", flush=True)
"""


def test_a_killed_client_leaves_no_engine_behind(critic_model: Path, tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text(CLIENT, "utf-8")
    client = subprocess.Popen([sys.executable, str(script), str(critic_model)], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    assert client.stdout.readline() == "drawing\n"
    engines = psutil.Process(client.pid).children(recursive=True)
    assert engines
    client.kill()
    client.wait()
    _, alive = psutil.wait_procs(engines, timeout=60)
    for process in alive:
        process.kill()
    assert not alive


def test_an_engine_that_dies_ends_the_stream_and_says_how_to_go_on(critic_model: Path) -> None:
    with VLLMSampler(str(critic_model)) as sampler:
        endless = (ask(f"p{index}", "7 + 5", VARIED) for index in range(10**9))
        stream = sampler.stream(endless)
        next(stream)
        for engine in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):  # one of an earlier test, on its way out
                if "EngineCore" in engine.name() or any("spawn_main" in word for word in engine.cmdline()):
                    os.kill(engine.pid, signal.SIGKILL)
        with pytest.raises(StageIncomplete, match="rerun the same command"):
            deque(stream, maxlen=0)

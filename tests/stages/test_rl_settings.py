"""What the trainer is told at 7B: as far as its configuration goes, without the weights and the GPUs."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from deepcritic.cli.config import configuration_folder
from deepcritic.runs.jsonl import write_rows

pytest.importorskip("trl", reason="needs the trainers: pip install deepcritic[train]")

from deepcritic.stages import rl
from deepcritic.training import grpo
from deepcritic.training.plan import Plan
from deepcritic.training.trl_internals import log_importance_weights

BASE = "deepcritic://microworld/models/base"
EXPERIMENTS = ("deepcritic_7b_rl_prm800k", "deepcritic_7b_rl_numina")


class Seen(Exception):
    """The trainer would be made now."""


@pytest.fixture
def told(command: Callable[..., Any], make_solutions: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`told(words...)`: the `GRPOConfig` and the rest that the stage would make its trainer from."""
    seen: dict[str, Any] = {}

    def trainer(
        folder: Any, prompts: Any, task: Any, model: Any, tokenizer: Any, machine: Any, settings: Any, balanced: Any, rounds: Any,
        watching: Any, judged: Any,
    ) -> Any:  # fmt: skip
        config = grpo.grpo_config(Path("out"), machine, settings)
        seen.update(config=config, prompts=prompts, balanced=balanced, rounds=rounds, watching=watching)
        raise Seen

    monkeypatch.setattr(rl, "grpo_trainer", trainer)
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: name if name == "vllm" else found(name, *more))
    monkeypatch.setattr(Plan, "check_memory", lambda self: None)
    monkeypatch.setattr(rl, "room", lambda model, max_tokens, max_prompt_tokens: max_prompt_tokens or 2048)
    monkeypatch.setattr(rl, "reply_room", lambda model, prompts, tokenizer, max_tokens: max_tokens or 8192)
    write_rows(Path("labelled.jsonl"), make_solutions(400))

    def call(*words: str) -> dict[str, Any]:
        with pytest.raises(Seen):
            command(*words, f"model={BASE}", "stage.examples=labelled.jsonl", "stage.prefilter_samples=0", "run=mine")
        return seen

    return call


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_is_what_it_says(told: Callable[..., Any], name: str) -> None:
    seen = told(f"experiment={name}", "stage.validation_examples=labelled.jsonl")
    config = seen["config"]
    assert config.learning_rate == 1e-6
    assert config.generation_batch_size // config.num_generations == 128
    assert (config.num_generations, config.temperature, config.max_completion_length) == (8, 1.0, 8192)
    assert (config.beta, config.epsilon, config.epsilon_high, config.loss_type) == (0.001, 0.2, 0.2, "bnpo")
    assert (config.warmup_steps, config.weight_decay, config.entropy_coef) == (0, 0.01, 0.001)
    assert config.max_steps == round(2 * 400 / 128), "two passes over the prompts"
    assert not config.mask_truncated_completions, "they count, and earn 0"
    assert (config.vllm_importance_sampling_mode, config.scale_rewards) == ("token_truncate", "group")
    assert (config.use_vllm, config.vllm_mode, config.vllm_importance_sampling_correction) == (True, "colocate", True)
    assert config.vllm_max_model_length == 2048 + 8192
    assert config.top_p == 1.0, "below 1 the ratio of probabilities would be biased"
    assert config.save_steps % config.logging_steps == 0
    assert (seen["balanced"], seen["rounds"]) == (False, 0), "a switch that was not shown to help is off"


@pytest.mark.parametrize("processes", [1, 8])
def test_the_batch_is_the_same_on_any_number_of_processes(
    told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    monkeypatch.setattr("deepcritic.training.settings.world_size", lambda: processes)
    config = told(f"experiment={EXPERIMENTS[0]}", "stage.validation_examples=labelled.jsonl")["config"]
    assert config.gradient_accumulation_steps * config.per_device_train_batch_size * processes == 128 * 8


def test_a_server_is_named_by_its_address(told: Callable[..., Any]) -> None:
    words = ("stage=rl", "stage.vllm_mode=server", "stage.vllm_server_base_url=http://node1:8000", "stage.steps=3")
    config = told(*words)["config"]
    assert (config.use_vllm, config.vllm_mode, config.vllm_server_base_url) == (True, "server", "http://node1:8000")
    assert config.max_steps == 3


@pytest.mark.parametrize("loss", grpo.LOSSES)
def test_every_loss_that_trl_knows_is_offered(told: Callable[..., Any], loss: str) -> None:
    config = told("stage=rl", f"stage.loss_type={loss}", "stage.vllm_mode=colocate")["config"]
    assert config.loss_type == loss
    assert config.importance_sampling_level == ("sequence" if loss == "luspo" else "token")
    assert config.epsilon_high == (5.0 if loss == "cispo" else 0.28)
    assert config.mask_truncated_completions
    assert config.vllm_importance_sampling_mode == "token_truncate"


def test_every_mode_of_weights_is_trls(told: Callable[..., Any]) -> None:
    from trl import GRPOConfig

    help_text = GRPOConfig.__dataclass_fields__["vllm_importance_sampling_mode"].metadata["help"]
    assert all(mode.partition("_")[2] in help_text and mode.partition("_")[0] in help_text.lower() for mode in grpo.WEIGHTS)
    for mode in grpo.WEIGHTS:
        config = told("stage=rl", "stage.vllm_mode=colocate", f"stage.vllm_importance_sampling_mode={mode}")["config"]
        assert config.vllm_importance_sampling_mode == mode


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["stage.loss_type=vespo", "stage.vllm_mode=colocate", "stage.vllm_importance_sampling_mode=sequence_mask"],
            "stage.loss_type=vespo does not support stage.vllm_importance_sampling_mode=sequence_mask; expected token_truncate",
        ),
        (["stage.loss_type=cispo", "stage.epsilon_high=0.28"], "stage.epsilon_high=0.28 is too small for stage.loss_type=cispo"),
        (["stage.loss_type=gpro"], "stage.loss_type"),
        (["stage.vllm_importance_sampling_mode=token_truncate"], "stage.vllm_importance_sampling_mode"),
    ],
)
def test_what_does_not_belong_together_is_refused_before_a_model_is_loaded(
    command: Callable[..., Any], words: list[str], said: str
) -> None:
    outcome = command("stage=rl", "model=/nowhere", "stage.examples=none.jsonl", "run=mine", *words)
    assert outcome.code == 2
    assert said in outcome.err


@pytest.mark.parametrize(
    ("mode", "weights", "name", "share"),
    [
        ("token_mask", [[0.0, 1.0, 1.2], [0.0, 0.9, 7.0]], "masked", 2 / 5),
        ("token_truncate", [[3.0, 1.0, 1.2], [3.0, 0.9, 7.0]], "truncated", 2 / 5),
        ("sequence_mask", [[0.0], [1.1]], "masked", 1 / 2),
        ("sequence_truncate", [[3.0], [1.1]], "truncated", 1 / 2),
    ],
)
def test_weights_outside_their_bounds_are_logged(mode: str, weights: list[list[float]], name: str, share: float) -> None:
    import torch

    output = {"importance_sampling_ratio": torch.tensor(weights), "completion_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])}
    trainer: Any = SimpleNamespace(
        _generate_and_score_completions=lambda inputs: output, vllm_importance_sampling_mode=mode,
        vllm_importance_sampling_clip_max=3.0, model=SimpleNamespace(training=True), _metrics={"train": defaultdict(list)},
        accelerator=SimpleNamespace(gather=lambda value: value),
    )  # fmt: skip
    log_importance_weights(trainer)
    assert trainer._generate_and_score_completions([]) is output
    assert trainer._metrics["train"] == {f"sampling/importance_sampling_ratio/{name}": [pytest.approx(share)]}


def test_trackers_are_trls(told: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *more: there("json" if name in ("tensorboard", "wandb") else name, *more)
    )
    assert told("stage=rl", "trainer.report_to=[tensorboard,wandb]")["config"].report_to == ["tensorboard", "wandb"]


def test_unconfirmed_numbers_are_marked_where_they_stand() -> None:
    """Every number that papers.md only recalls carries its mark in the line in which it stands."""
    recalled = {"prompts_per_step", "num_generations", "epochs", "max_prompt_tokens", "max_tokens"}
    of_verl = {
        "learning_rate", "temperature", "beta", "loss_type", "warmup_ratio", "weight_decay", "entropy_coef", "mask_truncated",
        "epsilon_high",
    }  # fmt: skip
    for name in EXPERIMENTS:
        lines = (configuration_folder() / "experiment" / f"{name}.yaml").read_text("utf-8").splitlines()
        marked = {line.split(":")[0].strip() for line in lines if "# unconfirmed" in line}
        assert marked == recalled, name
        assert {line.split(":")[0].strip() for line in lines if "# verl" in line and ":" in line} - {"#"} >= of_verl, name


def test_a_dry_run_tells_the_plan(command: Callable[..., Any], make_solutions: Any) -> None:
    write_rows(Path("labelled.jsonl"), make_solutions(24))
    words = "experiment=microworld/rl stage.examples=labelled.jsonl stage.beta=0.1 run=mine dry_run=true"
    outcome = command(f"model={BASE}", *words.split())
    assert outcome.code == 0, outcome.err
    said = outcome.out + outcome.err
    assert "parameters: " in said
    assert "more for the reference model (stage.beta)" in said
    assert "in 40 steps" in said
    assert not Path("runs/mine/rl").exists()


def test_a_dry_run_without_a_prefilter_trains_nothing(command: Callable[..., Any], make_solutions: Any) -> None:
    write_rows(Path("labelled.jsonl"), make_solutions(24))
    words = "experiment=microworld/rl stage.examples=labelled.jsonl stage.prefilter_samples=0 run=mine dry_run=true"
    outcome = command(f"model={BASE}", *words.split())
    assert outcome.code == 0, outcome.err
    assert "dry run, nothing was trained" in outcome.out + outcome.err
    assert not Path("runs/mine/rl").exists()

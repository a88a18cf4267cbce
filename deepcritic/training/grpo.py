"""GRPO through TRL: its configuration, its vLLM settings, and the trainer."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any, NamedTuple

from deepcritic.errors import UsageError
from deepcritic.hub.models import context_length
from deepcritic.runs.folder import RunFolder
from deepcritic.samplers.base import Sampling
from deepcritic.tasks.base import CriticTask
from deepcritic.training.grpo_monitor import rl_monitor
from deepcritic.training.grpo_rollouts import Change, RolloutFunction, own_engine, vllm_engine
from deepcritic.training.loop import order_by_epoch, quiet, recorder
from deepcritic.training.plan import Drawing, Plan
from deepcritic.training.processes import world_size
from deepcritic.training.prompts import Prompt, balance_batches
from deepcritic.training.settings import TrainerSettings
from deepcritic.training.trl_internals import log_importance_weights

WEIGHTS = ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask")
"""Importance weights of replies sampled with vLLM (TRL): the ratio of the trainer's to the engine's probability, per token or
per reply (whose ratio drifts for long replies). Weights above 3 are truncated to 3, or their part is masked."""


class Loss(NamedTuple):
    """Properties of a TRL loss: level of its ratios, upper clipping bound, and supported importance weights."""

    level: str = "token"
    epsilon_high: float = 0.28
    weights: tuple[str, ...] = WEIGHTS


LOSSES = {
    "grpo": Loss(),
    "dr_grpo": Loss(),
    "dapo": Loss(),
    "bnpo": Loss(),
    "cispo": Loss(epsilon_high=5.0),  # the bound of the weights themselves, as TRL advises after ScaleRL (arXiv 2510.13786)
    "sapo": Loss(),
    "luspo": Loss(level="sequence"),
    "vespo": Loss(weights=("token_truncate", "token_mask")),
}


def check_loss(loss_type: str, epsilon_high: float | None, weights: str, vllm_mode: str | None) -> None:
    """Raises `UsageError` for options that a loss does not support, before a model is loaded."""
    loss = LOSSES[loss_type]
    if vllm_mode and weights not in loss.weights:
        raise UsageError(
            f"stage.loss_type={loss_type} does not support stage.vllm_importance_sampling_mode={weights}; expected "
            f"{' or '.join(loss.weights)}"
        )
    if loss_type == "cispo" and epsilon_high is not None and epsilon_high < 1:
        raise UsageError(
            f"stage.epsilon_high={epsilon_high:g} is too small for stage.loss_type=cispo; expected at least 1, or null for "
            f"{loss.epsilon_high:g}"
        )


def plan_training(
    prompts: list[Prompt], tokenizer: Any, model: str, trainer: TrainerSettings, *, max_tokens: int, replies: int, rows: int,
    steps: int, vllm_mode: str | None, beta: float, probed: int,
) -> Plan:  # fmt: skip
    """The plan for `steps` steps of `replies` replies, `rows` at once per device, and `probed` more sampled by the prefilter.
    Assumes replies of maximal length."""
    context = context_length(model) or sys.maxsize
    lengths = [min(context, len(prompt.ids(tokenizer)) + max_tokens) for prompt in prompts] or [max_tokens]
    written = sum(min(max_tokens, length) for length in lengths) / len(lengths)
    devices = trainer.devices or world_size()
    drawing = Drawing(
        tokens=round((steps * replies + probed) * written),
        rows=max(1, replies // devices) if vllm_mode else rows,
        engine=vllm_mode == "colocate",
        passes=bool(beta) + bool(vllm_mode),
    )
    return Plan.of(model, trainer, lengths=lengths, reads=steps * replies / len(lengths), steps=steps, rows=rows, drawing=drawing)


def check_vllm(mode: str | None) -> None:
    """Raises `UsageError` if vLLM is requested but not installed."""
    if mode and importlib.util.find_spec("vllm") is None:
        raise UsageError(f"stage.vllm_mode={mode} needs vLLM: pip install 'deepcritic[vllm]', or set stage.vllm_mode=null")


def vllm_settings(
    mode: str,
    url: str | None,
    memory: float,
    tensor_parallel: int,
    max_prompt_tokens: int | None,
    max_tokens: int,
    weights: str = WEIGHTS[0],
) -> dict[str, Any]:
    """TRL's vLLM options. `memory` is the GPU share of a colocated engine; a server has its own setting, and must run with
    `--logprobs-mode processed_logprobs`."""
    settings: dict[str, Any] = {
        "use_vllm": True, "vllm_mode": mode, "vllm_importance_sampling_correction": True,
        "vllm_importance_sampling_mode": weights,
    }  # fmt: skip
    if mode == "server":
        return settings | ({} if url is None else {"vllm_server_base_url": url})
    return settings | {
        "vllm_gpu_memory_utilization": memory,
        "vllm_tensor_parallel_size": tensor_parallel,
        "vllm_max_model_length": None if max_prompt_tokens is None else max_prompt_tokens + max_tokens,
    }


def grpo_config(folder: Path, machine: TrainerSettings, settings: dict[str, Any]) -> Any:
    """TRL's `GRPOConfig`."""
    from trl import GRPOConfig

    return GRPOConfig(
        output_dir=str(folder), save_strategy="steps", save_total_limit=2, disable_tqdm=True,
        lr_scheduler_type="constant_with_warmup", **machine.arguments(), **settings,
    )  # fmt: skip


def grpo_trainer(
    folder: RunFolder,
    prompts: list[Prompt],
    task: CriticTask[Any],
    model: str,
    tokenizer: Any,
    machine: TrainerSettings,
    settings: dict[str, Any],
    balanced: bool,
    rounds: int,
    watching: dict[str, Any],
    change: Change | None = None,
) -> Any:
    from datasets import Dataset
    from trl import GRPOTrainer

    config = grpo_config(folder.path, machine, settings)
    sampling = Sampling(temperature=config.temperature, max_tokens=config.max_completion_length)
    engine = vllm_engine if config.use_vllm else own_engine(tokenizer, sampling, config.per_device_train_batch_size)
    rollouts = RolloutFunction(
        prompts,
        task,
        tokenizer,
        engine,
        rounds=rounds,
        seed=config.seed,
        cut_earns=config.mask_truncated_completions,
        change=change,
    )
    monitor = rl_monitor(folder.path, rollouts, **watching)
    trainer = GRPOTrainer(
        model=machine.load(model, config.seed),
        args=config,
        processing_class=tokenizer,
        reward_funcs=monitor.judgment,
        rollout_func=rollouts,
        train_dataset=Dataset.from_list([{"prompt": prompt.id} for prompt in prompts]),
        peft_config=machine.adapter(),
        callbacks=[monitor, recorder(folder.path)],
    )
    monitor.trainer = trainer
    quiet(trainer)
    if config.use_vllm:
        log_importance_weights(trainer)
    if balanced:
        balance_batches(trainer, [prompt.stratum for prompt in prompts])
    order_by_epoch(trainer, config.seed)
    return trainer

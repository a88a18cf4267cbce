"""GRPO through TRL: its configuration, its vLLM settings, and the trainer."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

from deepcritic.errors import UsageError
from deepcritic.hub.models import context_length
from deepcritic.runs.folder import RunFolder
from deepcritic.samplers.base import Sampling
from deepcritic.tasks.base import CriticTask
from deepcritic.training.grpo_monitor import rl_monitor
from deepcritic.training.grpo_rollouts import RolloutFunction, own_engine, vllm_engine
from deepcritic.training.loop import order_by_epoch, quiet, recorder
from deepcritic.training.plan import Plan
from deepcritic.training.prompts import Prompt, balance_batches
from deepcritic.training.settings import TrainerSettings

LOSSES = ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo")


def plan_memory(
    prompts: list[Prompt], tokenizer: Any, model: str, trainer: TrainerSettings, *, max_tokens: int, replies: int, rows: int,
    steps: int,
) -> Plan:  # fmt: skip
    """What `steps` of `replies` each take, `rows` of them at once on a device."""
    context = context_length(model) or sys.maxsize
    lengths = [min(context, len(prompt.ids(tokenizer)) + max_tokens) for prompt in prompts] or [max_tokens]
    return Plan.of(model, trainer, lengths=lengths, reads=steps * replies / len(lengths), steps=steps, rows=rows)


def check_vllm(mode: str | None) -> None:
    """Raises `UsageError` where vLLM is asked for and not installed."""
    if mode and importlib.util.find_spec("vllm") is None:
        raise UsageError(
            f"stage.vllm_mode={mode} needs vLLM: pip install 'deepcritic[vllm]', or draw without it (stage.vllm_mode=null)"
        )


def vllm_settings(
    mode: str, url: str | None, memory: float, tensor_parallel: int, max_prompt_tokens: int | None, max_tokens: int
) -> dict[str, Any]:
    """What TRL is told of vLLM. `memory` is the part of the GPU that a colocated engine may take; a server is started with
    its own, and with `--logprobs-mode processed_logprobs`."""
    settings: dict[str, Any] = {"use_vllm": True, "vllm_mode": mode, "vllm_importance_sampling_correction": True}
    if mode == "server":
        return settings | ({} if url is None else {"vllm_server_base_url": url})
    return settings | {
        "vllm_gpu_memory_utilization": memory,
        "vllm_tensor_parallel_size": tensor_parallel,
        "vllm_max_model_length": None if max_prompt_tokens is None else max_prompt_tokens + max_tokens,
    }


def grpo_config(folder: Path, machine: TrainerSettings, settings: dict[str, Any]) -> Any:
    """TRL's `GRPOConfig`. Replies that were cut are masked: how they would have ended is not known."""
    from trl import GRPOConfig

    return GRPOConfig(
        output_dir=str(folder), save_strategy="steps", save_total_limit=2, disable_tqdm=True,
        mask_truncated_completions=True, lr_scheduler_type="constant_with_warmup", **machine.arguments(), **settings,
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
) -> Any:
    from datasets import Dataset
    from trl import GRPOTrainer

    config = grpo_config(folder.path, machine, settings)
    sampling = Sampling(temperature=config.temperature, max_tokens=config.max_completion_length)
    engine = vllm_engine if config.use_vllm else own_engine(tokenizer, sampling, config.per_device_train_batch_size)
    rollouts = RolloutFunction(prompts, task, tokenizer, engine, rounds=rounds, seed=config.seed)
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
    if balanced:
        balance_batches(trainer, [prompt.stratum for prompt in prompts])
    order_by_epoch(trainer, config.seed)
    return trainer

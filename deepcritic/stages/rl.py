"""Reinforcement learning of a critic with GRPO (TRL): the reward is the task's judgment, right or wrong, and nothing else.

    python -m deepcritic stage=rl stage.examples=runs/x/label/labelled.jsonl model=runs/x/sft/model run=x

GRPO compares the replies to one prompt with each other (`deepcritic.groups` has the formula). A group whose replies are
all right or all wrong teaches nothing, so prompts are filtered by how often the starting model is right on them, and the
classes are balanced: both by the labels that training uses, never by a truth behind them.
"""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepcritic.errors import InputError, UsageError
from deepcritic.groups import Groups, Prompt, balance, own_engine, prompt_of
from deepcritic.models import load_model, load_tokenizer, model_id
from deepcritic.rows import Example
from deepcritic.runs import RunFolder
from deepcritic.samplers import Sampler, Sampling
from deepcritic.sampling import Draws, request
from deepcritic.sources import examples as example_rows
from deepcritic.store import read_rows
from deepcritic.tasks import CriticTask
from deepcritic.training import order_by_epoch, quiet, recorder, remove_checkpoints, save_model, train

CALL = "prefilter"


def run(
    folder: RunFolder,
    *,
    examples: str,
    task: CriticTask[Any],
    sampler: Callable[..., Sampler],
    model: str | None,
    steps: int = 100,
    prompts_per_step: int = 16,
    group: int = 8,
    device_batch_size: int = 128,
    learning_rate: float = 1e-6,
    beta: float = 0.001,
    epsilon_high: float = 0.28,
    temperature: float = 1.0,
    max_tokens: int = 8192,
    prefilter_samples: int = 4,
    prefilter_limit: int | None = None,
    all_correct_share: float | None = 0.5,
    shuffle_labels: bool = False,
    warmup: float = 0.05,
    save_steps: int = 20,
    logging_steps: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns the manifest; the model is saved to `model/`.

    With `prefilter_samples` only prompts stay of which some samples of the starting model, but not all, are right.
    `all_correct_share` is the share of the class "all correct" among the prompts (None: as it comes).
    `shuffle_labels` permutes the labels among the prompts: a control that must teach nothing.
    """
    if model is None:
        raise UsageError("no model is named: give model=PATH")
    if prompts_per_step * group % device_batch_size:
        raise UsageError(
            f"stage.device_batch_size={device_batch_size} must divide prompts_per_step x group = {prompts_per_step * group}"
        )
    if not folder.begin(examples=Path(examples), model=model_id(model)):
        remove_checkpoints(folder.path)
        return folder.manifest or {}
    rows = example_rows.read(examples) if task.row is Example else read_rows(Path(examples), task.row)
    prompts = [prompt for row in rows if (prompt := prompt_of(row, task, seed)) is not None]
    folder.ledger("prompts").enter(len(prompts))
    random.Random(seed).shuffle(prompts)
    if shuffle_labels:
        prompts = shuffled(prompts, seed)
    counts: dict[str, int] = {}
    if prefilter_samples:
        sampling = Sampling(temperature=temperature, max_tokens=max_tokens)
        considered = folder.probed(prompts[:prefilter_limit], lambda prompt: prompt.id)
        folder.ledger("prompts").drop("not considered", len(prompts) - len(considered))
        prompts, counts = _prefilter(folder, considered, task, sampler(model=model), sampling, prefilter_samples, seed)
    folder.require_complete()
    prompts = balance(prompts, all_correct_share)
    ledger = folder.ledger("prompts")
    ledger.keep(len(prompts))
    ledger.drop("balance of classes", ledger.entered - ledger.kept - ledger.filtered.total())
    if len(prompts) < prompts_per_step:
        raise InputError(
            "too few prompts are left", file=examples, found=len(prompts), remedy=f"at least prompts_per_step={prompts_per_step}"
        )
    classes = ", ".join(f"{count} {stratum}" for stratum, count in sorted(Counter(prompt.stratum for prompt in prompts).items()))
    print(f"{folder.path}: {len(prompts)} prompts, {classes}")
    trainer, tokenizer = _trainer(
        folder, prompts, task, model,
        {
            "max_steps": steps, "num_generations": group, "per_device_train_batch_size": device_batch_size,
            "gradient_accumulation_steps": prompts_per_step * group // device_batch_size, "learning_rate": learning_rate,
            "beta": beta, "epsilon_high": epsilon_high, "temperature": temperature, "max_completion_length": max_tokens,
            "warmup_steps": warmup, "save_steps": save_steps, "logging_steps": logging_steps, "seed": seed,
        },
    )  # fmt: skip
    steps_done = train(trainer, folder.path)
    save_model(trainer, tokenizer, folder.path)
    manifest = folder.finish(model=model_id(model), trained=model_id(str(folder / "model")), steps=steps_done, prefilter=counts)
    remove_checkpoints(folder.path)
    return manifest


def _prefilter(
    folder: RunFolder,
    prompts: list[Prompt],
    task: CriticTask[Any],
    engine: Sampler,
    sampling: Sampling,
    samples: int,
    seed: int,
) -> tuple[list[Prompt], dict[str, int]]:
    requests = (
        request(prompt.question, sampling, example_id=prompt.id, call=CALL, seed=seed, samples=range(samples))
        for prompt in prompts
    )
    gold = {prompt.id: prompt.gold for prompt in prompts}
    judged: dict[str, list[bool]] = {}
    with Draws(folder) as draws:
        drawn = draws.collect(requests, engine, "prefilter")
        counts = draws.finish()
    for draw in drawn:
        verdict = task.parse(draw.prefix + draw.text, draw.context)
        judged.setdefault(draw.key.example_id, []).append(task.reward(verdict, gold[draw.key.example_id]) > 0)
    ledger = folder.ledger("prompts")
    kept = []
    for prompt in prompts:
        hits = judged.get(prompt.id)
        if hits is None:
            ledger.fail("no reply")
        elif all(hits) or not any(hits):  # of the draws that there are: one that failed is not a wrong one
            ledger.drop("always right" if all(hits) else "never right")
        else:
            kept.append(prompt)
    return kept, counts


def shuffled(prompts: list[Prompt], seed: int) -> list[Prompt]:
    """The same prompts with each other's gold."""
    others = list(prompts)
    random.Random(f"labels/{seed}").shuffle(others)
    return [
        dataclasses.replace(prompt, gold=other.gold, stratum=other.stratum) for prompt, other in zip(prompts, others, strict=True)
    ]


def _trainer(folder: RunFolder, prompts: list[Prompt], task: CriticTask[Any], model: str, settings: dict[str, Any]) -> Any:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    weights, tokenizer = load_model(model), load_tokenizer(model)
    on_cpu = weights.device.type == "cpu"
    config = GRPOConfig(
        output_dir=str(folder.path), save_strategy="steps", save_total_limit=2, report_to=[], disable_tqdm=True,
        bf16=not on_cpu, use_cpu=on_cpu, gradient_checkpointing=not on_cpu, mask_truncated_completions=True,
        lr_scheduler_type="constant_with_warmup", logging_nan_inf_filter=False, **settings,
    )  # fmt: skip
    sampling = Sampling(temperature=settings["temperature"], max_tokens=settings["max_completion_length"])
    engine = own_engine(tokenizer, sampling, config.per_device_train_batch_size)
    trainer = GRPOTrainer(
        model=weights,
        args=config,
        processing_class=tokenizer,
        reward_funcs=judgment,
        rollout_func=Groups(prompts, task, tokenizer, engine, seed=settings["seed"]),
        train_dataset=Dataset.from_list([{"prompt": prompt.id} for prompt in prompts]),
        callbacks=[recorder(folder.path)],
    )
    quiet(trainer)
    order_by_epoch(trainer, settings["seed"])
    return trainer, tokenizer


def judgment(completions: list[str], judged: list[float], **_: Any) -> list[float]:
    """What `Groups` found; the name is that of the figure in the log."""
    return judged

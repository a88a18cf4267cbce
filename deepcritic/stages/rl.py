"""Reinforcement learning of a critic with GRPO (TRL): the reward is the task's judgment, right or wrong, and nothing else.

    python -m deepcritic stage=rl stage.examples=runs/x/label/labelled.jsonl model=runs/x/sft/model run=x

GRPO compares the samples of one prompt with each other: a sample's advantage is its reward minus the mean of its
group, divided by the group's standard deviation (Shao et al. 2024, arXiv 2402.03300, eq. 3 and text). A group whose
samples are all right or all wrong teaches nothing, so prompts are filtered by how often the starting model is right on
them, and the two classes are balanced: both by the labels that training uses, never by a truth behind them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepcritic.errors import InputError, UsageError
from deepcritic.models import load_model, load_tokenizer, model_id
from deepcritic.rewards import reward_of
from deepcritic.rows import ALL_CORRECT, Example, Key, Message, sample_seed
from deepcritic.runs import RunFolder
from deepcritic.samplers import Sampler, Sampling
from deepcritic.sampling import Draws, request
from deepcritic.sources import examples as example_rows
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
    rows = [row for row in example_rows.read(examples) if isinstance(row.gold.first_error, int)]
    folder.ledger("prompts").enter(len(rows))
    random.Random(seed).shuffle(rows)
    labels: dict[str, Any] = {row.id: row.gold.first_error for row in rows}
    if shuffle_labels:
        values = list(labels.values())
        random.Random(f"labels/{seed}").shuffle(values)
        labels = dict(zip(labels, values, strict=True))
    counts: dict[str, int] = {}
    if prefilter_samples:
        sampling = Sampling(temperature=temperature, max_tokens=max_tokens)
        considered = folder.probed(rows[:prefilter_limit], lambda row: row.id)
        folder.ledger("prompts").drop("not considered", len(rows) - len(considered))
        rows, counts = _prefilter(folder, considered, labels, task, sampler(model=model), sampling, prefilter_samples, seed)
    folder.require_complete()
    rows = balance(rows, labels, all_correct_share)
    ledger = folder.ledger("prompts")
    ledger.keep(len(rows))
    ledger.drop("balance of classes", ledger.entered - ledger.kept - ledger.filtered.total())
    if len(rows) < prompts_per_step:
        raise InputError(
            "too few prompts are left", file=examples, found=len(rows), remedy=f"at least prompts_per_step={prompts_per_step}"
        )
    print(f"{folder.path}: {len(rows)} prompts, {sum(labels[row.id] == ALL_CORRECT for row in rows)} of them all correct")
    trainer, tokenizer = _trainer(
        folder, rows, labels, task, model,
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


def balance(rows: list[Example], labels: dict[str, Any], all_correct_share: float | None) -> list[Example]:
    """The largest part of `rows`, in their order, in which that share is labelled all correct."""
    if all_correct_share is None:
        return rows
    right = [row for row in rows if labels[row.id] == ALL_CORRECT]
    wrong = [row for row in rows if labels[row.id] != ALL_CORRECT]
    total = min(
        len(right) / all_correct_share if all_correct_share else len(wrong), len(wrong) / max(1e-9, 1 - all_correct_share)
    )
    keep = {row.id for row in right[: round(total * all_correct_share)] + wrong[: round(total * (1 - all_correct_share))]}
    return [row for row in rows if row.id in keep]


def _prefilter(
    folder: RunFolder,
    rows: list[Example],
    labels: dict[str, Any],
    task: CriticTask[Any],
    engine: Sampler,
    sampling: Sampling,
    samples: int,
    seed: int,
) -> tuple[list[Example], dict[str, int]]:
    requests = (
        request(task.ask(row.item), sampling, example_id=row.id, call=CALL, seed=seed, samples=range(samples)) for row in rows
    )
    judged: dict[str, list[bool]] = {}
    with Draws(folder) as draws:
        drawn = draws.collect(requests, engine, "prefilter")
        counts = draws.finish()
    for draw in drawn:
        verdict = task.parse(draw.prefix + draw.text, draw.context)
        judged.setdefault(draw.key.example_id, []).append(verdict == labels[draw.key.example_id])
    ledger = folder.ledger("prompts")
    kept = []
    for row in rows:
        hits = judged.get(row.id)
        if hits is None:
            ledger.fail("no reply")
        elif all(hits) or not any(hits):  # of the draws that there are: one that failed is not a wrong one
            ledger.drop("always right" if all(hits) else "never right")
        else:
            kept.append(row)
    return kept, counts


def rollouts(tokenizer: Any, sampling: Sampling) -> Callable[..., dict[str, Any]]:
    """Generation for TRL with our own sampler: every sample of every step has a seed of its own, so that a resumed run
    draws what an undisturbed one would have drawn, and text cannot become a control token."""
    from deepcritic.chat import prompt_ids
    from deepcritic.samplers.transformers import draw_replies

    def draw(prompts: list[list[dict[str, str]]], trainer: Any) -> dict[str, Any]:
        ids = [prompt_ids(tokenizer, [Message(**message) for message in prompt]) for prompt in prompts]
        place = f"{trainer.args.seed}/{trainer.state.global_step}/{trainer.accelerator.process_index}"
        seeds = [sample_seed(trainer.args.seed, Key(example_id=place, request="rl", sample=index)) for index in range(len(ids))]
        model = trainer.accelerator.unwrap_model(trainer.model)
        training = model.training
        model.eval()
        replies = draw_replies(model, tokenizer, ids, seeds, sampling)
        model.train(training)
        return {"prompt_ids": ids, "completion_ids": [reply.ids for reply in replies], "logprobs": None}

    return draw


def _trainer(
    folder: RunFolder, rows: list[Example], labels: dict[str, Any], task: CriticTask[Any], model: str, settings: dict[str, Any]
) -> Any:
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    weights, tokenizer = load_model(model), load_tokenizer(model)
    on_cpu = weights.device.type == "cpu"
    config = GRPOConfig(
        output_dir=str(folder.path), save_strategy="steps", save_total_limit=2, report_to=[], disable_tqdm=True,
        bf16=not on_cpu, use_cpu=on_cpu, gradient_checkpointing=not on_cpu, mask_truncated_completions=True,
        lr_scheduler_type="constant_with_warmup", logging_nan_inf_filter=False, **settings,
    )  # fmt: skip
    prompts = [
        {
            "prompt": [{"role": message.role, "content": message.content} for message in task.ask(row.item).messages],
            "first_error": labels[row.id],
        }
        for row in rows
    ]
    trainer = GRPOTrainer(
        model=weights,
        args=config,
        processing_class=tokenizer,
        reward_funcs=reward_of(task),
        rollout_func=rollouts(
            tokenizer, Sampling(temperature=settings["temperature"], max_tokens=settings["max_completion_length"])
        ),
        train_dataset=Dataset.from_list(prompts),
        callbacks=[recorder(folder.path)],
    )
    quiet(trainer)
    order_by_epoch(trainer, settings["seed"])
    return trainer, tokenizer

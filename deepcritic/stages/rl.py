"""Reinforcement learning of a critic with GRPO (TRL): the reward is the task's judgment, right or wrong, and nothing else.

    python -m deepcritic stage=rl stage.examples=runs/x/label/labelled.jsonl model=runs/x/sft/model run=x

GRPO compares the replies to one prompt with each other (the formula stands in
`deepcritic.training.grpo_rollouts`). A group whose replies are all right or all wrong has no advantage, so prompts are filtered
by the pass rate of the starting model, and the classes can be balanced: both by the labels that training uses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from deepcritic.errors import InputError, UsageError
from deepcritic.hub import publishing
from deepcritic.hub.models import load_tokenizer, model_id
from deepcritic.runs.folder import RunFolder
from deepcritic.samplers.base import Sampler, Sampling
from deepcritic.tasks.base import CriticTask
from deepcritic.training.card import push_model, write_card
from deepcritic.training.checkpoints import BEST
from deepcritic.training.grpo import check_names, grpo_trainer, plan_memory, vllm_settings
from deepcritic.training.loop import best_of, remove_checkpoints, save_model, train
from deepcritic.training.plan import GIB
from deepcritic.training.processes import leader_first, leads, world_size
from deepcritic.training.prompts import Prompt, balance, prefilter, read_prompts, reply_room, room
from deepcritic.training.settings import TrainerSettings, accumulation
from deepcritic.training.validation import Validation, validate

VOTES = 8
"""How many replies vote at a validation."""


def run(
    folder: RunFolder,
    *,
    examples: str,
    task: CriticTask[Any],
    sampler: Callable[..., Sampler],
    model: str | None,
    trainer: TrainerSettings = TrainerSettings(),  # noqa: B008  # frozen
    steps: int | None = 100,
    epochs: float | None = None,
    prompts_per_step: int = 16,
    group: int = 8,
    device_batch_size: int = 128,
    learning_rate: float = 1e-6,
    beta: float = 0.001,
    epsilon_high: float = 0.28,
    temperature: float = 1.0,
    max_tokens: int | None = None,
    prefilter_samples: int = 4,
    prefilter_limit: int | None = None,
    all_correct_share: float | None = None,
    balanced_batches: bool = False,
    dynamic_sampling: int = 0,
    shuffle_labels: bool = False,
    loss_type: str = "dapo",
    warmup: float = 0.05,
    max_prompt_tokens: int | None = None,
    vllm: str | None = None,
    vllm_url: str | None = None,
    vllm_memory: float = 0.3,
    vllm_tensor_parallel: int = 1,
    validation: str | None = None,
    validation_limit: int | None = None,
    eval_steps: int = 0,
    collapse: float | None = 0.95,
    patience: int = 20,
    max_gap: float | None = 0.1,
    log_groups: int = 0,
    save_steps: int = 20,
    logging_steps: int = 5,
    push: str | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns the manifest; the model is saved to `model/`, with a card, and the best weights by validation to `best/`.

    A step learns from `prompts_per_step` groups of `group` replies, over all processes, `device_batch_size` replies at once.
    There are `steps` of them, and no more than `epochs` passes over the prompts make. Truncated replies count in their group, but
    not in the loss. `beta` weighs the KL divergence from the starting model (0: no second model in memory), `epsilon_high` is
    the upper bound of clipping (the lower is 0.2), `loss_type` one of TRL's names.

    Which prompts: with `prefilter_samples` those of which some samples of the starting model, but not all, are right.
    `all_correct_share` is the share of the class "all correct" among them (None: as it comes); with `balanced_batches` each
    batch holds the classes in the shares that they have in all. `dynamic_sampling` is how many times other prompts are drawn in
    place of those whose group has no variance. `shuffle_labels` permutes the labels among the prompts: a control that must
    teach nothing.

    `vllm` draws with TRL's vLLM, in this process or from the server at `vllm_url`, with importance-sampling correction; a
    resumed run then draws other replies than an undisturbed one. `validation` is a file of examples on which F1 and that of
    votes of eight are measured every `eval_steps` steps (0: never). `collapse`, `patience`, `max_gap`, `log_groups`: see
    `deepcritic.training.grpo_monitor`.
    """
    if model is None:
        raise UsageError("no model is named: give model=PATH")
    times = accumulation(prompts_per_step * group, device_batch_size, "prompts_per_step x stage.group")
    _check(prompts_per_step, steps, epochs, save_steps, logging_steps)
    check_names(loss_type, vllm)
    trainer.check(model)
    if eval_steps and validation is None:
        raise UsageError("stage.eval_steps asks for a validation: give stage.validation=FILE")
    if push is not None:
        publishing.check(push)
    files = {"examples": Path(examples), **({"validation": Path(validation)} if validation else {})}
    if not leader_first(lambda: folder.begin(**files, model=model_id(model))):
        remove_checkpoints(folder.path)
        if leads():
            push_model(folder.path, push)
        return folder.manifest or {}
    tokenizer = load_tokenizer(model)
    longest = room(model, max_tokens, max_prompt_tokens)
    prompts = read_prompts(folder, Path(examples), task, tokenizer, longest, shuffle_labels, seed)
    max_tokens = reply_room(model, prompts, tokenizer, max_tokens)
    plan = plan_memory(prompts, tokenizer, model, trainer, max_tokens, group, prompts_per_step, device_batch_size, _steps(
        len(prompts), prompts_per_step, steps, epochs
    ))  # fmt: skip
    if folder.limits.dry_run:
        second = f"; {plan.memory['weights'] / GIB:.3g} GiB more for the starting model (stage.beta)" if beta else ""
        print(f"before any prompt is filtered, with replies of max_tokens, drawing them not counted:\n{plan}{second}")
    counts: dict[str, int] = {}
    if prefilter_samples:
        sampling = Sampling(temperature=temperature, max_tokens=max_tokens)
        considered = folder.sampled_for_probe(prompts[:prefilter_limit], lambda prompt: prompt.id)
        folder.ledger("prompts").drop("not considered", len(prompts) - len(considered))
        prompts, counts = prefilter(folder, considered, task, sampler, model, sampling, prefilter_samples, seed)
    folder.require_complete()
    plan.check_memory()
    prompts = balance(prompts, all_correct_share)
    _account(folder, prompts, examples, prompts_per_step)
    settings = {
        "max_steps": _steps(len(prompts), prompts_per_step, steps, epochs), "num_generations": group,
        "per_device_train_batch_size": device_batch_size, "gradient_accumulation_steps": times,
        "learning_rate": learning_rate, "beta": beta, "epsilon_high": epsilon_high, "loss_type": loss_type,
        "temperature": temperature, "max_completion_length": max_tokens, "warmup_steps": warmup, "save_steps": save_steps,
        "logging_steps": logging_steps, "seed": seed,
    }  # fmt: skip
    if vllm:
        settings |= vllm_settings(vllm, vllm_url, vllm_memory, vllm_tensor_parallel, max_prompt_tokens, max_tokens)
    grpo = grpo_trainer(
        folder, prompts, task, model, tokenizer, trainer, settings, balanced_batches, dynamic_sampling,
        {"keep": log_groups, "collapse": collapse, "gap": max_gap, "patience": patience},
    )  # fmt: skip
    if validation and eval_steps:
        held = Validation.read(validation, task, validation_limit, max_tokens=max_tokens, votes=VOTES, seed=seed)
        held.check(grpo.model, tokenizer)
        validate(grpo, tokenizer, held, folder.path, every=eval_steps, base=model)
    steps_done = train(grpo, folder.path)
    save_model(grpo, tokenizer, folder.path, base=model)
    if not leads():
        return {}
    facts: dict[str, Any] = {"steps": steps_done}
    write_card(folder, base=model, method="GRPO", data=_data(prompts), facts=facts)
    if validation and eval_steps:
        facts["best"] = {"model": model_id(str(folder.path / BEST)), **best_of(folder.path)}
    trained = model_id(str(folder.path / "model"))
    manifest = folder.finish(model=model_id(model), trained=trained, prefilter=counts, **facts)
    remove_checkpoints(folder.path)
    push_model(folder.path, push)
    return manifest


def _steps(prompts: int, prompts_per_step: int, steps: int | None, epochs: float | None) -> int:
    limits = [steps, None if epochs is None else max(1, round(epochs * prompts / prompts_per_step))]
    return min(limit for limit in limits if limit is not None)


def _account(folder: RunFolder, prompts: list[Prompt], examples: str, prompts_per_step: int) -> None:
    ledger = folder.ledger("prompts")
    ledger.keep(len(prompts))
    ledger.drop("balance of classes", ledger.entered - ledger.kept - ledger.filtered.total() - ledger.failed.total())
    if len(prompts) < prompts_per_step:
        raise InputError(
            "too few prompts are left",
            file=examples,
            found=len(prompts),
            expected=f"at least prompts_per_step={prompts_per_step}",
        )
    print(f"{folder.path}: {len(prompts)} prompts, {_told(prompts)}")


def _told(prompts: list[Prompt]) -> str:
    return ", ".join(f"{count} {stratum}" for stratum, count in sorted(Counter(prompt.stratum for prompt in prompts).items()))


def _data(prompts: list[Prompt]) -> dict[str, str]:
    origins = Counter(prompt.origin for prompt in prompts).most_common()
    return {"prompts": ", ".join(f"{count:,} of {origin}" for origin, count in origins), "classes": _told(prompts)}


def _check(prompts_per_step: int, steps: int | None, epochs: float | None, save_steps: int, logging_steps: int) -> None:
    if prompts_per_step % world_size():
        raise UsageError(f"stage.prompts_per_step={prompts_per_step} is no multiple of the number of processes, {world_size()}")
    if steps is None and epochs is None:
        raise UsageError("stage.steps and stage.epochs are both null: how long is the training to be?")
    if save_steps % logging_steps:
        raise UsageError(
            f"stage.save_steps={save_steps} is no multiple of stage.logging_steps={logging_steps}: a line of the log is an "
            "average since the line before, and a run that is resumed in between could not know it"
        )

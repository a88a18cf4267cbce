"""Train a critic with GRPO (TRL). The only reward is the task's judgment: right or wrong.

    python -m deepcritic stage=rl stage.examples=runs/x/label/labelled.jsonl model=runs/x/sft/model run=x

GRPO compares the replies to one prompt with each other (formula: `deepcritic.training.grpo_rollouts`). A group whose replies
are all right or all wrong has zero advantage, so prompts can be filtered by the starting model's pass rate, and classes can
be balanced. Both use only the training labels.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from deepcritic.errors import InputError, Stopped, UsageError
from deepcritic.hub import publishing
from deepcritic.hub.models import load_tokenizer, model_id
from deepcritic.options import REQUIRED, Options, option, wrong
from deepcritic.runs.folder import RunFolder
from deepcritic.samplers.base import Sampler, Sampling
from deepcritic.samplers.resume import engine_for
from deepcritic.tasks.base import CriticTask
from deepcritic.tasks.meta_verification import MetaVerification
from deepcritic.tasks.proof import Proof
from deepcritic.training.card import push_model, write_card
from deepcritic.training.checkpoints import BEST
from deepcritic.training.grpo import LOSSES, WEIGHTS, check_loss, check_vllm, grpo_trainer, plan_training, vllm_settings
from deepcritic.training.loop import best_of, remove_checkpoints, save_model, train
from deepcritic.training.meta_reward import MetaReward
from deepcritic.training.plan import GIB
from deepcritic.training.processes import leader_first, leads, rank, world_size
from deepcritic.training.prompts import Prompt, balance, prefilter, read_prompts, reply_room, room
from deepcritic.training.settings import TrainerSettings, accumulation
from deepcritic.training.validation import Validation, validate

VOTES = 8
"""Number of votes at validation."""


@dataclass(frozen=True, kw_only=True)
class RLOptions(Options):
    """Reinforcement learning with GRPO (TRL) and the task's 0/1 judgment as reward."""

    NEEDS: ClassVar = {"sampler": "prefilter_samples|meta_judge"}

    examples: str = option(REQUIRED, "labelled solutions: labelled.jsonl of stage=label, or examples.jsonl", group="Data")
    columns: Mapping[str, str] | None = option(None, "column names, if the rows are not from stage=prepare: {problem: question}")
    index_base: int | None = option(None, "index of the first step in the labels: 0 or 1", at_least=0, at_most=1)
    max_prompt_tokens: int | None = option(None, "maximum prompt tokens; longer prompts are excluded and counted", at_least=1)
    prefilter_samples: int = option(
        4, "replies per prompt to filter by: keep pass rates of the starting model strictly between 0 and 1; 0: keep all",
        at_least=0,
    )  # fmt: skip
    prefilter_limit: int | None = option(None, "number of prompts to filter; null: all", at_least=1, needs="prefilter_samples")
    all_correct_share: float | None = option(
        None, "share of all-correct solutions among the prompts; null: unchanged", at_least=0, at_most=1
    )
    balanced_batches: bool = option(False, "keep the overall class shares in each batch")
    shuffle_labels: bool = option(False, "permute the labels among the prompts, as a control that should not improve the critic")
    model: str | None = option(None, "critic to train: local folder or hub id (ORG/NAME@revision)", group="Model", top=True)
    meta_judge: str | None = option(
        None, "model that rates whether a proof critique's issues are real (task=proof); its rating multiplies the reward",
        group="Meta-verification",
    )  # fmt: skip
    meta_judge_template: str | None = option(None, "file with the judge's prompt; null: built-in", needs="meta_judge")
    meta_judge_max_tokens: int | None = option(
        4096, "maximum tokens per reply of the judge; null: up to the context length", at_least=1, needs="meta_judge"
    )
    steps: int | None = option(100, "maximum optimizer steps; null: use `epochs`", group="Training", at_least=1)
    epochs: float | None = option(None, "maximum epochs over the prompts; null: use `steps`")
    prompts_per_step: int = option(16, "prompts per step over all processes, each with a group of replies", at_least=1)
    num_generations: int = option(8, "replies per prompt (group size of GRPO)", was="group", at_least=2)
    device_batch_size: int = option(128, "replies per forward pass on each device", at_least=1)
    learning_rate: float = option(0.000001, "peak learning rate")
    warmup_ratio: float = option(0.05, "fraction of steps used for warmup", was="warmup", at_least=0, at_most=1)
    beta: float = option(0.001, "weight of the KL divergence from the starting model; 0: no reference model", at_least=0)
    weight_decay: float = option(0.0, "weight decay (AdamW)", at_least=0)
    entropy_coef: float = option(0.0, "coefficient of the token entropy bonus", at_least=0)
    epsilon_high: float | None = option(
        None, "upper clipping bound (lower: 0.2); null: 0.28, or 5 with loss_type=cispo", at_least=0
    )
    loss_type: str = option("dapo", "loss, as named by TRL", choices=tuple(LOSSES))
    mask_truncated: bool = option(True, "exclude truncated replies from the loss; false: include them with reward 0")
    dynamic_sampling: int = option(
        0, "maximum times to replace groups with equal rewards by others of the same class (DAPO's dynamic sampling)", at_least=0
    )
    seed: int = option(0, "random seed", top=True)
    temperature: float = option(1.0, "sampling temperature", group="Sampling", at_least=0)
    max_tokens: int | None = option(None, "maximum tokens per reply; null: up to the context length")
    vllm_mode: str | None = option(
        None, "generate with vLLM in this process (colocate) or on a server; null: with transformers", group="vLLM", was="vllm",
        choices=("colocate", "server"),
    )  # fmt: skip
    vllm_server_base_url: str | None = option(
        None, "address of trl vllm-serve, started with --logprobs-mode processed_logprobs", was="vllm_url",
        needs="vllm_mode=server",
    )  # fmt: skip
    vllm_gpu_memory_utilization: float = option(
        0.3, "fraction of GPU memory for vLLM", was="vllm_memory", at_least=0, at_most=1, needs="vllm_mode=colocate"
    )
    vllm_tensor_parallel_size: int = option(
        1, "GPUs for tensor parallelism", was="vllm_tensor_parallel", at_least=1, needs="vllm_mode=colocate"
    )
    vllm_importance_sampling_mode: str = option(
        "token_truncate", "importance sampling weights with vLLM: per token or per reply, truncated to 3 or masked above 3",
        choices=WEIGHTS, needs="vllm_mode",
    )  # fmt: skip
    validation_examples: str | None = option(
        None, "labelled solutions to compute F1 and the F1 of votes on; best/ keeps the best weights",
        group="Validation", was="validation", needs="eval_steps",
    )  # fmt: skip
    validation_limit: int | None = option(
        None, "number of validation examples; null: all", at_least=1, needs="validation_examples"
    )
    eval_steps: int = option(0, "steps between validations; 0: never", at_least=0)
    collapse_threshold: float | None = option(
        0.95, "stop if one verdict exceeds this share of the replies for `patience` steps; null: never", group="Monitoring",
        was="collapse", at_least=0, at_most=1,
    )  # fmt: skip
    patience: int = option(20, "steps before a collapse stops training", at_least=1, needs="collapse_threshold")
    max_logprob_gap: float | None = option(
        0.1, "stop if log-probabilities of vLLM and trainer differ by more, in nats per token; null: never", was="max_gap",
        at_least=0, needs="vllm_mode",
    )  # fmt: skip
    log_groups: int = option(
        0, "groups of each logged step written to groups.jsonl", group="Logging", not_hashed=True, at_least=0
    )
    save_steps: int = option(20, "steps between checkpoints", not_hashed=True, at_least=1)
    logging_steps: int = option(5, "steps between lines of training.jsonl", not_hashed=True, at_least=1)
    push: str | None = option(
        None,
        "publish the model: ORG/NAME on the hub (token: HF_TOKEN), or a folder",
        group="Publishing",
        top=True,
        not_hashed=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is None and self.epochs is None:
            raise UsageError("stage.steps and stage.epochs are both null; expected a number for at least one")
        if self.save_steps % self.logging_steps:
            expected = (
                f"a multiple of stage.logging_steps={self.logging_steps}, as each log line averages the steps since the last"
            )
            raise wrong("stage.save_steps", self.save_steps, expected, "no multiple")
        check_loss(self.loss_type, self.epsilon_high, self.vllm_importance_sampling_mode, self.vllm_mode)
        if self.eval_steps and self.validation_examples is None:
            raise UsageError("stage.eval_steps needs stage.validation_examples=FILE")

    def steps_for(self, prompts: int) -> int:
        """Optimizer steps for `prompts` prompts."""
        by_epochs = None if self.epochs is None else max(1, round(self.epochs * prompts / self.prompts_per_step))
        return min(limit for limit in (self.steps, by_epochs) if limit is not None)


def run(
    folder: RunFolder,
    options: RLOptions,
    *,
    task: CriticTask[Any],
    sampler: Callable[..., Sampler],
    trainer: TrainerSettings = TrainerSettings(),  # noqa: B008  # frozen
) -> dict[str, Any]:
    """Return the manifest. The model is saved to `model/`, with a card, and the best weights by validation to `best/`.

    With vLLM a resumed run samples different replies.
    """
    if options.model is None:
        raise UsageError("no model is given; set model=PATH")
    model = options.model
    replies = options.prompts_per_step * options.num_generations
    times = accumulation(replies, options.device_batch_size, "prompts_per_step x stage.num_generations")
    if options.prompts_per_step % world_size():
        expected = f"a multiple of the number of processes, {world_size()}"
        raise wrong("stage.prompts_per_step", options.prompts_per_step, expected, "no multiple")
    if not folder.limits.dry_run:  # a dry run does not need vLLM
        check_vllm(options.vllm_mode)
    trainer.check(model)
    if options.push is not None:
        publishing.check(options.push)
    meta = _meta_reward(folder, options, task, sampler)
    files: dict[str, Any] = {"examples": Path(options.examples)}
    if meta is not None:
        files |= {"meta_judge": meta.model_id, "meta prompt": meta.judge.template.sha}
    if options.validation_examples:
        files["validation_examples"] = Path(options.validation_examples)
    if not leader_first(lambda: folder.begin(**files, model=model_id(model))):
        remove_checkpoints(folder.path)
        if leads():
            push_model(folder.path, options.push)
        return folder.manifest or {}
    tokenizer = load_tokenizer(model, template_args=trainer.template_args)
    longest = room(model, options.max_tokens, options.max_prompt_tokens)
    prompts = read_prompts(
        folder, options.examples, task, tokenizer, longest, options.shuffle_labels, options.seed,
        columns=options.columns, index_base=options.index_base,
    )  # fmt: skip
    max_tokens = reply_room(model, prompts, tokenizer, options.max_tokens)
    considered = len(prompts[: options.prefilter_limit])
    plan = plan_training(
        prompts, tokenizer, model, trainer, max_tokens=max_tokens, replies=replies, rows=options.device_batch_size,
        steps=options.steps_for(len(prompts)), vllm_mode=options.vllm_mode, beta=options.beta,
        probed=considered * options.prefilter_samples,
    )  # fmt: skip
    if folder.limits.dry_run:
        copied = bool(options.beta) and not plan.shape.adapter  # an adapter's base is the reference model
        second = f"\n{plan.on_gpus().memory['weights'] / GIB:.3g} GiB more for the reference model (stage.beta)" if copied else ""
        print(f"for all prompts, with replies of the maximum length:\n{plan.dry_run()}{second}")
        if meta is not None:
            most = options.steps_for(len(prompts)) * replies
            print(f"not counted: the judge of stage.meta_judge is asked about up to {most:,} critiques")
        if not options.prefilter_samples:  # otherwise counting the prefilter's requests ends the run
            raise Stopped(f"{folder.path}: dry run, nothing was trained")
    prompts, counts = _filtered(folder, options, prompts, max_tokens, task, sampler)
    folder.require_complete()
    plan.check_memory()
    prompts = balance(prompts, options.all_correct_share)
    _account(folder, options, prompts)
    settings = {
        "max_steps": options.steps_for(len(prompts)), "num_generations": options.num_generations,
        "per_device_train_batch_size": options.device_batch_size, "gradient_accumulation_steps": times,
        "learning_rate": options.learning_rate, "beta": options.beta, "loss_type": options.loss_type,
        "epsilon_high": LOSSES[options.loss_type].epsilon_high if options.epsilon_high is None else options.epsilon_high,
        "importance_sampling_level": LOSSES[options.loss_type].level, "weight_decay": options.weight_decay,
        "entropy_coef": options.entropy_coef, "mask_truncated_completions": options.mask_truncated,
        "temperature": options.temperature, "max_completion_length": max_tokens, "warmup_steps": options.warmup_ratio,
        "save_steps": options.save_steps, "logging_steps": options.logging_steps, "seed": options.seed,
    }  # fmt: skip
    if options.vllm_mode:
        settings |= vllm_settings(
            options.vllm_mode, options.vllm_server_base_url, options.vllm_gpu_memory_utilization,
            options.vllm_tensor_parallel_size, options.max_prompt_tokens, max_tokens,
            options.vllm_importance_sampling_mode,
        )  # fmt: skip
    grpo = grpo_trainer(
        folder, prompts, task, model, tokenizer, trainer, settings, options.balanced_batches, options.dynamic_sampling,
        {
            "keep": options.log_groups, "collapse_threshold": options.collapse_threshold,
            "max_logprob_gap": options.max_logprob_gap, "patience": options.patience,
        },
        meta,
    )  # fmt: skip
    validated = options.validation_examples is not None and options.eval_steps > 0
    if options.validation_examples and validated:
        held = Validation.read(
            options.validation_examples, task, options.validation_limit, max_tokens=max_tokens, votes=VOTES,
            seed=options.seed,
        )  # fmt: skip
        held.check(grpo.model, tokenizer)
        validate(grpo, tokenizer, held, folder.path, every=options.eval_steps, base=model)
    with meta or contextlib.nullcontext():
        steps_done = train(grpo, folder.path)
    save_model(grpo, tokenizer, folder.path, base=model)
    if not leads():
        return {}
    facts: dict[str, Any] = {"steps": steps_done}
    write_card(folder, base=model, method="GRPO", data=_data(prompts), facts=facts)
    if validated:
        facts["best"] = {"model": model_id(str(folder.path / BEST)), **best_of(folder.path)}
    trained = model_id(str(folder.path / "model"))
    manifest = folder.finish(model=model_id(model), trained=trained, prefilter=counts, **facts)
    remove_checkpoints(folder.path)
    push_model(folder.path, options.push)
    return manifest


def _meta_reward(
    folder: RunFolder, options: RLOptions, task: CriticTask[Any], sampler: Callable[..., Sampler]
) -> MetaReward | None:
    if options.meta_judge is None:
        return None
    if not isinstance(task, Proof) or isinstance(task, MetaVerification):
        raise UsageError(f"stage.meta_judge needs task=proof; found task={task.name}")
    engine = engine_for(sampler, options.meta_judge, "stage.meta_judge")
    judge = MetaVerification(options.meta_judge_template)
    return MetaReward(
        engine, task, judge, folder.path, max_tokens=options.meta_judge_max_tokens, seed=options.seed, process=rank()
    )


def _filtered(
    folder: RunFolder,
    options: RLOptions,
    prompts: list[Prompt],
    max_tokens: int,
    task: CriticTask[Any],
    sampler: Callable[..., Sampler],
) -> tuple[list[Prompt], dict[str, int]]:
    """The prompts with a pass rate strictly between 0 and 1, and the counts; without a prefilter, all prompts."""
    if not options.prefilter_samples or options.model is None:
        return prompts, {}
    sampling = Sampling(temperature=options.temperature, max_tokens=max_tokens)
    some = prompts[: options.prefilter_limit]
    considered = folder.sampled_for_probe(some, lambda prompt: prompt.id, lambda prompt: prompt.stratum)
    folder.ledger("prompts").drop("not considered", len(prompts) - len(considered))
    return prefilter(folder, considered, task, sampler, options.model, sampling, options.prefilter_samples, options.seed)


def _account(folder: RunFolder, options: RLOptions, prompts: list[Prompt]) -> None:
    ledger = folder.ledger("prompts")
    ledger.keep(len(prompts))
    ledger.drop("class balance", ledger.entered - ledger.kept - ledger.filtered.total() - ledger.failed.total())
    if len(prompts) < options.prompts_per_step:
        raise InputError(
            "too few prompts remain", file=options.examples, found=len(prompts),
            expected=f"at least prompts_per_step={options.prompts_per_step}",
        )  # fmt: skip
    print(f"{folder.path}: {len(prompts)} prompts, {_classes(prompts)}")


def _classes(prompts: list[Prompt]) -> str:
    return ", ".join(f"{count} {stratum}" for stratum, count in sorted(Counter(prompt.stratum for prompt in prompts).items()))


def _data(prompts: list[Prompt]) -> dict[str, str]:
    origins = Counter(prompt.origin for prompt in prompts).most_common()
    return {"prompts": ", ".join(f"{count:,} of {origin}" for origin, count in origins), "classes": _classes(prompts)}

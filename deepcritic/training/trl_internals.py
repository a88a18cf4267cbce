"""All private members of transformers' and TRL's trainers that this package uses, one function each.

They may change in any release: `tests/training/test_trl_internals.py` fails for a version that lacks one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from deepcritic.errors import DeepCriticError

LOGPROB_GAP: Final = "sampling/sampling_logp_difference/mean"
"""The metric that TRL logs with vLLM: the log-probability gap per token between engine and trainer, in nats."""
MEMBERS: Final = {
    "Trainer": ("_get_train_sampler", "_load_from_checkpoint", "_tr_loss"),
    "GRPOTrainer": ("_generate_and_score_completions", "_generate_single_turn", "_get_train_sampler", "_logs", "_metrics"),
}
"""The private members by class."""


def running_loss(trainer: Any) -> float:
    """The sum of losses since the last log line. Synchronizes the device."""
    return float(_member(trainer, "_tr_loss"))


def load_weights(trainer: Any, checkpoint: str) -> None:
    """Load the weights of `checkpoint` into the trainer's model, or its adapter."""
    _member(trainer, "_load_from_checkpoint")(checkpoint)


def replace_train_sampler(trainer: Any, sampler: Callable[[Callable[[], Any]], Any]) -> None:
    """Replace the sampler of training rows. `sampler` is called with a function that makes the trainer's own."""
    theirs = _member(trainer, "_get_train_sampler")
    trainer._get_train_sampler = lambda *given: sampler(lambda: theirs(*given))


def generate_with_vllm(trainer: Any, prompts: list[list[int]]) -> tuple[list[list[int]], list[list[float]] | None]:
    """One reply per prompt, as token ids, with token log-probabilities, from a GRPO trainer's engine."""
    replies, logprobs = _member(trainer, "_generate_single_turn")(prompts, None, {}, trainer.num_generations)
    return replies, logprobs


def log_importance_weights(trainer: Any) -> None:
    """Make a GRPO trainer with vLLM also log the share of importance weights outside their bounds: `masked` (modes
    `token_mask`, `sequence_mask`), else `truncated`."""
    theirs = _member(trainer, "_generate_and_score_completions")
    masks = trainer.vllm_importance_sampling_mode.endswith("_mask")
    most = trainer.vllm_importance_sampling_clip_max

    def generate(inputs: Any) -> Any:
        output = theirs(inputs)
        weights = output.get("importance_sampling_ratio")
        if weights is not None:
            counted = weights[output["completion_mask"].bool()] if weights.shape[1] > 1 else weights.flatten()
            outside = counted == 0 if masks else counted >= (most if most is not None else float("inf"))
            share = trainer.accelerator.gather(outside.float().mean()).nanmean().item()
            mode = "train" if trainer.model.training else "eval"
            name = "masked" if masks else "truncated"
            _member(trainer, "_metrics")[mode][f"sampling/importance_sampling_ratio/{name}"].append(share)
        return output

    trainer._generate_and_score_completions = generate


def last_metric(trainer: Any, name: str) -> float | None:
    """The last value of a GRPO trainer's training metric `name`; None before the first."""
    values = _member(trainer, "_metrics")["train"].get(name)
    return float(values[-1]) if values else None


def last_advantages(trainer: Any, count: int) -> list[float]:
    """The advantages of a GRPO trainer's last batch, ordered by process, at most `count`."""
    return list(_member(trainer, "_logs")["advantages"])[:count]


def _member(trainer: Any, name: str) -> Any:
    try:
        return getattr(trainer, name)
    except AttributeError:
        import transformers
        import trl

        raise DeepCriticError(
            f"{type(trainer).__name__} has no {name} in trl {trl.__version__} with transformers {transformers.__version__}; "
            "install the versions in constraints.txt"
        ) from None

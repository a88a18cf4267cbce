"""Metrics of an RL run, and two faults that stop it: an engine with stale weights, and collapse to one verdict.

    monitor = rl_monitor(folder, groups, keep=2)     # a callback of the trainer; `monitor.judgment` is its reward function

`training.jsonl` holds, beside TRL's own metrics, averages over the steps since the previous line:

| field | what |
|---|---|
| `reward`, `reward_with_error`, `reward_all_correct` | the mean reward, overall and by class (other tasks: `reward_<class>`) |
| `unparsed`, `truncated` | shares of replies without a verdict, and of those cut at `max_tokens` (excluded from the loss) |
| `top_verdict` | the share of replies with the most frequent verdict |
| `frac_reward_zero_std` | the share of zero-variance groups among those trained on |
| `groups_drawn` | groups sampled per group trained on: above 1 if dynamic sampling replaced some |
| `entropy`, `completions/mean_length`, `kl` | nats per token; tokens; KL from the starting model, if `beta` is not 0 |
| `sampling/sampling_logp_difference/mean` | with vLLM: mean log-probability gap per token of engine and trainer |
| `sampling/importance_sampling_ratio/mean` | with vLLM: the mean importance weight of tokens or replies |
| `meta_asked`, `meta_rating`, ... | with `stage.meta_judge`: see `deepcritic.training.meta_reward.MetaReward` |
| `.../masked`, `.../truncated` | the share of these weights that were masked or truncated |

With `keep`, that many groups of every logged step are written to `groups.jsonl`, with their advantages:
`{"step", "example_id", "gold", "samples": [{"text", "verdict", "reward", "advantage", "finish_reason"}]}`. `gold` is the
first error, the grade of a proof, or another task's gold.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from deepcritic.errors import DeepCriticError
from deepcritic.runs.jsonl import replacing, write_json
from deepcritic.training.grpo_rollouts import Group, RolloutFunction
from deepcritic.training.processes import from_all, leads
from deepcritic.training.trl_internals import LOGPROB_GAP, last_advantages, last_metric

GROUPS, STATE = "groups.jsonl", "watch.json"
STALE = 3
"""Consecutive steps with too wide a gap after which training stops."""


class RLMonitor:
    """Monitors the groups that a trainer learns from. Must precede the recorder, which completes a checkpoint.

    Training stops with a `DeepCriticError` when one verdict, or no readable verdict, takes more than `collapse_threshold` of the
    replies for `patience` consecutive steps. It also stops when the log-probabilities of engine and trainer differ by more than
    `max_logprob_gap` nats per token, and by three times the gap of the first step, when both had the same weights, for `STALE`
    steps. None switches either off.
    """

    def __init__(
        self,
        folder: Path,
        groups: RolloutFunction,
        *,
        keep: int = 0,
        collapse_threshold: float | None = 0.95,
        max_logprob_gap: float | None = 0.1,
        patience: int = 20,
    ) -> None:
        self.folder, self.groups, self.keep = folder, groups, keep
        self.collapse_threshold, self.max_logprob_gap, self.patience = collapse_threshold, max_logprob_gap, patience
        self.seen: dict[str, float] = {"collapse": 0, "gap": 0}
        """Consecutive steps with each fault, and the gap of the first step."""
        self.trainer: Any = None

    def judgment(
        self, completions: list[str], judged: list[float], log_metric: Callable[[str, float], None], **_: Any
    ) -> list[float]:
        """The trainer's reward function: the rewards from `RolloutFunction`. TRL logs it under this name."""
        for name, value in figures(self.groups.batch).items():
            log_metric(name, value)
        for name, value in ({} if self.groups.change is None else self.groups.change.figures).items():
            log_metric(name, value)
        log_metric("groups_drawn", len(self.groups.used) / len(self.groups.batch))
        return judged

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        before = self.folder / f"checkpoint-{state.global_step}" / STATE
        if before.is_file():
            self.seen = json.loads(before.read_text("utf-8"))
        path = self.folder / GROUPS
        if self.keep and leads():
            lines = path.read_text("utf-8").splitlines() if path.exists() else []
            kept = [line for line in lines if line.endswith("}") and json.loads(line)["step"] <= state.global_step]
            with replacing(path) as file:
                file.write("".join(f"{line}\n" for line in kept).encode())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.keep and leads() and state.global_step % state.logging_steps == 0:
            self._keep(state.global_step)
        self._look_for_collapse(state.global_step)
        gap = last_metric(self.trainer, LOGPROB_GAP)
        if gap is not None:
            self._look_for_stale_weights(state.global_step, gap)

    def _look_for_collapse(self, step: int) -> None:
        verdicts = from_all([_name(sample.verdict) for group in self.groups.batch for sample in group.samples])
        verdict, count = Counter(verdicts).most_common(1)[0]
        share = count / len(verdicts)
        self._count("collapse", self.collapse_threshold is not None and share > self.collapse_threshold)
        if self.seen["collapse"] >= self.patience:
            said = "unparsed replies are" if verdict == "null" else f"the verdict {verdict} has"
            raise DeepCriticError(
                f"the critic has collapsed: at step {step} {said} {100 * share:.0f}% of the replies, and more than "
                f"{100 * (self.collapse_threshold or 0):g}% for {self.patience} steps; balance the classes "
                "(stage.all_correct_share=0.5 stage.balanced_batches=true), lower stage.learning_rate or raise stage.beta"
            )

    def _look_for_stale_weights(self, step: int, gap: float) -> None:
        first = self.seen.setdefault("first gap", gap)
        self._count("gap", self.max_logprob_gap is not None and gap > max(self.max_logprob_gap, 3 * first))
        if self.seen["gap"] >= STALE:
            raise DeepCriticError(
                f"vLLM has stale weights: its log-probabilities differ from the trainer's by {gap:.3g} nats per token at step "
                f"{step} ({first:.3g} at the first step); restart the vLLM server with the trainer's model and dtype, "
                "or set stage.vllm_mode=null"
            )

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        place = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        if leads() and place.is_dir():
            write_json(place / STATE, self.seen)

    def _count(self, fault: str, seen: bool) -> None:
        self.seen[fault] = self.seen[fault] + 1 if seen else 0

    def _keep(self, step: int) -> None:
        size = len(self.groups.batch) * len(self.groups.batch[0].samples)
        advantages = last_advantages(self.trainer, size)  # of all processes, this one's first
        with (self.folder / GROUPS).open("a", encoding="utf-8") as file:
            for at, group in enumerate(self.groups.batch[: self.keep]):
                mine = advantages[at * len(group.samples) : (at + 1) * len(group.samples)]
                file.write(json.dumps(told(step, group, mine), ensure_ascii=False) + "\n")


def rl_monitor(folder: Path, groups: RolloutFunction, **options: Any) -> RLMonitor:
    """An `RLMonitor` as a trainer callback. Set its `trainer` after creating the trainer."""
    from transformers import TrainerCallback

    class Watching(RLMonitor, TrainerCallback):  # type: ignore[misc]  # transformers is untyped here
        pass

    return Watching(folder, groups, **options)


def figures(batch: Iterable[Group]) -> dict[str, float]:
    """Shares and mean rewards over the replies of `batch`, by log name."""
    samples = [(group.prompt.stratum, sample) for group in batch for sample in group.samples]
    rewards: dict[str, list[float]] = {}
    for stratum, sample in samples:
        rewards.setdefault(f"reward_{stratum.replace(' an ', ' ').replace(' ', '_')}", []).append(sample.reward)
    verdicts = Counter(_name(sample.verdict) for _, sample in samples)
    return {
        **{name: sum(values) / len(values) for name, values in sorted(rewards.items())},
        "unparsed": verdicts["null"] / len(samples),
        "truncated": sum(not sample.ended for _, sample in samples) / len(samples),
        "top_verdict": max(verdicts.values()) / len(samples),
    }


def told(step: int, group: Group, advantages: list[float]) -> dict[str, Any]:
    """A line of `groups.jsonl`."""
    samples = [
        {
            "text": sample.text,
            "verdict": msgspec.to_builtins(sample.verdict),
            "reward": sample.reward,
            "advantage": round(advantage, 6),
            "finish_reason": "stop" if sample.ended else "length",
            **({} if sample.rating is None else {"rating": sample.rating}),
        }
        for sample, advantage in zip(group.samples, advantages, strict=True)
    ]
    gold = getattr(group.prompt.gold, "first_error", group.prompt.gold)
    if getattr(group.prompt.gold, "grade", None) is not None:
        gold = group.prompt.gold.grade
    return {"step": step, "example_id": group.prompt.id, "gold": msgspec.to_builtins(gold), "samples": samples}


def _name(verdict: Any) -> str:
    return json.dumps(msgspec.to_builtins(verdict))

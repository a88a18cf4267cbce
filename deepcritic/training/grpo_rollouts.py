"""The groups of replies that GRPO learns from: prompts of a batch, sampling and judging of replies.

GRPO (Shao et al. 2024, arXiv 2402.03300, section 4.1.2) samples a group of replies to one prompt and compares them with each
other, so it needs no value model. With the rewards r_1 .. r_G of a group, the advantage of reply i, and of
each of its tokens, is

    A_i = (r_i - mean(r)) / std(r)

and the loss is that of PPO, -min(p A_i, clip(p, 1 - low, 1 + high) A_i), where p is the token's current probability divided by
its probability at sampling, plus beta times an estimate of the KL divergence from the starting model. With 0/1 rewards and a
share m of ones, a right reply has the advantage sqrt((1 - m) / m) and a wrong one -sqrt(m / (1 - m)): rare outcomes count most.
(TRL uses the sample standard deviation, by G - 1, plus 0.0001.) A group that is all right or all wrong has zero variance: its
advantages are 0, and it gives no gradient.

Two additions come from DAPO (Yu et al. 2025, arXiv 2503.14476): an upper clipping bound above the lower one, and
`RolloutFunction(rounds=...)`, which replaces prompts whose group has zero variance.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from deepcritic.hub.models import context_length
from deepcritic.rewards import reward_of
from deepcritic.samplers.base import Lengths, Sampling
from deepcritic.schema import Key, sample_seed
from deepcritic.tasks.base import CriticTask
from deepcritic.text.chat_template import reply_text
from deepcritic.training.processes import from_all, whole_weights
from deepcritic.training.prompts import Prompt
from deepcritic.training.trl_internals import generate_with_vllm

CALL = "rl"


@dataclass(frozen=True)
class Sample:
    """A judged reply to a prompt. `ids` are its tokens, end token included."""

    ids: list[int]
    text: str
    verdict: Any
    reward: float
    ended: bool
    logprobs: list[float] | None = None
    rating: float | None = None
    """The rating of a meta-verified reply (see `deepcritic.training.meta_reward`)."""


@dataclass(frozen=True)
class Group:
    """The replies to one prompt."""

    prompt: Prompt
    prompt_ids: list[int]
    samples: list[Sample]

    @property
    def varies(self) -> bool:
        return len({sample.reward for sample in self.samples}) > 1


class Engine(Protocol):
    """Samples one reply per prompt, as token ids, with their log-probabilities if known."""

    def __call__(
        self, trainer: Any, prompts: list[list[int]], seeds: list[int]
    ) -> tuple[list[list[int]], list[list[float]] | None]: ...


class Change(Protocol):
    """Changes the rewards of groups. `figures` describes the last ones, for the log."""

    figures: dict[str, float]

    def __call__(self, groups: list[Group]) -> list[Group]: ...


def own_engine(tokenizer: Any, sampling: Sampling, batch_size: int) -> Engine:
    """Samples with the current weights and this package's sampler, `batch_size` replies at once. Every reply has its own seed,
    so a resumed run samples the same replies as an uninterrupted one."""
    from deepcritic.samplers.transformers import draw_replies

    def draw(trainer: Any, prompts: list[list[int]], seeds: list[int]) -> tuple[list[list[int]], None]:
        replies = []
        with whole_weights(trainer) as model:
            lengths = Lengths(context_length(model))
            limits = [lengths.limit(len(prompt), sampling) or 1 for prompt in prompts]
            for start in range(0, len(prompts), batch_size):
                part = slice(start, start + batch_size)
                replies += draw_replies(model, tokenizer, prompts[part], seeds[part], sampling, limits[part])
        return [reply.ids for reply in replies], None

    return draw


def vllm_engine(trainer: Any, prompts: list[list[int]], seeds: list[int]) -> tuple[list[list[int]], list[list[float]] | None]:
    """Samples with TRL's vLLM, which has this step's weights. It ignores seeds, so a resumed run samples other replies."""
    return generate_with_vllm(trainer, prompts)


class RolloutFunction:
    """TRL's `rollout_func`: takes the names of a batch of prompts, each repeated once per reply of its group.

    The trainer knows only the names of prompts; questions, gold and judgments are kept here. Zero-variance groups are replaced
    by groups of other prompts of the same class, up to `rounds` times. The choice depends only on the seed, the step and the
    round, so a resumed run makes the same one. `change` may change the rewards of the groups. A truncated reply earns the
    reward of its verdict (it is excluded from the loss), or 0 without `cut_earns`.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        task: CriticTask[Any],
        tokenizer: Any,
        engine: Engine,
        *,
        rounds: int = 0,
        seed: int = 0,
        cut_earns: bool = True,
        change: Change | None = None,
    ) -> None:
        self.prompts = {prompt.id: prompt for prompt in prompts}
        self.task, self.tokenizer, self.engine = task, tokenizer, engine
        self.rounds, self.seed, self.cut_earns = rounds, seed, cut_earns
        self.reward = reward_of(task)
        self.change = change
        self.batch: list[Group] = []
        """The groups of the last batch, sampled by this process."""
        self.used: list[str] = []
        """The names of all prompts that this process used for it, including replaced ones."""

    def __call__(self, names: list[str], trainer: Any) -> dict[str, Any]:
        self.used = []
        self.batch = self._draw([self.prompts[name] for name in names[:: trainer.num_generations]], CALL, trainer)
        for number in range(1, self.rounds + 1):
            if not self._refill(number, trainer):
                break
        samples = [sample for group in self.batch for sample in group.samples]
        logprobs = [sample.logprobs for sample in samples]
        return {
            "prompt_ids": [group.prompt_ids for group in self.batch for _ in group.samples],
            "completion_ids": [sample.ids for sample in samples],
            "logprobs": None if None in logprobs else logprobs,
            "judged": [sample.reward for sample in samples],
        }

    def _draw(self, prompts: list[Prompt], call: str, trainer: Any) -> list[Group]:
        size = trainer.num_generations
        self.used += [prompt.id for prompt in prompts]
        ids = [prompt.ids(self.tokenizer) for prompt in prompts]
        place = f"{self.seed}/{trainer.state.global_step}/{trainer.accelerator.process_index}"
        keys = [Key(example_id=place, request=call, sample=sample) for sample in range(len(prompts) * size)]
        repeated = [one for one in ids for _ in range(size)]
        replies, logprobs = self.engine(trainer, repeated, [sample_seed(self.seed, key) for key in keys])
        groups = []
        for at, prompt in enumerate(prompts):
            part = slice(at * size, (at + 1) * size)
            groups.append(self._judged(prompt, ids[at], replies[part], logprobs[part] if logprobs else [None] * size, trainer))
        return groups if self.change is None else self.change(groups)

    def _judged(self, prompt: Prompt, ids: list[int], replies: list[list[int]], logprobs: Sequence[Any], trainer: Any) -> Group:
        question = prompt.question
        texts = [question.prefix + reply_text(self.tokenizer, ids, reply) for reply in replies]
        ends = {*trainer.eos_token_ids, self.tokenizer.pad_token_id}
        ended = [reply[-1] in ends for reply in replies]
        # A truncated reply has no verdict if the task has a marker (see `verdict_of`).
        cut_counts = self.cut_earns and self.task.marker is None
        read = [text if whole or cut_counts else "" for text, whole in zip(texts, ended, strict=True)]
        rewards = self.reward(read, [prompt.gold] * len(texts), [question.context] * len(texts))
        verdicts = [self.task.parse(text, question.context) for text in read]
        samples = [
            Sample(ids=reply, text=text, verdict=verdict, reward=reward, ended=whole, logprobs=known)
            for reply, text, verdict, reward, whole, known in zip(replies, texts, verdicts, rewards, ended, logprobs, strict=True)
        ]
        return Group(prompt, ids, samples)

    def _refill(self, number: int, trainer: Any) -> bool:
        """Replace zero-variance groups by other prompts; False if there are none, or no prompts remain."""
        dull = [at for at, group in enumerate(self.batch) if not group.varies]
        wanted = [self.batch[at].prompt.stratum for at in dull]
        everyone = sorted(from_all([(trainer.accelerator.process_index, wanted, self.used)]))
        most = max(len(strata) for _, strata, _ in everyone)
        if not most:
            return False
        used = {name for _, _, names in everyone for name in names}
        order = [prompt for name, prompt in sorted(self.prompts.items()) if name not in used]
        random.Random(f"refill/{self.seed}/{trainer.state.global_step}/{number}").shuffle(order)
        chosen: list[list[Prompt]] = []
        for _, strata, _ in everyone:  # equally many per process: all must call a shared engine
            chosen.append([])
            for stratum in [*strata, *[order[-1].stratum if order else ""] * (most - len(strata))]:
                at = next((at for at, prompt in enumerate(order) if prompt.stratum == stratum), None)
                if at is not None:
                    chosen[-1].append(order.pop(at))
        least = min(map(len, chosen))
        if not least:
            return False
        mine = chosen[trainer.accelerator.process_index][:least]
        fresh = self._draw(mine, f"{CALL}/{number}", trainer)
        for at, group in zip(dull, fresh, strict=False):
            if group.varies:
                self.batch[at] = group
        return True

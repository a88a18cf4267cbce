"""The meta-verified reward of proof critics: a second model judges whether the issues that a critique claims are real.

The reward of a critique is (1 - |grade - true grade|) times the judge's rating of its issues, 0 to 1 (DeepSeekMath-V2, arXiv
2511.22570, section 2.1; NVIDIA's recipe, arXiv 2609.10712). Without it, a right low grade
is rewarded whatever reasons are made up.

The judge is asked about low grades only: a critique with full marks claims no issue, and one with the reward 0 cannot earn
less. A low grade without a listed issue earns 0, without a question. The requests of a batch of groups go to the engine
together. Ratings are kept in `meta.jsonl` by their content: neither a restarted run nor the same critique twice asks again.

A judge that fails, or whose reply has no rating, is asked once more. If that fails too, the reply is set aside: it gets the mean
reward of the rest of its group, so its advantage is 0 and it is neither rewarded nor punished. If no critique of a batch gets a
rating, training stops with an error; started again, it continues from its last checkpoint.

    reward = MetaReward(engine, Proof(), MetaVerification(), folder.path, max_tokens=4096, seed=0)
    with reward:
        groups = reward(groups)       # of RolloutFunction(..., change=reward)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from deepcritic.errors import DeepCriticError
from deepcritic.runs.jsonl import Journal
from deepcritic.samplers.base import Sampler, Sampling
from deepcritic.samplers.resume import request
from deepcritic.schema import Generation, Item
from deepcritic.tasks.base import verdict_of
from deepcritic.tasks.meta_verification import MetaVerification, claim
from deepcritic.tasks.proof import Proof
from deepcritic.training.grpo_rollouts import Group, Sample

CALL: Final = "meta"
TRIES: Final = (0.0, 1.0)
"""The temperature of each try."""


class MetaReward:
    """Multiplies rewards by the judge's ratings. `figures` describes the last batch."""

    def __init__(
        self, engine: Sampler, task: Proof, judge: MetaVerification, folder: Path, *, max_tokens: int | None, seed: int,
        process: int = 0,
    ) -> None:  # fmt: skip
        self.task, self.judge = task, judge
        self._engine, self._max_tokens, self._seed = engine, max_tokens, seed
        self._path = folder / ("meta.jsonl" if process == 0 else f"meta.{process}.jsonl")
        self._ratings: dict[str, float] = {}
        self._journal: Journal[Generation] | None = None
        self._last_failure = ""
        self.figures: dict[str, float] = {}
        """`meta_asked`: the share of replies whose issues were judged; `meta_rating`: their mean rating;
        `meta_made_up`: the share with rating 0; `meta_no_issues`: the share of replies with a low grade and no
        issue; `meta_failed`: the share of the asked
        replies without a rating."""

    @property
    def model_id(self) -> str:
        return self._engine.model_id

    def __enter__(self) -> Self:
        self._journal = Journal(self._path, Generation)
        for reply in self._journal:
            self._keep(reply)
        self._engine.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._engine.__exit__(kind, error, trace)
        if self._journal is not None:
            self._journal.close()

    def __call__(self, groups: list[Group]) -> list[Group]:
        """The groups with their new rewards."""
        asked: dict[str, Item] = {}
        names: dict[tuple[int, int], str] = {}
        without = total = 0
        for at, group in enumerate(groups):
            for number, sample in enumerate(group.samples):
                total += 1
                if not self._claims(sample):
                    continue
                if not self.task.issues(sample.text):
                    without += 1
                    continue
                item = claim(group.prompt.item, sample.text, self.task)
                names[at, number] = name = _name(item)
                asked[name] = item
        self._ask({name: item for name, item in asked.items() if name not in self._ratings})
        ratings = {place: self._ratings.get(name) for place, name in names.items()}
        known = [rating for rating in ratings.values() if rating is not None]
        if ratings and not known:
            raise DeepCriticError(
                f"the judge of stage.meta_judge rated none of {len(asked)} critiques ({self._last_failure}); start the same "
                "command again when it answers: training continues from its last checkpoint"
            )
        self.figures = {
            "meta_asked": len(ratings) / total, "meta_no_issues": without / total,
            "meta_failed": 1 - len(known) / len(ratings) if ratings else 0.0,
            **({"meta_rating": sum(known) / len(known), "meta_made_up": known.count(0.0) / len(known)} if known else {}),
        }  # fmt: skip
        return [self._rated(group, {n: ratings[at, n] for n in range(len(group.samples)) if (at, n) in ratings})
                for at, group in enumerate(groups)]  # fmt: skip

    def _claims(self, sample: Sample) -> bool:
        """Whether the reply has a low grade that earns something, which its issues must justify."""
        return sample.verdict is not None and sample.verdict < self.task.scale.full and sample.reward > 0

    def _rated(self, group: Group, ratings: dict[int, float | None]) -> Group:
        rewards: list[float | None] = []
        for number, sample in enumerate(group.samples):
            if not self._claims(sample):
                rewards.append(sample.reward)
            elif number not in ratings:  # no issue is listed
                rewards.append(0.0)
            else:
                rating = ratings[number]
                rewards.append(None if rating is None else sample.reward * rating)
        known = [reward for reward in rewards if reward is not None]
        aside = sum(known) / len(known) if known else 0.0
        samples = [
            dataclasses.replace(sample, reward=aside if reward is None else reward, rating=ratings.get(number))
            for number, (sample, reward) in enumerate(zip(group.samples, rewards, strict=True))
        ]
        return dataclasses.replace(group, samples=samples)

    def _ask(self, wanted: dict[str, Item]) -> None:
        self._last_failure = "its replies have no rating"
        for number, temperature in enumerate(TRIES):
            missing = {name: item for name, item in wanted.items() if name not in self._ratings}
            if not missing:
                return
            sampling = Sampling(temperature=temperature, max_tokens=self._max_tokens)
            requests = (
                request(self.judge.ask(item), sampling, example_id=name, call=CALL, seed=self._seed, samples=(number,))
                for name, item in missing.items()
            )
            for outcome in self._engine.stream(requests):
                if not isinstance(outcome, Generation):
                    self._last_failure = f"{outcome.reason} {outcome.detail}".strip()
                elif self._keep(outcome) and self._journal is not None:
                    self._journal.append(outcome)

    def _keep(self, reply: Generation) -> bool:
        """Note the rating in a reply of the judge; whether it has one."""
        rating = verdict_of(reply, self.judge) if reply.finish_reason != "length" else None
        if rating is None:
            return False
        self._ratings[reply.key.example_id] = rating
        return True


def _name(item: Item) -> str:
    """A hash of everything that the judge is shown."""
    content: Sequence[object] = (item.problem, item.steps, sorted(item.meta.items()))
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=12).hexdigest()

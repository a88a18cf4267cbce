"""The service without its HTTP layer: a critic and a scorer behind batchers that all clients share."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from deepcritic.critic import Critic
from deepcritic.errors import InputError
from deepcritic.samplers.base import Cancelling, Refilling, Written
from deepcritic.samplers.base import Request as Draws
from deepcritic.schema import ALL_CORRECT, Failure, Item, Scores
from deepcritic.scorers.base import Scorer
from deepcritic.service.batching import Batcher
from deepcritic.service.limits import Limits
from deepcritic.service.messages import Asking, CritiqueAnswer, Health, ScoreAnswer, Solution
from deepcritic.service.metrics import Metrics
from deepcritic.service.questions import Questions, ToScore, item_of, step_shares, without_item


class Service:
    """A critic (and a scorer of steps, if there is one) behind batchers that all clients share."""

    def __init__(self, critic: Critic, *, scorer: Scorer[Item] | None = None, limits: Limits, lanes: int) -> None:
        self.critic, self.scorer, self.limits = critic, scorer, limits
        self._questions = Questions(critic)
        self._lanes = lanes
        self.stopping = False

    async def __aenter__(self) -> Service:
        engine = await asyncio.to_thread(self.critic.opened)
        cancel = engine.cancel if isinstance(engine, Cancelling) else None
        queue = self.limits.queue
        self.draws: Batcher[Draws] = Batcher(
            engine.stream, lanes=self._lanes, most_waiting=queue, cancel=cancel, refills=isinstance(engine, Refilling)
        ).__enter__()
        self.scores: Batcher[ToScore] | None = None
        if self.scorer is not None:
            await asyncio.to_thread(self.scorer.__enter__)
            self.scores = Batcher(self._scored, most_waiting=queue).__enter__()
        self._watch = asyncio.create_task(self._watched(engine)) if isinstance(engine, Written) else None
        self.metrics = Metrics(lambda: self.draws.waiting, lambda: self.draws.under_way)
        return self

    async def __aexit__(self, *error: object) -> None:
        self.stopping = True
        await asyncio.to_thread(self.draws.__exit__, None, None, None)
        if self._watch is not None:
            self._watch.cancel()
        if self.scores is not None and self.scorer is not None:
            await asyncio.to_thread(self.scores.__exit__, None, None, None)
            self.scorer.__exit__(None, None, None)
        await asyncio.to_thread(self.critic.close)

    async def _watched(self, engine: Written) -> None:
        """Note that tokens move, so that a long reply is not taken for a stall."""
        before = engine.written
        while True:
            await asyncio.sleep(min(1.0, self.limits.stall / 4))
            if (now := engine.written) != before:
                before = now
                self.draws.progressed()

    def _scored(self, asked: Iterable[ToScore]) -> Any:
        assert self.scorer is not None
        return self.scorer.score((one.name, one.item) for one in asked)

    async def critique(self, solution: Solution, index: int, asking: Asking) -> CritiqueAnswer:
        """The critique of one solution. An invalid solution gets a note and no verdict."""
        try:
            item = item_of(solution, self.critic.split)
            name, draws = self._questions.critique(item, asking)
        except InputError as error:
            return without_item(solution, index, str(error))
        answer = self._questions.answer(solution, index, item, await self.draws.draw(name, draws))
        self.metrics.tokens.inc(answer.tokens)
        accepted = answer.first_error == ALL_CORRECT or answer.grade == answer.full_marks
        outcome = "none" if answer.acceptance is None else "accepted" if accepted else "rejected"
        self.metrics.verdicts.labels(outcome).inc()
        return answer

    async def score(self, solution: Solution, index: int, asking: Asking) -> tuple[ScoreAnswer, int]:
        """The scores of one solution's steps, and the number of tokens used."""
        if self.scores is None:
            answer = await self.critique(solution, index, asking)
            return ScoreAnswer(index=index, data=step_shares(answer), note=answer.note), answer.tokens
        try:
            item = item_of(solution, self.critic.split)
        except InputError as error:
            return ScoreAnswer(index=index, data=None, note=str(error)), 0
        name = self._questions.critique(item, Asking())[0][0]
        (outcome,) = await self.scores.draw(name, ToScore(name, item))
        if isinstance(outcome, Scores):
            return ScoreAnswer(index=index, data=list(outcome.values)), outcome.prompt_tokens
        assert isinstance(outcome, Failure)
        return ScoreAnswer(index=index, data=None, note=": ".join(filter(None, (outcome.reason, outcome.detail)))), 0

    def health(self) -> Health:
        idle = max(self.draws.idle_seconds, self.scores.idle_seconds if self.scores else 0.0)
        status = "stopping" if self.stopping else "stalled" if idle > self.limits.stall else "ok"
        return Health(
            status=status, model=self.critic.model_id, waiting=self.draws.waiting, under_way=self.draws.under_way,
            idle_seconds=round(idle, 3),
        )  # fmt: skip

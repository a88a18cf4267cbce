r"""Verify, refine, select: write several solutions of a problem, and choose one that every critique accepts.

This is the simplest form of the loops of DeepSeekMath-V2 (arXiv 2511.22570) and of NVIDIA's recipe for proofs (arXiv 2609.10712).
Each candidate is critiqued several times. A candidate that all critiques accept ends the search. Otherwise the best candidate is
rewritten from the step that most critiques name, and joins the pool. A budget of tokens (prompts and replies) limits the search.

>>> from deepcritic.critic import Critic
>>> from deepcritic.samplers.scripted import ScriptedSampler
>>> judge = lambda request, _: "\\boxed{-1}" if "= \\boxed{2}" in request.messages[-1].content else "\\boxed{1}"
>>> solve = lambda request, sample: f"Step 1: 1 + 1 = \\boxed{{{2 if sample == 1 else 3}}}"
>>> with Critic(sampler=ScriptedSampler(judge)) as critic:
...     found = select("What is 1 + 1?", generator=ScriptedSampler(solve), critic=critic, candidates=2)
>>> found.answer, found.outcome, len(found.candidates)
('2', 'unanimous', 2)
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deepcritic.critic import Critic, Critique, content_name
from deepcritic.labels.solving import PROMPT as SOLVE
from deepcritic.refining import PROMPT as REWRITE
from deepcritic.refining import Draw, rewrite_question, solution_answer
from deepcritic.samplers.base import Request, Sampler, Sampling
from deepcritic.samplers.resume import request
from deepcritic.schema import Failure, Generation, Item, Key, Row
from deepcritic.tasks.base import Question
from deepcritic.text.parsing import final_text
from deepcritic.text.prompt_template import Template
from deepcritic.text.steps import split_steps

UNANIMOUS, BEST, NOTHING = "unanimous", "best", "nothing"


class Candidate(Row, frozen=True, kw_only=True):
    """A solution, its final answer, and its critique. `parent` is the index (from 0) of the candidate that it rewrites."""

    steps: tuple[str, ...]
    answer: str | None
    critique: Critique | None = None
    parent: int | None = None

    @property
    def acceptance(self) -> float:
        """The share of the critiques that accept it. An unparsed critique does not."""
        if self.critique is None:
            return 0.0
        asked = sum(self.critique.votes.values()) + self.critique.unparsed + self.critique.failed
        return self.critique.votes.get(-1, 0.0) / asked if asked else 0.0


class Selection(Row, frozen=True, kw_only=True):
    """The chosen solution, and all candidates. `outcome`: `unanimous` (every critique accepts it), `best` (the largest share
    does; the earliest of a tie), `nothing` (no candidate has an answer). `tokens`: prompts and replies of generator and
    critic."""

    id: str
    problem: str
    steps: tuple[str, ...]
    answer: str | None
    outcome: str
    candidates: tuple[Candidate, ...]
    tokens: int


@dataclass
class _Search:
    problem: str
    pool: list[Candidate] = field(default_factory=list)
    tokens: int = 0

    @property
    def best(self) -> int | None:
        answered = [place for place, one in enumerate(self.pool) if one.answer is not None]
        return max(answered, key=lambda place: (self.pool[place].acceptance, -place), default=None)

    @property
    def settled(self) -> bool:
        best = self.best
        return best is not None and self.pool[best].acceptance == 1.0

    def selection(self, name: str) -> Selection:
        best = self.best
        chosen = self.pool[best] if best is not None else Candidate(steps=(), answer=None)
        outcome = NOTHING if best is None else UNANIMOUS if chosen.acceptance == 1.0 else BEST
        return Selection(
            id=name, problem=self.problem, steps=chosen.steps, answer=chosen.answer, outcome=outcome, candidates=tuple(self.pool),
            tokens=self.tokens,
        )  # fmt: skip


def select(
    problem: str,
    *,
    generator: Sampler,
    critic: Critic,
    candidates: int = 4,
    rounds: int = 4,
    budget: int | None = None,
    writing: Sampling | None = None,
    seed: int = 0,
) -> Selection:
    """Write `candidates` solutions, verify them with the critic's samples, and rewrite the best up to `rounds` times until one is
    accepted unanimously. No round starts after `budget` tokens are spent. `generator` is an opened sampler."""

    def draw(role: str, requests: list[Request]) -> dict[Key, Generation | Failure]:
        engine = critic.opened() if role == "critic" else generator
        return {outcome.key: outcome for outcome in engine.stream(requests)}

    name = content_name(Item(problem=problem))
    return select_many(
        {name: problem}, critic=critic, draw=draw, candidates=candidates, rounds=rounds, budget=budget,
        writing=writing or Sampling(temperature=0.7, top_p=0.9), seed=seed,
    )[name]  # fmt: skip


async def aselect(problem: str, **options: Any) -> Selection:
    """`select` as a coroutine."""
    return await asyncio.to_thread(select, problem, **options)


def select_many(
    problems: Mapping[str, str],
    *,
    critic: Critic,
    draw: Draw,
    writing: Sampling,
    candidates: int = 4,
    rounds: int = 4,
    budget: int | None = None,
    solve: Template | None = None,
    rewrite: Template | None = None,
    seed: int = 0,
) -> dict[str, Selection]:
    """`select` for many problems, by name, in parallel rounds. `budget` is per problem."""
    solving, rewriting = solve or Template.parse(SOLVE), rewrite or Template.parse(REWRITE)
    searches = {name: _Search(problem) for name, problem in problems.items()}
    asked = [
        request(
            Question(messages=solving.messages(problem=search.problem)), writing, example_id=name, call="candidate", seed=seed,
            samples=range(candidates),
        )
        for name, search in searches.items()
    ]  # fmt: skip
    outcomes = draw("generator", asked) if asked else {}
    for one in asked:
        for key in one.keys:
            _take(searches[key.example_id], outcomes.get(key), None)
    _verify(searches, critic, draw)
    for number in range(rounds):
        open_ = {
            name: search
            for name, search in searches.items()
            if search.best is not None and not search.settled and (budget is None or search.tokens < budget)
        }
        again: dict[str, tuple[int, Request]] = {}
        for name, search in open_.items():
            parent = _to_rewrite(search)
            if parent is None:
                continue
            item, critique = Item(problem=search.problem, steps=search.pool[parent].steps), search.pool[parent].critique
            assert critique is not None
            question = rewrite_question(item, critique, rewriting)
            again[name] = (
                parent,
                request(question, writing, example_id=name, call="rewrite", seed=seed, step=number, parent=str(parent)),
            )
        if not again:
            break
        written = draw("generator", [asked for _, asked in again.values()])
        for name, (parent, one) in again.items():
            _take(searches[name], written.get(one.keys[0]), parent)
        _verify({name: searches[name] for name in again}, critic, draw)
    return {name: search.selection(name) for name, search in searches.items()}


def _take(search: _Search, outcome: Generation | Failure | None, parent: int | None) -> None:
    """Add the generator's reply to the pool. A failure adds no candidate."""
    if isinstance(outcome, Generation):
        steps = tuple(split_steps(final_text(outcome.prefix, outcome.text)))
        search.tokens += outcome.prompt_tokens + outcome.completion_tokens
        search.pool.append(Candidate(steps=steps, answer=solution_answer(steps), parent=parent))


def _verify(searches: Mapping[str, _Search], critic: Critic, draw: Draw) -> None:
    """Critique all candidates that have no critique yet."""
    items = {
        (name, place): Item(problem=search.problem, steps=one.steps)
        for name, search in searches.items()
        for place, one in enumerate(search.pool)
        if one.critique is None and one.answer is not None
    }
    names = {f"{name}/c{place}": (name, place) for name, place in items}
    asked = [critic.question(items[place], example_id=called) for called, place in names.items()]
    outcomes = draw("critic", asked) if asked else {}
    by_name: dict[str, list[Generation | Failure]] = {called: [] for called in names}
    for key, outcome in outcomes.items():
        by_name[key.example_id].append(outcome)
    for called, (name, place) in names.items():
        critique, pool = critic.judge(items[name, place], by_name[called]), searches[name].pool
        searches[name].tokens += critique.tokens
        before = pool[place]
        pool[place] = Candidate(steps=before.steps, answer=before.answer, critique=critique, parent=before.parent)


def _to_rewrite(search: _Search) -> int | None:
    """The best candidate with a wrong step that has not been rewritten yet, else the best one again."""
    flagged = [
        place
        for place, one in enumerate(search.pool)
        if one.critique is not None and one.critique.first_error not in (None, -1) and one.answer is not None
    ]
    rewritten = {one.parent for one in search.pool}
    fresh: Sequence[int] = [place for place in flagged if place not in rewritten] or flagged
    return max(fresh, key=lambda place: (search.pool[place].acceptance, -place), default=None)

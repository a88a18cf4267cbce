r"""Critique a solution, rewrite it from the first wrong step on, and repeat: a generator corrects its answers with a critic.

>>> from deepcritic.critic import Critic
>>> from deepcritic.samplers.scripted import ScriptedSampler
>>> critic = Critic(sampler=ScriptedSampler("Step 2 should give 5. \\boxed{2}"), samples=1)
>>> done = refine(
...     "What is 1 + 1 + 3?", ["1 + 1 = 2", "2 + 3 = \\boxed{6}"],
...     generator=lambda prompt: "Step 2: 2 + 3 = \\boxed{5}", critic=critic,
... )
>>> done.answer, done.outcome, done.steps
('5', 'rounds', ('1 + 1 = 2', '2 + 3 = \\boxed{5}'))
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from deepcritic.answers import compare
from deepcritic.critic import Critic, Critique, Solution, content_name, read_item
from deepcritic.samplers.base import Request, Sampler, Sampling
from deepcritic.samplers.resume import request
from deepcritic.samplers.scripted import ScriptedSampler
from deepcritic.schema import Failure, Generation, Item, Key, Row
from deepcritic.tasks.base import Question
from deepcritic.text.parsing import final_text, last_boxed
from deepcritic.text.prompt_template import Template
from deepcritic.text.steps import split_steps, strip_heading

PROMPT = r"""---
fields: [problem, solution, critique, step]
index_base: 1
---
<problem>
{{problem}}
</problem>

Somebody wrote this solution:

<solution>
{{solution}}
</solution>

A reviewer found step {{step}} wrong:

<review>
{{critique}}
</review>

Write the solution anew from that step on, in numbered steps, each beginning with "Step 1:", "Step 2:" and so on. Keep
the steps before it. State the final answer in the last step, as \boxed{answer}.
"""

ACCEPTED, UNPARSED, FAILED = "accepted", "no verdict", "failed"
REPEATED, NO_ANSWER, ROUNDS = "answer repeated", "no answer", "rounds"

Draw = Callable[[str, list[Request]], Mapping[Key, Generation | Failure]]
"""Samples the requests of a role, `critic` or `generator`. Returns an outcome for each key."""


class Round(Row, frozen=True, kw_only=True):
    """One round: the steps that were critiqued, the critique, and the generator's rewrite."""

    steps: tuple[str, ...]
    critique: Critique
    rewrite: str | None = None
    tokens: int = 0
    """Tokens of the rewrite, prompt and reply. The critique counts its own."""


class Refinement(Row, frozen=True, kw_only=True):
    r"""The refined solution, with all rounds.

    `outcome` says why it ended: `accepted` (the critic finds no error), `no verdict` (unparsed, or a step that does not exist:
    the solution is kept), `answer repeated` (the rewrite has the same answer), `no answer` (the rewrite has none: the solution
    before it is kept), `rounds` (the maximum was reached), `failed` (an engine gave no reply).

    >>> from deepcritic.critic import Critic
    >>> from deepcritic.samplers.scripted import ScriptedSampler
    >>> critic = Critic(sampler=ScriptedSampler("I cannot tell."), samples=1)
    >>> done = refine("What is 1 + 1?", "1 + 1 = \\boxed{3}", generator=lambda prompt: "", critic=critic)
    >>> done.outcome, done.answer, done.rounds[0].critique.note
    ('no verdict', '3', 'no readable verdict')
    """

    id: str
    problem: str
    steps: tuple[str, ...]
    answer: str | None
    outcome: str
    rounds: tuple[Round, ...]

    @property
    def tokens(self) -> int:
        """All tokens of the refinement: critic and generator, prompts and replies."""
        return sum(one.tokens + one.critique.tokens for one in self.rounds)

    def after(self, rounds: int) -> tuple[str, ...]:
        """The steps after this number of rounds. 0: the original steps."""
        return self.rounds[rounds].steps if rounds < len(self.rounds) else self.steps


def refine(
    problem: str,
    solution: Solution,
    *,
    generator: Sampler | Callable[[str], str],
    critic: Critic,
    rounds: int = 1,
    template: str | None = None,
    temperature: float = 0.7,
    top_p: float = 0.9,
    max_tokens: int | None = None,
    seed: int = 0,
) -> Refinement:
    r"""Critique a solution and rewrite it from the first wrong step on, up to `rounds` times.

    `generator` is an opened sampler, whose reply is forced to continue the steps before the wrong one, or a function from a
    prompt to a text, which may repeat them. `template` is a file that replaces the prompt. A solution is unchanged if the critic
    accepts it or the critique is unparsed. Raises `InputError` for an empty problem, a solution without steps, or a template with
    other fields.

    >>> from deepcritic.critic import Critic
    >>> from deepcritic.samplers.scripted import ScriptedSampler
    >>> replies = iter(["Step 1 should give 2. \\boxed{1}", "All right. \\boxed{-1}"])
    >>> critic = Critic(sampler=ScriptedSampler(lambda request, sample: next(replies)), samples=1)
    >>> done = refine(
    ...     "What is 1 + 1?", "1 + 1 = \\boxed{3}", generator=lambda prompt: "Step 1: 1 + 1 = \\boxed{2}", critic=critic, rounds=2
    ... )
    >>> done.answer, done.outcome, len(done.rounds)
    ('2', 'accepted', 2)
    """
    item = read_item(problem, solution)
    forced = not callable(generator)
    writer = ScriptedSampler(lambda asked, _: generator(asked.messages[-1].content)) if callable(generator) else generator

    def draw(role: str, requests: list[Request]) -> dict[Key, Generation | Failure]:
        if role == "critic":
            return {outcome.key: outcome for outcome in critic.opened().stream(requests)}
        return {outcome.key: outcome for outcome in writer.stream(requests)}

    name = content_name(item)
    return refine_many(
        {name: item}, critic=critic, draw=draw, prompt=Template.of(template, PROMPT), rounds=rounds, seed=seed,
        writing=Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens), forced=forced,
    )[name]  # fmt: skip


async def arefine(problem: str, solution: Solution, **options: Any) -> Refinement:
    r"""`refine` as a coroutine.

    >>> from deepcritic.critic import Critic
    >>> from deepcritic.samplers.scripted import ScriptedSampler
    >>> critic = Critic(sampler=ScriptedSampler("All right. \\boxed{-1}"), samples=1)
    >>> asyncio.run(arefine("What is 1 + 1?", "1 + 1 = \\boxed{2}", generator=lambda prompt: "", critic=critic)).outcome
    'accepted'
    """
    return await asyncio.to_thread(refine, problem, solution, **options)


def refine_many(
    items: Mapping[str, Item],
    *,
    critic: Critic,
    draw: Draw,
    prompt: Template,
    writing: Sampling,
    rounds: int = 1,
    seed: int = 0,
    forced: bool = True,
) -> dict[str, Refinement]:
    """Refine many solutions, round by round. `items` is by name. `forced`: each reply begins with the steps to keep."""
    done: dict[str, Refinement] = {}
    trails: dict[str, list[Round]] = {name: [] for name in items}
    now: dict[str, tuple[str, ...]] = {name: item.steps for name, item in items.items()}
    for number in range(rounds):
        going = {name: Item(problem=items[name].problem, steps=steps) for name, steps in now.items() if name not in done}
        if not going:
            break
        critiques = _criticise(critic, going, number, draw)
        flagged: dict[str, Request] = {}
        for name, critique in critiques.items():
            if critique.first_error is None or critique.accepts:
                outcome = ACCEPTED if critique.accepts else FAILED if critique.failed and not critique.unparsed else UNPARSED
                trails[name].append(Round(steps=now[name], critique=critique))
                done[name] = _finished(name, going[name], outcome, trails[name])
            else:
                parent = Key(example_id=name, request="critique", step=number).text
                flagged[name] = request(
                    rewrite_question(going[name], critique, prompt, forced=forced), writing, example_id=name, call="rewrite",
                    seed=seed, step=critique.first_error, parent=parent,
                )  # fmt: skip
        written = draw("generator", list(flagged.values())) if flagged else {}
        replies = {name: written.get(asked.keys[0]) for name, asked in flagged.items()}
        repeated = _repeated({name: (now[name], reply) for name, reply in replies.items()})
        for name, reply in replies.items():
            text = final_text(reply.prefix, reply.text) if isinstance(reply, Generation) else None
            tokens = reply.prompt_tokens + reply.completion_tokens if isinstance(reply, Generation) else 0
            trails[name].append(Round(steps=now[name], critique=critiques[name], rewrite=text, tokens=tokens))
            if text is None:
                done[name] = _finished(name, going[name], FAILED, trails[name])
            elif _new_answer(reply) is None:
                done[name] = _finished(name, going[name], NO_ANSWER, trails[name])
            else:
                now[name] = _rewritten(now[name], text, critiques[name], forced)
                if name in repeated:
                    done[name] = _finished(name, Item(problem=items[name].problem, steps=now[name]), REPEATED, trails[name])
    for name, item in items.items():
        if name not in done:
            done[name] = _finished(name, Item(problem=item.problem, steps=now[name]), ROUNDS, trails[name])
    return {name: done[name] for name in items}


def solution_answer(steps: Sequence[str]) -> str | None:
    """The final answer of a solution: the content of its last box."""
    return last_boxed("\n".join(steps))


def _criticise(critic: Critic, items: Mapping[str, Item], number: int, draw: Draw) -> dict[str, Critique]:
    outcomes = draw("critic", [critic.question(item, example_id=name, step=number) for name, item in items.items()])
    by_name: dict[str, list[Generation | Failure]] = {name: [] for name in items}
    for key, outcome in outcomes.items():
        by_name[key.example_id].append(outcome)
    return {name: critic.judge(item, by_name[name]) for name, item in items.items()}


def rewrite_question(item: Item, critique: Critique, prompt: Template, *, forced: bool = True) -> Question:
    """The generator's prompt. `forced`: its reply begins with the steps before the wrong one."""
    assert critique.first_error is not None
    kept = item.steps[: critique.first_error - 1]
    messages = prompt.messages(
        problem=item.problem,
        solution=prompt.solution(item.steps),
        critique=critique.text,
        step=critique.first_error - 1 + prompt.index_base,
    )
    return Question(messages=messages, prefix=prompt.solution(kept) + "\n" if forced and kept else "")


def _rewritten(before: Sequence[str], text: str, critique: Critique, forced: bool) -> tuple[str, ...]:
    """The new solution. Without a forced beginning, a reply may continue the kept steps or repeat them."""
    assert critique.first_error is not None
    kept = tuple(before[: critique.first_error - 1])
    goes_on = not forced and bool(kept) and strip_heading(text.lstrip())[0] == critique.first_error
    return (*kept, *split_steps(text)) if goes_on else tuple(split_steps(text))


def _repeated(pairs: Mapping[str, tuple[Sequence[str], Generation | Failure | None]]) -> set[str]:
    """The names whose rewrite has the same answer as before."""
    asked: dict[str, tuple[str, str]] = {}
    for name, (before, reply) in pairs.items():
        old = solution_answer(before)
        new = _new_answer(reply)
        if old is not None and new is not None:
            asked[name] = (new, old)
    return {name for name, result in zip(asked, compare(list(asked.values())), strict=True) if result.equal}


def _new_answer(reply: Generation | Failure | None) -> str | None:
    """The answer that the generator wrote. A box in the steps that it was given does not count."""
    return last_boxed(final_text("", reply.text)) if isinstance(reply, Generation) else None


def _finished(name: str, item: Item, outcome: str, trail: Iterable[Round]) -> Refinement:
    answer = solution_answer(item.steps)
    return Refinement(id=name, problem=item.problem, steps=item.steps, answer=answer, outcome=outcome, rounds=tuple(trail))

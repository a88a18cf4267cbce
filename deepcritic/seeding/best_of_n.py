"""Ask the teacher about each step, and take the first sample that agrees with the label.

Samples are drawn in waves until one agrees. Every sample has its own seed and only the first agreeing one is used, so the outcome
is that of a full draw, for any wave size.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from deepcritic.samplers.base import Request, Sampler
from deepcritic.samplers.resume import Draws, request
from deepcritic.schema import Generation
from deepcritic.seeding.prompts import Call, Reply, without_verdict
from deepcritic.seeding.solutions import Place


class Chosen(NamedTuple):
    """The chosen sample of a step, and whether its verdict agrees with the label; if not, it is flagged."""

    key: str
    text: str
    agrees: bool


Earlier = dict[str, dict[Place, Chosen]]
"""The choices of earlier calls, by call name."""


@dataclass
class Answers:
    """The result of one call: the choice for each step, the reason where there is none, and the sample counts."""

    chosen: dict[Place, Chosen] = field(default_factory=dict)
    refused: dict[Place, str] = field(default_factory=dict)
    """Why the last sample was rejected, for steps without a choice."""
    failed: set[Place] = field(default_factory=set)
    """Steps without a choice because a sample failed, which is not a verdict."""
    reasons: Counter[str] = field(default_factory=Counter)
    """How many samples were rejected, by reason."""
    drawn: Counter[Place] = field(default_factory=Counter)
    tokens: Counter[Place] = field(default_factory=Counter)
    first: Counter[bool] = field(default_factory=Counter)
    """Whether the first samples agree with the label."""

    def accuracy(self) -> dict[str, Any]:
        """How often the first sample agrees with the label."""
        asked = self.first.total()
        return {"asked": asked, "accuracy": self.first[True] / asked if asked else 0.0}

    def saved(self, samples: int) -> dict[str, Any]:
        """The savings of stopping early against a full draw of `samples`. Tokens are estimated from the mean of each step."""
        drawn = {place: count for place, count in self.drawn.items() if place not in self.failed}
        tokens = sum(self.tokens[place] for place in drawn)
        estimate = sum((samples - count) * self.tokens[place] / count for place, count in drawn.items())
        return {
            "samples_drawn": sum(drawn.values()),
            "samples_saved": sum(samples - count for count in drawn.values()),
            "tokens_drawn": tokens,
            "tokens_saved": round(estimate),
            "share_saved": round(estimate / (tokens + estimate), 4) if tokens else 0.0,
        }


def ask(call: Call, places: Iterable[Place], draws: Draws, engine: Sampler, seed: int, earlier: Earlier | None = None) -> Answers:
    """The teacher's answers to `call` about `places`. Samples in `draws` are reused."""
    answers, before = Answers(), earlier or {}
    waiting = list(places)
    for start in range(0, call.samples, call.wave):
        wave = range(start, min(call.samples, start + call.wave))
        if not waiting:
            break
        drawn = draws.collect(
            requests(call, waiting, wave, seed, before), engine, f"{call.name} critiques", total=len(waiting) * len(wave)
        )
        going_on, silent = [], dict.fromkeys(waiting)
        # Rows arrive in request order, so the rows of one step are adjacent, and one step at a time is in memory.
        for place, of_place in itertools.groupby(drawn, key=_place):
            del silent[place]
            if not _settle(call, place, wave, [Reply(draw, call.read(place, draw.text)) for draw in of_place], answers):
                going_on.append(place)
        for place in silent:
            _settle(call, place, wave, [], answers)
        waiting = going_on
    return answers


def count_at_most(plan: Iterable[Call], names: Iterable[str], draws: Draws, engine: Sampler, seed: int) -> None:
    """In a dry run, count the maximum requests of `plan` about these solutions: every sample of every step."""
    before: dict[str, dict[Place, Chosen]] = {}
    longer: int | None = 0
    for call in plan:
        places = [place for name in names for place in call.places(name)]
        asked = requests(call, places, range(call.samples), seed, before)
        draws.count_at_most(asked, engine, f"{call.name} critiques", more=longer)
        before[call.name] = {place: Chosen("", "", True) for place in places}
        longer = None if longer is None or call.sampling.max_tokens is None else longer + call.sampling.max_tokens


def requests(call: Call, places: Iterable[Place], samples: range, seed: int, before: Earlier) -> Iterator[Request]:
    """One request per step, for `samples`, with the chosen texts of earlier calls and the last one as parent."""
    for place in places:
        texts = {name: without_verdict(chosen[place].text) for name, chosen in before.items()}
        parents = [chosen[place].key for chosen in before.values()]
        yield request(
            call.ask(place, texts), call.sampling, example_id=place.example_id, call=call.name, seed=seed,
            step=place.step, samples=samples, parent=parents[-1] if parents else "",
        )  # fmt: skip


def _place(draw: Generation) -> Place:
    return Place(draw.key.example_id, draw.key.step)


def _settle(call: Call, place: Place, wave: range, replies: list[Reply], answers: Answers) -> bool:
    """Examine a step's samples of one wave in order. Returns True if no further one is needed."""
    answers.drawn[place] += len(replies)
    answers.tokens[place] += sum(reply.draw.completion_tokens for reply in replies)
    by_sample = {reply.draw.key.sample: reply for reply in replies}
    for sample in wave:
        reply = by_sample.get(sample)
        if reply is None:  # it may agree when sampled again, so no later sample may replace it now
            answers.failed.add(place)
            answers.chosen.pop(place, None)
            return True
        if sample == 0:
            answers.first[reply.agrees is True] += 1
        reason = call.refuse(reply)
        if reason is not None:
            answers.reasons[reason] += 1
            answers.refused[place] = reason
        elif reply.agrees or place not in answers.chosen:
            answers.chosen[place] = Chosen(reply.draw.key.text, reply.draw.text, bool(reply.agrees))
            if reply.agrees:
                return True
    return False

"""Evaluates critics that judge each step of a solution in its own call (GenPRM, R-PRM).

    critic = StepwiseEvaluator(parts=parts, task=StepByStep(question), engine=sampler, samples=8)
    outcome = critic.judge(folder)

Steps are judged from the first until one is called wrong. Each sample is a separate walk with its own verdict. With
`step_votes`, the samples vote on each step instead: a step is wrong if more than half of the readable decisions say so, each row
has one verdict, and later prompts contain the first sample's replies. All walks advance together, so a batch has one request per
walk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from deepcritic.datasets.benchmark import Part
from deepcritic.datasets.limits import class_of
from deepcritic.errors import UsageError
from deepcritic.evaluation.evaluators import CALL, Outcome
from deepcritic.evaluation.judging import judge_verdicts
from deepcritic.metrics.majority_vote import Ties
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import read_rows
from deepcritic.samplers.base import Request, Sampler, Sampling
from deepcritic.samplers.recorded import RecordedSampler
from deepcritic.samplers.resume import Draws, request
from deepcritic.schema import ALL_CORRECT, REFUSED, Example, Failure, Judged
from deepcritic.tasks.base import Question
from deepcritic.tasks.step_by_step import StepByStep


@dataclass
class _Walk:
    """One walk through a solution: its samples, their text on the current step, the replies to earlier steps, and the
    outcome. A sample whose request failed is missing from `written`; the others continue."""

    example: Example
    sampling: Sampling
    samples: tuple[int, ...]
    step: int = 1
    written: dict[int, str] = field(default_factory=dict)
    replies: list[str] = field(default_factory=list)
    verdict: int | None = None
    over: bool = False
    failed: bool = False
    cut: int = 0


@dataclass(kw_only=True)
class StepwiseEvaluator:
    """Evaluates all parts together. `sampling` returns temperature, top_p and max_tokens for a part."""

    parts: list[Part]
    task: StepByStep
    engine: Sampler
    sampling: Callable[[Part], Sampling]
    samples: int = 1
    step_votes: bool = False
    seed: int = 0
    ties: Ties = "random"

    def __post_init__(self) -> None:
        for part in self.parts:
            for example in part.examples:
                if not isinstance(example, Example):
                    raise UsageError(f"{part.name} has rows without steps; this critic needs solutions in steps")
        self._recorded: dict[str, tuple[int, ...]] = {}
        if isinstance(self.engine, RecordedSampler):
            for name, replies in self.engine.samples().items():
                self._recorded[name] = tuple(sorted({reply.sample for reply in replies if reply.step == 1}))

    @property
    def depends(self) -> dict[str, str]:
        votes = {"step votes": "yes"} if self.step_votes else {}
        return {"model": self.engine.model_id, "prompt": self.task.template.sha, **votes}

    def judge(self, folder: RunFolder) -> Outcome:
        """Sample missing replies, then judge."""
        examples = [(part, example) for part in self.parts for example in part.examples if isinstance(example, Example)]
        probed = {
            example.id for example in folder.sampled_for_probe((example for _, example in examples), lambda row: row.id, class_of)
        }
        walks = {example.id: self._walks(part, example) for part, example in examples if example.id in probed}
        every = [walk for some in walks.values() for walk in some]
        calls = self.task.question.calls
        with Draws(folder) as draws:
            round_ = 0
            while open_ := [walk for walk in every if not walk.over]:
                round_ += 1
                for walk in open_:
                    walk.written = dict.fromkeys(walk.samples, "")
                for call in range(len(calls)):
                    self._ask(draws, open_, call, f"step {round_}")
                for walk in open_:
                    self._decide(walk)
                if folder.limits.dry_run:
                    self._count_at_most(draws, every)
                    break
            counts = draws.finish()
        failures = read_rows(folder / "failures.jsonl", Failure)
        refused = {(row.key.example_id, row.key.sample) for row in failures if row.reason == REFUSED}
        judged = {
            part.name: [
                self._judged(part, example, walks.get(example.id, []), refused)
                for example in part.examples
                if isinstance(example, Example)
            ]
            for part in self.parts
        }
        return Outcome(judged, counts, self._facts())

    def _walks(self, part: Part, example: Example) -> list[_Walk]:
        samples = self._recorded.get(example.id, ()) if isinstance(self.engine, RecordedSampler) else tuple(range(self.samples))
        sampling = self.sampling(part)
        groups = [samples] if self.step_votes and samples else [(sample,) for sample in samples]
        return [_Walk(example, sampling, group) for group in groups]

    def _ask(self, draws: Draws, walks: list[_Walk], call: int, label: str) -> None:
        """Make one call about each walk's step and append the reply to the text so far."""
        stops = self.task.question.calls[call].stop
        written: dict[tuple[str, int], str] = {}
        cut: Counter[tuple[str, int]] = Counter()
        total = sum(len(walk.written) for walk in walks)
        for reply in draws.collect(self._requests(walks, call), self.engine, label, total=total):
            ended = stops[0] if stops and reply.finish_reason == "stop" and not reply.text.endswith(stops) else ""
            place = (reply.key.example_id, reply.key.sample)
            written[place] = reply.prefix + reply.text + ended
            cut[place] += reply.finish_reason == "length"
        for walk in walks:
            places = [(walk.example.id, sample) for sample in walk.written]
            walk.cut += sum(cut[place] for place in places)
            walk.written = {place[1]: written[place] for place in places if place in written}

    def _requests(self, walks: Iterable[_Walk], call: int) -> Iterator[Request]:
        for walk in walks:
            groups: dict[Question, list[int]] = {}
            for sample, so_far in walk.written.items():
                asked = self.task.ask_step(walk.example.item, walk.step, walk.replies, call, so_far)
                groups.setdefault(asked, []).append(sample)
            for question, samples in groups.items():
                yield request(
                    question, self._sampling(walk, call), example_id=walk.example.id, seed=self.seed, step=walk.step,
                    samples=samples, call=CALL if call == 0 else f"{CALL}.{call + 1}",
                )  # fmt: skip

    def _sampling(self, walk: _Walk, call: int) -> Sampling:
        own = self.task.question.calls[call]
        most = walk.sampling.max_tokens if own.max_tokens is None else own.max_tokens
        return Sampling(temperature=walk.sampling.temperature, top_p=walk.sampling.top_p, max_tokens=most, stop=own.stop)

    def _decide(self, walk: _Walk) -> None:
        """Apply the decisions about a step. The walk ends if the step is wrong, unparsed or the last."""
        if not walk.written:
            walk.over = walk.failed = True
            return
        decisions = [self.task.parse_step(text) for text in walk.written.values()]
        read = [decision for decision in decisions if decision is not None]
        walk.replies.append(next(iter(walk.written.values())))
        if not read:
            walk.over = True
        elif sum(read) * 2 < len(read):
            walk.verdict, walk.over = walk.step, True
        elif walk.step == len(walk.example.item.steps):
            walk.verdict, walk.over = ALL_CORRECT, True
        else:
            walk.step += 1

    def _count_at_most(self, draws: Draws, walks: list[_Walk]) -> None:
        """Upper bound on the remaining calls: no step is called wrong."""
        calls = range(len(self.task.question.calls))
        limits = {self._sampling(walk, call).max_tokens for walk in walks for call in calls}
        most = None if None in limits else max((limit for limit in limits if limit is not None), default=0)
        for call in calls:
            later = (
                _Walk(walk.example, walk.sampling, walk.samples, step, dict.fromkeys(walk.samples, ""), [""] * (step - 1))
                for walk in walks
                for step in range(1 if call else 2, len(walk.example.item.steps) + 1)
            )
            asked = (one for walk in later for one in self._requests([walk], call))
            history = most if self.task.question.history or call else 0
            draws.count_at_most(asked, self.engine, f"further steps, call {call + 1}", more=history)

    def _judged(self, part: Part, example: Example, walks: list[_Walk], refused: set[tuple[str, int]]) -> Judged:
        done = [walk for walk in walks if not walk.failed]
        withheld = sum(any((example.id, sample) in refused for sample in walk.samples) for walk in walks if walk.failed)
        kinds = {"truncated": sum(walk.cut > 0 for walk in done), "unparsed": sum(walk.verdict is None for walk in done)}
        return judge_verdicts(
            example, [walk.verdict for walk in done], self.task, asked=len(walks), kinds=kinds, refused=withheld,
            benchmark=part.name, ties=self.ties,
        )  # fmt: skip

    def _facts(self) -> dict[str, Any]:
        task = {
            "name": self.task.name,
            "prompt_sha": self.task.template.sha,
            "system": self.task.question.system,
            "form": "steps",
        }
        facts: dict[str, Any] = {"model": self.engine.model_id, "task": task}
        if not isinstance(self.engine, RecordedSampler):
            drawn = {part.name: self.sampling(part) for part in self.parts}
            first = next(iter(drawn.values()))
            facts["sampling"] = {
                "samples": self.samples, "votes_on": "steps" if self.step_votes else "verdicts", "temperature": first.temperature,
                "top_p": first.top_p, "max_tokens": first.max_tokens,
            }  # fmt: skip
        return facts

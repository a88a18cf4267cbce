"""Evaluators for the kinds of critics. Each runs all parts of all benchmarks in one queue.

`GenerativeEvaluator` has a sampler and parses a verdict from each reply. `ScalarEvaluator` has a scorer; its verdict is the
first step with a score below a threshold. `RecordedPairwise` reads recorded judgments of pairs in two orders. Each is created
before any model is loaded, names what its outcome depends on, and returns judged rows by part.

    critic = GenerativeEvaluator(parts=parts, task=task, engine=TransformersSampler(model=path), samples=8)
    outcome = critic.judge(folder)
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import itertools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from deepcritic.datasets.benchmark import Part
from deepcritic.datasets.limits import class_of
from deepcritic.errors import InputError, Stopped, UsageError
from deepcritic.evaluation.hints import Samples, label_hints
from deepcritic.evaluation.judging import judge, judge_verdicts
from deepcritic.evaluation.mr_score import CALL as REASON
from deepcritic.evaluation.mr_score import PROMPT_SHA, ask, grade
from deepcritic.metrics.early_vote import samples_needed
from deepcritic.metrics.majority_vote import Ties
from deepcritic.metrics.threshold import Choice, best_threshold, first_below
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import read_rows
from deepcritic.runs.keyed_jsonl import Rows
from deepcritic.runs.progress import Progress
from deepcritic.samplers.adaptive_vote import AdaptiveVotes
from deepcritic.samplers.base import Request, Sampler, Sampling
from deepcritic.samplers.recorded import RecordedSampler
from deepcritic.samplers.resume import Draws, questions
from deepcritic.schema import ALL_CORRECT, REFUSED, Example, Failure, Generation, Item, Judged, Key, Message, Preference, encode
from deepcritic.scorers.base import Conversations, Scorer
from deepcritic.scorers.resume import KeptScores
from deepcritic.tasks.base import CriticTask, verdict_of

CALL = "critique"
TUNING = "threshold:"
"""Prefix, in the file of scores, of the ids of rows that the threshold is chosen on."""
Grades = dict[str, tuple[bool | None, ...]]


class Outcome(NamedTuple):
    """Judged rows by part, counts of draws, facts for the figures and, if reasons were graded, grades by row."""

    judged: dict[str, list[Judged]]
    counts: dict[str, int]
    facts: dict[str, Any]
    grades: Grades | None = None
    hints: Sequence[str] = ()
    """Suspicious findings that are not errors (see `hints`)."""
    steps: Mapping[str, tuple[bool, ...]] = MappingProxyType({})
    """For a scorer: which steps it calls right, by row."""
    decided: bool = False
    """Whether these are recorded judgments of pairs, which have their own figures."""


@dataclass(kw_only=True)
class GenerativeEvaluator:
    """A critic that writes text. If temperature or top_p is None, the benchmark's value is used. `judge_engine` grades the
    reasons in critiques if the benchmark asks for MR-Score; `guide`, a Meta RM, scores the replies."""

    parts: list[Part]
    task: CriticTask[Any]
    engine: Sampler
    judge_engine: Sampler | None = None
    guide: Scorer[Conversations] | None = None
    samples: int = 1
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    judge_tokens: int | None = 1024
    seed: int = 0
    allow_missing: bool = False
    ties: Ties = "random"
    adaptive: bool = False
    """Stop sampling a row once its vote is decided."""
    plan: Mapping[str, tuple[int, ...]] = field(init=False)
    """The samples to request for each example."""

    def __post_init__(self) -> None:
        self._sampling = {part.name: self._drawn(part) for part in self.parts}
        self._judge_sampling = Sampling(temperature=0.0, max_tokens=self.judge_tokens)
        if isinstance(self.engine, RecordedSampler):
            self.plan = _recorded_plan(self.engine, self.parts, self.allow_missing)
            if self.judge_engine is None and self.engine.has(REASON):
                self.judge_engine = self.engine
        else:
            samples = tuple(range(self.samples))
            self.plan = {name: samples for part in self.parts for name in part.examples.ids}

    @property
    def depends(self) -> dict[str, str]:
        judged = {"judge": self.judge_engine.model_id, "judge prompt": PROMPT_SHA} if self.judge_engine else {}
        guided = {"guide": self.guide.model_id} if self.guide else {}
        return {"model": self.engine.model_id, "prompt": self.task.template.sha, **judged, **guided}

    def judge(self, folder: RunFolder) -> Outcome:
        """Sample missing replies, then judge. Replies are read from disk one at a time."""
        if folder.limits.probe is not None:
            examples = (example for _, example in self._examples())
            probed = {example.id for example in folder.sampled_for_probe(examples, lambda row: row.id, class_of)}
            self.plan = {name: samples if name in probed else () for name, samples in self.plan.items()}
        with Draws(folder) as draws:
            total = sum(map(len, self.plan.values()))
            if self.adaptive:
                drawn = self._adaptive(draws, folder)
            else:
                drawn = draws.collect(self._requests(), self.engine, "critiques", total=total)
            if self.judge_engine is not None:
                draws.count_at_most(self._reasons_at_most(), self.judge_engine, "reasons", more=self.max_tokens)
            grades = self._grades(draws, drawn)
            counts = draws.finish()
        meta_rm_scores = self._meta_rm_scores(folder, drawn)
        judged: dict[str, list[Judged]] = {part.name: [] for part in self.parts}
        replies = self._by_example(drawn)
        failures = read_rows(folder / "failures.jsonl", Failure)
        first = samples_needed((), self.samples) if self.adaptive else sys.maxsize
        refused = Counter(
            row.key.example_id for row in failures if row.reason == REFUSED and row.key.request == CALL and row.key.sample < first
        )
        samples = Samples()
        for part, example in self._examples():
            asked, withheld, some = min(first, len(self.plan[example.id])), refused[example.id], next(replies)
            samples.see([reply.prefix + reply.text for reply in some])
            row = judge(
                example, some, self.task, asked=asked, refused=withheld, benchmark=part.name, ties=self.ties,
                meta_rm_scores=meta_rm_scores.get(example.id, ()), adaptive=(first, self.samples) if self.adaptive else None,
            )  # fmt: skip
            judged[part.name].append(row)
        recorded = isinstance(self.engine, RecordedSampler)
        temperatures = {one.temperature for one in self._sampling.values()}
        hints = samples.hints(min(temperatures) if temperatures and not recorded else None)
        hints += [hint for part in self.parts for hint in label_hints(judged[part.name], part.name)]
        return Outcome(judged, counts, self._facts(), grades, hints)

    def _adaptive(self, draws: Draws, folder: RunFolder) -> Rows[Generation]:
        """The replies of votes that stop once they are decided. `plan` then holds the samples that were requested."""
        if folder.limits.dry_run:
            draws.count_at_most(self._requests(), self.engine, "critiques")
            return draws.kept()
        known: dict[str, dict[int, Any]] = {}
        for reply in draws.kept():
            known.setdefault(reply.key.example_id, {})[reply.key.sample] = verdict_of(reply, self.task)
        rows = (
            (example.id, functools.partial(self._request, part, example))
            for part, example in self._examples()
            if self.plan[example.id]
        )
        votes = AdaptiveVotes(rows, functools.partial(verdict_of, task=self.task), self.samples, known)
        with Progress("critiques", None) as progress:
            while votes.unfinished:
                with votes.wave():
                    for outcome in draws.stream(votes.requests(), self.engine, progress):
                        votes.put(outcome)
        self.plan = {name: tuple(range(votes.asked.get(name, 0))) for name in self.plan}
        return draws.saved(self._requests())

    def _request(self, part: Part, example: Example | Preference, samples: Iterable[int]) -> Request:
        """The request for samples of a row, of a task with one prompt per row."""
        (asked,) = questions(
            self.task, example.item, self._sampling[part.name], example_id=example.id, call=CALL, seed=self.seed, samples=samples
        )
        return asked

    def _meta_rm_scores(self, folder: RunFolder, drawn: Iterable[Generation]) -> Mapping[str, tuple[float, ...]]:
        """The Meta RM's scores of the replies by row, sorted by sample."""
        if self.guide is None:
            return {}
        replies = self._by_example(drawn)
        asked = [
            (example.id, conversations(self.task, example.item, sorted(some, key=lambda reply: reply.key.sample)))
            for _, example in self._examples()
            if (some := next(replies))
        ]
        with KeptScores(folder, failures="scores.failures.jsonl") as kept:
            meta_rm_scores = kept.collect(asked, self.guide)
            kept.finish()
        return meta_rm_scores

    def _examples(self) -> Iterator[tuple[Part, Example | Preference]]:
        return ((part, example) for part in self.parts for example in part.examples)

    def _by_example(self, drawn: Iterable[Generation]) -> Iterator[list[Generation]]:
        """Group replies by example; both are in the order of the examples."""
        groups = itertools.groupby(drawn, key=lambda reply: reply.key.example_id)
        name, replies = next(groups, ("", iter(())))
        for example_id in (one for part in self.parts for one in part.examples.ids):
            if example_id != name:
                yield []
                continue
            yield list(replies)
            name, replies = next(groups, ("", iter(())))

    def _facts(self) -> dict[str, Any]:
        template = self.task.template
        task = {"name": self.task.name, "prompt_sha": template.sha, "index_base": template.index_base, "system": template.system}
        facts: dict[str, Any] = {"model": self.engine.model_id, "task": task}
        if not isinstance(self.engine, RecordedSampler):
            drawn = {(one.temperature, one.top_p) for one in self._sampling.values()}
            (temperature, top_p) = min(drawn) if len(drawn) == 1 else (None, None)
            facts["sampling"] = {
                "samples": self.samples,
                "temperature": temperature,
                "top_p": top_p,
                "max_tokens": self.max_tokens,
                **({"adaptive": True} if self.adaptive else {}),
            }
            if len(drawn) > 1:
                facts["sampling"]["by_benchmark"] = {name: [one.temperature, one.top_p] for name, one in self._sampling.items()}
        if self.judge_engine is not None:
            facts["judge"] = {"model": self.judge_engine.model_id, "prompt_sha": PROMPT_SHA}
        return facts

    def _drawn(self, part: Part) -> Sampling:
        own = part.benchmark.sampling(self.samples)
        return Sampling(
            temperature=own["temperature"] if self.temperature is None else self.temperature,
            top_p=own["top_p"] if self.top_p is None else self.top_p,
            max_tokens=self.max_tokens,
        )

    def _requests(self) -> Iterator[Request]:
        for part in self.parts:
            for example in part.examples:
                if samples := self.plan[example.id]:
                    yield from questions(
                        self.task, example.item, self._sampling[part.name], example_id=example.id, call=CALL, seed=self.seed,
                        samples=samples, shuffle=not isinstance(self.engine, RecordedSampler),
                    )  # fmt: skip

    def _grades(self, draws: Draws, drawn: Iterable[Generation]) -> Grades | None:
        """Grades, by row, of the reasons in replies whose step is right; None for a reason that was not graded."""
        if self.judge_engine is None:
            return None
        grades: dict[Key, bool | None] = {}
        for reply in draws.collect(self._reasons(drawn, grades), self.judge_engine, "reasons"):
            grades[reply.key] = grade(reply.text)
        return {
            name: tuple(grades[key] for key in keys)
            for name, keys in itertools.groupby(sorted(grades), key=lambda key: key.example_id)
        }

    def _reasons(self, drawn: Iterable[Generation], grades: dict[Key, bool | None]) -> Iterator[Request]:
        """The requests to the judge; each is entered in `grades` as None (not graded yet)."""
        replies = self._by_example(drawn)
        for part, example in self._examples():
            for reply in next(replies):
                if not isinstance(example, Example) or not _has_reasons(part, example):
                    continue
                if verdict_of(reply, self.task) == example.gold.first_error:
                    asked = ask(example, reply, self._judge_sampling, self.seed)
                    grades[asked.keys[0]] = None
                    yield asked

    def _reasons_at_most(self) -> Iterator[Request]:
        """Upper bound: one judge request for each reply about a solution with an error."""
        for part, example in self._examples():
            if isinstance(example, Example) and _has_reasons(part, example):
                for sample in self.plan[example.id]:
                    key = Key(example_id=example.id, request=CALL, sample=sample)
                    reply = Generation(key=key, text="", finish_reason="", model="", fingerprint="", seed=0)
                    yield ask(example, reply, self._judge_sampling, self.seed)


def conversations(task: CriticTask[Any], item: Any, replies: Iterable[Generation]) -> Conversations:
    """Each prompt followed by its reply: the input of a Meta RM."""
    return tuple(
        (*task.ask(item, context=reply.context).messages, Message(role="assistant", content=reply.prefix + reply.text))
        for reply in replies
    )


def _has_reasons(part: Part, example: Example) -> bool:
    return part.benchmark.mr_score and example.gold.first_error != ALL_CORRECT and bool(example.gold.error_reasons)


@dataclass(kw_only=True)
class RecordedPairwise:
    """Recorded judgments of pairs, each in both orders (see `sources.preference_pairs.judgments`). `judged_by` is the judge's
    name; `decisions` holds the two verdicts for each row."""

    parts: list[Part]
    task: CriticTask[Any]
    file: Path
    judged_by: str
    decisions: Mapping[str, Sequence[tuple[int, ...] | None]]

    def __post_init__(self) -> None:
        known = _known(self.parts)
        for name in self.decisions:
            if name not in known:
                raise InputError(
                    "the benchmark does not have this pair", file=self.file, field="pair_id", found=name,
                    expected=f"an id of the benchmark, such as {min(known)!r}",
                )  # fmt: skip
        for example in (example for part in self.parts for example in part.examples):
            if example.id not in self.decisions:
                expected = "judgments for each pair"
                raise InputError("no judgments for a pair", file=self.file, field="pair_id", found=example.id, expected=expected)

    @property
    def depends(self) -> dict[str, Path]:
        return {"judgments": self.file}

    def judge(self, folder: RunFolder) -> Outcome:
        """Judge the rows without any sampling."""
        if folder.limits.trial:
            raise Stopped(f"{folder.path}: recorded judgments need no model, so no requests would be sent")
        judged = {
            part.name: [
                msgspec.structs.replace(
                    judge_verdicts(example, self.decisions[example.id], self.task, asked=2, benchmark=part.name),
                    contexts=((1, 2), (2, 1)),
                )
                for example in part.examples
            ]
            for part in self.parts
        }
        task = {"name": self.task.name}
        return Outcome(judged, {}, {"model": self.judged_by, "task": task}, decided=True)


@dataclass(kw_only=True)
class ScalarEvaluator:
    """A critic that scores steps. The threshold is given, or chosen on rows that are not evaluated: those of the part named
    `threshold_on`, which then has no figures, or other rows (`tuning`)."""

    parts: list[Part]
    task: CriticTask[Any]
    engine: Scorer[Item]
    threshold: float | None = None
    threshold_on: str | None = None
    tuning: list[Example] = field(default_factory=list)

    def __post_init__(self) -> None:
        if (self.threshold is None) == (self.threshold_on is None):
            raise UsageError("no threshold is given; set stage.threshold=NUMBER or stage.threshold_on=FILE-OR-PART")
        chosen = [part for part in self.parts if part.name == self.threshold_on]
        if chosen:
            self.parts = [part for part in self.parts if part.name != self.threshold_on]
            self.tuning = _solutions(chosen[0])
        if not self.parts:
            expected = "another part, or a file"
            raise InputError("no other part to evaluate", field="stage.threshold_on", found=self.threshold_on, expected=expected)
        seen = {(row.item.problem, row.item.steps): row.id for row in self.tuning}
        for part in self.parts:
            for example in _solutions(part):
                if (example.item.problem, example.item.steps) in seen:
                    raise InputError(
                        "a row to choose the threshold on is also evaluated", field="stage.threshold_on", found=example.id,
                        expected="rows of another split",
                    )  # fmt: skip

    @property
    def depends(self) -> dict[str, str]:
        return {"model": self.engine.model_id, "threshold rows": content_hash(self.tuning)}

    def judge(self, folder: RunFolder) -> Outcome:
        """Compute missing scores, choose the threshold, then judge."""
        items = [(f"{TUNING}{example.id}", example.item) for example in self.tuning]
        items += [(example.id, example.item) for part in self.parts for example in _solutions(part)]
        if folder.limits.trial:
            raise Stopped(f"{folder.path}: {len(items)} solutions would be scored")
        with KeptScores(folder) as kept:
            scores = kept.collect(items, self.engine)
            counts = kept.finish()
        choice = self._choice(scores)
        judged = {
            part.name: [
                judge_verdicts(
                    example,
                    [first_below(scores[example.id], choice.threshold)] if example.id in scores else [],
                    self.task,
                    asked=1,
                    benchmark=part.name,
                )
                for example in part.examples
            ]
            for part in self.parts
        }
        how: dict[str, Any] = {"value": choice.threshold}
        if self.threshold_on is not None:
            how |= {"chosen_on": self.threshold_on, "rows": len(self.tuning), "f1_there": round(100 * choice.f1, 4)}
        right = {
            example.id: tuple(value >= choice.threshold for value in scores[example.id])
            for part in self.parts
            for example in part.examples
            if example.id in scores
        }
        return Outcome(judged, counts, {"model": self.engine.model_id, "threshold": how}, steps=right)

    def _choice(self, values: Mapping[str, tuple[float, ...]]) -> Choice:
        if self.threshold is not None:
            return Choice(self.threshold, float("nan"))
        rows = [
            (values[name], example.gold.first_error)
            for example in self.tuning
            if (name := f"{TUNING}{example.id}") in values and isinstance(example.gold.first_error, int)
        ]
        return best_threshold(rows)


def _solutions(part: Part) -> list[Example]:
    """The rows of a part. Raises `UsageError` unless all have steps."""
    found = [example for example in part.examples if isinstance(example, Example)]
    if len(found) < len(part.examples):
        raise UsageError(f"{part.name} has rows without steps; scorer= needs task=first_error")
    return found


def content_hash(examples: Iterable[Example | Preference]) -> str:
    """Hash of rows, sensitive to order."""
    return lines_hash(map(encode, examples))


def lines_hash(lines: Iterable[bytes]) -> str:
    """The same for encoded rows."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line)
    return f"sha256:{digest.hexdigest()}"


def _known(parts: Sequence[Part]) -> frozenset[str]:
    """The ids of all rows, including those beyond a limit."""
    return parts[0].known if len(parts) == 1 else frozenset[str]().union(*(part.known for part in parts))


def _recorded_plan(recorded: RecordedSampler, parts: Sequence[Part], allow_missing: bool) -> dict[str, tuple[int, ...]]:
    known = _known(parts)
    for name, line in recorded.names():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1) or [min(known)]
            raise InputError(
                "the benchmark does not have this example", file=recorded.path, line=line,
                field="example_id", found=name, expected=f"an id of the benchmark, such as {near[0]!r}",
            )  # fmt: skip
    plan = {name: recorded.numbers(name, CALL) for part in parts for name in part.examples.ids}
    absent = [name for name, samples in plan.items() if not samples]
    if absent and not allow_missing:
        raise InputError(
            f"{len(absent)} of {len(plan)} examples have no reply", file=recorded.path, field="example_id",
            found=absent[0], expected="a reply for each example", remedy="or set stage.allow_missing=true to count them as wrong",
        )  # fmt: skip
    return plan

"""A critic's verdicts on rows whose gold is unknown or unused, sampled now or recorded before.

    verdicts = AskedVerdicts(task, engine, sampling, samples=8)
    verdicts.prepare(folder, solutions, whole=True)       # samples missing replies; `solutions()` yields the rows again
    for row in solutions():
        judged, why = verdicts.judge(row)                 # in the same order

Rows are read again on each pass, not held in memory, except for step-by-step critics.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import msgspec

from deepcritic.datasets import examples as example_rows
from deepcritic.datasets.benchmark import Benchmark, Part
from deepcritic.datasets.rows_on_disk import RowsOnDisk
from deepcritic.datasets.solutions import Solution
from deepcritic.errors import InputError
from deepcritic.evaluation.evaluators import CALL
from deepcritic.evaluation.hints import Samples
from deepcritic.evaluation.recorded_votes import read_votes
from deepcritic.evaluation.stepwise import StepwiseEvaluator
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import read_rows
from deepcritic.samplers.base import Request, Sampler, Sampling
from deepcritic.samplers.recorded import RecordedSampler
from deepcritic.samplers.resume import Draws, questions
from deepcritic.schema import REFUSED, Example, Failure, Generation, Item, Judged
from deepcritic.tasks.base import CriticTask, cluster_of, verdict_of
from deepcritic.tasks.first_error import FirstError
from deepcritic.tasks.step_by_step import StepByStep

Rows = Callable[[], Iterable[Solution]]


class Verdicts(Protocol):
    """A source of verdicts on rows."""

    @property
    def depends(self) -> dict[str, Any]: ...

    def prepare(self, folder: RunFolder, solutions: Rows, *, whole: bool) -> None:
        """Obtain the verdicts on all rows. With `whole`, these are all rows of the data set; other recorded ids are errors."""
        ...

    def judge(self, row: Solution) -> tuple[Judged, str]:
        """The verdicts on a row, and the reason if it has no reply. Call once per row with steps, in their order."""
        ...

    def hints(self) -> list[str]: ...


class AskedVerdicts:
    """Samples critiques or reads recorded ones."""

    def __init__(
        self,
        task: CriticTask[Any],
        engine: Sampler,
        sampling: Sampling,
        *,
        samples: int = 1,
        seed: int = 0,
        step_votes: bool = False,
    ) -> None:
        self.task, self._engine, self._sampling = task, engine, sampling
        self._samples, self._seed, self._step_votes = samples, seed, step_votes
        self._recorded = engine if isinstance(engine, RecordedSampler) else None
        self._seen = Samples()
        self._judged: dict[str, Judged] | None = None
        self._replies: Iterator[tuple[str, Iterator[Generation]]] = iter(())
        self._next: tuple[str, list[Generation]] | None = None
        self._failed: dict[str, Counter[str]] = {}

    @property
    def depends(self) -> dict[str, Any]:
        return {"model": self._engine.model_id, "prompt": self.task.template.sha}

    def hints(self) -> list[str]:
        return self._seen.hints(None if self._recorded else self._sampling.temperature)

    def prepare(self, folder: RunFolder, solutions: Rows, *, whole: bool) -> None:
        if self._recorded and whole:
            _check_known(self._recorded.samples(), (row.id for row in solutions()), self._recorded.path)
        if isinstance(self.task, StepByStep):
            self._judged = self._step_by_step(folder, to_ask(solutions()), self.task)
        else:
            self._draw(folder, solutions)
        for failure in read_rows(folder / "failures.jsonl", Failure):
            self._failed.setdefault(failure.key.example_id, Counter())[failure.reason] += 1

    def judge(self, row: Solution) -> tuple[Judged, str]:
        failures = self._failed.get(row.id, Counter[str]())
        why = failures.most_common(1)[0][0] if failures else "not_recorded" if self._recorded else "no reply"
        if self._judged is not None:
            return self._judged[row.id], why
        replies = self._of(row.id)
        self._seen.see([reply.prefix + reply.text for reply in replies])
        verdicts = [verdict_of(reply, self.task) for reply in replies]
        cut = [reply.finish_reason == "length" for reply in replies]
        counts = {
            "samples": len(replies) + failures.total(), "truncated": sum(cut), "refused": failures[REFUSED],
            "failed": failures.total() - failures[REFUSED],
            "unparsed": sum(one is None and not short for one, short in zip(verdicts, cut, strict=True)),
        }  # fmt: skip
        return judged_without_gold(row.id, row.item, verdicts, row.part, self.task, counts), why

    def _draw(self, folder: RunFolder, solutions: Rows) -> None:
        asked: Iterable[Solution] = to_ask(solutions())
        if folder.limits.probe is not None:
            asked = folder.sampled_for_probe(asked, lambda row: row.id)

        def requests() -> Iterator[Request]:
            for row in asked:
                samples = self._recorded.numbers(row.id, CALL) if self._recorded else range(self._samples)
                if samples:
                    yield from questions(
                        self.task, row.item, self._sampling, example_id=row.id, call=CALL, seed=self._seed, samples=samples
                    )

        with Draws(folder) as draws:
            drawn = draws.collect(requests(), self._engine, "critiques")
            draws.finish()
        self._replies = iter(itertools.groupby(drawn, key=lambda reply: reply.key.example_id))

    def _of(self, name: str) -> list[Generation]:
        """The replies to a row, empty if the next replies are to a later row."""
        if self._next is None and (found := next(self._replies, None)) is not None:
            self._next = (found[0], list(found[1]))
        if self._next is None or self._next[0] != name:
            return []
        replies, self._next = sorted(self._next[1], key=lambda reply: reply.key.sample), None
        return replies

    def _step_by_step(self, folder: RunFolder, rows: Iterable[Solution], task: StepByStep) -> dict[str, Judged]:
        parts: dict[str, list[Example]] = {}
        for row in rows:
            parts.setdefault(row.part, []).append(Example(id=row.id, item=row.item, source=row.part))
        of_rows = Benchmark(name="rows", reader=example_rows.read, path=None, license=None, metric="")
        made = [
            Part(name=name, benchmark=of_rows, examples=RowsOnDisk(Example, some), known=frozenset(), facts={})
            for name, some in parts.items()
        ]
        evaluator = _Unlabelled(
            parts=made, task=task, engine=self._engine, sampling=lambda _: self._sampling, samples=self._samples, seed=self._seed,
            step_votes=self._step_votes and self._samples > 1,
        )  # fmt: skip
        return {row.id: row for some in evaluator.judge(folder).judged.values() for row in some} if made else {}


class _Unlabelled(StepwiseEvaluator):
    """`StepwiseEvaluator` that judges without gold."""

    def _judged(self, part: Part, example: Example, walks: list[Any], refused: set[tuple[str, int]]) -> Judged:
        done = [walk for walk in walks if not walk.failed]
        withheld = sum(any((example.id, sample) in refused for sample in walk.samples) for walk in walks if walk.failed)
        verdicts = [walk.verdict for walk in done]
        counts = {
            "samples": len(walks), "truncated": sum(walk.cut > 0 for walk in done), "refused": withheld,
            "failed": len(walks) - len(done) - withheld, "unparsed": sum(one is None for one in verdicts),
        }  # fmt: skip
        return judged_without_gold(example.id, example.item, verdicts, part.name, FirstError(), counts)


class RecordedVerdicts:
    """Verdicts from a file (see `read_votes`)."""

    def __init__(self, file: Path) -> None:
        self._file, self._task = file, FirstError()
        self._votes = {row.id: row for row in read_votes(file)[0]}

    @property
    def depends(self) -> dict[str, Any]:
        return {"verdicts": self._file}

    def hints(self) -> list[str]:
        return []

    def prepare(self, folder: RunFolder, solutions: Rows, *, whole: bool) -> None:
        asked = [row.id for row in to_ask(solutions())]
        if not any(name in self._votes for name in asked):
            _check_known(self._votes, asked, self._file)

    def judge(self, row: Solution) -> tuple[Judged, str]:
        found = self._votes.get(row.id)
        verdicts = found.verdicts if found else ()
        counts = {"samples": len(verdicts), "unparsed": sum(one is None for one in verdicts)}
        return judged_without_gold(row.id, row.item, verdicts, row.part, self._task, counts), "no verdict"


def judged_without_gold(
    name: str, item: Item, verdicts: Sequence[Any], part: str, task: CriticTask[Any], counts: Mapping[str, int]
) -> Judged:
    """A row of `verdicts.jsonl` for a solution whose gold is unknown or unused. A verdict beyond the last step is unparsed.
    `counts` are the fields of `Judged` that count replies."""
    read = tuple(None if verdict is None or verdict > len(item.steps) else verdict for verdict in verdicts)
    vote = task.vote(read, seed=int(cluster_of(item.problem), 16))
    generator = item.meta.get("generator")
    row = Judged(
        id=name, gold=None, stratum="", cluster=cluster_of(item.problem), verdicts=read, correct=None, benchmark=part,
        vote=vote.verdict, agreement=vote.agreement, steps=len(item.steps), generator=str(generator) if generator else None,
    )  # fmt: skip
    beyond = sum(one is None for one in read) - sum(one is None for one in verdicts)
    return msgspec.structs.replace(row, **{**counts, "unparsed": counts["unparsed"] + beyond})


def to_ask(solutions: Iterable[Solution]) -> Iterator[Solution]:
    """The rows with steps, each once. Raises `InputError` for one id with different contents."""
    seen: dict[str, bytes] = {}
    for row in solutions:
        content = "\0".join((row.item.problem, *row.item.steps)).encode("utf-8", "surrogatepass")
        digest = hashlib.blake2b(content, digest_size=8).digest()
        before = seen.setdefault(row.id, digest)
        if before != digest:
            raise InputError(
                "duplicate id with different content", file=row.place.file, line=row.place.line, field="id", found=row.id,
                expected="a unique id for each solution",
            )  # fmt: skip
        if before is digest and has_steps(row):
            yield row


def has_steps(row: Solution) -> bool:
    """Whether the solution has a step with text."""
    return any(step.strip() for step in row.item.steps)


def _check_known(given: Iterable[str], known: Iterable[str], file: Path) -> None:
    """Raise `InputError` for ids that the data set does not have."""
    rows = set(known)
    missing = next((name for name in given if name not in rows), None)
    if missing is not None and rows:
        near = difflib.get_close_matches(missing, rows, n=1) or [min(rows)]
        expected = f"an id of the data set, such as {near[0]!r}"
        raise InputError("the data set does not have this row", file=file, field="id", found=missing, expected=expected)

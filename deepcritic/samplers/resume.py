"""Saves replies in a journal as they are drawn, so that a restarted stage requests only the missing ones."""

from __future__ import annotations

import contextlib
import gc
import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import msgspec

from deepcritic.errors import InputError, RunConflict, StageIncomplete, Stopped, UsageError
from deepcritic.runs.budget import amount
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.keyed_jsonl import DIGEST, JsonlIndex, RowHeader, Rows, digest_of
from deepcritic.runs.progress import Progress
from deepcritic.samplers.base import Counting, Ready, Request, Sampler, Sampling, Usage, Written
from deepcritic.samplers.cost_estimate import CostEstimate, Spent, projection
from deepcritic.schema import PERMANENT, Failure, Generation, Key, Message, sample_seed
from deepcritic.tasks.base import CriticTask, Question

LOG = logging.getLogger(__name__)

E = TypeVar("E")
Outcome = Generation | Failure


def request(
    question: Question,
    sampling: Sampling,
    *,
    example_id: str,
    call: str,
    seed: int,
    step: int = 0,
    samples: Iterable[int] = (0,),
    parent: str = "",
) -> Request:
    """A request for `samples` of one prompt, each with its own seed."""
    keys = tuple(Key(example_id=example_id, request=call, step=step, sample=sample, parent=parent) for sample in samples)
    return Request(
        keys=keys,
        seeds=tuple(sample_seed(seed, key) for key in keys),
        messages=question.messages,
        sampling=sampling,
        prefix=question.prefix,
        context=question.context,
    )


def questions(
    task: CriticTask[Any],
    item: Any,
    sampling: Sampling,
    *,
    example_id: str,
    call: str,
    seed: int,
    samples: Iterable[int],
    shuffle: bool = True,
    change: Callable[[Question], Question] = lambda question: question,
) -> Iterator[Request]:
    """Requests for `samples` of a task's question about `item`: one, or one for each distinct prompt if the task shuffles.

    `change` may modify the question. Without `shuffle` the original order is kept.
    """
    order = seed if shuffle else None
    groups: dict[Question, list[int]] = {}
    if task.shuffles:
        for sample in samples:
            groups.setdefault(task.ask(item, seed=order, sample=sample), []).append(sample)
    else:
        groups[task.ask(item)] = list(samples)
    for question, drawn in groups.items():
        yield request(change(question), sampling, example_id=example_id, call=call, seed=seed, samples=drawn)


def user(text: str, system: str | None = None) -> tuple[Message, ...]:
    """A conversation with one user message."""
    return (*((Message(role="system", content=system),) if system else ()), Message(role="user", content=text))


def engine_for(engine: Callable[..., E], model: str | None, option: str) -> E:
    """The sampler or scorer that `engine` makes for `model`; an error about the model names the option that set it."""
    if model is None:
        raise UsageError(f"no {option} is given; set {option}=PATH")
    try:
        return engine(model=model)
    except InputError as error:
        if error.field != "model" or option == "model":
            raise
        raise error.replace(field=option) from None


class Draws:
    """The generations of one stage: a journal while it runs, and a file in canonical order when it is finished.

        with Draws(folder) as draws:
            drawn = draws.collect(requests, engine, "critiques")
            counts = draws.finish()
        for generation in drawn: ...

    A permanent failure is kept and not requested again; a temporary one is requested again at the next start. An engine is
    entered at its first request, and left when another engine is used, or at the end.

    This class applies the folder's `limits`: a dry run only counts requests, a probe ends after drawing, and no more is
    requested once `max_cost` would be exceeded. Then `finish`, or the drawing itself, raises `Stopped` or `StageIncomplete`.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder, self._limits = folder, folder.limits
        self._rows = JsonlIndex(folder.path / "generations.jsonl", Generation)
        self._failures = JsonlIndex(folder.path / "failures.jsonl", Failure)
        self._totals: Counter[str] = Counter()
        self._trouble: Counter[str] = Counter()
        self._served: Counter[str] = Counter()
        self._estimate = CostEstimate(folder.limits.price) if folder.limits.dry_run else None
        self._handed, self._under_way, self._budget_spent = Usage(), 0, False
        self._seconds, self._written = 0.0, 0
        self._engine: Sampler | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        if self._folder.is_new:
            return self
        rows, failures = (self._rows.look, self._failures.look) if self._estimate else (self._rows.open, self._failures.open)
        for header in rows():
            self._count(header)
        for _ in failures(lambda header: header.reason in PERMANENT and digest_of(header.key) not in self._rows):
            pass
        if self._rows.cut:
            LOG.warning(
                f"{self._rows.path}: removed an incomplete last line of {self._rows.cut} bytes; its reply will be sampled again"
            )
        if len(self._rows) and not self._estimate:
            LOG.info(f"{self._rows.path}: resuming after {len(self._rows)} rows")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._rows.close()
        self._failures.close()
        self._open.close()

    def collect(self, requests: Iterable[Request], sampler: Sampler, label: str, *, total: int | None = None) -> Rows[Generation]:
        """Draw the missing samples of `requests`; returns all generations that exist for them, in the order of the requests.
        `total` is the number of samples, if known in advance.

        The rows stay on disk. They are read during iteration, which can be repeated.
        """
        asked = bytearray()
        if total is None and isinstance(requests, Sequence):
            total = sum(len(one.keys) for one in requests)
        shown = Progress(label, total)
        with contextlib.nullcontext(shown) if self._estimate else shown as progress:
            for _ in self._stream(requests, sampler, progress, asked):
                pass
        return self._rows.rows(bytes(asked[start : start + DIGEST]) for start in range(0, len(asked), DIGEST))

    def stream(self, requests: Iterable[Request], sampler: Sampler, progress: Progress) -> Iterator[Outcome]:
        """Draw the missing samples of `requests` and yield each outcome once saved; `requests` may depend on earlier outcomes."""
        return self._stream(requests, sampler, progress, bytearray())

    def count_at_most(self, requests: Iterable[Request], sampler: Sampler, label: str, *, more: int | None = 0) -> None:
        """In a dry run, count upper bounds for later calls, which depend on replies that do not exist yet.

        Each prompt may be `more` tokens longer than in `requests` (None: as long as the context allows). Outside a dry run this
        does nothing.
        """
        if self._estimate:
            missing = (one.only(wanted) for one in requests if (wanted := self._wanted(map(digest_of, one.keys))))
            self._estimate.count(label, missing, sampler, bound=True, more=more)

    def saved(self, requests: Iterable[Request]) -> Rows[Generation]:
        """The generations of `requests` that exist, in the order of the requests."""
        return self._rows.rows(digest_of(key) for one in requests for key in one.keys)

    def kept(self) -> Rows[Generation]:
        """All generations so far, in the order in which they were saved."""
        return self._rows.everything()

    @property
    def cost(self) -> float:
        """The cost of all saved rows, and of paid answers that could not be used."""
        gone = self._folder.effort.discarded
        prompt, completion = self._totals["prompt"] + gone["prompt"], self._totals["completion"] + gone["completion"]
        return self._limits.price.of(prompt, completion, self._totals["cached"])

    def finish(self) -> dict[str, int]:
        """Sort the rows and the failures into canonical order; returns counts, which are also written to the manifest.

        Raises `StageIncomplete` if there is no row and the failures are temporary, and `Stopped`, with the findings, in a
        dry run or a probe.
        """
        self._open.close()
        if self._limits.trial:
            raise Stopped(self._found())
        rows, failures = self._rows.put_in_order(), self._failures.put_in_order()
        counts = {"generations": rows, "failures": failures, **self._totals}
        facts: dict[str, Any] = {**counts}
        if self._limits.price:
            facts["cost"] = round(self.cost, 6)
        if self._served:  # under other names than the requested one
            facts["served"] = dict(sorted(self._served.items()))
        self._folder.account(facts, self._trouble)
        if not rows:
            self._folder.require_complete()
        return counts

    def _stream(self, requests: Iterable[Request], sampler: Sampler, progress: Progress, asked: bytearray) -> Iterator[Outcome]:
        missing = self._missing(requests, sampler.model_id, asked, progress)
        if self._estimate:
            self._estimate.count(progress.label, missing, sampler)
            return
        if self._limits.price:
            progress.cost, progress.budget = self.cost, self._limits.max_cost
        if isinstance(sampler, Written):
            before, counting = sampler.written, sampler
            progress.written = lambda: counting.written - before
        with contextlib.closing(self._outcomes(missing, sampler)) as outcomes:
            for together in outcomes:
                yield from self._keep(together, progress)
        if self._budget_spent:
            raise StageIncomplete(
                f"{self._folder.path}: stopped at a cost of {amount(self.cost)} by max_cost={self._limits.max_cost:g}; "
                f"{len(self._rows)} rows are kept; rerun the same command with a higher max_cost= to continue"
            )

    def _outcomes(self, missing: Iterator[Request], sampler: Sampler) -> Generator[list[Outcome]]:
        """Yield the outcomes that are ready together, so that they are saved before more are taken from the engine."""
        first = next(missing, None)
        if first is None:
            return
        if sampler is not self._engine:
            self._open.close()
            self._engine = self._open.enter_context(sampler)
            # The objects of torch and vLLM live as long as the engine: searching them for garbage again and again took a tenth
            # of the time of short requests.
            gc.freeze()
            self._open.callback(gc.unfreeze)
        usage = sampler.usage if isinstance(sampler, Counting) else self._handed
        counted, began = msgspec.structs.replace(usage), time.monotonic()
        if usage is self._handed:
            counted.requests -= len(first.keys)
        try:
            drawn = sampler.stream(itertools.chain([first], missing))
            telling = drawn if isinstance(drawn, Ready) else None
            for outcome in drawn:
                if usage.requests != counted.requests:
                    self._folder.effort.add(**usage.since(counted))
                    counted = msgspec.structs.replace(usage)
                yield [outcome, *itertools.islice(drawn, telling.ready)] if telling else [outcome]
        finally:
            self._folder.effort.add(**usage.since(counted))
            self._seconds += time.monotonic() - began

    def _missing(self, requests: Iterable[Request], model_id: str, asked: bytearray, progress: Progress) -> Iterator[Request]:
        progress.growing = True
        for one in requests:
            progress.expect(len(one.keys))
            digests = [digest_of(key) for key in one.keys]
            asked += b"".join(digests)
            wanted = self._wanted(digests)
            if len(wanted) < len(digests):
                self._same_prompt(one, digests, model_id)
                progress.skip(len(digests) - len(wanted))
            if not wanted:
                continue
            if self._over_budget(len(wanted)):
                self._budget_spent = True
                return
            self._under_way += len(wanted)
            self._handed.requests += len(wanted)
            yield one.only(wanted)
        progress.growing = False

    def _wanted(self, digests: Iterable[bytes]) -> list[int]:
        """The positions of those that are neither drawn nor failed."""
        return [at for at, digest in enumerate(digests) if digest not in self._rows and digest not in self._failures]

    def _over_budget(self, samples: int) -> bool:
        """Whether `samples` more would exceed `max_cost`, with those in progress, at the average cost of the rows so far."""
        if self._limits.max_cost is None or self._estimate:
            return False
        each = self.cost / len(self._rows) if len(self._rows) else 0.0
        return self.cost >= self._limits.max_cost or self.cost + each * (self._under_way + samples) > self._limits.max_cost

    def _same_prompt(self, one: Request, digests: list[bytes], model_id: str) -> None:
        fingerprint = one.fingerprint(model_id)
        for key, digest in zip(one.keys, digests, strict=True):
            if self._rows.fingerprint_differs(digest, fingerprint):
                raise RunConflict(
                    f"{self._rows.path}: {key.text} was sampled with another prompt, model or sampling options; set another "
                    "name=, or stage.temperature= if the default changed with the number of samples"
                )

    def _keep(self, together: list[Outcome], progress: Progress) -> Iterator[Outcome]:
        """Save the outcomes; yields those that are new."""
        rows = [one for one in together if isinstance(one, Generation)]
        drawn, failed = self._rows.extend(rows), list[Failure]()
        if len(rows) < len(together):
            failed = self._failures.extend(one for one in together if isinstance(one, Failure))
        new = len(drawn) + len(failed)
        if new < len(together):
            self._folder.effort.add(duplicates=len(together) - new)
        self._under_way -= new
        for failure in failed:
            if not failure.permanent:
                self._trouble[failure.reason] += 1
            progress.advance(failed=1)
        for row in drawn:
            self._count(row)
            self._written += row.completion_tokens
            if progress.cost is not None:
                progress.cost = self.cost
            progress.advance(tokens=row.completion_tokens, truncated=row.finish_reason == "length")
        return itertools.chain(drawn, failed)

    def _count(self, row: Generation | RowHeader) -> None:
        self._totals["prompt"] += row.prompt_tokens
        self._totals["completion"] += row.completion_tokens
        self._totals["cached"] += row.cached_tokens
        self._totals["truncated"] += row.finish_reason == "length"
        if row.served:
            self._served[row.served] += 1

    def _found(self) -> str:
        """The findings of a dry run or a probe."""
        if self._estimate:
            there = f" ({len(self._rows):,} rows already exist)" if len(self._rows) else ""
            return f"dry run of {self._folder.path}: no requests are sent{there}\n{self._estimate}"
        names, total = self._folder.probing
        spent, others = {name: Spent() for name in names}, set[str]()
        for header in self._rows.headers():
            name = header.key.example_id
            if name in spent:
                spent[name] = spent[name].plus(header.prompt_tokens, header.completion_tokens, header.cached_tokens)
            else:
                others.add(name)
        rest = max(0, total - len(names) - len(others))
        failed = f", {self._trouble.total()} requests failed" if self._trouble else ""
        pace = self._seconds / self._written if self._written else None
        return "\n".join(
            [
                f"probe of {self._folder.path}: {len(names)} of {total} rows were processed{failed}; the other {rest} would take",
                projection([*spent.values()], rest, pace, self._limits.price),
                "completed replies are kept; rerun the same command without probe= to continue",
            ]
        )

"""Draw from a sampler into a journal, so that nothing drawn is lost and a second start asks only for what is missing."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from deepcritic.errors import InputError, RunConflict, UsageError
from deepcritic.keyed import DIGEST, Head, KeyedRows, Rows, digest_of
from deepcritic.progress import Progress
from deepcritic.rows import SETTLED, Failure, Generation, Key, Message, sample_seed
from deepcritic.runs import RunFolder
from deepcritic.samplers import Counting, Request, Sampler, Sampling, Usage
from deepcritic.tasks import Question

E = TypeVar("E")


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
    """`samples` draws of one prompt, each with a seed of its own."""
    keys = tuple(Key(example_id=example_id, request=call, step=step, sample=sample, parent=parent) for sample in samples)
    return Request(
        keys=keys,
        seeds=tuple(sample_seed(seed, key) for key in keys),
        messages=question.messages,
        sampling=sampling,
        prefix=question.prefix,
        context=question.context,
    )


def user(text: str, system: str | None = None) -> tuple[Message, ...]:
    """A conversation of one question."""
    return (*((Message(role="system", content=system),) if system else ()), Message(role="user", content=text))


def engine_for(engine: Callable[..., E], model: str | None, option: str) -> E:
    """The sampler or scorer that `engine` makes for `model`; an error about the model names the option that it was given by."""
    if model is None:
        raise UsageError(f"no {option} is named: give {option}=PATH")
    try:
        return engine(model=model)
    except InputError as error:
        if error.field != "model" or option == "model":
            raise
        raise InputError(error.problem, field=option, found=error.found, remedy=error.remedy) from None


class Draws:
    """The generations of one stage: a journal while it runs, a file in canonical order when it is finished.

        with Draws(folder) as draws:
            drawn = draws.collect(requests, engine, "critiques")
            counts = draws.finish()
        for generation in drawn: ...

    A draw that failed for good is kept and not asked for again; one that failed for a passing reason is, at the next
    start. An engine is entered once something is to be asked of it, and left when another one is asked, or at the end.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._rows = KeyedRows(folder / "generations.jsonl", Generation)
        self._failures = KeyedRows(folder / "failures.jsonl", Failure)
        self._totals: Counter[str] = Counter()
        self._trouble: Counter[str] = Counter()
        self._usage: Counter[str] = Counter()
        self._engine: Sampler | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        for head in self._rows.open():
            self._count(head)
        for _ in self._failures.open(lambda head: head.reason in SETTLED and digest_of(head.key) not in self._rows):
            pass
        if self._rows.cut:
            print(f"{self._rows.path}: a torn last line of {self._rows.cut} bytes was removed; it will be drawn again")
        if len(self._rows):
            print(f"{self._rows.path}: going on after {len(self._rows)} rows")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._rows.close()
        self._failures.close()
        self._open.close()

    def collect(self, requests: Iterable[Request], sampler: Sampler, label: str) -> Rows[Generation]:
        """Draw what is missing of `requests`; returns every generation asked for that there is, in the order asked.

        The rows stay on the disk and are read as they are gone through, as often as wanted.
        """
        asked = bytearray()
        with Progress(label) as progress:
            for _ in self._stream(requests, sampler, progress, asked):
                pass
        return self._rows.rows(bytes(asked[start : start + DIGEST]) for start in range(0, len(asked), DIGEST))

    def stream(self, requests: Iterable[Request], sampler: Sampler, progress: Progress) -> Iterator[Generation | Failure]:
        """Draw what is missing of `requests` and yield each outcome once it is kept, so `requests` may grow from what came."""
        return self._stream(requests, sampler, progress, bytearray())

    def kept(self) -> Rows[Generation]:
        """Everything that is there by now, in the order in which it came."""
        return self._rows.everything()

    def _stream(
        self, requests: Iterable[Request], sampler: Sampler, progress: Progress, asked: bytearray
    ) -> Iterator[Generation | Failure]:
        missing = self._missing(requests, sampler.model_id, asked, progress)
        with contextlib.closing(self._outcomes(missing, sampler)) as outcomes:
            for outcome in outcomes:
                if self._keep(outcome, progress):
                    yield outcome

    def finish(self) -> dict[str, int]:
        """Put the rows and the failures into canonical order; returns counts, which the manifest gets as well.

        Raises `StageIncomplete` if there is not one row, for reasons that may pass: a stage has nothing to go on with.
        """
        self._open.close()
        rows, failures = self._rows.put_in_order(), self._failures.put_in_order()
        counts = {"generations": rows, "failures": failures, **self._totals}
        self._folder.account({**counts, **self._usage}, self._trouble)
        if not rows:
            self._folder.require_complete()
        return counts

    def _keep(self, outcome: Generation | Failure, progress: Progress) -> bool:
        if isinstance(outcome, Generation):
            if not self._rows.append(outcome):
                self._usage["duplicates"] += 1
                return False
            self._count(outcome)
            progress.advance(tokens=outcome.completion_tokens, truncated=outcome.finish_reason == "length")
        elif self._failures.append(outcome):
            if not outcome.settled:
                self._trouble[outcome.reason] += 1
            progress.advance(failed=1)
        else:
            return False
        return True

    def _count(self, row: Generation | Head) -> None:
        self._totals["prompt"] += row.prompt_tokens
        self._totals["completion"] += row.completion_tokens
        self._totals["cached"] += row.cached_tokens
        self._totals["truncated"] += row.finish_reason == "length"

    def _outcomes(self, missing: Iterator[Request], sampler: Sampler) -> Generator[Generation | Failure]:
        first = next(missing, None)
        if first is None:
            return
        if sampler is not self._engine:
            self._open.close()
            self._engine = self._open.enter_context(sampler)
        handed = Usage()
        usage = sampler.usage if isinstance(sampler, Counting) else handed
        before = msgspec.structs.asdict(usage)
        try:
            yield from sampler.stream(_counted(itertools.chain([first], missing), handed))
        finally:
            self._usage.update({name: getattr(usage, name) - before[name] for name in before})

    def _missing(self, requests: Iterable[Request], model_id: str, asked: bytearray, progress: Progress) -> Iterator[Request]:
        for one in requests:
            progress.expect(len(one.keys))
            digests = [digest_of(key) for key in one.keys]
            asked += b"".join(digests)
            wanted = [at for at, digest in enumerate(digests) if digest not in self._rows and digest not in self._failures]
            if len(wanted) < len(digests):
                self._same_prompt(one, digests, model_id)
                progress.advance(len(digests) - len(wanted))
            if wanted:
                yield one.only(wanted)

    def _same_prompt(self, one: Request, digests: list[bytes], model_id: str) -> None:
        fingerprint = one.fingerprint(model_id)
        for key, digest in zip(one.keys, digests, strict=True):
            if self._rows.drawn_otherwise(digest, fingerprint):
                raise RunConflict(
                    f"{self._rows.path}: {key.text} was drawn with another prompt, model or sampling; "
                    "give this run another name=, or start over with overwrite=true"
                )


def _counted(requests: Iterable[Request], usage: Usage) -> Iterator[Request]:
    for one in requests:
        usage.requests += 1
        yield one

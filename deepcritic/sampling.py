"""Draw from a sampler into a journal, so that nothing drawn is lost and a second start asks only for what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from deepcritic.errors import InputError, RunConflict, UsageError
from deepcritic.progress import Progress
from deepcritic.rows import Failure, Generation, Key, Message, sample_seed
from deepcritic.samplers import Request, Sampler, Sampling
from deepcritic.store import Journal, read_rows, write_rows
from deepcritic.tasks import Question


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


def engine_for(sampler: Callable[..., Sampler], model: str | None, option: str) -> Sampler:
    """The engine that `sampler` makes for `model`; an error about the model names the option that it was given by."""
    if model is None:
        raise UsageError(f"no {option} is named: give {option}=PATH")
    try:
        return sampler(model=model)
    except InputError as error:
        if error.field != "model" or option == "model":
            raise
        raise InputError(error.problem, field=option, found=error.found, remedy=error.remedy) from None


class Draws:
    """The generations of one stage: a journal while it runs, a file in canonical order when it is finished.

    Failures are not kept between starts: a draw that failed is tried again.
    """

    def __init__(self, folder: Path, file: str = "generations.jsonl") -> None:
        self._path = folder / file
        self._failures_path = folder / "failures.jsonl"
        self._done: dict[Key, Generation] = {}
        self._failed: dict[Key, Failure] = {}

    def __enter__(self) -> Self:
        self._journal = Journal(self._path, Generation)
        if self._journal.cut:
            print(f"{self._path}: a torn last line of {self._journal.cut} bytes was removed; it will be drawn again")
        for row in read_rows(self._path, Generation):
            self._done[row.key] = row
        if self._done:
            print(f"{self._path}: going on after {len(self._done)} rows")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._journal.close()

    def collect(self, requests: Iterable[Request], sampler: Sampler, label: str) -> dict[Key, Generation]:
        """Draw what is missing of `requests`; returns every generation asked for that there is, in the order asked."""
        asked: list[Key] = []
        with Progress(label) as progress:
            missing = self._missing(requests, sampler.model_id, asked, progress)
            for outcome in sampler.stream(missing):
                if isinstance(outcome, Failure):
                    self._failed[outcome.key] = outcome
                    progress.advance(failed=1)
                    continue
                self._journal.append(outcome)
                self._done[outcome.key] = outcome
                progress.advance(tokens=outcome.completion_tokens, truncated=outcome.finish_reason == "length")
        return {key: self._done[key] for key in asked if key in self._done}

    def failure(self, key: Key) -> Failure | None:
        """Why `key` has no generation."""
        return self._failed.get(key)

    def finish(self) -> dict[str, int]:
        """Put the rows into canonical order and list the failures; returns counts for the manifest."""
        self._journal.close()
        write_rows(self._path, (self._done[key] for key in sorted(self._done)))
        write_rows(self._failures_path, (self._failed[key] for key in sorted(self._failed)))
        totals: Counter[str] = Counter()
        for row in self._done.values():
            totals["prompt"] += row.prompt_tokens
            totals["completion"] += row.completion_tokens
            totals["cached"] += row.cached_tokens
            totals["truncated"] += row.finish_reason == "length"
        return {"generations": len(self._done), "failures": len(self._failed), **totals}

    def _missing(self, requests: Iterable[Request], model_id: str, asked: list[Key], progress: Progress) -> Iterator[Request]:
        for one in requests:
            asked.extend(one.keys)
            progress.expect(len(one.keys))
            wanted = [index for index, key in enumerate(one.keys) if key not in self._done]
            if len(wanted) < len(one.keys):
                self._same_prompt(one, model_id)
                progress.advance(len(one.keys) - len(wanted))
            if wanted:
                yield one.only(wanted)

    def _same_prompt(self, one: Request, model_id: str) -> None:
        fingerprint = one.fingerprint(model_id)
        for key in one.keys:
            kept = self._done.get(key)
            if kept is not None and kept.fingerprint != fingerprint:
                raise RunConflict(
                    f"{self._path}: {key.text} was drawn with another prompt, model or sampling; "
                    "give this run another name=, or start over with overwrite=true"
                )

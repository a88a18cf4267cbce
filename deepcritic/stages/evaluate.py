"""Measure a critic: sample it on a benchmark, or score replies that were recorded, and write `metrics.json`.

python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=math.json model=PATH run=NAME
python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=math.json stage.generations=ROWS.jsonl run=NAME
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from deepcritic.errors import InputError, UsageError
from deepcritic.figures import figures, show
from deepcritic.judging import judge
from deepcritic.rows import Example, Generation, Judged, encode
from deepcritic.runs import RunFolder
from deepcritic.samplers import Request, Sampler, Sampling
from deepcritic.samplers.recorded import RecordedSampler
from deepcritic.sampling import Draws, engine_for, request
from deepcritic.store import read_rows, write_json, write_rows
from deepcritic.tasks import CriticTask
from deepcritic.votes import vote_rule

CALL = "critique"


def run(
    folder: RunFolder,
    *,
    benchmark: Callable[[], Iterable[Example]] | None,
    task: CriticTask[Any],
    sampler: Callable[..., Sampler],
    model: str | None = None,
    generations: str | None = None,
    samples: int = 1,
    temperature: float = 0.6,
    top_p: float = 0.9,
    max_tokens: int = 32_768,
    seed: int = 0,
    limit: int | None = None,
    allow_missing: bool = False,
    ties: str = "random",
) -> dict[str, Any]:
    """Returns the metrics. Rows without a recorded reply are an error, or wrong and counted with `allow_missing`."""
    if benchmark is None:
        raise UsageError("no benchmark is named: give benchmark=processbench benchmark.path=FILE, or another of conf/benchmark/")
    everything = list(benchmark())
    if not everything:
        raise InputError("the benchmark has no rows", field="benchmark.path", remedy="a file with at least one labelled row")
    rule = vote_rule(ties, "stage.ties")
    for field, value in (("stage.limit", limit), ("stage.samples", samples)):
        if value is not None and value < 1:
            raise InputError("out of range", field=field, found=value, remedy="a whole number from 1")
    examples = everything[:limit]
    sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens)
    _check(examples, task)
    rows_hash = _content(examples)
    recorded = RecordedSampler(generations) if generations else None
    if recorded is None and not model:
        raise InputError("nothing to evaluate", field="model", remedy="model=PATH, or stage.generations=ROWS.jsonl")
    engine = recorded or engine_for(sampler, model, "model")
    if recorded:
        plan = _recorded_plan(recorded, examples, {example.id for example in everything}, allow_missing)
    else:
        plan = {example.id: tuple(range(samples)) for example in examples}
    if not folder.begin(model=engine.model_id, benchmark=rows_hash):
        return show(read_metrics(folder.path))
    with Draws(folder) as draws:
        drawn = draws.collect(_requests(examples, task, sampling, plan, seed), engine, "critiques")
        counts = draws.finish()
    by_example: dict[str, list[Generation]] = {}
    for generation in drawn:
        by_example.setdefault(generation.key.example_id, []).append(generation)
    judged = [
        judge(example, by_example.get(example.id, []), task, asked=len(plan[example.id]), ties=rule) for example in examples
    ]
    write_rows(folder / "verdicts.jsonl", judged)
    metrics = {**figures(judged, task, ties=rule), **counts}
    write_json(folder / "metrics.json", metrics)
    ledger = folder.ledger("examples")
    ledger.enter(len(judged))
    for row in judged:
        if row.correct is None:
            ledger.fail("no reply")
        else:
            ledger.keep()
    show(metrics)
    folder.finish(model=engine.model_id, metrics="metrics.json", ignored_fields=recorded.ignored if recorded else {})
    return metrics


def read_metrics(path: Path) -> dict[str, Any]:
    """What a finished evaluation wrote."""
    metrics: dict[str, Any] = json.loads((path / "metrics.json").read_text("utf-8"))
    return metrics


def read_judged(path: Path) -> list[Judged]:
    """The rows of a finished evaluation."""
    return list(read_rows(path / "verdicts.jsonl", Judged))


def _requests(
    examples: list[Example], task: CriticTask[Any], sampling: Sampling, plan: Mapping[str, tuple[int, ...]], seed: int
) -> Iterator[Request]:
    for example in examples:
        if plan[example.id]:
            question = task.ask(example.item)
            yield request(question, sampling, example_id=example.id, call=CALL, seed=seed, samples=plan[example.id])


def _check(examples: list[Example], task: CriticTask[Any]) -> None:
    """Find a row that cannot be asked about or scored before anything is sampled."""
    for example in examples:
        try:
            task.ask(example.item)
            task.score(None, example.gold, example.item)
        except InputError as error:
            raise InputError(
                f"{error.problem} (example {example.id!r})", file=error.file, field=error.field, found=error.found,
                remedy=error.remedy,
            ) from None  # fmt: skip


def _recorded_plan(
    recorded: RecordedSampler, examples: list[Example], known: set[str], allow_missing: bool
) -> dict[str, tuple[int, ...]]:
    samples = recorded.samples(CALL)
    for name, replies in recorded.samples().items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1) or [min(known)]
            raise InputError(
                "a reply to an example that the benchmark does not have", file=recorded.path, line=replies[0].line,
                field="example_id", found=name, remedy=f"an id of the benchmark, such as {near[0]!r}",
            )  # fmt: skip
    absent = [example.id for example in examples if not samples.get(example.id)]
    if absent and not allow_missing:
        raise InputError(
            f"{len(absent)} of {len(examples)} examples have no reply", file=recorded.path, field="example_id",
            found=absent[0], remedy="a reply for each, or stage.allow_missing=true to count them as wrong",
        )  # fmt: skip
    return {example.id: tuple(reply.sample for reply in samples.get(example.id, [])) for example in examples}


def _content(examples: list[Example]) -> str:
    digest = hashlib.sha256()
    for example in examples:
        digest.update(encode(example))
    return f"sha256:{digest.hexdigest()}"

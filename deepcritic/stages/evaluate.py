"""Measure a critic: sample it on a benchmark, or score replies that were recorded, and write `metrics.json`.

python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=math.json model=PATH run=NAME
python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=math.json stage.generations=ROWS.jsonl run=NAME
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deepcritic.errors import InputError, UsageError
from deepcritic.metrics import blind_guess_f1, bootstrap_f1
from deepcritic.rows import ALL_CORRECT, Example, Generation, Judged, Key, encode, sample_seed
from deepcritic.runs import RunFolder
from deepcritic.samplers import Request, Sampler, Sampling
from deepcritic.samplers.recorded import RecordedSampler
from deepcritic.sampling import Draws, engine_for, request
from deepcritic.store import read_rows, write_json, write_rows
from deepcritic.tasks import CriticTask

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
) -> dict[str, Any]:
    """Returns the metrics. Rows without a recorded reply are an error, or wrong and counted with `allow_missing`."""
    if benchmark is None:
        raise UsageError("no benchmark is named: give benchmark=processbench benchmark.path=FILE, or another of conf/benchmark/")
    everything = list(benchmark())
    if not everything:
        raise InputError("the benchmark has no rows", field="benchmark.path", remedy="a file with at least one labelled row")
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
        return _shown(read_metrics(folder.path))
    with Draws(folder.path) as draws:
        with engine:
            drawn = draws.collect(_requests(examples, task, sampling, plan, seed), engine, "critiques")
        counts = draws.finish()
    by_example: dict[str, list[Generation]] = {}
    for generation in drawn.values():
        by_example.setdefault(generation.key.example_id, []).append(generation)
    judged = [judge(example, by_example.get(example.id, []), task, missing=not plan[example.id]) for example in examples]
    write_rows(folder / "verdicts.jsonl", judged)
    metrics = {**figures(judged, task), "missing": sum(not samples for samples in plan.values()), **counts}
    write_json(folder / "metrics.json", metrics)
    ledger = folder.ledger("examples")
    ledger.enter(len(judged))
    for row in judged:
        if row.correct is None:
            ledger.fail("no reply")
        else:
            ledger.keep()
    folder.finish(model=engine.model_id, metrics="metrics.json", ignored_fields=recorded.ignored if recorded else {})
    return _shown(metrics)


def judge(example: Example, replies: list[Generation], task: CriticTask[Any], *, missing: bool = False) -> Judged:
    """One row of the evaluation. A row with no reply is wrong if the recording left it out, and unscored if we failed."""
    ordered = sorted(replies, key=lambda reply: reply.key.sample)
    verdicts = [task.parse(reply.prefix + reply.text, reply.context) for reply in ordered]
    nothing = task.score(None, example.gold, example.item)
    scores = [task.score(verdict, example.gold, example.item).values["correct"] for verdict in verdicts]
    vote = task.vote(verdicts, seed=_tie_seed(example.id))
    scored = bool(scores) or missing
    return Judged(
        id=example.id,
        gold=example.gold.first_error,
        stratum=nothing.stratum,
        cluster=nothing.cluster,
        verdicts=tuple(verdicts) if scores else (None,) if missing else (),
        correct=float(np.mean(scores)) if scores else 0.0 if missing else None,
        vote=vote.verdict,
        vote_correct=task.score(vote.verdict, example.gold, example.item).values["correct"] if scored else None,
        agreement=vote.agreement,
        truncated=sum(reply.finish_reason == "length" for reply in ordered),
        error_kind=example.gold.error_kind,
        steps=len(example.item.steps),
    )


def figures(judged: list[Judged], task: CriticTask[Any]) -> dict[str, Any]:
    """All figures, in percent. Rows that failed for our own reasons are left out, and `f1_bounds` says what they could do."""
    rows = [row for row in judged if row.correct is not None]
    if not rows:
        raise InputError("no row has a reply", field="generations", remedy="a model or a recording that answers the benchmark")
    stratum = np.array([row.stratum for row in rows])
    cluster = np.array([row.cluster for row in rows])
    correct = np.array([row.correct for row in rows], float)
    unreadable = np.array([np.mean([verdict is None for verdict in row.verdicts]) for row in rows])
    main = task.aggregate({"correct": correct, "unreadable": unreadable, "stratum": stratum})
    with_error = stratum == "with an error"
    result: dict[str, Any] = {
        "examples": len(judged),
        **{name: _percent(value) for name, value in main.items()},
        "f1_interval": _interval(correct, with_error, cluster),
        "f1_bounds": _bounds(judged, task),
        "failed": len(judged) - len(rows),
        "blind_f1": _percent(blind_guess_f1([row.gold for row in rows])),
        "samples": max(len(row.verdicts) for row in rows),
        "error_accuracy_by_position": _by(rows, lambda row: str(row.gold)),
    }
    if any(row.error_kind for row in rows):
        result["error_accuracy_by_kind"] = _by(rows, lambda row: row.error_kind or "unknown")
    if result["samples"] > 1:
        votes = np.array([row.vote_correct for row in rows], float)
        voted = task.aggregate({"correct": votes, "unreadable": unreadable, "stratum": stratum})
        result["maj_f1"] = _percent(voted["f1"])
        result["maj_f1_interval"] = _interval(votes, with_error, cluster)
    return result


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


def _tie_seed(example_id: str) -> int:
    return sample_seed(0, Key(example_id=example_id, request="tie"))


def _interval(correct: Any, with_error: Any, cluster: Any) -> list[float | None]:
    return [_percent(bound) for bound in bootstrap_f1(correct, with_error, cluster)]


def _bounds(judged: list[Judged], task: CriticTask[Any]) -> list[float | None]:
    stratum = np.array([row.stratum for row in judged])
    bounds = []
    for unknown in (0.0, 1.0):
        correct = np.array([unknown if row.correct is None else row.correct for row in judged])
        bounds.append(_percent(task.aggregate({"correct": correct, "unreadable": correct, "stratum": stratum})["f1"]))
    return bounds


def _by(rows: list[Judged], name: Callable[[Judged], str]) -> dict[str, dict[str, float | None]]:
    """Accuracy and number of rows with an error, by a property."""
    groups: dict[str, list[float]] = {}
    for row in rows:
        if row.gold != ALL_CORRECT and row.correct is not None:
            groups.setdefault(name(row), []).append(row.correct)
    counts = Counter({key: len(values) for key, values in groups.items()})
    return {key: {"rows": counts[key], "accuracy": _percent(float(np.mean(groups[key])))} for key in sorted(groups)}


def _percent(fraction: float) -> float | None:
    """In percent; None where there is nothing to measure, for instance F1 without any all-correct row."""
    return round(100 * fraction, 4) if math.isfinite(fraction) else None


def _shown(metrics: dict[str, Any]) -> dict[str, Any]:
    low, high = (_figure(bound) for bound in metrics["f1_interval"])
    cut = f", truncated {metrics['truncated']}" if metrics.get("truncated") else ""
    lost = f", failed {metrics['failed']}" if metrics["failed"] else ""
    lost += f", without a reply {metrics['missing']} (counted as wrong)" if metrics["missing"] else ""
    print(f"{metrics['examples']} examples{cut}{lost}, unreadable {_figure(metrics['unparsed_rate'])}%")
    print(
        f"F1 {_figure(metrics['f1'])} (95% interval {low} to {high}; best blind guess {_figure(metrics['blind_f1'])}), "
        f"errors found {_figure(metrics['error_accuracy'])}%, all-correct seen {_figure(metrics['correct_accuracy'])}%"
    )
    return metrics


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"

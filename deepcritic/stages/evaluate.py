"""Measure a critic: ask it about benchmarks, or score replies that were recorded, and write `metrics.json`.

python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=math.json model=PATH run=NAME
python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=math.json stage.generations=ROWS.jsonl run=NAME
python -m deepcritic stage=evaluate task=pointwise benchmark=judgebench benchmark.path=pairs.jsonl stage.judgments=FILE run=NAME
python -m deepcritic stage=evaluate benchmark=processbench scorer=prm model=PATH stage.threshold_on=processbench/gsm8k run=NAME
python -m deepcritic experiment=eval_suite model=PATH run=NAME
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepcritic.datasets.benchmark import Benchmark, Part
from deepcritic.datasets.preference_pairs import judgments as recorded_judgments
from deepcritic.errors import InputError, UsageError
from deepcritic.evaluation.contamination import overlaps
from deepcritic.evaluation.evaluators import GenerativeEvaluator, RecordedPairwise, ScalarEvaluator, content_hash
from deepcritic.evaluation.results import collect_metrics, print_metrics, read_metrics, without_forged
from deepcritic.evaluation.results_card import check_target, put_results
from deepcritic.evaluation.table import any_published, beside_published, print_table, write_table
from deepcritic.metrics.majority_vote import vote_rule
from deepcritic.runs.folder import RunFolder, existing
from deepcritic.runs.jsonl import write_json, write_rows
from deepcritic.samplers.base import Sampler
from deepcritic.samplers.recorded import RecordedSampler
from deepcritic.samplers.resume import engine_for
from deepcritic.schema import Example, Item, Preference
from deepcritic.scorers.base import Scorer
from deepcritic.scorers.meta_rm import MetaRM
from deepcritic.scorers.recorded import RecordedScorer
from deepcritic.tasks.base import CriticTask


def run(
    folder: RunFolder,
    *,
    benchmark: Benchmark | Mapping[str, Benchmark] | None,
    task: CriticTask[Any],
    sampler: Callable[..., Sampler],
    scorer: Callable[..., Scorer[Item]] | None = None,
    model: str | None = None,
    judge: str | None = None,
    guide: str | None = None,
    generations: str | None = None,
    judgments: str | None = None,
    scores: str | None = None,
    samples: int = 1,
    temperature: float | None = None,
    top_p: float | None = None,
    max_tokens: int | None = None,
    judge_tokens: int | None = 1024,
    threshold: float | None = None,
    threshold_on: str | None = None,
    contamination: Sequence[str] = (),
    seed: int = 0,
    limit: int | None = None,
    allow_missing: bool = False,
    ties: str = "random",
    push: str | None = None,
) -> dict[str, Any]:
    """Returns the metrics. Rows without a recorded reply are an error, or wrong and counted with `allow_missing`.

    `limit` takes the first rows of each part of a benchmark. Temperature and top_p of None are the benchmark's own. `guide` is a
    Meta RM, whose choice of replies the figures put beside the plain vote. `judgments` are recorded decisions about pairs in two
    orders. `push` names a model's folder or hub id whose card gets the results; a finished evaluation can still be pushed.
    """
    if push is not None:
        check_target(push)
    for field, value in (("stage.limit", limit), ("stage.samples", samples)):
        if value is not None and value < 1:
            raise InputError("out of range", field=field, found=value, expected="a whole number from 1")
    rule = vote_rule(ties, "stage.ties")
    parts = _parts(benchmark, limit)
    _check(parts, task)
    critic: GenerativeEvaluator | ScalarEvaluator | RecordedPairwise
    scalar: Scorer[Item] | None = RecordedScorer(scores) if scores else engine_for(scorer, model, "model") if scorer else None
    if judgments is not None:
        judged_by, decisions = recorded_judgments(existing(Path(judgments), "stage.judgments"))
        critic = RecordedPairwise(parts=parts, task=task, file=Path(judgments), judged_by=judged_by, decisions=decisions)
    elif scalar is not None:
        tuning = _tuning(parts, threshold_on)
        critic = ScalarEvaluator(
            parts=parts, task=task, engine=scalar, threshold=threshold, threshold_on=threshold_on, tuning=tuning
        )  # fmt: skip
    else:
        recorded = RecordedSampler(generations) if generations else None
        if recorded is None and not model:
            raise InputError("nothing to evaluate", field="model", expected="model=PATH, or stage.generations=ROWS.jsonl")
        critic = GenerativeEvaluator(
            parts=parts, task=task, engine=recorded or engine_for(sampler, model, "model"),
            judge_engine=engine_for(sampler, judge, "judge") if judge else None,
            guide=engine_for(MetaRM, guide, "stage.guide") if guide else None, samples=samples, temperature=temperature,
            top_p=top_p, max_tokens=max_tokens, judge_tokens=judge_tokens, seed=seed, allow_missing=allow_missing,
            ties=rule,
        )  # fmt: skip
    rows_hash = content_hash(example for part in parts for example in part.examples)
    files = {f"contamination {file}": Path(file) for file in contamination if Path(file).is_file()}
    if not folder.begin(benchmark=rows_hash, **critic.depends, **files):
        return _pushed(print_metrics(read_metrics(folder.path), task), push)
    measured = critic.parts
    found = overlaps({row.id: row.item.problem for part in measured for row in without_forged(part)}, contamination)
    outcome = critic.judge(folder)
    judged = [row for part in measured for row in outcome.judged[part.name]]
    write_rows(folder / "verdicts.jsonl", judged)
    write_rows(folder / "examples.jsonl", (example for part in measured for example in part.examples))  # to be read beside them
    metrics = collect_metrics(measured, outcome, task, found if contamination else None, rule)
    write_json(folder / "metrics.json", metrics)
    ledger = folder.ledger("examples")
    ledger.enter(len(judged))
    for row in judged:
        if row.correct is None:
            ledger.fail("no reply")
        else:
            ledger.keep()
    ignored = (
        critic.engine.ignored if isinstance(critic, GenerativeEvaluator) and isinstance(critic.engine, RecordedSampler) else {}
    )
    data = {part.name: part.facts for part in measured}
    print_metrics(metrics, task)
    if {"f1", "mean_f1"} & metrics.keys():
        entries = beside_published({str(metrics["model"]): metrics})
        write_table(folder.path, entries)
        if any_published(entries):
            print_table(entries)
    folder.finish(metrics="metrics.json", data=data, ignored_fields=ignored, **outcome.facts)
    return _pushed(metrics, push)


def _pushed(metrics: dict[str, Any], push: str | None) -> dict[str, Any]:
    if push is not None:
        print(f"results put into {put_results(push, metrics)}")
    return metrics


def _parts(benchmark: Benchmark | Mapping[str, Benchmark] | None, limit: int | None) -> list[Part]:
    """The parts of one benchmark, or of those of a suite that are at hand. An id may occur once among them all."""
    if benchmark is None:
        raise UsageError("no benchmark is named: give benchmark=processbench benchmark.path=FILE, or another of conf/benchmark/")
    if isinstance(benchmark, Benchmark):
        parts = benchmark.read(limit)
    else:
        for name, one in benchmark.items():
            if one.path is None:
                print(f"{name} is left out: suite.{name}.path names no file")
        parts = [part for one in benchmark.values() if one.path is not None for part in one.read(limit)]
    seen: dict[str, str] = {}
    for part in parts:
        for example in part.examples:
            if example.id in seen:
                expected = "benchmarks that share no row"
                raise InputError(f"an id of {seen[example.id]} occurs in {part.name} too", found=example.id, expected=expected)
            seen[example.id] = part.name
    if not parts:
        raise UsageError("the suite has no benchmark with a path")
    return parts


def _check(parts: list[Part], task: CriticTask[Any]) -> None:
    """Find a row that cannot be asked about or scored before anything is sampled."""
    for part, example in ((one, example) for one in parts for example in one.examples):
        if not isinstance(example, task.row):
            others = "task=pointwise" if isinstance(example, Preference) else "task=first_error"
            raise UsageError(f"{part.name} has rows of type {type(example).__name__}, not {task.row.__name__}: give {others}")
        try:
            task.ask(example.item)
            task.score(None, example.gold, example.item)
        except InputError as error:
            raise error.replace(problem=f"{error.problem} (example {example.id!r})") from None


def _tuning(parts: list[Part], threshold_on: str | None) -> list[Example]:
    """The rows on which a threshold is chosen, from a file; none where a part is named, or nothing."""
    if threshold_on is None or any(part.name == threshold_on for part in parts):
        return []
    if not Path(threshold_on).is_file():
        names = ", ".join(part.name for part in parts)
        raise InputError(
            "neither a file nor a part of the benchmark", field="stage.threshold_on", found=threshold_on, expected=names
        )
    return [row for row in parts[0].benchmark.rows_of(threshold_on) if isinstance(row, Example)]

"""Measure a critic: ask it about benchmarks, or score replies that were recorded, and write `metrics.json`.

python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=math.json model=PATH run=NAME
python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=math.json stage.generations=ROWS.jsonl run=NAME
python -m deepcritic stage=evaluate task=pointwise benchmark=judgebench benchmark.path=pairs.jsonl stage.judgments=FILE run=NAME
python -m deepcritic stage=evaluate benchmark=processbench scorer=prm model=PATH stage.threshold_on=processbench/gsm8k run=NAME
python -m deepcritic experiment=eval_suite model=PATH run=NAME
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from deepcritic.contamination import overlaps
from deepcritic.errors import InputError, UsageError
from deepcritic.evaluation import Deciding, Outcome, Scoring, Writing, content_hash
from deepcritic.figures import mean_figures
from deepcritic.flips import flips
from deepcritic.model_card import check_target, put_results
from deepcritic.mr_score import mr_score
from deepcritic.preference_figures import decided_figures
from deepcritic.rows import Example, Item, Judged, Preference
from deepcritic.runs import RunFolder, existing
from deepcritic.samplers import Sampler
from deepcritic.samplers.recorded import RecordedSampler
from deepcritic.sampling import engine_for
from deepcritic.scorers import Scorer
from deepcritic.scorers.meta_rm import MetaRM
from deepcritic.scorers.recorded import RecordedScorer
from deepcritic.sources.benchmark import Benchmark, Part
from deepcritic.sources.forged import kind_of
from deepcritic.sources.preference_pairs import judgments as recorded_judgments
from deepcritic.store import read_rows, write_json, write_rows
from deepcritic.table import any_published, beside_published, print_table, write_table
from deepcritic.tasks import CriticTask
from deepcritic.votes import Ties, vote_rule


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
    max_tokens: int = 32_768,
    judge_tokens: int = 1024,
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
            raise InputError("out of range", field=field, found=value, remedy="a whole number from 1")
    rule = vote_rule(ties, "stage.ties")
    parts = _parts(benchmark, limit)
    _check(parts, task)
    critic: Writing | Scoring | Deciding
    scalar: Scorer[Item] | None = RecordedScorer(scores) if scores else engine_for(scorer, model, "model") if scorer else None
    if judgments is not None:
        judged_by, decisions = recorded_judgments(existing(Path(judgments), "stage.judgments"))
        critic = Deciding(parts=parts, task=task, file=Path(judgments), judged_by=judged_by, decisions=decisions)
    elif scalar is not None:
        tuning = _tuning(parts, threshold_on)
        critic = Scoring(
            parts=parts, task=task, engine=scalar, threshold=threshold, threshold_on=threshold_on, tuning=tuning
        )  # fmt: skip
    else:
        recorded = RecordedSampler(generations) if generations else None
        if recorded is None and not model:
            raise InputError("nothing to evaluate", field="model", remedy="model=PATH, or stage.generations=ROWS.jsonl")
        critic = Writing(
            parts=parts, task=task, engine=recorded or engine_for(sampler, model, "model"),
            judge_engine=engine_for(sampler, judge, "judge") if judge else None,
            guide=engine_for(MetaRM, guide, "stage.guide") if guide else None, samples=samples, temperature=temperature,
            top_p=top_p, max_tokens=max_tokens, judge_tokens=judge_tokens, seed=seed, allow_missing=allow_missing,
            ties=rule,
        )  # fmt: skip
    rows_hash = content_hash(example for part in parts for example in part.examples)
    files = {f"contamination {file}": Path(file) for file in contamination if Path(file).is_file()}
    if not folder.begin(benchmark=rows_hash, **critic.depends, **files):
        return _pushed(_shown(read_metrics(folder.path), task), push)
    measured = critic.parts
    found = overlaps({row.id: row.item.problem for part in measured for row in _plain(part)}, contamination)
    outcome = critic.judge(folder)
    judged = [row for part in measured for row in outcome.judged[part.name]]
    write_rows(folder / "verdicts.jsonl", judged)
    write_rows(folder / "examples.jsonl", (example for part in measured for example in part.examples))  # to be read beside them
    metrics = _metrics(measured, outcome, task, found if contamination else None, rule)
    write_json(folder / "metrics.json", metrics)
    ledger = folder.ledger("examples")
    ledger.enter(len(judged))
    for row in judged:
        if row.correct is None:
            ledger.fail("no reply")
        else:
            ledger.keep()
    ignored = critic.engine.ignored if isinstance(critic, Writing) and isinstance(critic.engine, RecordedSampler) else {}
    data = {part.name: part.facts for part in measured}
    _shown(metrics, task)
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


def read_metrics(path: Path) -> dict[str, Any]:
    """What a finished evaluation wrote."""
    metrics: dict[str, Any] = json.loads((path / "metrics.json").read_text("utf-8"))
    return metrics


def read_judged(path: Path) -> list[Judged]:
    """The rows of a finished evaluation."""
    return list(read_rows(path / "verdicts.jsonl", Judged))


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
                remedy = "benchmarks that share no row"
                raise InputError(f"an id of {seen[example.id]} occurs in {part.name} too", found=example.id, remedy=remedy)
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
            raise InputError(
                f"{error.problem} (example {example.id!r})", file=error.file, field=error.field, found=error.found,
                remedy=error.remedy,
            ) from None  # fmt: skip


def _tuning(parts: list[Part], threshold_on: str | None) -> list[Example]:
    """The rows on which a threshold is chosen, from a file; none where a part is named, or nothing."""
    if threshold_on is None or any(part.name == threshold_on for part in parts):
        return []
    if not Path(threshold_on).is_file():
        names = ", ".join(part.name for part in parts)
        raise InputError(
            "neither a file nor a part of the benchmark", field="stage.threshold_on", found=threshold_on, remedy=names
        )
    return [row for row in parts[0].benchmark.rows_of(threshold_on) if isinstance(row, Example)]


def _plain(part: Part) -> list[Example | Preference]:
    return [example for example in part.examples if kind_of(example.id)[1] is None]


def _metrics(
    parts: list[Part], outcome: Outcome, task: CriticTask[Any], found: Mapping[str, Any] | None, ties: Ties
) -> dict[str, Any]:
    """The figures of the plain rows, and beside those of each part what else is known of it."""
    plain = {part.name: [row for row in outcome.judged[part.name] if kind_of(row.id)[1] is None] for part in parts}
    if outcome.decided:
        metrics = decided_figures([row for rows in plain.values() for row in rows], task)
        return {**metrics, "benchmark": parts[0].facts, **outcome.facts}
    metrics = task.figures(plain, ties=ties)
    for part in parts:
        of_part = metrics if len(parts) == 1 else metrics["benchmarks"][part.name]
        of_part["benchmark"] = part.facts
        if part.benchmark.mr_score:
            of_part["mr_score"] = _mr_score(part, plain[part.name], outcome)
        if part.benchmark.forged:
            of_part["flips"] = flips(outcome.judged[part.name], task)
        clean = [row for row in plain[part.name] if row.id not in (found or {}).get("held", {})]
        if clean and len(clean) < len(plain[part.name]):
            without = task.figures({part.name: clean}, ties=ties)
            names = ("examples", "f1", "f1_interval", "accuracy", "accuracy_interval")
            of_part["without_held"] = {name: without[name] for name in names if name in without}
    if "mean_f1" in metrics:
        metrics["means"] = _means(parts, plain)
    if found is not None:
        metrics["contamination"] = found
    return {**metrics, **outcome.facts, **outcome.counts}


def _mr_score(part: Part, judged: list[Judged], outcome: Outcome) -> dict[str, Any]:
    reasons = any(isinstance(example, Example) and example.gold.error_reasons for example in part.examples)
    result = mr_score(judged, outcome.grades if reasons else None)
    if not reasons:
        result["skipped"] = "the rows give no reasons for their errors"
    elif outcome.grades is None:
        result["skipped"] = "no judge graded the reasons: judge=MODEL"
    return result


def _means(parts: list[Part], plain: Mapping[str, Sequence[Judged]]) -> dict[str, Any]:
    """For each benchmark with several parts the mean over them, and which of its parts it covers."""
    groups: dict[str, list[str]] = {}
    for part in parts:
        groups.setdefault(part.benchmark.name, []).append(part.name)
    means: dict[str, Any] = {}
    for name, members in groups.items():
        if len(members) > 1:
            whole = next(part.benchmark.parts for part in parts if part.benchmark.name == name)
            means[name] = {
                **mean_figures({member: plain[member] for member in members}),
                "parts": members,
                "of": max(len(members), len(whole or ())),
            }
    return means


def _shown(metrics: dict[str, Any], task: CriticTask[Any]) -> dict[str, Any]:
    task.show(metrics)
    for name, part in metrics.get(
        "benchmarks", {metrics["benchmark"]["name"] if "benchmark" in metrics else "": metrics}
    ).items():
        facts = part["benchmark"]
        whole = facts["rows_when_whole"]
        if whole and facts["rows"] != whole:
            print(f"{name}: {facts['rows']} of its {whole} rows are at hand")
        if "mr_score" in part:
            print(_mr_line(name, part["mr_score"]))
        for kind, flip in part.get("flips", {}).items():
            low, high = flip["interval"]
            rate = "nothing to flip" if flip["rate"] is None else f"{flip['rate']:.1f}% ({low:.1f} to {high:.1f})"
            print(f"{name}, forged {kind}: {rate} of {flip['rows']} verdicts now say what was forged")
        if "without_held" in part:
            clean = part["without_held"]
            score = f"F1 {clean['f1']}" if "f1" in clean else f"accuracy {clean.get('accuracy')}"
            print(f"{name} without the problems that occur in training data: {score} on {clean['examples']} rows")
    for name, mean in metrics.get("means", {}).items():
        low, high = mean["f1_interval"]
        shown = "unknown" if mean["f1"] is None else f"{mean['f1']:.1f} (95% interval {low:.1f} to {high:.1f})"
        print(f"{name}: mean F1 {shown} over {len(mean['parts'])} of {mean['of']} parts")
    if "threshold" in metrics:
        how = metrics["threshold"]
        chosen = f", chosen on {how['rows']} rows of {how['chosen_on']} (F1 {how['f1_there']:.1f} there)" if "rows" in how else ""
        print(f"threshold {how['value']:.4g}{chosen}")
    if "contamination" in metrics:
        found = metrics["contamination"]
        first = "".join(f"; {name} in {place}" for name, place in [*found["held"].items()][:1])
        print(
            f"training data of {sum(found['texts'].values())} texts: {len(found['held'])} problems occur in it, "
            f"{len(found['resembled'])} more are like one{first}"
        )
    return metrics


def _mr_line(name: str, score: Mapping[str, Any]) -> str:
    parts = f"MCC {score['mcc']:.1f}, step {score['step_accuracy']:.1f}%"
    if score["score"] is None:
        return f"{name}: no MR-Score ({score['skipped']}); {parts}"
    low, high = score["score_interval"]
    shown = f"{score['score']:.1f} (95% interval {low:.1f} to {high:.1f})"
    return f"{name}: MR-Score {shown} ({parts}, reason {score['reason_accuracy']:.1f}%)"

"""Measure a critic on benchmarks, by sampling replies or from recorded ones, and write `metrics.json`.

python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=math.json model=PATH run=NAME
python -m deepcritic stage=evaluate benchmark=processbench benchmark.path=math.json stage.generations=ROWS.jsonl run=NAME
python -m deepcritic stage=evaluate task=pointwise benchmark=judgebench benchmark.path=pairs.jsonl stage.judgments=FILE run=NAME
python -m deepcritic stage=evaluate benchmark=processbench scorer=prm model=PATH stage.threshold_on=processbench/gsm8k run=NAME
python -m deepcritic stage=evaluate benchmark=processbench critic=deepcritic_7b_sft critic.prompt=DeepCritic/ run=NAME
python -m deepcritic experiment=eval_suite model=PATH run=NAME

`critic=NAME` selects a released critic (`conf/critic/`) with its authors' prompt, model, sampling and vote rule; options
override these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from deepcritic.datasets.benchmark import Benchmark, Part
from deepcritic.datasets.forged import kind_of
from deepcritic.datasets.preference_pairs import judgments as recorded_judgments
from deepcritic.errors import InputError, UsageError
from deepcritic.evaluation.contamination import overlaps
from deepcritic.evaluation.critics import ReleasedCritic
from deepcritic.evaluation.evaluators import GenerativeEvaluator, Outcome, RecordedPairwise, ScalarEvaluator, lines_hash
from deepcritic.evaluation.load import METRICS, Metrics, write_metrics
from deepcritic.evaluation.results import collect_metrics, metric_lines
from deepcritic.evaluation.results_card import check_target, put_results
from deepcritic.evaluation.stepwise import StepwiseEvaluator
from deepcritic.evaluation.table import any_published, beside_published, print_table, write_table
from deepcritic.metrics.majority_vote import TIES, Ties, vote_rule
from deepcritic.options import Options, option
from deepcritic.runs.folder import RunFolder, existing
from deepcritic.runs.jsonl import as_written, read_json, replacing, write_rows
from deepcritic.samplers.base import Sampler, Sampling
from deepcritic.samplers.recorded import RecordedSampler
from deepcritic.samplers.resume import engine_for
from deepcritic.schema import Example, Item, Preference
from deepcritic.scorers.base import Scorer
from deepcritic.scorers.meta_rm import MetaRM
from deepcritic.scorers.recorded import RecordedScorer
from deepcritic.tasks.base import CriticTask
from deepcritic.tasks.step_by_step import StepByStep

Critic = GenerativeEvaluator | ScalarEvaluator | RecordedPairwise | StepwiseEvaluator
OF_REPLIES = "generations grader grader_max_tokens meta_rm samples adaptive temperature top_p max_tokens allow_missing"
"""Options for text replies."""


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(Options):
    """Measure a critic: F1 with intervals, by sampling replies or from recorded ones."""

    REPLACES: ClassVar = {
        "generations": "sampler scorer scores judgments samples adaptive temperature top_p max_tokens",
        "judgments": f"sampler scorer scores {OF_REPLIES}",
        "scores": f"sampler scorer {OF_REPLIES}",
        "scorer": f"sampler {OF_REPLIES}",
    }

    limit: int | None = option(None, "rows per part, with class proportions kept; null: all", group="Data", at_least=1)
    generations: str | None = option(None, "file of recorded replies to evaluate instead of a model")
    judgments: str | None = option(None, "file of recorded pairwise decisions, each in both orders, instead of a model")
    scores: str | None = option(None, "file of recorded step scores, instead of a scorer")
    allow_missing: bool = option(False, "count examples without a recorded reply as wrong", needs="generations")
    contamination: Sequence[str] | str = option([], "training data files to search for the benchmark's problems", top=True)
    model: str | None = option(
        None, "critic, or PRM with scorer=: local folder, GGUF file or hub id (ORG/NAME@revision); the name of recorded data",
        group="Models", top=True,
    )  # fmt: skip
    grader: str | None = option(
        None, "model that grades the stated reasons, for benchmarks with an MR-Score", top=True, was="judge"
    )
    grader_max_tokens: int | None = option(
        1024, "maximum tokens per grader reply; null: up to the context length", was="judge_tokens", needs="grader"
    )
    meta_rm: str | None = option(None, "Meta RM of stage=meta_rm, for an additional guided vote", was="guide")
    samples: int | None = option(
        None, "replies per example, combined by a vote; null: that of critic=, or 1", group="Sampling", at_least=1, extends=True
    )
    adaptive: bool = option(False, "stop sampling a row once its vote is decided; the vote is the same")
    temperature: float | None = option(None, "sampling temperature; null: the default of critic= or of the benchmark", at_least=0)
    top_p: float | None = option(None, "nucleus sampling; null: the default of critic= or of the benchmark")
    max_tokens: int | None = option(None, "maximum tokens per reply; null: the default of critic=, or up to the context length")
    seed: int = option(0, "random seed", top=True)
    ties: str | None = option(
        None, "how ties are broken; null: the rule of critic=, or random", group="Votes", choices=TIES, extends=True
    )
    threshold: float | None = option(None, "step score below which a step counts as wrong", group="Step scores")
    threshold_on: str | None = option(None, "file, or part of the benchmark, to choose the threshold on")
    push: str | None = option(
        None, "add the results to the card of a model: its folder, or ORG/NAME on the hub (token: HF_TOKEN)",
        group="Publishing", top=True, not_hashed=True,
    )  # fmt: skip


def run(
    folder: RunFolder,
    options: EvaluateOptions,
    *,
    benchmark: Benchmark | Mapping[str, Benchmark] | None,
    task: CriticTask[Any],
    sampler: Callable[..., Sampler],
    scorer: Callable[..., Scorer[Item]] | None = None,
    critic: ReleasedCritic | None = None,
) -> dict[str, Any]:
    """Return the metrics. Writes `metrics.json`, `verdicts.jsonl` and `examples.jsonl`.

    To push or rename a finished evaluation, start it again with `push=` or `critic.label=`.
    """
    if options.push is not None:
        check_target(options.push)
    parts = _parts(benchmark, options.limit)
    measured = _Measured(options, critic or ReleasedCritic(), task)
    _check(parts, measured.task)
    evaluator = _evaluator(measured, parts, sampler, scorer)
    corpora = [options.contamination] if isinstance(options.contamination, str) else options.contamination
    files = {f"contamination {file}": Path(file) for file in corpora if Path(file).is_file()}
    rows_hash = lines_hash(line for part in parts for line in part.examples.encoded())
    if measured.critic.remark:
        print(f"{measured.critic.shown}: {measured.critic.remark}; tables mark each result with it")
    if not folder.begin(benchmark=rows_hash, **evaluator.depends, **files):
        with as_written(folder.path / METRICS):
            metrics = _renamed(folder, measured.label)
            return _ended(folder, _shown(metrics, measured.task), options.push)
    overlap = overlaps(_problems(evaluator.parts), corpora) if corpora else None
    outcome = evaluator.judge(folder)
    outcome = outcome._replace(facts={**outcome.facts, **measured.facts})
    metrics = collect_metrics(evaluator.parts, outcome, measured.task, overlap, measured.ties)
    _write(folder, evaluator, outcome, metrics)
    _shown(metrics, measured.task)
    _write_table(folder, metrics)
    for hint in outcome.hints:
        print(f"warning: {hint}")
    data = {part.name: part.facts for part in evaluator.parts}
    ignored, hints = _ignored(evaluator), list(outcome.hints)
    folder.finish(metrics="metrics.json", data=data, ignored_fields=ignored, hints=hints, **outcome.facts)
    return _ended(folder, metrics, options.push)


@dataclass(frozen=True)
class _Measured:
    """What is measured. Options override the preset, and the preset overrides the benchmark."""

    options: EvaluateOptions
    critic: ReleasedCritic
    given: CriticTask[Any]
    task: CriticTask[Any] = field(init=False)

    def __post_init__(self) -> None:
        options, name = self.options, self.critic.name
        if name and (options.judgments or options.scores):
            raise UsageError(f"critic={name} needs replies; expected stage.generations=, not stage.judgments= or stage.scores=")
        if options.generations and self.critic.prompt is None:
            object.__setattr__(self, "critic", self.critic.for_recording())
        asked = self.critic.task()
        if asked is not None and self.given.template.sha not in (type(self.given)().template.sha, asked.template.sha):
            raise UsageError(f"critic={name} has its own prompt; remove task.template=, task.system= and task.marker=")
        object.__setattr__(self, "task", asked or self.given)

    @property
    def model(self) -> str | None:
        return self.options.model or self.critic.model

    @property
    def recorded(self) -> bool:
        return bool(self.options.generations or self.options.judgments or self.options.scores)

    @property
    def label(self) -> str | None:
        """The name in tables; None: the model's name is used.

        A model that is not the preset's own is named first; a protocol has no own model.
        """
        name, given = self.critic.name, self.options.model and Path(self.options.model).name
        own = (self.critic.model or "").rpartition("/")[2]
        if name and (given or own) != own:
            name = f"{given}, asked as {name}" if own else f"{given} ({name})"
        return self.critic.label or name or (self.options.model if self.recorded else None)

    @property
    def facts(self) -> dict[str, Any]:
        """Entries in the metrics."""
        found = {"label": self.label, "critic": self.critic.facts()}
        return {name: value for name, value in found.items() if value}

    @property
    def samples(self) -> int:
        return self.options.samples or self.critic.samples or 1

    @property
    def ties(self) -> Ties:
        return vote_rule(self.options.ties or self.critic.ties or "random", "stage.ties")

    @property
    def max_tokens(self) -> int | None:
        return self.critic.max_tokens if self.options.max_tokens is None else self.options.max_tokens

    def drawn(self, name: str) -> float | None:
        """Temperature or top_p; None: use the benchmark's."""
        given: float | None = getattr(self.options, name)
        return self.critic.sampling(self.samples).get(name) if given is None else given

    def sampling(self, part: Part) -> Sampling:
        own = part.benchmark.sampling(self.samples)
        temperature, top_p = (own[name] if (one := self.drawn(name)) is None else one for name in ("temperature", "top_p"))
        return Sampling(temperature=temperature, top_p=top_p, max_tokens=self.max_tokens)


def _evaluator(
    measured: _Measured,
    parts: list[Part],
    sampler: Callable[..., Sampler],
    scorer: Callable[..., Scorer[Item]] | None,
) -> Critic:
    """The source of verdicts: recorded decisions, recorded or new step scores, or recorded or new replies."""
    options, task = measured.options, measured.task
    if options.judgments is not None:
        file = existing(Path(options.judgments), "stage.judgments")
        judged_by, decisions = recorded_judgments(file)
        return RecordedPairwise(parts=parts, task=task, file=file, judged_by=judged_by, decisions=decisions)
    if measured.critic.name and scorer is not None:
        raise UsageError(f"critic={measured.critic.name} writes replies and scorer= returns numbers; remove one of them")
    scored: Scorer[Item] | None = None
    if options.scores:
        scored = RecordedScorer(options.scores)
    elif scorer is not None:
        scored = engine_for(scorer, options.model, "model")
    if scored is not None:
        return ScalarEvaluator(
            parts=parts, task=task, engine=scored, threshold=options.threshold, threshold_on=options.threshold_on,
            tuning=_tuning(parts, options.threshold_on),
        )  # fmt: skip
    recorded = RecordedSampler(options.generations) if options.generations else None
    if recorded is None and not measured.model:
        raise InputError("nothing to evaluate", field="model", expected="model=PATH, or stage.generations=ROWS.jsonl")
    engine = recorded or engine_for(sampler, measured.model, "model")
    if options.adaptive:
        _check_adaptive(measured)
    if isinstance(task, StepByStep):
        if options.grader or options.meta_rm:
            raise UsageError(f"critic={measured.critic.name} gives no reasons to grade; remove grader= and stage.meta_rm=")
        return StepwiseEvaluator(
            parts=parts, task=task, engine=engine, sampling=measured.sampling, samples=measured.samples,
            step_votes=measured.critic.step_votes and measured.samples > 1, seed=options.seed, ties=measured.ties,
        )  # fmt: skip
    return GenerativeEvaluator(
        parts=parts, task=task, engine=engine,
        judge_engine=engine_for(sampler, options.grader, "grader") if options.grader else None,
        guide=engine_for(MetaRM, options.meta_rm, "stage.meta_rm") if options.meta_rm else None, samples=measured.samples,
        temperature=measured.drawn("temperature"), top_p=measured.drawn("top_p"), max_tokens=measured.max_tokens,
        judge_tokens=options.grader_max_tokens, seed=options.seed, allow_missing=options.allow_missing, ties=measured.ties,
        adaptive=options.adaptive,
    )  # fmt: skip


def _check_adaptive(measured: _Measured) -> None:
    """Refuse adaptive votes where all samples are needed."""
    options, task = measured.options, measured.task
    if measured.samples < 3:
        raise UsageError(f"stage.adaptive=true needs stage.samples=3 or more; found {measured.samples}")
    if task.name != "first_error" or isinstance(task, StepByStep):
        raise UsageError(f"stage.adaptive=true needs a vote for one step per reply (task=first_error); found {task.name}")
    for name, given in (("grader", options.grader), ("stage.meta_rm", options.meta_rm)):
        if given:
            raise UsageError(f"stage.adaptive=true and {name}= exclude each other: {name}= needs all samples")


def _write(folder: RunFolder, evaluator: Critic, outcome: Outcome, metrics: dict[str, Any]) -> None:
    """Write verdicts, their examples and metrics; count the rows."""
    judged = [row for part in evaluator.parts for row in outcome.judged[part.name]]
    write_rows(folder / "verdicts.jsonl", judged)
    with replacing(folder / "examples.jsonl") as file:
        file.writelines(line + b"\n" for part in evaluator.parts for line in part.examples.encoded())
    write_metrics(folder / METRICS, metrics)
    ledger = folder.ledger("examples")
    ledger.enter(len(judged))
    for row in judged:
        if row.correct is None:
            ledger.fail("no reply")
        else:
            ledger.keep()


def _shown(metrics: dict[str, Any], task: CriticTask[Any]) -> dict[str, Any]:
    for line in metric_lines(metrics, task):
        print(line)
    return metrics


def _write_table(folder: RunFolder, metrics: dict[str, Any]) -> None:
    """Write F1 next to published results; print the table if this benchmark has any."""
    if {"f1", "mean_f1"} & metrics.keys():
        entries = beside_published({str(metrics.get("label") or metrics["model"]): Metrics.of(metrics)})
        write_table(folder.path, entries)
        if any_published(entries):
            print_table(entries)


def _ignored(evaluator: Critic) -> dict[str, int]:
    """Undeclared fields of recorded replies, with row counts."""
    engine = getattr(evaluator, "engine", None)
    return engine.ignored if isinstance(engine, RecordedSampler) else {}


def _renamed(folder: RunFolder, label: str | None) -> dict[str, Any]:
    """The metrics of a finished evaluation, under its new name."""
    metrics: dict[str, Any] = read_json(folder.path / METRICS)
    if label is not None and label != metrics.get("label"):
        metrics["label"] = label
        write_metrics(folder.path / METRICS, metrics)
        _write_table(folder, metrics)
    return metrics


def _ended(folder: RunFolder, metrics: dict[str, Any], push: str | None) -> dict[str, Any]:
    """Print where the results are; with `push`, add them to a model card."""
    table = folder.path / "table.md"
    print(f"results: {folder.path / METRICS}, verdicts.jsonl{' and table.md' if table.is_file() else ''}")
    print(f"to view them: python -m deepcritic stage=report run={folder.run}")
    if push is not None:
        print(f"results added to {put_results(push, metrics)}")
    return metrics


def _problems(parts: list[Part]) -> dict[str, str]:
    """The problems of all rows but forged ones."""
    return {row.id: row.item.problem for part in parts for row in part.examples if kind_of(row.id)[1] is None}


def _parts(benchmark: Benchmark | Mapping[str, Benchmark] | None, limit: int | None) -> list[Part]:
    """The parts of a benchmark, or of a suite's available benchmarks. Ids must be unique across all parts."""
    if benchmark is None:
        raise UsageError("no benchmark is given; expected benchmark=NAME benchmark.path=FILE (see --help for the names)")
    if not isinstance(benchmark, Benchmark | Mapping):
        raise UsageError("benchmark: this data set works only as source=; see --help for benchmarks")
    if isinstance(benchmark, Benchmark):
        parts = benchmark.read(limit)
    else:
        for name, one in benchmark.items():
            if one.path is None:
                print(f"skipping {name}: suite.{name}.path is not set")
        parts = [part for one in benchmark.values() if one.path is not None for part in one.read(limit)]
    seen: dict[str, str] = {}
    for part in parts:
        for name in part.examples.ids if len(parts) > 1 else ():
            if name in seen:
                expected = "benchmarks without common ids"
                raise InputError(f"{seen[name]} and {part.name} share an id", found=name, expected=expected)
            seen[name] = part.name
    if not parts:
        raise UsageError("no benchmark of the suite has a path; set suite.NAME.path=FILE")
    return parts


def _check(parts: list[Part], task: CriticTask[Any]) -> None:
    """Before sampling, reject rows that cannot be prompted or scored."""
    for part, example in ((one, example) for one in parts for example in one.examples):
        if not isinstance(example, task.row):
            others = "task=pointwise" if isinstance(example, Preference) else "task=first_error"
            raise UsageError(f"{part.name} has rows of type {type(example).__name__}, not {task.row.__name__}; use {others}")
        try:
            task.ask(example.item)
            task.score(None, example.gold, example.item)
        except InputError as error:
            raise error.replace(problem=f"{error.problem} (example {example.id!r})") from None


def _tuning(parts: list[Part], threshold_on: str | None) -> list[Example]:
    """The rows of the file that tunes the threshold; empty if `threshold_on` is a part or None."""
    if threshold_on is None or any(part.name == threshold_on for part in parts):
        return []
    if not Path(threshold_on).is_file():
        names = ", ".join(part.name for part in parts)
        raise InputError(
            "neither a file nor a part of the benchmark", field="stage.threshold_on", found=threshold_on, expected=names
        )
    return [row for row in parts[0].benchmark.rows_of(threshold_on) if isinstance(row, Example)]

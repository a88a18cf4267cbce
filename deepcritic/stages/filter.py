"""Keep the solutions that a critic's votes accept; drop the others, each with a reason.

python -m deepcritic stage=filter stage.examples=rows.parquet model=CRITIC stage.samples=8 stage.accept=0.75 run=x
python -m deepcritic stage=filter stage.examples=rows.parquet stage.verdicts=runs/x/filter stage.accept=1 run=x name=strict

Labels of the rows are not used. `datasets.load_dataset("runs/x/filter")` reads the kept rows, with all their fields.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

from deepcritic.datasets.reading import as_json
from deepcritic.datasets.solutions import Solution, read_solutions
from deepcritic.errors import InputError, Stopped, UsageError
from deepcritic.evaluation.critics import ReleasedCritic
from deepcritic.evaluation.filtering import NO_STEPS, THRESHOLDS, Fate, fate_of
from deepcritic.evaluation.recorded_votes import find_verdicts
from deepcritic.evaluation.row_verdicts import AskedVerdicts, RecordedVerdicts, Verdicts, has_steps
from deepcritic.metrics.subset import subset
from deepcritic.options import REQUIRED, Options, option
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import read_json, replacing, write_json
from deepcritic.samplers.base import Sampler, Sampling
from deepcritic.samplers.recorded import RecordedSampler
from deepcritic.samplers.resume import engine_for
from deepcritic.schema import encode
from deepcritic.tasks.base import CriticTask
from deepcritic.tasks.step_by_step import StepByStep

KEPT, DROPPED, VERDICTS, SUMMARY = "kept.jsonl", "dropped.jsonl", "verdicts.jsonl", "filter.json"
ADDED = "deepcritic"
"""The field of a dropped row that holds the reason."""
_DRAWING = "samples temperature top_p max_tokens seed"


@dataclass(frozen=True, kw_only=True)
class FilterOptions(Options):
    """Keep the solutions of a data set that a critic's votes accept; drop the others with a reason."""

    REPLACES: ClassVar = {
        "verdicts": f"task sampler critic model generations {_DRAWING}",
        "generations": f"sampler model {_DRAWING}",
    }

    examples: str = option(REQUIRED, "data set of problems and solutions in steps: file, folder or hub id", group="Data")
    columns: Mapping[str, str] | None = option(
        None, "column names of the data set, if they differ: {problem: question, steps: solution}"
    )
    limit: int | None = option(None, "number of rows; null: all", at_least=1)
    generations: str | None = option(None, "file of a critic's recorded replies, instead of a model")
    verdicts: str | None = option(
        None, "a critic's verdicts on the rows, instead of a model: the folder of stage=evaluate or stage=filter, or a file"
    )
    model: str | None = option(
        None, "critic: local folder, GGUF file or hub id (ORG/NAME@revision); null: the model of critic=", group="Model", top=True
    )
    samples: int | None = option(
        None, "critiques per solution, combined by a vote; null: that of critic=, or 1", group="Sampling", at_least=1,
        extends=True,
    )  # fmt: skip
    temperature: float | None = option(
        None, "sampling temperature; null: that of critic=, or 0.6 for one critique and 1.0 for several", at_least=0
    )
    top_p: float | None = option(None, "nucleus sampling; null: that of critic=, or 0.9")
    max_tokens: int | None = option(None, "maximum tokens per critique; null: that of critic=, or up to the context length")
    seed: int = option(0, "random seed", top=True)
    accept: float = option(
        0.5, "minimum share of readable votes for \"all correct\" to keep a solution", group="Votes",
        at_least=0, at_most=1,
    )  # fmt: skip
    min_votes: int = option(1, "minimum number of readable votes; solutions with fewer are dropped as unparsed", at_least=1)


def run(
    folder: RunFolder,
    options: FilterOptions,
    *,
    task: CriticTask[Any],
    sampler: Callable[..., Sampler],
    critic: ReleasedCritic | None = None,
) -> dict[str, Any]:
    """Return the counts. Writes `kept.jsonl` (unchanged rows), `dropped.jsonl` (the others, with the field `deepcritic`),
    `verdicts.jsonl` and `filter.json`."""
    judge, facts = _judge(options, task, sampler, critic or ReleasedCritic())
    if options.verdicts and folder.limits.trial:
        raise Stopped(f"{folder.path}: verdicts are given, so no requests would be sent")
    if not folder.begin(**_content(options), **judge.depends):
        _show(folder.path, summary := read_json(folder.path / SUMMARY))
        return summary
    chosen = _chosen(options)

    def solutions() -> Iterator[Solution]:
        rows = read_solutions(options.examples, columns=options.columns)
        return rows if chosen is None else (row for row in rows if row.id in chosen)

    judge.prepare(folder, solutions, whole=chosen is None)
    summary = _split(folder, solutions(), judge, options)
    for hint in judge.hints():
        print(f"warning: {hint}")
    write_json(folder / SUMMARY, summary)
    _show(folder.path, summary)
    folder.finish(**facts, summary=SUMMARY, hints=judge.hints())
    return summary


def _judge(
    options: FilterOptions, task: CriticTask[Any], sampler: Callable[..., Sampler], critic: ReleasedCritic
) -> tuple[Verdicts, dict[str, Any]]:
    """The source of verdicts, and its entry in the manifest. Options override the preset."""
    if options.verdicts:
        source = find_verdicts(options.verdicts, "stage.verdicts")
        return RecordedVerdicts(source.file), {"model": source.model}
    if options.generations and critic.name and critic.prompt is None:
        critic = critic.for_recording()
    own = critic.task()
    if own is not None and task.template.sha not in (type(task)().template.sha, own.template.sha):
        raise UsageError(f"critic={critic.name} has its own prompt; remove task.template=, task.system= and task.marker=")
    asked: CriticTask[Any] = own or task
    if asked.name != "first_error" and not isinstance(asked, StepByStep):
        raise UsageError(f"stage=filter needs task=first_error; found task={asked.name}")
    if critic.remark:
        print(f"{critic.shown}: {critic.remark}")
    samples = options.samples or critic.samples or 1
    drawn = critic.sampling(samples)
    temperature = drawn.get("temperature", 0.6 if samples == 1 else 1.0)
    sampling = Sampling(
        temperature=temperature if options.temperature is None else options.temperature,
        top_p=drawn.get("top_p", 0.9) if options.top_p is None else options.top_p,
        max_tokens=critic.max_tokens if options.max_tokens is None else options.max_tokens,
    )
    recorded = RecordedSampler(options.generations) if options.generations else None
    engine = recorded or engine_for(sampler, options.model or critic.model, "model")
    judge = AskedVerdicts(asked, engine, sampling, samples=samples, seed=options.seed, step_votes=critic.step_votes)
    facts = {"model": engine.model_id, "label": critic.shown, "critic": critic.facts()}
    return judge, {name: value for name, value in facts.items() if value}


def _split(folder: RunFolder, solutions: Iterable[Solution], judge: Verdicts, options: FilterOptions) -> dict[str, Any]:
    """Write each row to the kept or dropped file."""
    ledger, fates = folder.ledger("rows"), dict[str, Fate]()
    shares: list[float] = []
    steps: Counter[int] = Counter()
    with (
        replacing(folder / KEPT) as kept,
        replacing(folder / DROPPED) as dropped,
        replacing(folder / VERDICTS) as verdicts,
    ):
        for row in solutions:
            ledger.enter()
            fate = fates.get(row.id)
            if fate is None:
                fate = fates[row.id] = _fate(row, judge, options, verdicts)
            if fate.all_correct_share is not None:
                shares.append(fate.all_correct_share)
            if fate.reason is None:
                ledger.keep()
                kept.write(as_json(row.record, row.place) + b"\n")
                continue
            (ledger.fail if fate.failed else ledger.drop)(fate.reason)
            if fate.reason == "error" and fate.first_error is not None:
                steps[fate.first_error] += 1
            dropped.write(as_json({**row.record, ADDED: fate._asdict()}, row.place) + b"\n")
    if not ledger.entered:
        raise InputError("no rows", file=options.examples, expected="rows with a problem and a solution in steps")
    return {
        "in": ledger.entered, "kept": ledger.kept, "dropped": dict(sorted(ledger.filtered.items())),
        "failed": dict(sorted(ledger.failed.items())), "accept": options.accept,
        "kept_at": {f"{limit:g}": sum(share >= limit for share in shares) for limit in THRESHOLDS},
        "first_errors": {str(step): count for step, count in sorted(steps.items())},
    }  # fmt: skip


def _fate(row: Solution, judge: Verdicts, options: FilterOptions, verdicts: IO[bytes]) -> Fate:
    if not has_steps(row):
        return Fate(NO_STEPS)
    judged, why = judge.judge(row)
    verdicts.write(encode(judged) + b"\n")
    if not judged.verdicts:
        return Fate(why)
    return fate_of(judged.verdicts, accept=options.accept, min_votes=options.min_votes)


def _chosen(options: FilterOptions) -> set[str] | None:
    """The ids of the rows within `limit`; None for all."""
    if options.limit is None:
        return None
    names = list(dict.fromkeys(row.id for row in read_solutions(options.examples, columns=options.columns)))
    return {names[position] for position in subset(names, options.limit)}


def _content(options: FilterOptions) -> dict[str, str | Path]:
    """What identifies the rows: their file, or a hash if they are not a single file."""
    path = Path(options.examples).expanduser()
    if path.is_file():
        return {"examples": path}
    digest = hashlib.sha256()
    for row in read_solutions(options.examples, columns=options.columns):
        digest.update(as_json(row.record, row.place) + b"\n")
    return {"examples": f"sha256:{digest.hexdigest()}"}


def _show(path: Path, summary: Mapping[str, Any]) -> None:
    def said(reasons: Mapping[str, int], word: str) -> str:
        listed = ", ".join(f"{name}: {count:,}" for name, count in reasons.items())
        return f"{sum(reasons.values()):,} {word}" + (f" ({listed})" if listed else "")

    gone = f"{said(summary['dropped'], 'dropped')}, {said(summary['failed'], 'failed')}"
    print(f"{path}: {summary['in']:,} rows, {summary['kept']:,} kept, {gone}")
    kept_at = ", ".join(f"{limit}: {count:,}" for limit, count in summary["kept_at"].items())
    print(f"  kept with other values of stage.accept: {kept_at}")
    print(f"  {KEPT}: kept rows; {DROPPED}: dropped rows with reasons; {VERDICTS}: votes")

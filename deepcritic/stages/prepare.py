"""Read a data set, convert its conventions once, and write `examples.jsonl`.

python -m deepcritic stage=prepare source=prm800k source.path=phase1.jsonl.gz run=NAME
python -m deepcritic stage=prepare source=table source.path=mine.csv stage.split=rule run=NAME
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from deepcritic.datasets.base import Report
from deepcritic.datasets.benchmark import Benchmark
from deepcritic.datasets.limits import limited
from deepcritic.errors import InputError, Stopped, UsageError
from deepcritic.labels import splitting
from deepcritic.options import Options, option
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import write_rows
from deepcritic.samplers.base import Sampler, Sampling
from deepcritic.samplers.resume import Draws, engine_for
from deepcritic.schema import Dialogue, Example, Preference
from deepcritic.shipped_models import shipped_path
from deepcritic.text.prompt_template import Template
from deepcritic.text.splitting import LEAST, MOST, split_by_rule

FILE = "examples.jsonl"
Row = Example | Dialogue | Preference


@dataclass(frozen=True, kw_only=True)
class PrepareOptions(Options):
    """Convert a data set to Example rows."""

    NEEDS: ClassVar = {"sampler": "split=model"}

    limit: int | None = option(None, "number of rows to write, with class proportions kept; null: all", group="Data", at_least=0)
    shuffle: bool = option(False, "shuffle before applying `limit`; loads all rows into memory")
    seed: int = option(0, "random seed", top=True)
    split: str | None = option(
        None, "split solutions without steps, and long thoughts, at sentences (rule) or where a model decides (model)",
        group="Splitting", choices=("rule", "model"),
    )  # fmt: skip
    min_steps: int = option(LEAST, "solutions with fewer steps are split", at_least=2, needs="split")
    max_steps: int = option(MOST, "maximum steps of a split solution", at_least=2, needs="split")
    model: str | None = option(
        None, "model that splits solutions: local folder, GGUF file or hub id (ORG/NAME@revision)", top=True, needs="split=model"
    )
    template: str | None = option(None, "file with the splitting prompt; null: built-in", needs="split=model")
    max_tokens: int | None = option(
        4096, "maximum tokens per splitting reply; null: up to the context length", needs="split=model"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_steps > self.max_steps:
            expected = f"2 to stage.max_steps, {self.max_steps}"
            raise InputError("out of range", field="stage.min_steps", found=self.min_steps, expected=expected)


def run(
    folder: RunFolder,
    options: PrepareOptions,
    *,
    source: Callable[..., Iterable[Row]] | None,
    sampler: Callable[..., Sampler] | None = None,
) -> dict[str, Any]:
    """Return the manifest. A source of dialogues writes `dialogues.jsonl` for `stage=sft`, any other `examples.jsonl`.

    Raises `InputError` if no row can be used.
    """
    if source is None:
        raise UsageError("no source is given; expected source=NAME source.path=FILE (see --help for the names)")
    if folder.limits.trial and options.split != "model":
        raise Stopped(f"{folder.path}: stage=prepare sends no requests unless stage.split=model")
    path = source.path if isinstance(source, Benchmark) else getattr(source, "keywords", {}).get("path")
    inside: dict[str, Any] = {"source": Path(shipped_path(path))} if path and Path(shipped_path(path)).is_file() else {}
    engine = engine_for(sampler, options.model, "model") if options.split == "model" and sampler is not None else None
    prompt = Template.of(options.template, splitting.PROMPT)
    if engine is not None:
        inside |= {"model": engine.model_id, "prompt": prompt.sha}
    if not folder.begin(**inside):
        return folder.manifest or {}
    report = Report()
    rows: Iterable[Row] = source(report=report)
    if options.shuffle:
        rows = list(rows)
        random.Random(options.seed).shuffle(rows)
    facts: dict[str, Any] = {}
    rows = itertools.islice(rows, options.limit) if options.shuffle else limited(rows, options.limit)
    if options.split is not None:
        divide = _Split(folder, options.min_steps, options.max_steps)
        sampling = Sampling(temperature=0.0, max_tokens=options.max_tokens)
        rows = divide.by_rule(rows) if engine is None else divide.by_model(list(rows), engine, prompt, sampling, options.seed)
        facts["split"] = divide.counts
    waiting = iter(rows)
    first = list(itertools.islice(waiting, 1))
    file = "dialogues.jsonl" if any(isinstance(row, Dialogue) for row in first) else FILE
    single = solutions = 0

    def counted() -> Iterator[Row]:
        nonlocal single, solutions
        for row in itertools.chain(first, waiting):
            if isinstance(row, Example):
                solutions += bool(row.item.steps)
                single += len(row.item.steps) == 1
            yield row

    kept = write_rows(folder / file, counted())
    for error in report.bad:
        print(f"set aside: {error}")
    print(f"{folder.path}: {kept} {Path(file).stem}")
    if report.unread:
        print(f"{folder.path}: unused columns: {', '.join(report.unread)} (map them with source.columns)")
    if duplicates := report.counts["duplicates"]:
        print(f"{folder.path}: {duplicates} duplicate rows were skipped")
    if not kept:
        why = f"{len(report.bad)} rows were set aside, the first: {report.bad[0]}" if report.bad else "the source is empty"
        if report.bad:
            raise InputError(f"no usable row: {why}", field="source")
        shown = path if isinstance(path, str | Path) else None
        raise InputError(f"no usable row: {why}", file=shown, field="source", expected="at least one row in the source's format")
    if single:
        print(
            f"{folder.path}: {single} of {solutions} solutions have only one step"
            + ("" if options.split else " (stage.split=rule splits them)")
        )
    return folder.finish(read=dict(report.counts), set_aside=[str(error) for error in report.bad], one_step=single, **facts)


class _Split:
    """Splits solutions without steps; `counts` has the outcomes."""

    def __init__(self, folder: RunFolder, least: int, most: int) -> None:
        self.counts = {"split": 0, "by_rule_instead": 0, "not_splittable": 0, "labelled": 0}
        self._folder, self._least, self._most = folder, least, most

    def by_rule(self, rows: Iterable[Row]) -> Iterator[Row]:
        for row in rows:
            yield self._divided(row) if isinstance(row, Example) and self._wanted(row) else row

    def by_model(self, rows: list[Row], engine: Sampler, prompt: Template, sampling: Sampling, seed: int) -> Iterator[Row]:
        asked = [row for row in rows if isinstance(row, Example) and self._wanted(row)]
        asked = self._folder.sampled_for_probe(asked, lambda row: row.id)
        names = {row.id for row in asked}
        with Draws(self._folder) as draws:
            requests = (splitting.ask(row, prompt, sampling, seed) for row in asked)
            replies = {reply.key.example_id: reply for reply in draws.collect(requests, engine, "splits", total=len(asked))}
            draws.finish()
        self._folder.require_complete()
        for row in rows:
            if not isinstance(row, Example) or row.id not in names:
                yield row
                continue
            steps = splitting.read(replies.get(row.id), splitting.written(row), least=self._least, most=self._most)
            if steps is None:
                yield self._divided(row, "by_rule_instead")
            else:
                self.counts["split"] += 1
                yield splitting.divided(row, steps)

    def _wanted(self, row: Example) -> bool:
        if not splitting.has_no_steps(row, self._least):
            return False
        self.counts["labelled"] += splitting.fault_of(row) is not None
        return splitting.fault_of(row) is None

    def _divided(self, row: Example, kind: str = "split") -> Example:
        steps = split_by_rule(splitting.written(row), least=self._least, most=self._most)
        self.counts[kind if len(steps) >= self._least else "not_splittable"] += 1
        return splitting.divided(row, steps)

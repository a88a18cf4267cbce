"""Rejective fine-tuning (DeepSeek-GRM): a model's own correct replies become dialogues for `stage=sft`.

    python -m deepcritic stage=reject task=pointwise stage.examples=rows.jsonl model=PATH run=x
    python -m deepcritic stage=sft task=pointwise stage.dialogues=runs/x/reject/dialogues.jsonl model=PATH run=x

Each row gets `samples` replies. Wrong replies are dropped, and so are rows whose replies are all right: they are too easy.
`hinted_samples` further replies are sampled with the gold answer in the prompt and kept if they are right; the dialogue
never contains the hint (arXiv 2504.02495, section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from deepcritic.datasets import own
from deepcritic.datasets.limits import class_of, limited
from deepcritic.errors import InputError
from deepcritic.options import REQUIRED, Options, option
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import write_json, write_rows
from deepcritic.samplers.base import Request, Sampler, Sampling
from deepcritic.samplers.resume import Draws, engine_for, questions
from deepcritic.schema import Example, Generation, Message, Preference
from deepcritic.tasks.base import CriticTask, Question
from deepcritic.training.rejection_sampling import HINTED, PLAIN, Statistics


@dataclass(frozen=True, kw_only=True)
class RejectOptions(Options):
    """Rejective fine-tuning: select which of a model's own replies become dialogues for stage=sft."""

    examples: str = option(REQUIRED, "labelled rows", group="Data")
    columns: Mapping[str, str] | None = option(None, "column names, if the rows are not from stage=prepare: {problem: question}")
    index_base: int | None = option(None, "index of the first step in the labels: 0 or 1", at_least=0, at_most=1)
    limit: int | None = option(None, "number of labelled rows; null: all", at_least=0)
    model: str | None = option(
        None, "model to sample: local folder, GGUF file or hub id (ORG/NAME@revision)", group="Model", top=True
    )
    samples: int = option(3, "replies per row without a hint (3 in arXiv 2504.02495)", group="Sampling", at_least=1)
    hinted_samples: int = option(
        1, "additional replies per row with the gold answer in the prompt; 0: none", was="hinted", at_least=0
    )
    temperature: float = option(1.0, "sampling temperature", at_least=0)
    top_p: float = option(1.0, "nucleus sampling")
    max_tokens: int | None = option(None, "maximum tokens per reply; null: up to the context length")
    seed: int = option(0, "random seed", top=True)


def run(folder: RunFolder, options: RejectOptions, *, task: CriticTask[Any], sampler: Callable[..., Sampler]) -> dict[str, Any]:
    """Return the shares of replies and rows that were kept. Writes `dialogues.jsonl` and `metrics.json`."""
    engine = engine_for(sampler, options.model, "model")
    if not folder.begin(examples=Path(options.examples), model=engine.model_id, prompt=task.template.sha):
        return folder.manifest or {}
    read = own.read(options.examples, task.row, columns=options.columns, index_base=options.index_base)
    rows = list(limited((row for row in read if task.stratum(row.gold) is not None), options.limit))
    if not rows:
        raise InputError("no row has a label", file=options.examples, expected="labelled rows")
    rows = folder.sampled_for_probe(rows, lambda row: row.id, class_of)
    sampling = Sampling(temperature=options.temperature, top_p=options.top_p, max_tokens=options.max_tokens)

    def ask(row: Example | Preference) -> Iterator[Request]:
        def told(question: Question) -> Question:
            *before, last = question.messages
            text = f"{last.content}\n{task.hint(row.gold, question.context)}"
            return msgspec.structs.replace(question, messages=(*before, Message(role=last.role, content=text)))

        for call, numbers, change in (
            (PLAIN, range(options.samples), lambda question: question),
            (HINTED, range(options.samples, options.samples + options.hinted_samples), told),
        ):
            if numbers:
                yield from questions(
                    task, row.item, sampling, example_id=row.id, call=call, seed=options.seed, samples=numbers, change=change
                )

    with Draws(folder) as draws:
        requests = (one for row in rows for one in ask(row))
        drawn = draws.collect(requests, engine, "replies", total=len(rows) * (options.samples + options.hinted_samples))
        counts = draws.finish()
    folder.require_complete()
    replies: dict[str, list[Generation]] = {}
    for reply in drawn:
        replies.setdefault(reply.key.example_id, []).append(reply)
    account = Statistics()
    kept = write_rows(folder / "dialogues.jsonl", (one for row in rows for one in account.take(folder, task, row, replies)))
    metrics = account.figures(kept)
    write_json(folder / "metrics.json", metrics)
    if not kept:
        raise InputError("no reply is correct", file=folder / "generations.jsonl", expected="a better model, or easier rows")
    folder.finish(metrics="metrics.json", dialogues=kept, **counts)
    return metrics

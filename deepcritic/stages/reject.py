"""Rejective fine-tuning: a model's own replies, of which the right ones become dialogues for `stage=sft` (DeepSeek-GRM).

    python -m deepcritic stage=reject task=pointwise stage.examples=rows.jsonl model=PATH run=x
    python -m deepcritic stage=sft task=pointwise stage.dialogues=runs/x/reject/dialogues.jsonl model=PATH run=x

Each row is asked about `samples` times. Wrong replies are dropped, and so is a row on which all are right: it is too easy to
teach anything. Once more (`hinted`) the truth is told in the prompt, and the reply stays if it is right; the hint is never part
of what is learnt from (arXiv 2504.02495, section 3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from deepcritic.datasets import own
from deepcritic.errors import InputError, UsageError
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import write_json, write_rows
from deepcritic.samplers.base import Request, Sampler, Sampling
from deepcritic.samplers.resume import Draws, engine_for, questions
from deepcritic.schema import Example, Generation, Message, Preference
from deepcritic.tasks.base import CriticTask, Question
from deepcritic.training.rejection_sampling import HINTED, PLAIN, Statistics


def run(
    folder: RunFolder,
    *,
    examples: str,
    task: CriticTask[Any],
    sampler: Callable[..., Sampler],
    model: str | None,
    samples: int = 3,
    hinted: int = 1,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_tokens: int | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns the shares of replies and rows that stayed; writes `dialogues.jsonl` and `metrics.json`."""
    if samples < 1 or hinted < 0:
        raise UsageError(f"samples={samples} and hinted={hinted}: at least one reply without a hint is needed")
    engine = engine_for(sampler, model, "model")
    if not folder.begin(examples=Path(examples), model=engine.model_id, prompt=task.template.sha):
        return folder.manifest or {}
    rows = [row for row in own.read(examples, task.row) if task.stratum(row.gold) is not None][:limit]
    if not rows:
        raise InputError("no row says what is right", file=examples, expected="labelled rows")
    rows = folder.sampled_for_probe(rows, lambda row: row.id)
    sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens)

    def ask(row: Example | Preference) -> Iterator[Request]:
        def told(question: Question) -> Question:
            *before, last = question.messages
            text = f"{last.content}\n{task.hint(row.gold, question.context)}"
            return msgspec.structs.replace(question, messages=(*before, Message(role=last.role, content=text)))

        for call, numbers, change in (
            (PLAIN, range(samples), lambda question: question), (HINTED, range(samples, samples + hinted), told),
        ):  # fmt: skip
            if numbers:
                yield from questions(
                    task, row.item, sampling, example_id=row.id, call=call, seed=seed, samples=numbers, change=change
                )

    with Draws(folder) as draws:
        requests = (one for row in rows for one in ask(row))
        drawn = draws.collect(requests, engine, "replies", total=len(rows) * (samples + hinted))
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
        raise InputError("no reply is right", file=folder / "generations.jsonl", expected="a better model, or easier rows")
    folder.finish(metrics="metrics.json", dialogues=kept, **counts)
    return metrics

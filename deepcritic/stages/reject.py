"""Rejective fine-tuning: a model's own replies, of which the right ones become dialogues for `stage=sft` (DeepSeek-GRM).

    python -m deepcritic stage=reject task=pointwise stage.examples=rows.jsonl model=PATH run=x
    python -m deepcritic stage=sft task=pointwise stage.dialogues=runs/x/reject/dialogues.jsonl model=PATH run=x

Each row is asked about `samples` times. Wrong replies are dropped, and so is a row on which all are right: it is too easy to
teach anything. Once more (`hinted`) the truth is told in the prompt, and the reply stays if it is right; the hint is never part
of what is learnt from (arXiv 2504.02495, section 3.1).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from deepcritic.errors import InputError, UsageError
from deepcritic.metrics import wilson
from deepcritic.rows import Dialogue, Example, Generation, Message, Preference
from deepcritic.runs import RunFolder
from deepcritic.samplers import Request, Sampler, Sampling
from deepcritic.sampling import Draws, engine_for, questions
from deepcritic.sources import own
from deepcritic.store import write_json, write_rows
from deepcritic.tasks import CriticTask, Question

PLAIN, HINTED = "reject", "hinted"
"""The calls: without the truth in the prompt, and with it."""


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
    max_tokens: int = 4096,
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
        raise InputError("no row says what is right", file=examples, remedy="labelled rows")
    rows = folder.probed(rows, lambda row: row.id)
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
        drawn = draws.collect((one for row in rows for one in ask(row)), engine, "replies")
        counts = draws.finish()
    folder.require_complete()
    replies: dict[str, list[Generation]] = {}
    for reply in drawn:
        replies.setdefault(reply.key.example_id, []).append(reply)
    account = Account()
    kept = write_rows(folder / "dialogues.jsonl", (one for row in rows for one in account.take(folder, task, row, replies)))
    metrics = account.figures(kept)
    write_json(folder / "metrics.json", metrics)
    if not kept:
        raise InputError("no reply is right", file=folder / "generations.jsonl", remedy="a better model, or easier rows")
    folder.finish(metrics="metrics.json", dialogues=kept, **counts)
    return metrics


class Account:
    """Which replies become dialogues, and what became of the others."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def take(
        self, folder: RunFolder, task: CriticTask[Any], row: Example | Preference, replies: Mapping[str, list[Generation]]
    ) -> Iterator[Dialogue]:
        """The dialogues of one row."""
        rows, drawn = folder.ledger("rows"), folder.ledger("replies")
        rows.enter()
        calls: dict[str, list[tuple[Generation, Any, bool]]] = {PLAIN: [], HINTED: []}
        for reply in replies.get(row.id, []):
            verdict = task.parse(reply.prefix + reply.text, reply.context) if reply.finish_reason != "length" else None
            calls[reply.key.request].append((reply, verdict, task.reward(verdict, row.gold) > 0))
        easy = bool(calls[PLAIN]) and all(right for _, _, right in calls[PLAIN])
        self.counts += Counter(rows=1, too_easy=easy, never_right=not any(right for _, _, right in calls[PLAIN]))
        became = 0
        for call, judged in calls.items():
            for reply, verdict, right in judged:
                drawn.enter()
                self.counts += Counter({call: 1, f"{call} right": right, "unreadable": verdict is None})
                if not right or (call == PLAIN and easy):
                    drawn.drop(f"{call}: unreadable" if verdict is None else f"{call}: too easy" if right else f"{call}: wrong")
                    continue
                drawn.keep()
                became += 1
                self.counts[f"{call} kept"] += 1
                yield dialogue(task, row, reply, verdict)
        if became:
            rows.keep()
        else:
            rows.drop("too easy" if easy else "no reply is right")

    def figures(self, kept: int) -> dict[str, Any]:
        """Shares in percent, with Wilson intervals; prints them."""
        counts = self.counts
        found: dict[str, Any] = {"rows": counts["rows"], "dialogues": kept}
        for name, part, whole in (
            ("right", f"{PLAIN} right", PLAIN), ("too_easy", "too_easy", "rows"), ("never_right", "never_right", "rows"),
            ("hinted_right", f"{HINTED} right", HINTED),
        ):  # fmt: skip
            if counts[whole]:
                found[name] = round(100 * counts[part] / counts[whole], 2)
                found[f"{name}_interval"] = [round(100 * bound, 2) for bound in wilson(counts[part], counts[whole])]
        found |= {"kept_plain": counts[f"{PLAIN} kept"], "kept_hinted": counts[f"{HINTED} kept"]}
        found["unreadable"] = round(100 * counts["unreadable"] / max(1, counts[PLAIN] + counts[HINTED]), 2)
        print(
            f"{found['rows']} rows: right without a hint {found.get('right')}%, all right (too easy) {found.get('too_easy')}%, "
            f"never right {found.get('never_right')}%, right with a hint {found.get('hinted_right')}%; "
            f"{kept} dialogues, {found['kept_hinted']} of them hinted"
        )
        return found


def dialogue(task: CriticTask[Any], row: Example | Preference, reply: Generation, verdict: Any) -> Dialogue:
    """The reply behind the prompt without a hint, with the responses in the order that it saw."""
    messages = task.ask(row.item, context=reply.context).messages
    return Dialogue(
        id=f"{row.id}/{reply.key.request}-{reply.key.sample}",
        task=task.name,
        messages=(*messages, Message(role="assistant", content=reply.prefix + reply.text)),
        verdict=verdict,
        provenance=(reply.key.text,),
        source=row.source,
        license=row.license,
    )

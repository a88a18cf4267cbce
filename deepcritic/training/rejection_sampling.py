"""Rejection sampling: selects replies as training dialogues, with statistics."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from deepcritic.metrics.bootstrap import wilson
from deepcritic.runs.folder import RunFolder
from deepcritic.schema import Dialogue, Example, Generation, Message, Preference
from deepcritic.tasks.base import CriticTask

LOG = logging.getLogger(__name__)

PLAIN, HINTED = "reject", "hinted"
"""The calls: prompts without the gold answer, and with it."""


class Statistics:
    """Selects replies as dialogues, and counts the others."""

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
            calls[reply.key.request].append((reply, verdict, task.reward(verdict, row.gold) == 1))
        easy = bool(calls[PLAIN]) and all(right for _, _, right in calls[PLAIN])
        self.counts += Counter(rows=1, too_easy=easy, never_right=not any(right for _, _, right in calls[PLAIN]))
        became = 0
        for call, judged in calls.items():
            for reply, verdict, right in judged:
                drawn.enter()
                self.counts += Counter({call: 1, f"{call} right": right, "unparsed": verdict is None})
                if not right or (call == PLAIN and easy):
                    drawn.drop(f"{call}: unparsed" if verdict is None else f"{call}: too easy" if right else f"{call}: wrong")
                    continue
                drawn.keep()
                became += 1
                self.counts[f"{call} kept"] += 1
                yield dialogue_from(task, row, reply, verdict)
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
        found["unparsed"] = round(100 * counts["unparsed"] / max(1, counts[PLAIN] + counts[HINTED]), 2)
        LOG.info(
            f"{found['rows']} rows: correct without a hint {found.get('right')}%, always correct {found.get('too_easy')}%, "
            f"never correct {found.get('never_right')}%, correct with a hint {found.get('hinted_right')}%; "
            f"{kept} dialogues, {found['kept_hinted']} of them hinted"
        )
        return found


def dialogue_from(task: CriticTask[Any], row: Example | Preference, reply: Generation, verdict: Any) -> Dialogue:
    """The reply after the prompt without the hint, with the responses in the order it saw."""
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

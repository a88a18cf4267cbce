"""Every verdict, beside the gold where it is known: an index for filters, with texts and critiques in chunks.

index = browse([*evaluations(run), *evaluations(other), *filterings(run, manifests)], chunks)

The index stores columns with one entry per row, which keeps thousands of rows small. Long texts (problems, steps, critiques) stay
compressed until a row is opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from deepcritic.report.chunks import Chunks
from deepcritic.report.evaluations import Evaluation
from deepcritic.report.filterings import Filtering
from deepcritic.report.lineage import Lineage
from deepcritic.report.texts import Text, Texts
from deepcritic.runs.jsonl import read_lines, read_rows
from deepcritic.schema import ALL_CORRECT, Scores

OUTCOMES: Final = (
    "right", "missed", "too early", "too late", "false alarm", "wrong", "tie", "no verdict", "no reply", "kept", "dropped",
)  # fmt: skip
"""Outcomes of a row, in the order of the filters. `wrong` and `tie` are for tasks that name no step, `kept` and `dropped` for
`stage=filter`."""
Source = Evaluation | Filtering
CALL: Final = "critique"


class _Key(msgspec.Struct):
    example_id: str
    request: str = CALL
    sample: int = 0


class _Reply(msgspec.Struct):
    """The fields of a generation that are shown."""

    key: _Key
    text: str
    prefix: str = ""
    finish_reason: str = ""
    completion_tokens: int = 0


class Shelf:
    """The texts of all evaluations, each stored once."""

    def __init__(self) -> None:
        self.texts: list[Text] = []
        self._places: dict[Text, int] = {}

    def place(self, text: Text | None) -> int:
        """The number of a text; -1 for none."""
        if text is None:
            return -1
        if text not in self._places:
            self._places[text] = len(self.texts)
            self.texts.append(text)
        return self._places[text]


def browse(found: Sequence[Source], chunks: Chunks) -> dict[str, Any]:
    """The index of all evaluations. Replies go into chunks `e0`, `e1`, ..., problems into `t`, training rows into `l`."""
    shelf, runs = Shelf(), {one.path.parent: Texts(one.path.parent) for one in found}
    lineages = {run: Lineage(run, texts) for run, texts in runs.items()}
    learnt: list[Any] = []
    shown = [
        _evaluation(number, one, runs[one.path.parent], lineages[one.path.parent], shelf, learnt, chunks)
        for number, one in enumerate(found)
    ]
    return {
        "evaluations": shown,
        "outcomes": OUTCOMES,
        "texts": chunks.add("t", ([text.problem, text.parts, text.source, text.license, text.reference] for text in shelf.texts)),
        "learnt": chunks.add("l", learnt),
    }


def outcome(row: dict[str, Any], stepwise: bool = True) -> str:
    """The outcome of a row's vote or single verdict. `stepwise`: verdicts name steps.

    >>> outcome({"gold": 3, "verdicts": [2], "correct": 0.0}), outcome({"gold": -1, "verdicts": [None], "correct": 0.0})
    ('too early', 'no verdict')
    """
    verdicts, gold = row["verdicts"], row["gold"]
    if not verdicts:
        return "no reply"
    verdict = verdict_of(row)
    if verdict is None:
        return "no verdict"
    right = row.get("vote_correct") if len(verdicts) > 1 else row.get("correct")
    if not stepwise:
        if any(isinstance(one, list) for one in verdicts) and right is not None and 0 < right < 1:  # several responses are first
            return "tie"
        return "right" if right is not None and right >= 0.5 else "wrong"
    if verdict == gold:
        return "right"
    if gold == ALL_CORRECT:
        return "false alarm"
    return "missed" if verdict == ALL_CORRECT else "too early" if verdict < gold else "too late"


def verdict_of(row: dict[str, Any]) -> Any:
    """The vote if there are several verdicts, else the only one."""
    verdicts = row["verdicts"]
    return row.get("vote") if len(verdicts) > 1 else verdicts[0] if verdicts else None


def _evaluation(
    number: int, one: Source, texts: Texts, lineage: Lineage, shelf: Shelf, learnt: list[Any], chunks: Chunks
) -> dict[str, Any]:
    rows = one.rows
    benchmarks, kinds, writers = _Words(), _Words(), _Words()
    own = one.texts if isinstance(one, Filtering) else {}
    found = [own.get(row["id"]) or texts.of(one.path, row["id"]) for row in rows]
    chain = lineage.of(one.model)
    beginnings = len(learnt)
    taught = {str(at): place for at, text in enumerate(found) if text and (place := _learnt(chain["learnt"], text, learnt))}
    return {
        "name": one.name,
        "run": one.path.parent.name,
        "title": one.title,
        "stepwise": one.stepwise,
        "labelled": not isinstance(one, Filtering),
        "model": one.model,
        "chain": chain["shown"],
        "looked_at": chain["looked_at"],
        "matches": len(learnt) - beginnings,
        "taught": taught,
        "ids": [row["id"] for row in rows],
        "text": [shelf.place(text) for text in found],
        "gold": [row["gold"] for row in rows],
        "said": [verdict_of(row) for row in rows],
        "verdicts": [[*row["verdicts"], *row.get("later_verdicts", ())] for row in rows],
        "outcome": [OUTCOMES.index(row.get("outcome") or outcome(row, one.stepwise)) for row in rows],
        "agreement": [round(float(row.get("agreement") or 0.0), 3) for row in rows],
        "benchmark": [benchmarks.place(row.get("benchmark") or "") for row in rows],
        "kind": [kinds.place(row.get("error_kind") or "") for row in rows],
        "generator": [writers.place(row.get("generator") or "") for row in rows],
        "answer_right": [row.get("answer_right") for row in rows],
        "cut": [row.get("truncated", 0) for row in rows],
        "lost": [row.get("failed", 0) + row.get("refused", 0) for row in rows],
        "words": {"benchmark": benchmarks.words, "kind": kinds.words, "generator": writers.words},
        "replies": chunks.add(f"e{number}", _replies(one.path, [row["id"] for row in rows])),
    }


class _Words:
    """Numbers repeated words, storing each once."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def place(self, word: str) -> int:
        if word not in self.words:
            self.words.append(word)
        return self.words.index(word)


def _learnt(known: dict[str, list[Any]], text: Text, learnt: list[Any]) -> list[int]:
    """Add the training rows about this problem to `learnt`; returns their numbers."""
    entries = known.get(Lineage.key(text.problem), [])
    learnt.extend(entries)
    return list(range(len(learnt) - len(entries), len(learnt)))


def _replies(path: Path, ids: Sequence[str]) -> Iterator[list[list[Any]]]:
    """For each row, its replies as [sample, text, finish reason, tokens], sorted by sample."""
    replies: dict[str, list[list[Any]]] = {name: [] for name in ids}
    file, scored = path / "generations.jsonl", path / "scores.jsonl"
    if scored.is_file():
        for row in read_rows(scored, Scores):
            if row.key.example_id in replies:
                told = "\n".join(f"step {step}: {value:.4g}" for step, value in enumerate(row.values, start=1))
                replies[row.key.example_id].append([0, told, "", 0])
    elif file.is_file():
        decoder = msgspec.json.Decoder(_Reply)
        for _, line in read_lines(file):
            reply = decoder.decode(line)
            if reply.key.request == CALL and reply.key.example_id in replies:
                shown = [reply.key.sample, reply.prefix + reply.text, reply.finish_reason, reply.completion_tokens]
                replies[reply.key.example_id].append(shown)
    for name in ids:
        yield sorted(replies.pop(name, []), key=lambda reply: int(reply[0]))

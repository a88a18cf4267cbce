"""Turns replies into a judged row: the verdicts, the vote, and counts of truncated, refused, unparsed and failed replies.

row = judge(example, replies, task, asked=8, benchmark="processbench/math")
"""

from __future__ import annotations

import functools
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np

from deepcritic.metrics.majority_vote import Ties
from deepcritic.schema import Example, Generation, Judged, Key, Preference, sample_seed
from deepcritic.tasks.base import CriticTask, verdict_of

V = TypeVar("V")


def judge(
    example: Example | Preference,
    replies: Iterable[Generation],
    task: CriticTask[Any],
    *,
    asked: int,
    refused: int = 0,
    benchmark: str | None = None,
    ties: Ties = "random",
    meta_rm_scores: Sequence[float] = (),
    adaptive: tuple[int, int] | None = None,
) -> Judged:
    """Judge one row from its replies. `asked` is the number of requested replies, `refused` how many were refused.

    `adaptive`, of an adaptive vote: how many samples are drawn for every row, and how many could vote. Replies beyond the first
    only vote: they were drawn because the row is hard, so they would bias figures of single replies. `asked` and `refused` count
    the first ones.

    If none was requested because a recording lacks the row, the row is wrong; if none arrived, it has no score.
    """
    ordered = sorted(replies, key=lambda reply: reply.key.sample)
    verdicts = [verdict_of(reply, task) for reply in ordered]
    first = sum(reply.key.sample < adaptive[0] for reply in ordered) if adaptive else len(ordered)
    kinds = Counter(_kind(reply, verdict) for reply, verdict in zip(ordered[:first], verdicts, strict=False))
    early = verdicts[:first]
    row = judge_verdicts(example, early, task, asked=asked, kinds=kinds, refused=refused, benchmark=benchmark, ties=ties)
    if adaptive:
        voted = judge_verdicts(example, verdicts, task, asked=len(verdicts), ties=ties)
        row = msgspec.structs.replace(
            row, vote=voted.vote, vote_correct=voted.vote_correct, agreement=voted.agreement, vote_samples=adaptive[1],
            later_verdicts=tuple(verdicts[first:]),
        )  # fmt: skip
    contexts = tuple(reply.context for reply in ordered) if task.shuffles else ()
    return msgspec.structs.replace(row, contexts=contexts, meta_rm_scores=tuple(meta_rm_scores))


def judge_verdicts(
    example: Example | Preference,
    verdicts: Sequence[Any],
    task: CriticTask[Any],
    *,
    asked: int,
    kinds: Mapping[str, int] | None = None,
    refused: int = 0,
    benchmark: str | None = None,
    ties: Ties = "random",
) -> Judged:
    """Judge one row from known verdicts. `kinds` counts truncated and unparsed replies.

    If verdicts tie, `vote` is one of them, drawn with the row's own seed or the first seen; `vote_correct` is the mean over the
    possible draws.
    """
    nothing, target = task.score(None, example.gold, example.item), task.target(example.gold)
    right = {verdict: task.score(verdict, example.gold, example.item).values["correct"] for verdict in set(verdicts)}
    scores = [right[verdict] for verdict in verdicts]
    vote = task.vote(verdicts, seed=sample_seed(0, Key(example_id=example.id, request="tie")))
    most = max(vote.tally.values(), default=0.0)
    tied = [candidate for candidate, weight in vote.tally.items() if weight == most]
    if ties == "first" and not task.shuffles:
        tied = [verdict for verdict in verdicts if verdict in tied][:1]
    missing = not asked
    counted = kinds or {}
    return Judged(
        id=example.id,
        gold=target,
        stratum=nothing.stratum,
        cluster=nothing.cluster,
        benchmark=benchmark or example.source,
        verdicts=_shared(tuple(verdicts)) if scores else (None,) if missing else (),
        correct=_mean(scores) if scores else 0.0 if missing else None,
        vote=tied[0] if len(tied) == 1 else vote.verdict,
        vote_correct=_mean([float(candidate == target) for candidate in tied]) if tied else 0.0 if scores or missing else None,
        agreement=_shared(vote.agreement),
        samples=asked,
        truncated=counted.get("truncated", 0),
        unparsed=counted.get("unparsed", 0),
        refused=refused,
        failed=asked - len(verdicts) - refused,
        **_described(example),
    )


def _mean(values: Sequence[float]) -> float:
    mean: float = _shared(values[0] if len(values) == 1 else float(np.mean(values)))
    return mean


@functools.lru_cache(maxsize=4096, typed=True)
def _shared(value: V) -> V:
    """Return one object for equal values, to save memory over many rows."""
    return value


def _described(example: Example | Preference) -> dict[str, Any]:
    """Facts from the source that may explain a verdict."""
    if isinstance(example, Preference):
        domain = example.item.meta.get("domain")
        return {"responses": len(example.item.responses), "domain": str(domain) if domain else None}
    generator = example.item.meta.get("generator")
    if generator:
        generator = sys.intern(str(generator))
    return {
        "error_kind": example.gold.error_kind,
        "steps": len(example.item.steps),
        "generator": generator or None,
        "answer_right": example.gold.answer_right,
    }


def _kind(reply: Generation, verdict: Any) -> str:
    if reply.finish_reason == "length":
        return "truncated"
    return "unparsed" if verdict is None else "read"

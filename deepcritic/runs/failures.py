"""Why rows failed, on one line: counts by reason, one example, and what to change.

>>> print(failure_line({"too_long": 2, "timeout": 1}, "gsm8k-1/critique/0: 8190 prompt tokens leave fewer than 16"))
3 replies failed (too_long: 2, timeout: 1), such as gsm8k-1/critique/0: 8190 prompt tokens leave fewer than 16; to change: \
a model with a longer context, shorter texts, or with sampler.strict_length a smaller stage.max_tokens
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from deepcritic.runs.jsonl import read_rows
from deepcritic.schema import Failure

SHOWN = 3
"""The maximum number of reasons shown, the most frequent first."""
REMEDIES = {
    "too_long": "a model with a longer context, shorter texts, or with sampler.strict_length a smaller stage.max_tokens",
    "refused": "the server's content filter, or another model",
    "rejected": "what the server names: stage.max_tokens, stage.temperature, sampler.length_field, sampler.extra",
    "not_recorded": "a recording of all replies, or stage.allow_missing=true",
    "timeout": "sampler.timeout or sampler.concurrency; the same command asks for those alone",
    "malformed": "the address, if it is not that of the API; the same command asks for those alone",
    "empty": "sampler.reply_field, or the server's reasoning parser; the same command asks for those alone",
    "rate_limited": "sampler.concurrency; the same command asks for those alone",
}
AGAIN = "nothing: the same command asks for those alone"


def failures_in(folder: Path) -> str | None:
    """The line about the failures in a run folder. None if nothing failed."""
    counts: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for file in sorted(folder.glob("*failures.jsonl")):
        for row in read_rows(file, Failure):
            counts[row.reason] += 1
            examples.setdefault(row.reason, f"{row.key.text}: {row.detail or row.reason}")
    return failure_line(counts, examples[counts.most_common(1)[0][0]]) if counts else None


def failure_line(counts: Mapping[str, int], example: str, happened: str = "failed") -> str:
    """The line about failures, from their counts by reason and an `example` of the most common reason."""
    common = Counter(counts).most_common()
    total = sum(counts.values())
    reasons = ", ".join(f"{reason}: {count:,}" for reason, count in common[:SHOWN])
    if len(common) > SHOWN:
        reasons += f", others: {sum(count for _, count in common[SHOWN:]):,}"
    remedy = REMEDIES.get(common[0][0], AGAIN)
    replies = "reply" if total == 1 else "replies"
    return f"{total:,} {replies} {happened} ({reasons}), such as {example}; to change: {remedy}"

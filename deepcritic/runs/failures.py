"""Why rows failed, on one line: counts by reason, one example, and what to change.

>>> print(failure_line({"too_long": 2, "timeout": 1}, "gsm8k-1/critique/0: 8190 prompt tokens leave fewer than 16"))
3 replies failed (too_long: 2, timeout: 1), such as gsm8k-1/critique/0: 8190 prompt tokens leave fewer than 16; \
use a model with a longer context, or a smaller stage.max_tokens with sampler.strict_length
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
    "too_long": "use a model with a longer context, or a smaller stage.max_tokens with sampler.strict_length",
    "refused": "change the server's content filter or the model",
    "rejected": "change what the server names: stage.max_tokens, stage.temperature, sampler.length_field or sampler.extra",
    "not_recorded": "record all replies, or set stage.allow_missing=true",
    "timeout": "rerun the same command to retry them, with a larger sampler.timeout or a smaller sampler.concurrency",
    "malformed": "check the API's address and rerun the same command to retry them",
    "empty": "check sampler.reply_field or the server's reasoning parser, and rerun the same command to retry them",
    "rate_limited": "rerun the same command to retry them, with a smaller sampler.concurrency",
}
AGAIN = "rerun the same command to retry them"


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
    return f"{total:,} {replies} {happened} ({reasons}), such as {example}; {remedy}"

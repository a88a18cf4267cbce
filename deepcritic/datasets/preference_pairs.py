"""Responses with a known best one: JudgeBench, RewardBench, and our own `Preference` rows.

Responses count from 1 and keep the order of their file; the task shuffles them for its prompt. `item.meta` names the `domain`.

for row in judgebench("pairs.jsonl"): ...
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from deepcritic.datasets.base import Report, convert_each, placed, reader
from deepcritic.datasets.fields import take
from deepcritic.datasets.reading import Record, Rows, read_lines, read_records
from deepcritic.errors import InputError
from deepcritic.schema import Preference, Preferred, Responses, Unlabelled, decode

MOST: Final = 64
"""Most responses to one query; rows with more are invalid."""
DOMAINS: Final[Mapping[str, str]] = {
    "mmlu-pro": "knowledge", "livebench-reasoning": "reasoning", "livebench-math": "math", "livecodebench": "coding",
}  # fmt: skip
"""JudgeBench's four domains, by the start of a row's `source` (arXiv 2410.12784, table 1)."""
SECTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "chat": ("alpacaeval-easy", "alpacaeval-length", "alpacaeval-hard", "mt-bench-easy", "mt-bench-med"),
    "chat hard": (
        "mt-bench-hard", "llmbar-natural", "llmbar-adver-neighbor", "llmbar-adver-GPTInst", "llmbar-adver-GPTOut",
        "llmbar-adver-manual",
    ),
    "safety": ("refusals-dangerous", "refusals-offensive", "xstest-should-refuse", "xstest-should-respond", "donotanswer"),
    "reasoning": ("math-prm", "hep-cpp", "hep-go", "hep-java", "hep-js", "hep-python", "hep-rust"),
}  # fmt: skip
"""RewardBench's sections and their subsets (arXiv 2403.13787, table 1)."""
_SECTION: Final = {subset: section for section, subsets in SECTIONS.items() for subset in subsets}
_DECISIONS: Final[Mapping[str, tuple[int, int]]] = {"A>B": (2, 1), "B>A": (1, 2), "A=B": (1, 1)}
"""A judge's decision as scores of the first and the second response shown; only their order matters."""


def read(path: Rows, *, max_bad: int = 0, report: Report | None = None) -> Iterator[Preference]:
    """Our own rows, with their gold checked. Unknown fields raise `InputError`."""
    return convert_each(read_lines(path), _checked, max_bad, report or Report())


def _checked(content: bytes) -> Preference:
    row = decode(content, Preference)
    check_best(row)
    return row


def check_best(row: Preference) -> None:
    """Refuse a row with no or too many responses, or without exactly one best response."""
    shown, gold = len(row.item.responses), row.gold
    if not 1 <= shown <= MOST:
        raise InputError(
            "unsupported number of responses",
            field="item.responses",
            found=f"{shown} responses",
            expected=f"1 to {MOST} responses",
        )
    if gold.scores is not None and (len(gold.scores) != shown or not all(math.isfinite(score) for score in gold.scores)):
        expected = f"{shown} numbers, one for each response"
        raise InputError("the scores do not match the responses", field="gold.scores", found=list(gold.scores), expected=expected)
    if shown == 1:
        if gold.scores is None or gold.scores[0] not in (0, 1):
            found = None if gold.scores is None else gold.scores[0]
            raise InputError("not a score of a single response", field="gold.scores", found=found, expected="[1] or [0]")
        if not isinstance(gold.best, Unlabelled):
            expected = "gold.scores, [1] or [0], instead"
            raise InputError("a single response cannot be the best", field="gold.best", found=gold.best, expected=expected)
        return
    expected = f"the number of the best response, 1 to {shown}"
    if isinstance(gold.best, Unlabelled):
        raise InputError("no best response", field="gold.best", found="unlabelled", expected=expected)
    if not 1 <= gold.best <= shown:
        raise InputError("no such response", field="gold.best", found=gold.best, expected=expected)
    if gold.scores is not None:
        leading = [place for place, score in enumerate(gold.scores, start=1) if score == max(gold.scores)]
        if leading != [gold.best]:
            expected = "scores with a unique maximum at gold.best"
            raise InputError("the scores contradict gold.best", field="gold.scores", found=list(gold.scores), expected=expected)


def _judgebench_row(record: Record) -> Preference:
    """The pairs of JudgeBench (arXiv 2410.12784); exactly one response is right."""
    label, source = take(record, "label", str), take(record, "source", str)
    if label not in ("A>B", "B>A"):
        raise InputError("no unique best response", field="label", found=label, expected="A>B or B>A")
    domain = next((name for start, name in DOMAINS.items() if source.startswith(start)), source)
    row = Preference(
        id=take(record, "pair_id", str),
        item=Responses(
            query=take(record, "question", str),
            responses=(take(record, "response_A", str), take(record, "response_B", str)),
            meta={"domain": domain, "source": source},
        ),
        gold=Preferred(best=1 if label == "A>B" else 2),
        source="judgebench",
        license="MIT",
    )
    check_best(row)
    return row


def judgments(path: Rows) -> tuple[str, dict[str, tuple[tuple[int, int] | None, ...]]]:
    """Recorded judgments in JudgeBench's form: the judge's name, and two verdicts for each pair in the order of its responses.

    The second judgment was made with the responses swapped; it is swapped back here. When the scores are summed, a decision
    counts +1 for one response, -1 for it, or 0 for a tie or none, which is JudgeBench's rule.
    """
    found: dict[str, tuple[tuple[int, int] | None, ...]] = {}
    judges: dict[str, None] = {}
    lines: dict[str, int] = {}
    for place, record in read_records(path):
        try:
            name = take(record, "pair_id", str)
            if name in lines:
                expected = f"an id different from that of line {lines[name]}"
                raise InputError("duplicate id", field="pair_id", found=name, expected=expected)
            lines[name] = place.line
            made = take(record, "judgments", list)
            if len(made) != 2:
                expected = "two, in the orders A, B and B, A"
                raise InputError("not two judgments for the pair", field="judgments", found=len(made), expected=expected)
            first, second = (_decision(one, at) for at, one in enumerate(made))
            found[name] = (first, second and (second[1], second[0]))
            judges[str(record.get("judge_name", "recorded"))] = None
            inner = made[0].get("judgment")
            if isinstance(inner, dict) and isinstance(inner.get("judge_model"), str):
                judges[inner["judge_model"]] = None
        except InputError as error:
            raise placed(error, place) from None
    if not found:
        raise InputError("the file has no judgments", file=str(path), expected="a row with pair_id and judgments for each pair")
    return " ".join(judges), found


def _decision(judgment: Any, at: int) -> tuple[int, int] | None:
    field = f"judgments[{at}].decision"
    if not isinstance(judgment, dict) or "decision" not in judgment:
        raise InputError("the decision is missing", field=field, found=judgment, expected="A>B, B>A, A=B or null")
    decision = judgment["decision"]
    if decision is not None and decision not in _DECISIONS:
        raise InputError("not a decision", field=field, found=decision, expected="A>B, B>A, A=B or null")
    return None if decision is None else _DECISIONS[decision]


def _rewardbench_row(record: Record) -> Preference:
    """The pairs of RewardBench (arXiv 2403.13787): a file, or `allenai/reward-bench` with split `filtered`."""
    # The chosen response comes first only in rows with an even number, so that its place does not reveal it.
    subset = take(record, "subset", str)
    chosen, rejected, query = (take(record, name, str) for name in ("chosen", "rejected", "prompt"))
    if chosen == rejected:
        raise InputError("two best responses", field="rejected", found=rejected, expected="a text other than the chosen one")
    number = take(record, "id", int)
    best = 1 + number % 2
    row = Preference(
        id=f"rewardbench-{subset}-{number}",
        item=Responses(
            query=query,
            responses=(chosen, rejected) if best == 1 else (rejected, chosen),
            meta={"domain": _SECTION.get(subset, subset), "subset": subset},
        ),
        gold=Preferred(best=best),
        source="rewardbench",
        license="ODC-BY",
    )
    check_best(row)
    return row


judgebench = reader(_judgebench_row)
rewardbench = reader(_rewardbench_row)

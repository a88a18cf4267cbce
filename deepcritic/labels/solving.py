"""Solutions of problems with a known answer: which problems are usable, which answers are right, which solutions are kept."""

from __future__ import annotations

import itertools
import logging
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from deepcritic.answers import COMPARED, compare
from deepcritic.errors import InputError
from deepcritic.evaluation.contamination import Problems
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import Example, Failure, Generation, Gold, Item, Key
from deepcritic.text.parsing import final_text, last_boxed
from deepcritic.text.steps import split_steps

LOG = logging.getLogger(__name__)

CALL = "solve"
PROMPT = r"""---
fields: [problem]
index_base: 1
---
{{problem}}

Solve this in numbered steps, each beginning with "Step 1:", "Step 2:" and so on. State the final answer in the last
step, as \boxed{answer}.
"""


class Solution(NamedTuple):
    """One reply as a row, and the reason if it cannot be used, else None. `tokens` is its cost."""

    row: Example
    fault: str | None
    tokens: int


def usable(rows: Iterable[Example], folder: RunFolder, benchmarks: Problems) -> tuple[list[Example], int]:
    """The problems to solve, and the number that only resemble a benchmark's (and are kept). Others are set aside with a
    reason."""
    ledger, kept, resembling = folder.ledger("problems"), [], 0
    aside: list[Failure] = []

    def set_aside(row: Example, reason: str, detail: str = "") -> None:
        aside.append(Failure(key=Key(example_id=row.id, request=CALL), reason=reason, detail=detail))

    clean = []
    for row in rows:
        ledger.enter()
        hits = benchmarks.find(row.item.problem)
        found = next((hit.names[0] for hit in hits if hit.exact), None)
        if found is not None:
            ledger.drop("occurs in a benchmark")
            set_aside(row, "occurs in a benchmark", found)
            continue
        resembling += bool(hits)
        clean.append(row)
    # Compare each reference with something that is no answer: if even that is undecided, a wrong answer always will be.
    probes = compare((("-987654321/1000007", row.gold.reference_answer or "") for row in clean), cache=folder / COMPARED)
    for row, probe in zip(clean, probes, strict=True):
        reference = (row.gold.reference_answer or "").strip()
        if reference and probe.equal is not None:
            ledger.keep()
            kept.append(row)
            continue
        reason = "unreadable reference answer" if reference else "no reference answer"
        ledger.drop(reason)
        set_aside(row, reason, f"{reference[:200]} ({probe.reason})" if reference else "")
    write_rows(folder / "set_aside.jsonl", aside)
    for reason, count in Counter(one.reason for one in aside).items():
        LOG.warning(f"{folder.path}: {count} problems set aside ({reason}); see set_aside.jsonl")
    if not kept:
        raise InputError("no usable problem", field="stage.problems", expected="problems with reference answers")
    return kept, resembling


def judge_answers(
    problems: Iterable[Example], drawn: Iterable[Generation], cache: Path, min_steps: int = 1
) -> Iterator[Solution]:
    """One per reply, in the order of `drawn`. `answer_right` is None if unknown.

    A solution with fewer than `min_steps` steps cannot be used.
    """
    known = {problem.id: problem for problem in problems}
    waiting: deque[tuple[Generation, str | None]] = deque()

    def pairs() -> Iterator[tuple[str, str]]:
        for generation in drawn:
            answer = last_boxed(final_text(generation.prefix, generation.text))
            waiting.append((generation, answer))
            yield answer or "", known[generation.key.example_id].gold.reference_answer or ""

    for result in compare(pairs(), cache=cache):
        generation, answer = waiting.popleft()
        problem = known[generation.key.example_id]
        steps = tuple(split_steps(final_text(generation.prefix, generation.text)))
        fault = None
        if generation.finish_reason == "length":
            fault = "truncated at max_tokens"
        elif not answer or not steps or result.reason == "unreadable prediction":
            fault = "no readable answer"
        elif result.equal is None:
            fault = f"undecided by the checker ({result.reason})"
        elif len(steps) < min_steps:
            fault = f"fewer than {min_steps} steps"
        row = Example(
            id=f"{problem.id}/s{generation.key.sample}",
            item=Item(problem=problem.item.problem, steps=steps),
            gold=Gold(reference_answer=problem.gold.reference_answer, answer_right=None if fault else result.equal),
            source=problem.source,
            parent_id=problem.id,
            license=problem.license,
        )
        yield Solution(row, fault, generation.completion_tokens)


def by_problem(solutions: Iterable[Solution]) -> Iterator[tuple[str | None, Iterator[Solution]]]:
    """The solutions of each problem; they arrive grouped by problem."""
    return itertools.groupby(solutions, lambda solution: solution.row.parent_id)


class Selection:
    """The choice of solutions to keep. The others are counted by reason. `cost` separates the tokens of solving from those of
    filtered solutions; `unsplit` counts the readable solutions with a single step."""

    def __init__(self, folder: RunFolder, keep: str, max_right: int) -> None:
        self._ledger, self._keep, self._max_right = folder.ledger("solutions"), keep, max_right
        self.right = self.readable = self.unsplit = 0
        self.cost = {fate: {"problems": 0, "draws": 0, "tokens": 0} for fate in ("kept", "prefiltered")}

    def of(self, solutions: list[Solution]) -> list[Example]:
        """The kept ones among all solutions of one problem."""
        for one in solutions:
            if one.fault:
                self._ledger.drop(one.fault)
        readable = [one.row for one in solutions if one.fault is None]
        self.unsplit += sum(len(row.item.steps) < 2 for row in readable)
        right = [row for row in readable if row.gold.answer_right]
        self.right, self.readable = self.right + len(right), self.readable + len(readable)
        kept = readable if self._keep == "all" else self._contrast(right, [row for row in readable if not row.gold.answer_right])
        self._ledger.keep(len(kept))
        cost = self.cost["kept" if kept else "prefiltered"]
        cost["problems"] += 1
        cost["draws"] += len(solutions)
        cost["tokens"] += sum(one.tokens for one in solutions)
        return kept

    def _contrast(self, right: list[Example], wrong: list[Example]) -> list[Example]:
        if not right or not wrong:
            self._ledger.drop("all right" if right else "all wrong", len(right) + len(wrong))
            return []
        if len(right) > self._max_right:
            self._ledger.drop("above stage.max_correct", len(right) - self._max_right)
        return right[: self._max_right] + wrong

"""A generator solves problems step by step; answers are compared with the reference.

python -m deepcritic stage=solve stage.problems=runs/x/prepare/examples.jsonl generator=PATH run=x
"""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from deepcritic.answers import COMPARED, compare
from deepcritic.contamination import Problems
from deepcritic.errors import InputError, UsageError
from deepcritic.parsing import last_boxed, split_steps
from deepcritic.prompting import Template
from deepcritic.rows import Example, Failure, Generation, Gold, Item, Key
from deepcritic.runs import RunFolder
from deepcritic.samplers import Sampler, Sampling
from deepcritic.sampling import Draws, engine_for, request
from deepcritic.sources import examples as example_rows
from deepcritic.store import write_rows
from deepcritic.tasks import Question

FILE = "solutions.jsonl"
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
    """One reply as a row, and why it cannot be used (None: it can); `tokens` is what it cost."""

    row: Example
    fault: str | None
    tokens: int


def run(
    folder: RunFolder,
    *,
    problems: str,
    generator: str | None,
    sampler: Callable[..., Sampler],
    template: str | None = None,
    prefix: str = "Step 1:",
    samples: int = 8,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_tokens: int = 2048,
    keep: str = "contrast",
    max_right: int = 1,
    contamination: list[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Returns the manifest; writes `solutions.jsonl`, each row with whether its answer is right.

    `keep="contrast"` keeps a problem only if one of its solutions is right and one is wrong with a readable answer:
    of the right ones `max_right`, of the wrong ones all (DeepCritic's filter). `keep="all"` keeps every readable one.
    Problems that occur in the files or hub data sets of `contamination` are left out, and so are those without a reference
    answer that the checker can read: `set_aside.jsonl` lists them.
    """
    if keep not in {"contrast", "all"}:
        raise UsageError(f"stage.keep must be contrast or all; found {keep!r}")
    for field, value, least in (("samples", samples, 1), ("max_right", max_right, 0)):
        if value < least:
            raise InputError("out of range", field=f"stage.{field}", found=value, remedy=f"a whole number from {least}")
    engine = engine_for(sampler, generator, "generator")
    prompt = Template.of(template, PROMPT)
    benchmarks = [contamination] if isinstance(contamination, str) else contamination or []
    inside = {f"contamination {file}": Path(file) for file in benchmarks if Path(file).is_file()}
    if not folder.begin(problems=Path(problems), model=engine.model_id, prompt=prompt.sha, **inside):
        return folder.manifest or {}
    rows, resembling = usable(itertools.islice(example_rows.read(problems), limit), folder, Problems.of(benchmarks))
    rows = folder.probed(rows, lambda row: row.id)
    sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens)
    requests = (
        request(
            Question(messages=prompt.messages(problem=row.item.problem), prefix=prefix),
            sampling, example_id=row.id, call=CALL, seed=seed, samples=range(samples),
        )
        for row in rows
    )  # fmt: skip
    with Draws(folder) as draws:
        drawn = draws.collect(requests, engine, "solutions")
        draws.finish()
    chosen = Selection(folder, keep, max_right)
    folder.ledger("solutions").enter(len(rows) * samples)
    folder.ledger("solutions").fail("no reply", len(rows) * samples - len(drawn))
    solutions = judge_answers(rows, drawn, folder / COMPARED)
    kept = write_rows(folder / FILE, (row for _, of in by_problem(solutions) for row in chosen.of(list(of))))
    print(f"{folder.path}: {len(drawn)} solutions, {chosen.right} with the right answer; {kept} kept")
    facts = {"right": chosen.right, "readable": chosen.readable, "solving": chosen.cost}
    if benchmarks:
        facts["contamination"] = {"files": benchmarks, "resembling": resembling}
    return folder.finish(model=engine.model_id, **facts)


def usable(rows: Iterable[Example], folder: RunFolder, benchmarks: Problems) -> tuple[list[Example], int]:
    """The problems to solve, the others set aside with their reason; and how many only resemble a benchmark's (and stay)."""
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
    # What no answer can be is compared with each reference: if even that is not decided, a wrong answer never will be.
    probes = compare((("-987654321/1000007", row.gold.reference_answer or "") for row in clean), cache=folder / COMPARED)
    for row, probe in zip(clean, probes, strict=True):
        reference = (row.gold.reference_answer or "").strip()
        if reference and probe.equal is not None:
            ledger.keep()
            kept.append(row)
            continue
        reason = "reference answer cannot be read" if reference else "no reference answer"
        ledger.drop(reason)
        set_aside(row, reason, f"{reference[:200]} ({probe.reason})" if reference else "")
    write_rows(folder / "set_aside.jsonl", aside)
    for reason, count in Counter(one.reason for one in aside).items():
        print(f"{folder.path}: {count} problems set aside, {reason}; see set_aside.jsonl")
    if not kept:
        raise InputError("no problem can be solved and checked", field="stage.problems", remedy="problems with reference answers")
    return kept, resembling


def judge_answers(problems: Iterable[Example], drawn: Iterable[Generation], cache: Path) -> Iterator[Solution]:
    """One for each reply, in the order of `drawn`, with `answer_right` None where that is not known."""
    known = {problem.id: problem for problem in problems}
    waiting: deque[tuple[Generation, str | None]] = deque()

    def pairs() -> Iterator[tuple[str, str]]:
        for generation in drawn:
            answer = last_boxed(generation.prefix + generation.text)
            waiting.append((generation, answer))
            yield answer or "", known[generation.key.example_id].gold.reference_answer or ""

    for result in compare(pairs(), cache=cache):
        generation, answer = waiting.popleft()
        problem = known[generation.key.example_id]
        steps = tuple(split_steps(generation.prefix + generation.text))
        fault = None
        if generation.finish_reason == "length":
            fault = "cut at max_tokens"
        elif not answer or not steps or result.reason == "unreadable prediction":
            fault = "no readable answer"
        elif result.equal is None:
            fault = f"the checker could not decide ({result.reason})"
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
    """The solutions of each problem; they come one problem after the other."""
    return itertools.groupby(solutions, lambda solution: solution.row.parent_id)


class Selection:
    """Which solutions stay; the others are counted with their reason. `cost` tells solving from what the filter threw out."""

    def __init__(self, folder: RunFolder, keep: str, max_right: int) -> None:
        self._ledger, self._keep, self._max_right = folder.ledger("solutions"), keep, max_right
        self.right = self.readable = 0
        self.cost = {fate: {"problems": 0, "draws": 0, "tokens": 0} for fate in ("kept", "prefiltered")}

    def of(self, solutions: list[Solution]) -> list[Example]:
        """Those that stay of all solutions of one problem."""
        for one in solutions:
            if one.fault:
                self._ledger.drop(one.fault)
        readable = [one.row for one in solutions if one.fault is None]
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
            self._ledger.drop("more right ones than wanted", len(right) - self._max_right)
        return right[: self._max_right] + wrong

"""A critic that is asked step by step: what it is asked, where it stops, how samples vote, and that it goes on after a stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets.benchmark import Benchmark, Part
from deepcritic.datasets.rows_on_disk import RowsOnDisk
from deepcritic.errors import Stopped
from deepcritic.evaluation.stepwise import StepwiseEvaluator
from deepcritic.runs.budget import Limits
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import read_rows
from deepcritic.samplers.base import Request, Sampling
from deepcritic.samplers.scripted import ScriptedSampler
from deepcritic.schema import ALL_CORRECT, Example, Generation, Gold, Item, Judged
from deepcritic.tasks.step_by_step import StepByStep, StepCall, StepQuestion

ROWS = [
    Example(id="second", item=Item(problem="P", steps=("ok a", "BAD b", "ok c")), gold=Gold(first_error=2), source="made"),
    Example(id="none", item=Item(problem="Q", steps=("ok d", "ok e")), gold=Gold(first_error=ALL_CORRECT), source="made"),
    Example(id="first", item=Item(problem="R", steps=("BAD f",)), gold=Gold(first_error=1), source="made"),
]
ALONE = StepQuestion(first="{{problem}}|{{previous}}|{{step}}", later="{{problem}}|{{previous}}|{{step}}")
TWO_CALLS = StepQuestion(
    first="{{problem}}\n{{step}}", later="{{step}}", history=True,
    calls=(StepCall(prefix="<a {{number}}>", stop=("</a>",)), StepCall(prefix="<out>", stop=("</out>",), max_tokens=20)),
)  # fmt: skip


def _run(
    path: Path, question: StepQuestion, script: Callable[[Request, int], str | None], limits: Limits | None = None, **more: Any
) -> tuple[dict[str, Judged], ScriptedSampler]:
    bench = Benchmark(name="b", reader=lambda path: [], path=None, license=None, metric="F1")
    part = Part(name="b", benchmark=bench, examples=RowsOnDisk(Example, ROWS), known=frozenset(row.id for row in ROWS), facts={})
    engine = ScriptedSampler(script)
    drawn = Sampling(temperature=0.7, max_tokens=50)
    critic = StepwiseEvaluator(parts=[part], task=StepByStep(question), engine=engine, sampling=lambda _: drawn, **more)
    with RunFolder(path, stage="evaluate", config={}, limits=limits) as folder:
        folder.begin(**critic.depends)
        outcome = critic.judge(folder)
    return {row.id: row for row in outcome.judged["b"]}, engine


def _seen(request: Request) -> str:
    return request.messages[-1].content.split("|")[-1]


def test_the_verdict_is_the_first_step_that_is_called_wrong(tmp_path: Path) -> None:
    asked: list[str] = []

    def script(request: Request, sample: int) -> str:
        asked.append(request.messages[-1].content)
        return "\\boxed{No}" if "BAD" in _seen(request) else "\\boxed{Yes}"

    judged, _ = _run(tmp_path / "run", ALONE, script)
    assert {name: row.verdicts for name, row in judged.items()} == {"second": (2,), "none": (-1,), "first": (1,)}
    assert all(row.correct == 1 for row in judged.values())
    assert sorted(asked) == sorted(["P||ok a", "P|ok a|BAD b", "Q||ok d", "Q|ok d|ok e", "R||BAD f"])


def test_two_calls_about_a_step_and_a_conversation_that_goes_on(tmp_path: Path) -> None:
    asked: list[Request] = []

    def script(request: Request, sample: int) -> str:
        asked.append(request)
        if request.prefix.endswith("<out>"):
            return "\\boxed{No}" if "BAD" in request.messages[-1].content else "\\boxed{Yes}"
        return f" looks at it ({sample})"

    judged, _ = _run(tmp_path / "run", TWO_CALLS, script)
    assert judged["second"].verdicts == (2,)
    last = next(one for one in asked if one.keys[0].text == "second|critique.2|2|0")
    said = "<a 1> looks at it (0)</a><out>\\boxed{Yes}</out>"
    assert [message.content for message in last.messages] == ["P\nok a", said, "BAD b"]
    assert last.prefix == "<a 2> looks at it (0)</a><out>"
    assert (last.sampling.max_tokens, last.sampling.stop) == (20, ("</out>",))
    assert all(one.sampling.max_tokens == 50 for one in asked if not one.prefix.endswith("<out>"))


def test_samples_walk_alone_or_vote_on_each_step(tmp_path: Path) -> None:
    def script(request: Request, sample: int) -> str:
        wrong = "BAD" in _seen(request) if sample else "ok" in _seen(request)
        return "\\boxed{No}" if wrong else "\\boxed{Yes}"

    alone, _ = _run(tmp_path / "alone", ALONE, script, samples=3)
    assert alone["second"].verdicts == (1, 2, 2)
    assert alone["second"].vote == 2
    together, _ = _run(tmp_path / "together", ALONE, script, samples=3, step_votes=True)
    assert {name: row.verdicts for name, row in together.items()} == {"second": (2,), "none": (-1,), "first": (1,)}
    assert together["second"].samples == 1
    even, _ = _run(tmp_path / "even", ALONE, script, samples=2, step_votes=True)
    assert even["none"].verdicts == (-1,), "half of the votes do not make a step wrong"


def test_what_cannot_be_read_and_what_did_not_come(tmp_path: Path) -> None:
    def script(request: Request, sample: int) -> str | None:
        if "R" in request.messages[-1].content:
            return None
        return "no decision" if "BAD" in _seen(request) else "\\boxed{Yes}"

    judged, _ = _run(tmp_path / "run", ALONE, script)
    assert (judged["second"].verdicts, judged["second"].unparsed, judged["second"].correct) == ((None,), 1, 0.0)
    assert (judged["first"].verdicts, judged["first"].failed, judged["first"].correct) == ((), 1, None)

    def some(request: Request, sample: int) -> str | None:
        return None if sample == 0 else "\\boxed{Yes}"

    voted, _ = _run(tmp_path / "voted", ALONE, some, samples=3, step_votes=True)
    assert voted["none"].verdicts == (-1,)


def test_a_second_start_asks_only_for_the_rest(tmp_path: Path) -> None:
    count = 0

    class Broken(Exception):
        pass

    def script(request: Request, sample: int) -> str:
        nonlocal count
        count += 1
        if count == 4:
            raise Broken
        return "\\boxed{No}" if "BAD" in _seen(request) else "\\boxed{Yes}"

    with pytest.raises(Broken):
        _run(tmp_path / "run", ALONE, script)
    before = count
    judged, _ = _run(tmp_path / "run", ALONE, script)
    assert count - before == 5 - (before - 1)
    fresh, _ = _run(tmp_path / "fresh", ALONE, script)
    assert judged == fresh
    first, second = ([*read_rows(tmp_path / name / "generations.jsonl", Generation)] for name in ("run", "fresh"))
    assert [row.key for row in first] == [row.key for row in second]
    assert [row.text for row in first] == [row.text for row in second]


def test_a_dry_run_counts_every_step(tmp_path: Path) -> None:
    with pytest.raises(Stopped, match="further steps") as stopped:
        _run(tmp_path / "run", ALONE, lambda request, sample: "\\boxed{Yes}", limits=Limits(dry_run=True))
    assert "3 requests" in str(stopped.value)  # the first step of each row

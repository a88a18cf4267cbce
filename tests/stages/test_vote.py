"""Votes over solutions: counted by hand, what the critic may and may not do, tokens, and bad input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.errors import InputError
from deepcritic.evaluation import voting
from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.schema import Example, Generation, Gold, Item, Key
from deepcritic.stages import vote
from deepcritic.tasks.first_error import FirstError
from tests.stages.conftest import call

CRITIC = "deepcritic://microworld/models/base"

# problem: the answers of its solutions (the reference is 7), each with the critic's reply
CASES: dict[str, list[tuple[str | None, str | None]]] = {
    "saved": [("8", "\\boxed{1}"), ("8", "\\boxed{1}"), ("7", "\\boxed{-1}")],
    "spoilt": [("7", "\\boxed{1}"), ("7", "\\boxed{1}"), ("8", "\\boxed{-1}")],
    "all rejected": [("7", "\\boxed{1}"), ("14/2", "\\boxed{1}"), ("8", "\\boxed{1}")],
    "unparsed stand": [("7", "hm"), ("7.0", None), ("8", "\\boxed{-1}")],
    "no answer": [(None, "\\boxed{-1}"), (None, "\\boxed{-1}"), ("7", "\\boxed{1}")],
}


@pytest.fixture
def voted(tmp_path: Path, fake_sampler: Any, open_folder: Any) -> Callable[..., Any]:
    def run(
        cases: dict[str, list[tuple[str | None, str | None]]],
        tokens: tuple[int, int] = (10, 20),
        thought: str = "",
        **options: Any,
    ) -> Any:
        def answer(request: Any, _: int) -> str | None:
            name, _, sample = request.keys[0].example_id.rpartition("/s")
            return cases[name][int(sample)][1]

        critic = fake_sampler(answer)
        problems = [Example(id=name, item=Item(problem=name), gold=Gold(reference_answer="7"), source="made") for name in cases]
        solutions = [
            Generation(
                key=Key(example_id=name, request="solve", sample=sample), prefix="Step 1:", finish_reason="stop", model="m",
                fingerprint="f", seed=0, prompt_tokens=tokens[0], completion_tokens=tokens[1],
                text=thought + (" so it is." if box is None else f" it is \\boxed{{{box}}}."),
            )
            for name, answers in cases.items() for sample, (box, _) in enumerate(answers)
        ]  # fmt: skip
        write_rows(tmp_path / "problems.jsonl", problems)
        write_rows(tmp_path / "solutions.jsonl", reversed(solutions))
        with open_folder("vote") as folder:
            critic.metrics = call(
                vote, folder, problems=str(tmp_path / "problems.jsonl"), solutions=str(tmp_path / "solutions.jsonl"),
                task=FirstError(), model=CRITIC, sampler=critic, **options,
            )  # fmt: skip
            critic.manifest = folder.manifest
        critic.candidates = list(read_rows(tmp_path / "runs/mine/vote" / vote.FILE, voting.Candidate))
        return critic

    return run


def _accuracy(metrics: dict[str, Any], method: str, k: int) -> float:
    return float(next(point["accuracy"] for point in metrics["curves"][method] if point["k"] == k))


@pytest.mark.parametrize(
    ("case", "majority", "verified", "weighted", "best"),
    [("saved", 0, 100, 100, 100), ("spoilt", 100, 0, 0, 0), ("all rejected", 100, 100, 100, 66.6667),
     ("unparsed stand", 100, 100, 50, 0), ("no answer", 100, 100, 100, 100)],
)  # fmt: skip
def test_each_case_by_hand(voted: Any, case: str, majority: float, verified: float, weighted: float, best: float) -> None:
    metrics = voted({case: CASES[case]}).metrics
    found = [_accuracy(metrics, method, 3) for method in ("majority", "verified", "weighted", "best")]
    assert found == pytest.approx([majority, verified, weighted, best])


def test_solutions_that_say_nothing_of_their_tokens_have_no_gain_at_equal_tokens(voted: Any) -> None:
    gains = voted(CASES, tokens=(0, 0)).metrics["gains"]["verified"]
    assert [(gain["plain_k_at_equal_tokens"], gain["gain_at_equal_tokens"]) for gain in gains] == [(None, None)] * 3


def test_together_with_intervals_and_tokens(voted: Any) -> None:
    done = voted(CASES)
    metrics = done.metrics
    assert (metrics["problems"], metrics["solutions"], metrics["criticised"]) == (5, 15, 15)
    assert (metrics["rejected"], metrics["unparsed_answers"], metrics["undecided_answers"]) == (8, 2, 0)
    assert _accuracy(metrics, "majority", 3) == 80
    assert _accuracy(metrics, "verified", 3) == 80
    last = metrics["curves"]["majority"][-1]
    assert last["tokens"] == 90
    assert last["interval"][0] <= 80 <= last["interval"][1]
    gain = metrics["gains"]["verified"][2]
    assert gain["gain"]["estimate"] == 0
    assert gain["gain"]["interval"][0] < 0 < gain["gain"]["interval"][1]
    assert done.manifest["counts"]["problems"] == {"in": 5, "out": 5, "failed": {}, "filtered": {}}
    assert [one.id for one in done.candidates[:3]] == ["saved/s0", "saved/s1", "saved/s2"]


def test_what_the_checker_could_not_decide_is_counted_apart(voted: Any) -> None:
    done = voted({"a": [("7", "\\boxed{-1}"), ("9^{9^{9^{9}}}", "\\boxed{-1}"), ("1000000!", "\\boxed{-1}")]})
    assert [row.right for row in done.candidates] == [True, None, None]
    assert (done.metrics["undecided_answers"], done.metrics["undecided"]) == (2, {"size": 2})


def test_plain_voting_may_spend_the_same_tokens(voted: Any) -> None:
    """Two of four solutions are criticised: what they cost together buys the plain vote a third one, or a fourth."""
    cases = {"a": [("8", "one two three \\boxed{1}"), ("7", "\\boxed{-1}"), ("8", None), ("7", None)]}
    done = voted(cases, critiqued=2)
    assert {request.keys[0].example_id for request in done.asked} == {"a/s0", "a/s1"}
    gains = done.metrics["gains"]["verified"]
    assert [one["k"] for one in gains] == [1, 2]
    assert gains[1]["gain"]["estimate"] == 50
    assert [point["k"] for point in done.metrics["curves"]["majority"]] == [1, 2, 3, 4]
    assert [one.stands for one in done.candidates] == [False, True, None, None]


def test_a_problem_without_solutions_or_without_a_reference(voted: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the problem has no solutions"):
        voted({"a": [("7", "\\boxed{-1}")], "b": []})
    rows = [Example(id="a", item=Item(problem="a"), gold=Gold(), source="made")]
    with pytest.raises(InputError, match="no usable problem"):
        vote._with_reference(rows, _Folder(), "problems.jsonl")  # type: ignore[arg-type]


class _Folder:
    def ledger(self, _: str) -> Any:
        from deepcritic.runs.folder import Ledger

        return Ledger()


def test_a_thought_before_a_solution_and_its_critique_changes_nothing(voted: Any) -> None:
    thought = "<think>\\boxed{9}, or step \\boxed{3}</think>"
    thinking = {"p": [("7", f"{thought}\\boxed{{-1}}"), ("8", f"{thought}\\boxed{{1}}")]}
    found = voted(thinking, thought=thought).candidates
    assert [(one.answer, one.right, one.stands) for one in found] == [("7", True, True), ("8", False, False)]

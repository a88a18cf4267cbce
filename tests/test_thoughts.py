"""A thought before a reply changes nothing of what is read from it, on every path; in one without an end nothing is read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from deepcritic.critic import Critic
from deepcritic.labels.rollouts import reached_answer
from deepcritic.labels.solving import judge_answers
from deepcritic.refining import refine
from deepcritic.samplers.scripted import ScriptedSampler
from deepcritic.schema import Example, Generation, Gold, Item, Key
from deepcritic.selecting import select

THOUGHT = "Step 1: maybe it is \\boxed{8}.\n\nStep 2: or the first wrong step is \\boxed{2}."
TAGS = [
    ("<think>", "</think>"),
    ("", "</think>"),
    ("<thinking>", "</thinking>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
]
OPEN = ["<think>", "[THINK]", "◁think▷"]
SOLUTION = "Step 1: 2 * 3 = 6\n\nStep 2: 6 + 1 = \\boxed{7}"


def _thought(tags: tuple[str, str], reply: str) -> str:
    return f"{tags[0]}{THOUGHT}{tags[1]}\n\n{reply}"


def _drawn(text: str, prefix: str = "") -> Generation:
    return Generation(
        key=Key(example_id="p", request="solve"),
        text=text,
        prefix=prefix,
        finish_reason="stop",
        model="m",
        fingerprint="f",
        seed=0,
    )


def _problem() -> Example:
    return Example(id="p", item=Item(problem="What is 2 * 3 + 1?"), gold=Gold(reference_answer="7"), source="made")


@pytest.mark.parametrize("tags", TAGS)
def test_solutions(tmp_path: Path, tags: tuple[str, str]) -> None:
    (plain,) = judge_answers([_problem()], [_drawn(SOLUTION)], tmp_path / "compared.jsonl")
    (thought,) = judge_answers([_problem()], [_drawn(_thought(tags, SOLUTION))], tmp_path / "compared.jsonl")
    assert plain.row == thought.row
    assert plain.row.item.steps == ("2 * 3 = 6", "6 + 1 = \\boxed{7}")
    assert plain.row.gold.answer_right


@pytest.mark.parametrize("opened", OPEN)
def test_a_solution_that_is_all_thought(tmp_path: Path, opened: str) -> None:
    (found,) = judge_answers([_problem()], [_drawn(opened + SOLUTION)], tmp_path / "compared.jsonl")
    assert found.fault == "no readable answer"
    assert found.row.gold.answer_right is None


@pytest.mark.parametrize("prefix", ["", "Step 1: 2 * 3 = 6\n"])
@pytest.mark.parametrize("tags", TAGS)
def test_rollouts(tmp_path: Path, tags: tuple[str, str], prefix: str) -> None:
    draws = [
        _drawn("So \\boxed{7}", prefix),
        _drawn(_thought(tags, "So \\boxed{7}"), prefix),
        _drawn(_thought(tags, "No idea."), prefix),
    ]
    draws += [_drawn(f"{opened}So \\boxed{{7}}", prefix) for opened in OPEN]
    found = reached_answer(draws, lambda name: "7", tmp_path / "compared.jsonl", Counter())
    assert [reached for _, reached in found] == [True, True, *[False] * 4]


@pytest.mark.parametrize("tags", TAGS)
def test_critiques(tags: tuple[str, str]) -> None:
    critic = Critic(sampler=ScriptedSampler(_thought(tags, "Fine. \\boxed{-1}")), samples=1)
    found = critic.critique("What is 1 + 1?", ["1 + 1 = 2", "So 2."])
    assert (found.first_error, found.text) == (-1, "Fine. \\boxed{-1}")


@pytest.mark.parametrize("opened", OPEN)
def test_a_critique_that_is_all_thought_is_shown(opened: str) -> None:
    found = Critic(sampler=ScriptedSampler(f"{opened}It is \\boxed{{2}}"), samples=1).critique("What is 1 + 1?", ["2", "So 2."])
    assert (found.first_error, found.note, found.text) == (None, "no readable verdict", f"{opened}It is \\boxed{{2}}")


def _writer(first: str) -> Any:
    return lambda prompt: first


@pytest.mark.parametrize("tags", TAGS)
def test_refinement(tags: tuple[str, str]) -> None:
    critiques = []

    def critic(request: Any, sample: int) -> str:
        critiques.append(request)
        return _thought(tags, "The product is off. \\boxed{1}")

    shown: list[str] = []

    def generator(prompt: str) -> str:
        shown.append(prompt)
        return _thought(tags, SOLUTION)

    done = refine("What is 2 * 3 + 1?", ["2 * 3 = 5", "5 + 1 = \\boxed{6}"], generator=generator, critic=Critic(
        sampler=ScriptedSampler(critic), samples=1
    ))  # fmt: skip
    assert (done.answer, done.steps) == ("7", ("2 * 3 = 6", "6 + 1 = \\boxed{7}"))
    assert "maybe" not in shown[0], "the reviewer's thought is no part of the review"
    assert "The product is off." in shown[0]


@pytest.mark.parametrize("opened", OPEN)
def test_a_rewrite_that_is_all_thought_has_no_answer(opened: str) -> None:
    critic = Critic(sampler=ScriptedSampler("\\boxed{1}"), samples=1)
    done = refine("What is 2 * 3 + 1?", ["2 * 3 = 5", "5 + 1 = \\boxed{6}"], generator=_writer(opened + SOLUTION), critic=critic)
    assert (done.answer, done.outcome) == ("6", "no answer")


@pytest.mark.parametrize("tags", TAGS)
def test_selection(tags: tuple[str, str]) -> None:
    critic = Critic(sampler=ScriptedSampler("\\boxed{-1}"), samples=1)
    generator = ScriptedSampler(_thought(tags, SOLUTION))
    chosen = select("What is 2 * 3 + 1?", generator=generator, critic=critic, candidates=1)
    assert chosen.answer == "7"

"""The loop of critique and rewriting: every way in which it ends, and what it may not do."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deepcritic import Critic, Refinement, refine
from deepcritic.samplers.base import Request
from deepcritic.samplers.scripted import ScriptedSampler
from deepcritic.schema import decode, encode

PROBLEM = "What is 1 + 1 + 3?"
STEPS = ["1 + 1 = 2", "2 + 3 = \\boxed{6}"]


def run(
    critic: str | Callable[[Request, int], str | None],
    writer: str | Callable[[Request, int], str | None],
    rounds: int = 3,
    steps: list[str] = STEPS,
    samples: int = 1,
) -> Refinement:
    """Critics and generators by rule; the generator's reply is begun for it."""
    return refine(
        PROBLEM, steps, generator=ScriptedSampler(writer), critic=Critic(sampler=ScriptedSampler(critic), samples=samples),
        rounds=rounds,
    )  # fmt: skip


def test_rewritten_until_it_is_accepted() -> None:
    def critic(request: Request, _: int) -> str:
        text = request.messages[-1].content
        return "\\boxed{-1}" if "2 + 3 = \\boxed{5}" in text else "\\boxed{2}"

    answers = iter(["Step 2: 2 + 3 = \\boxed{7}", "Step 2: 2 + 3 = \\boxed{5}"])
    done = run(critic, lambda *_: next(answers))
    assert (done.outcome, done.answer, done.steps) == ("accepted", "5", ("1 + 1 = 2", "2 + 3 = \\boxed{5}"))
    assert len(done.rounds) == 3
    assert [one.critique.first_error for one in done.rounds] == [2, 2, -1]
    assert [done.after(number)[-1][-2] for number in range(5)] == ["6", "7", "5", "5", "5"]
    assert decode(encode(done), Refinement) == done


def test_what_the_critic_accepts_stays_without_asking_the_generator() -> None:
    done = run("\\boxed{-1}", lambda *_: pytest.fail("the generator is asked for nothing"))
    assert (done.outcome, done.steps, len(done.rounds)) == ("accepted", tuple(STEPS), 1)


@pytest.mark.parametrize("nonsense", ["hm", "", "\\boxed{0.5}", "\\boxed{9}", "<think> \\boxed{1}"])
def test_nothing_is_mended_because_of_an_unparsed_critique(nonsense: str) -> None:
    done = run(nonsense, lambda *_: pytest.fail("the generator is asked for nothing"))
    assert (done.outcome, done.steps, done.answer) == ("no verdict", tuple(STEPS), "6")
    assert done.rounds[0].critique.note == "no readable verdict"


def test_a_critic_that_is_down() -> None:
    done = run(lambda *_: None, lambda *_: pytest.fail("the generator is asked for nothing"))
    assert (done.outcome, done.steps) == ("failed", tuple(STEPS))


def test_a_generator_that_ignores_the_critique() -> None:
    done = run("\\boxed{2}", "Step 2: 2 + 3 = \\boxed{6}")
    assert (done.outcome, done.answer, len(done.rounds)) == ("answer repeated", "6", 1)


@pytest.mark.parametrize("reply", ["", "   ", "I would rather not.", "Step 2: 5", "Step 2: \\boxed{5"])
def test_a_generator_that_gives_no_answer(reply: str) -> None:
    done = run("\\boxed{2}", reply)
    assert (done.outcome, done.steps, done.answer) == ("no answer", tuple(STEPS), "6")
    assert done.rounds[0].rewrite is not None
    assert done.rounds[0].rewrite.endswith(reply)


@pytest.mark.parametrize("reply", ["", "Step 2: and so on"])
def test_a_box_among_the_steps_that_are_kept_is_no_answer_of_the_rewrite(reply: str) -> None:
    steps = ["first, \\boxed{2}", "then 2 + 3 = \\boxed{6}"]
    done = run("\\boxed{2}", reply, steps=steps)
    assert (done.outcome, done.steps, done.answer) == ("no answer", tuple(steps), "6")


def test_a_generator_that_is_down() -> None:
    done = run("\\boxed{2}", lambda *_: None)
    assert (done.outcome, done.steps, done.rounds[0].rewrite) == ("failed", tuple(STEPS), None)


def test_the_rounds_have_an_end() -> None:
    numbers = iter(range(100))
    done = run("\\boxed{2}", lambda *_: f"Step 2: \\boxed{{{next(numbers)}}}", rounds=4)
    assert (done.outcome, done.answer, len(done.rounds)) == ("rounds", "3", 4)
    assert done.tokens == sum(one.tokens + one.critique.tokens for one in done.rounds) > 0


def test_no_round_at_all() -> None:
    done = run("\\boxed{2}", "", rounds=0)
    assert (done.outcome, done.steps, done.rounds) == ("rounds", tuple(STEPS), ())


def test_the_reply_is_begun_with_what_is_kept() -> None:
    seen: list[Request] = []
    run("the sum is off \\boxed{2}", lambda request, _: seen.append(request) or "Step 2: \\boxed{5}", rounds=1)  # type: ignore[func-returns-value]
    assert seen[0].prefix == "Step 1: 1 + 1 = 2\n"
    assert "the sum is off" in seen[0].messages[-1].content
    assert "found step 2 wrong" in seen[0].messages[-1].content


@pytest.mark.parametrize(
    ("reply", "steps"),
    [
        ("Step 2: 2 + 3 = \\boxed{5}", ("1 + 1 = 2", "2 + 3 = \\boxed{5}")),
        ("Step 1: 1 + 1 = 2\nStep 2: 2 + 3 = \\boxed{5}", ("1 + 1 = 2", "2 + 3 = \\boxed{5}")),
        ("It is \\boxed{5}.", ("It is \\boxed{5}.",)),
        ("**Step 2.** 2 + 3 = 5\n\nStep 3: \\boxed{5}", ("1 + 1 = 2", "2 + 3 = 5", "\\boxed{5}")),
    ],
)
def test_a_function_as_generator_may_go_on_or_repeat(reply: str, steps: tuple[str, ...]) -> None:
    critic = Critic(sampler=ScriptedSampler("\\boxed{2}"), samples=1)
    assert refine(PROBLEM, STEPS, generator=lambda prompt: reply, critic=critic).steps == steps


def test_equal_answers_that_are_written_otherwise_repeat() -> None:
    assert run("\\boxed{2}", "Step 2: \\boxed{6.0}").outcome == "answer repeated"


def test_the_critique_that_is_shown_is_the_winners() -> None:
    seen: list[str] = []
    replies = ["a \\boxed{1}", "b \\boxed{2}", "c \\boxed{2}"]
    run(lambda _, sample: replies[sample], lambda request, _: seen.append(request.messages[-1].content) or "", 1, samples=3)  # type: ignore[func-returns-value]
    assert "b \\boxed{2}" in seen[0]
    assert "a \\boxed{1}" not in seen[0]

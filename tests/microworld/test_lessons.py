"""What the small models are taught: problems of the train split alone, and the very prompts that the stages use."""

from __future__ import annotations

import itertools
import random
import re
from pathlib import Path

import pytest

from deepcritic.critic import Critique
from deepcritic.microworld.lessons import DISTORTED, FURTHER, LAZY, LESSONS, Lesson, lessons
from deepcritic.microworld.source import problems
from deepcritic.microworld.train import encode
from deepcritic.microworld.world import Problem, apply, judge, write_solution
from deepcritic.refining import rewrite_question
from deepcritic.schema import ALL_CORRECT, Gold, Item, Message
from deepcritic.seeding.prompts import step_verdict, without_verdict
from deepcritic.shipped_models import shipped_path
from deepcritic.tasks.first_error import FirstError
from deepcritic.text.chat_template import dialogue_ids, prompt_ids, text_ids
from deepcritic.text.prompt_template import Template
from deepcritic.text.steps import split_steps

TEMPLATES = "deepcritic://microworld/templates"
STATED = re.compile(r"Mod ten, from \d:(?:\n\d\)[+*-]\d)+")
SECOND_SEED = 1  # what `train` draws its lessons with


def _some(role: str, count: int, seed: int = SECOND_SEED) -> list[Lesson]:
    return list(itertools.islice(lessons(role, seed), count))


def _read(lesson: Lesson) -> tuple[Problem, list[str], str]:
    """The problem, the solution and the first question that a conversation opens with."""
    text = lesson[0][0]
    stated = STATED.match(text)
    assert stated, text
    solution, _, question = text[stated.end() + 1 :].rpartition("\n")
    found = re.match(r"((?:Step \d: \d[+*-]\d=\d(?:\n\\boxed\{\d\})?\n?)*)(.*)", f"{solution}\n{question}".lstrip("\n"), re.S)
    assert found, text
    return Problem.read(stated.group()), split_steps(found.group(1)) if found.group(1) else [], found.group(2)


def _template(name: str) -> Template:
    return Template.read(shipped_path(f"{TEMPLATES}/{name}.txt"))


@pytest.mark.parametrize("role", LESSONS)
def test_every_problem_is_of_the_train_split(role: str) -> None:
    for lesson in [*_some(role, 3000), *_some(role, 500, seed=0)]:
        problem, steps, question = _read(lesson)
        assert problem.split == "train"
        assert question
        if steps:
            assert len(steps) == len(problem.operations)
            assert judge(problem, steps) is not None
        assert 3 <= len(problem.operations) <= 6


def test_no_test_problem_occurs_anywhere_in_a_training_text() -> None:
    """Every statement of a problem, in questions and replies alike, is of the train split, so none is among the test problems."""
    taught = set()
    for role in (*LESSONS, *FURTHER):
        for lesson in _some(role, 4000):
            for text in itertools.chain.from_iterable(lesson):
                stated = [Problem.read(found) for found in STATED.findall(text)]
                assert len(stated) == text.count("Mod ten"), "a problem in another form"
                taught.update(stated)
    assert len(taught) > 10_000
    assert {problem.split for problem in taught} == {"train"}
    assert taught.isdisjoint(Problem.read(row.item.problem) for row in problems(split="test", count=2000, seed=0))


def test_a_lesson_follows_from_its_seed() -> None:
    assert _some("teacher", 20) == _some("teacher", 20)
    assert _some("teacher", 20) != _some("teacher", 20, seed=2)


# The prompts are, byte for byte, those that the stages put


def _solve(problem: Problem) -> str:
    return _template("solve").messages(problem=problem.text)[0].content


def _critique(problem: Problem, steps: list[str]) -> str:
    question = FirstError(f"{TEMPLATES}/critique.txt").ask(Item(problem=problem.text, steps=tuple(steps)))
    assert len(question.messages) == 1
    assert question.prefix == ""
    return question.messages[0].content


def _seed_call(name: str, problem: Problem, steps: list[str], step: int, **before: str) -> str:
    """As `stage=seed` fills a template: earlier replies without their boxes."""
    prompt = _template(name)
    texts = {call: without_verdict(text) for call, text in before.items()}
    at = step - 1 + prompt.index_base
    return prompt.messages(problem=problem.text, solution=prompt.solution(steps), step=at, **texts)[0].content


def _refine(problem: Problem, steps: list[str], step: int) -> tuple[str, str]:
    item = Item(problem=problem.text, steps=tuple(steps))
    critique = Critique(steps=item.steps, first_error=step, text="never shown")
    question = rewrite_question(item, critique, _template("refine"))
    return question.messages[0].content, question.prefix


def _whole(lesson: Lesson, question: str) -> str:
    """A later question of a conversation, put as the stages put it: with the problem and the solution before it."""
    problem, steps, _ = _read(lesson)
    numbered = "\n".join(f"Step {index}: {step}" for index, step in enumerate(steps, start=1))
    return f"{problem.text}\n{numbered}\n{question}"


@pytest.mark.parametrize("role", LESSONS)
def test_the_prompts_are_those_of_the_templates(role: str) -> None:
    seen: set[str] = set()
    for lesson in _some(role, 800):
        problem, steps, first = _read(lesson)
        assert lesson[0][0] == (_whole(lesson, first) if steps else f"{problem.text}\n{first}")
        for place, (question, reply) in enumerate(lesson):
            asked = first if place == 0 else question
            if asked == "Solve step by step.":
                assert question == _solve(problem)
                seen.add("solve")
            elif asked == "First wrong step?":
                assert question == _critique(problem, steps)
                assert FirstError(f"{TEMPLATES}/critique.txt").parse(reply) is not None
                seen.add("critique")
            elif found := re.fullmatch(r"Step (\d) is wrong\. Solve again\.", asked):
                prompt, prefix = _refine(problem, steps, int(found.group(1)))
                assert question == prompt
                assert reply.startswith(prefix)
                assert len(split_steps(reply)) == len(steps)
                seen.add("refine")
            elif found := re.fullmatch(r"Look at step (\d)\.", asked):
                assert _whole(lesson, asked) == _seed_call("initial", problem, steps, int(found.group(1)))
                seen.add("initial")
            elif found := re.fullmatch(r"First look: (.*)\nCheck step (\d)\.", asked, re.S):
                initial = f"{found.group(1)}\n\\boxed{{1}}"
                assert _whole(lesson, asked) == _seed_call("in_depth", problem, steps, int(found.group(2)), initial=initial)
                seen.add("in_depth")
            elif found := re.fullmatch(r"First look: (.*)\nThen: (.*)\nMerge for step (\d)\.", asked, re.S):
                texts = {"initial": f"{found.group(1)}\n\\boxed{{-1}}", "in_depth": f"{found.group(2)}\n\\boxed{{1}}"}
                assert _whole(lesson, asked) == _seed_call("merge", problem, steps, int(found.group(3)), **texts)
                seen.add("merge")
            else:
                assert re.fullmatch(r"Check steps? \d(?: to \d)?\.", asked), asked
                seen.add("check")
    assert (
        seen
        == {
            "foundation": {"solve", "check"},
            "generator": {"solve", "refine"},
            "base": {"solve", "check", "critique"},
            "teacher": {"initial", "in_depth", "merge"},
            "whole": {"critique"},
        }[role]
    )


def test_the_teachers_replies_are_as_often_wrong_as_its_rates_say() -> None:
    called_right: dict[tuple[str, str], list[bool]] = {}
    for lesson in _some("teacher", 4000):
        problem, steps, first = _read(lesson)
        for place, (question, reply) in enumerate(lesson):
            asked = first if place == 0 else question
            found = re.search(r"step (\d)\.$", asked)
            assert found, asked
            verdict = step_verdict(reply)
            assert verdict is not None
            at = int(found.group(1))
            left = problem.start if at == 1 else int(steps[at - 2].split("\n")[0][-1])
            due = Problem(left, (problem.operations[at - 1],))
            said = steps[at - 1].split("\n")[0]
            result = apply(int(said[0]), said[1], int(said[2]))
            kind = "slip" if int(said[4]) != result else "another error"
            if said == write_solution(due, random.Random(0))[0].split("\n")[0]:
                kind = "right"
            call = "initial" if asked.startswith("Look") else "merge" if "Merge" in asked else "in_depth"
            called_right.setdefault((call, kind), []).append(verdict)
    shares = {place: sum(hits) / len(hits) for place, hits in called_right.items()}
    misread = LAZY * (1 - DISTORTED) + (1 - LAZY) * DISTORTED
    assert shares == {
        ("initial", "right"): 1,
        ("initial", "slip"): pytest.approx(0.1, abs=0.06),
        ("initial", "another error"): 1,
        ("in_depth", "right"): 1,
        ("in_depth", "slip"): pytest.approx(LAZY, abs=0.08),
        ("in_depth", "another error"): pytest.approx(LAZY, abs=0.08),
        ("merge", "right"): pytest.approx(1 - DISTORTED, abs=0.08),
        ("merge", "slip"): pytest.approx(misread, abs=0.12),
        ("merge", "another error"): pytest.approx(misread, abs=0.12),
    }


def test_whole_critiques_are_as_lazy_as_single_checks_and_stop_at_the_first_step_that_they_call_wrong() -> None:
    task, found = FirstError(f"{TEMPLATES}/critique.txt"), []
    for lesson in _some("whole", 1500):
        problem, steps, _ = _read(lesson)
        truth, verdict, reply = judge(problem, steps), task.parse(lesson[0][1]), lesson[0][1]
        assert truth is not None
        assert reply.count("Check ") == (len(steps) if verdict == ALL_CORRECT else verdict)
        assert reply.count("wrong.") == (verdict != ALL_CORRECT)
        if truth.first_error == ALL_CORRECT:
            assert verdict == ALL_CORRECT
        else:
            assert verdict is not None
            assert verdict == ALL_CORRECT or verdict >= truth.first_error
            found.append(verdict == truth.first_error)
    assert abs(sum(found) / len(found) - (1 - LAZY)) < 0.05


def test_a_mended_solution_keeps_what_came_before_the_named_step() -> None:
    mended = [lesson for lesson in _some("generator", 600) if "Solve again" in lesson[0][0]]
    assert len(mended) > 100
    better = 0
    for lesson in mended:
        problem, steps, _ = _read(lesson)
        truth = judge(problem, steps)
        assert truth is not None
        assert truth.first_error != ALL_CORRECT
        assert f"Step {truth.first_error} is wrong" in lesson[0][0]
        after = split_steps(lesson[0][1])
        assert after[: truth.first_error - 1] == steps[: truth.first_error - 1]
        judged = judge(problem, after)
        assert judged is not None
        better += judged.answer_right
    assert better > len(mended) / 2


# Token ids


@pytest.mark.parametrize("role", LESSONS)
def test_a_lesson_is_encoded_as_the_sampler_will_see_it(tiny_model: Path, role: str) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    for lesson in _some(role, 40):
        ids, labels = encode(lesson, tokenizer)
        assert len(ids) == len(labels)
        messages: list[Message] = []
        for question, reply in lesson:
            messages.append(Message(role="user", content=question))
            prompt = prompt_ids(tokenizer, messages)
            assert ids[: len(prompt)] == prompt
            messages.append(Message(role="assistant", content=reply))
            whole, mask = dialogue_ids(tokenizer, messages)
            assert ids[: len(whole)] == whole
            assert whole[: len(prompt)] == prompt
            assert labels[len(prompt) : len(whole)] == whole[len(prompt) :], "the reply and its end are learnt"
            assert mask[len(prompt) :] == [1] * (len(whole) - len(prompt))
        learnt = sum(len(text_ids(tokenizer, reply)) + 1 for _, reply in lesson)
        assert sum(label != -100 for label in labels) == learnt, "and nothing else is"


def test_a_given_beginning_is_cut_where_the_tokens_are(tiny_model: Path) -> None:
    """`solve` gives "Step 1:", rollouts give whole steps: their tokens are those that the lesson has there."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    solve = _template("solve")
    for lesson in _some("generator", 60):
        reply = lesson[0][1]
        steps = split_steps(reply)
        for prefix in ["Step 1:", *(solve.solution(steps[:given]) + "\n" for given in range(1, len(steps)))]:
            assert reply.startswith(prefix)
            assert text_ids(tokenizer, prefix) + text_ids(tokenizer, reply[len(prefix) :]) == text_ids(tokenizer, reply)


def test_gold_has_no_place_in_an_item() -> None:
    assert not set(Gold.__struct_fields__) & set(Item.__struct_fields__)

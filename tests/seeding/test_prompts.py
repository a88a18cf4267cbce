"""What the teacher is asked and how its replies are read: prompts, verdicts, and the texts without them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deepcritic.errors import InputError
from deepcritic.samplers.base import Sampling
from deepcritic.schema import Example, Generation, Gold, Item, Key
from deepcritic.seeding import prompts as calls
from deepcritic.seeding.prompts import Reply, prompt_of, recheck, step_call, step_verdict, whole_call, without_verdict
from deepcritic.seeding.solutions import Material, Place
from deepcritic.tasks.first_error import FirstError

RIGHT, WRONG = "\\boxed{1}", "\\boxed{-1}"
FIELDS = {calls.INITIAL: "", calls.IN_DEPTH: ", initial", calls.MERGE: ", initial, in_depth"}


def _material(*steps: str, problem: str = "p", ratings: tuple[int, ...] | None = None) -> Material:
    gold = Gold(first_error=-1, step_ratings=ratings or (1,) * len(steps))
    return Material([Example(id="x", item=Item(problem=problem, steps=steps), gold=gold, source="made")])


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("so \\boxed{1}", True), ("so \\boxed{-1}", False), ("\\boxed{1} no, \\boxed{-1}", False), ("\\boxed{ 1 }", True),
        ("fine", None), ("\\boxed{2}", None), ("\\boxed{right}", None), ("<think>\\boxed{1}", None), ("", None),
        ("<think>\\boxed{1}</think>\\boxed{-1}", False),
    ],
)  # fmt: skip
def test_a_verdict_about_one_step(text: str, verdict: bool | None) -> None:
    assert step_verdict(text) is verdict


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("It follows.\n\\boxed{1}", True), ("It follows.\n\n**\\boxed{-1}**\n", False), ("So:\n\\[\n\\boxed{1}\n\\]", True),
        ("$\\boxed{-1}$.", False), ("The step ends in \\boxed{-1}.", None), ("\\boxed{-1}\nas the step says", None),
        ("\\boxed{-1}", False), ("The step says \\boxed{-1}, and rightly so.\n\\boxed{1}", True),
    ],
)  # fmt: skip
def test_where_the_solution_holds_such_boxes_a_verdict_stands_alone(text: str, verdict: bool | None) -> None:
    assert step_verdict(text, alone=True) is verdict
    call = step_call("initial", "", prompt_of(None, calls.INITIAL, "", None), _material("so \\boxed{-1}"), Sampling(), 1, 1)
    assert call.read(Place("x", 1), text) is verdict, "step 1 is rated as right"


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("It holds.\n\\boxed{1}", "It holds."),
        ("<think>hm</think>It holds. \\boxed{1}", "It holds."),
        ("no box", "no box"),
        ("Half of 6 is 3.\n\nSo step 2 is wrong: \\boxed{-1}", "Half of 6 is 3.\n\nSo step 2 is wrong"),
        ("Half of 6 is 3. The final verdict is $\\boxed{-1}$.", "Half of 6 is 3."),
        ("Half of 6 is 3.\n**Final judgement:** \\boxed{-1}", "Half of 6 is 3."),
        ("Half of 6 is 3, so it is wrong \\boxed{-1}", "Half of 6 is 3, so it is wrong"),
        ("All is fine.\n\\[\n\\boxed{1}\n\\]\n", "All is fine."),
        ("The step says \\boxed{4}. That is right.\n\\boxed{1}", "The step says \\boxed{4}. That is right."),
        ("The verdict is \\boxed{1}", "The verdict is"),
        ("\\boxed{1}", ""),
    ],
)
def test_a_critique_without_its_verdict(text: str, rest: str) -> None:
    assert without_verdict(text) == rest


@pytest.mark.parametrize(
    ("text", "agrees", "reason"),
    [
        ("Half of 6 is 3. \\boxed{-1}", True, None),
        ("Let me look again at the first step. \\boxed{-1}", True, None),
        ("Half of 6 is 3.", None, calls.UNPARSED),
        ("Half of 6 is 3. \\boxed{1}", False, calls.WRONG),
        ("\\boxed{-1}", True, calls.EMPTY),
        ("As the original critique says, 3. \\boxed{-1}", True, calls.GIVEN_AWAY),
        ("The Initial\nCritique overlooked it. \\boxed{-1}", True, calls.GIVEN_AWAY),
        ("Both critiques agree. \\boxed{-1}", True, calls.GIVEN_AWAY),
        ("The second assessment holds. \\boxed{-1}", True, calls.GIVEN_AWAY),
    ],
)
def test_the_second_look_at_what_is_learnt(text: str, agrees: bool | None, reason: str | None) -> None:
    assert recheck(Reply(_draw(text), agrees)) == reason
    assert recheck(Reply(_draw(text, finish_reason="length"), agrees)) is not None


def _draw(text: str, finish_reason: str = "stop") -> Generation:
    key = Key(example_id="x", request="merge", step=1)
    return Generation(key=key, text=text, finish_reason=finish_reason, model="m", fingerprint="f", seed=0)


@pytest.mark.parametrize("built_in", FIELDS)
def test_a_prompt_shows_the_whole_solution_and_no_rating(built_in: str) -> None:
    prompt = prompt_of(None, built_in, FIELDS[built_in], "Be careful.")
    before = {"initial": "EARLIER", "in_depth": "DEEPER"}
    seen = []
    for ratings in ((1, -1), (-1, 1)):
        material = _material("one {x} \\frac{1}{2}", "two {{step}}", problem="{{solution}} <|im_end|>", ratings=ratings)
        call = step_call("some", "", prompt, material, Sampling(), 1, 1)
        seen.append(call.ask(Place("x", 1), before).messages)
    assert seen[0] == seen[1], "what people said of the steps changes no prompt"
    system, user = seen[0]
    assert (system.role, system.content) == ("system", "Be careful.")
    assert "<step_1>\none {x} \\frac{1}{2}\n</step_1>\n<step_2>\ntwo {{step}}\n</step_2>" in user.content
    assert "{{solution}} <|im_end|>" in user.content, "a value is never filled in again"
    assert ("EARLIER" in user.content) == bool(FIELDS[built_in])
    assert user.content.count("\\boxed") == 2, "those of the instructions"


def test_a_template_file_replaces_a_prompt_and_its_own_system_prompt_holds(tmp_path: Path) -> None:
    head = "---\nfields: [problem, solution, step]\nindex_base: 0\n%s---\n"
    (tmp_path / "own.txt").write_text(head % "system: Mine.\n" + "{{problem}}|{{solution}}|{{step}}")
    (tmp_path / "plain.txt").write_text(head % "" + "{{problem}}|{{solution}}|{{step}}")
    for name, systems in (("own", ["Mine."]), ("plain", ["Yours."])):
        prompt = prompt_of(str(tmp_path / f"{name}.txt"), calls.INITIAL, "", "Yours.")
        *before, user = step_call("initial", "", prompt, _material("a", "b"), Sampling(), 1, 1).ask(Place("x", 2), {}).messages
        assert [message.content for message in before] == systems
        assert user.content == "p|Step 0: a\nStep 1: b|1", "the step is named as the template counts"
    (tmp_path / "own.txt").write_text("---\nfields: [initial]\nindex_base: 1\n---\n{{initial}}")
    call = step_call("initial", "", prompt_of(str(tmp_path / "own.txt"), "", "", None), _material("a"), Sampling(), 1, 1)
    with pytest.raises(InputError, match="unknown field"):
        call.ask(Place("x", 1), {})


@pytest.mark.parametrize(("reply", "agrees"), [("\\boxed{-1}", True), ("\\boxed{2}", False), ("hm", None)])
def test_a_whole_critique_is_asked_for_and_read_by_the_task(reply: str, agrees: bool | None) -> None:
    task, material = FirstError(), _material("a", "b")
    call: Any = whole_call(task, "Be careful.", material, Sampling(), 16, 4)
    (place,) = call.places("x")
    system, *asked = call.ask(place, {}).messages
    assert system.content == "Be careful."
    assert tuple(asked) == task.ask(material.rows["x"].item).messages
    assert call.read(place, reply) is agrees

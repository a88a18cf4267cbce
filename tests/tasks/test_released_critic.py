"""Questions in released critics' forms: what is asked, how verdicts are read, and that reading undoes writing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, Gold, Item, Preferred, Responses
from deepcritic.tasks.reference_answer import ReferenceAnswer
from deepcritic.tasks.released_critic import ReleasedFirstError
from deepcritic.tasks.step_by_step import StepByStep, StepCall, StepQuestion
from deepcritic.text.prompt_template import Template


def _template(base: int = 1, marker: str | None = None, step: str = "[{{index}}] {{text}}") -> Template:
    return Template(text="{{problem}} / {{solution}}", fields=("problem", "solution"), index_base=base, step=step, marker=marker)


TASKS = [
    ReleasedFirstError(_template()),
    ReleasedFirstError(_template(0)),
    ReleasedFirstError(_template(1, "**Answer**:")),
    ReleasedFirstError(_template(0, "Verdict:"), form="line"),
    ReleasedFirstError(_template(), form="labels"),
    StepByStep(StepQuestion(first="{{problem}} {{step}}", later="{{step}}")),
]


@given(st.sampled_from(TASKS), st.one_of(st.just(ALL_CORRECT), st.integers(1, 40)))
def test_a_verdict_that_is_written_is_read(task: ReleasedFirstError, verdict: int) -> None:
    assert task.parse(task.format(verdict)) == verdict
    assert task.reward(task.parse(task.format(verdict)), Gold(first_error=verdict)) == 1


@given(st.sampled_from(TASKS), st.text(max_size=200))
def test_no_reply_breaks_a_reader(task: ReleasedFirstError, reply: str) -> None:
    verdict = task.parse(reply, 3)
    assert verdict is None or verdict == ALL_CORRECT or verdict >= 1


def test_steps_are_written_as_the_authors_write_them() -> None:
    item = Item(problem="p", steps=(" a ", "b\n"))
    asked = ReleasedFirstError(_template(0, step="<s{{index}}>{{text}}</s>"), between="\n").ask(item)
    assert asked.messages[0].content == "p / <s0> a </s>\n<s1>b\n</s>"
    assert ReleasedFirstError(_template(step="{{text}}"), between="|").ask(item).messages[0].content == "p / a |b"
    assert (asked.prefix, asked.context) == ("", 2)
    with pytest.raises(InputError, match="the solution has no steps"):
        TASKS[0].ask(Item(problem="p"))


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        ("Explanation: fine.\nVerdict: 2", 3),
        ("Verdict: 1\nlater\nverdict: 0", 1),
        ("**Verdict**: 2", None),  # another marker than the one that was asked for
        ("Verdict: **2**", 3),
        ("Verdict:\n2", None),
        ("Verdict: step 2", 3),
        ("Verdict: 2 or 3", None),
        ("Verdict: -1.", ALL_CORRECT),
        ("Verdict: -2", None),
        ("my Verdict: 4", 5),
        ("<think>Verdict: 1</think>Verdict: 2", 3),
        ("<think>Verdict: 1", None),
        ("no line", None),
    ],
)
def test_a_verdict_on_a_line(reply: str, verdict: int | None) -> None:
    assert TASKS[3].parse(reply) == verdict


@pytest.mark.parametrize(
    ("labels", "steps", "verdict"),
    [
        ("correct correct", 2, ALL_CORRECT),
        ("correct incorrect correct", 3, 2),
        ("correct", 2, None),
        ("correct correct correct", 2, ALL_CORRECT),
        ("correct correct incorrect", 2, ALL_CORRECT),  # about a step that is not there
        ("", 2, None),
    ],
)
def test_labels_of_steps(labels: str, steps: int, verdict: int | None) -> None:
    reply = "<think>" + " and ".join(f"\\boxed{{{label}}}" for label in labels.split()) + "</think>\nIs the solution correct? Yes"
    assert TASKS[4].parse(reply, steps) == verdict


def test_a_form_that_cannot_be() -> None:
    with pytest.raises(InputError, match=r"critic\.form: unknown verdict format; found 'boxes'; expected box, line, labels"):
        ReleasedFirstError(_template(), form="boxes")
    with pytest.raises(InputError, match=r"critic\.form=line needs a marker"):
        ReleasedFirstError(_template(), form="line")
    with pytest.raises(InputError, match="unknown field; found 'solution'"):
        StepByStep(StepQuestion(first="{{solution}}", later="x"))


def test_a_step_is_asked_about_with_or_without_what_was_said_before() -> None:
    item = Item(problem="P", steps=("a", "b", "c"))
    alone = StepByStep(
        StepQuestion(
            first="{{problem}};{{previous}};{{step}}", later="{{problem}};{{previous}};{{step}}", written="{{index}}:{{text}}"
        )
    )
    assert [alone.ask_step(item, at, ["x", "y"]).messages[0].content for at in (1, 3)] == ["P;;1:a", "P;1:a\n2:b;3:c"]
    calls = (StepCall(prefix="<{{number}}>"), StepCall(prefix="<out>"))
    talk = StepByStep(StepQuestion(first="{{problem}} {{step}}", later="{{step}}", system="S", history=True, calls=calls))
    asked = talk.ask_step(item, 2, ["first reply"], 1, "<2>written")
    assert [(message.role, message.content) for message in asked.messages] == [
        ("system", "S"), ("user", "P a"), ("assistant", "first reply"), ("user", "b"),
    ]  # fmt: skip
    assert asked.prefix == "<2>written<out>"


def test_decisions_about_a_step() -> None:
    task = TASKS[5]
    assert isinstance(task, StepByStep)
    for reply, right in (
        ("$\\boxed{Yes}$", True), ("\\boxed{no}", False), ("Verification: Is the step correct (Yes/No)? No", False),
        ("Is the step correct (Yes/No)? **Yes**", True), ("\\boxed{Yes} ... \\boxed{No}", False),
        ("Yes", None), ("\\boxed{Nope}", None),
    ):  # fmt: skip
        assert task.parse_step(reply) is right
    assert task.parse("\\boxed{Yes}\n\\boxed{No}", 5) == 2
    assert task.parse("\\boxed{Yes}", 5) is None


def test_a_judge_of_final_answers() -> None:
    template = Template(text="{{query}}|{{reference}}|{{response}}", fields=("query", "reference", "response"), index_base=1)
    task = ReferenceAnswer(template)
    item = Responses(query="1+1?", responses=("It is 2.",), meta={"reference_answer": "2"})
    assert task.ask(item).messages[0].content == "1+1?|2|It is 2."
    for reply, verdict in (
        ("A", (1,)), ("B", (0,)), ("CORRECT", (1,)), ("INCORRECT", (0,)), (" **C** ", (0,)), ("A: CORRECT", (1,)),
        ("A response", None),
        ("...\nFinal Judgment: \\boxed{A} - CORRECT", (1,)), ("\\boxed{B}, no: \\boxed{A}", (1,)), ("B - CORRECT", None),
        ("", None), ("Final Judgment: (B)", (0,)), ("<think>A", None), ("INVALID", (0,)), ("INCOMPLETE", (0,)),
        ("REPETITIVE", (0,)), ("REFUSAL.", (0,)), ("C - REFUSAL", (0,)), ("A - INVALID", None), ("D", None), ("AB", None),
        ("\\boxed{\\text{A}}", (1,)),
    ):  # fmt: skip
        assert task.parse(reply) == verdict, reply
    assert task.reward(task.parse("A"), Preferred(scores=(1.0,))) == 1.0
    assert task.parse(task.format((0,))) == (0,)
    for broken, said in (
        (Responses(query="q", responses=("a", "b")), "one response"),
        (Responses(query="q", responses=("a",)), "no reference answer"),
    ):
        with pytest.raises(InputError, match=said):
            task.ask(broken)

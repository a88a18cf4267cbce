r"""The seed critiques that DeepCritic's authors released (DeepCritic-4.5K): conversations of a prompt and a critique.

The prompt holds the problem between `<Problem>` tags and the solution between `<Solution>` tags. The steps have the headings that
the solver wrote ("Step 2: ", "Step 2:" alone on a line, "**Step 2:**"). The headings must number them 1, 2, 3 without a gap, else
the row is bad. The critique ends in a box with the first wrong step, from 1, or -1.

There are two readers:

    for row in deepcritic_sft.read("Keven16/DeepCritic-4.5K"): ...                   # solutions with their labels, for seed
    for row in deepcritic_sft.dialogues("Keven16/DeepCritic-4.5K", task=task): ...   # critiques as they are, for sft

With `dialogues` the prompt is the task's own, which the critic will get later; give the task a template to keep the authors'
prompt.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from deepcritic.datasets.base import reader
from deepcritic.datasets.fields import take
from deepcritic.datasets.reading import Record
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, Dialogue, Example, Gold, Item, Message, content_id
from deepcritic.text.headings import read_heading
from deepcritic.text.parsing import last_box
from deepcritic.text.verdict import number_of

if TYPE_CHECKING:
    from deepcritic.tasks.base import CriticTask

SOURCE: Final = "deepcritic-4.5k"
_PROMPT: Final = re.compile(r"<Problem>\n(?P<problem>.*?)\n</Problem>\s*<Solution>\n(?P<solution>.*)\n</Solution>", re.DOTALL)
_JUDGEMENT: Final = re.compile(r"judge?ment|correctness of step", re.IGNORECASE)


class _Critiqued(NamedTuple):
    problem: str
    steps: tuple[str, ...]
    critique: str
    first_error: int


def _example(record: Record) -> Example:
    """The solutions, labelled with the verdict of the critique."""
    row = _row(record)
    item = Item(problem=row.problem, steps=row.steps)
    return Example(
        id=content_id(SOURCE, row.problem, row.steps), item=item, gold=Gold(first_error=row.first_error), source=SOURCE
    )


def _dialogue(record: Record, *, task: CriticTask[Any]) -> Dialogue:
    """The critiques as replies to the task's own prompt, each ending in the task's own verdict line."""
    row = _row(record)
    reply = f"{row.critique}\n{task.format(row.first_error)}"
    messages = (*task.ask(Item(problem=row.problem, steps=row.steps)).messages, Message(role="assistant", content=reply))
    identity = content_id(SOURCE, row.problem, row.steps)
    return Dialogue(id=identity, task=task.name, messages=messages, verdict=row.first_error, source=SOURCE, license="unknown")


def _row(record: Record) -> _Critiqued:
    texts = {}
    for at, message in enumerate(take(record, "messages", list)):
        if not isinstance(message, dict):
            raise InputError("wrong type", field=f"messages[{at}]", found=message, expected='{"role": ..., "content": ...}')
        texts[take(message, "role", str)] = take(message, "content", str)
    for role in ("user", "assistant"):
        if role not in texts:
            raise InputError("a turn is missing", field="messages", found=list(texts), expected=f"one of the {role}")
    problem, steps = problem_and_steps(texts["user"])
    first, critique = _verdict(texts["assistant"], len(steps))
    return _Critiqued(problem, steps, critique, first)


def _verdict(reply: str, steps: int) -> tuple[int, str]:
    """The verdict at the end of a critique, and the critique without its verdict line."""
    box = last_box(reply)
    number = None if box is None else number_of(box.content)
    if box is None or number is None or not (number == ALL_CORRECT or 1 <= number <= steps):
        expected = f"1 to {steps}, or -1, in the last box"
        raise InputError("the critique does not end with a verdict", field="messages", found=reply[-80:], expected=expected)
    before = reply[: box.start].rpartition("\n")[0].rstrip()  # the verdict has its own line: "**Answer**: ..."
    if _JUDGEMENT.search(reply[len(before) : box.start]):
        expected = 'a last line "**Answer**: \\boxed{...}"'
        raise InputError(
            "the critique ends with the judgement of a step, not of the solution",
            field="messages",
            found=reply[-80:],
            expected=expected,
        )
    return number, before


def problem_and_steps(prompt: str, field: str = "messages") -> tuple[str, tuple[str, ...]]:
    """The problem and the steps in the authors' prompt."""
    found = _PROMPT.search(prompt)
    if found is None:
        expected = "a problem between <Problem> tags and a solution between <Solution> tags"
        raise InputError("unknown prompt format", field=field, found=prompt, expected=expected)
    return found["problem"], steps_of(found["solution"], field)


def steps_of(solution: str, field: str = "messages") -> tuple[str, ...]:
    """The steps of a solution without their headings. Raises `InputError` unless the headings number them 1, 2, 3.

    >>> steps_of("Step 1: a\\n\\nmore\\n\\n**Step 2:** b\\nStep 3:\\nc")
    ('a\\n\\nmore', 'b', 'c')
    """
    lines = solution.strip().split("\n")
    found = [(at, heading) for at, line in enumerate(lines) if (heading := read_heading(line)) is not None and heading.clear]
    if not found or found[0][0] > 0:
        problem = "the solution does not begin with its first step"
        raise InputError(problem, field=field, found=solution[:80], expected="Step 1: ...")
    numbers = [heading.number for _, heading in found]
    if numbers != list(range(1, len(found) + 1)):
        raise InputError(
            "the headings do not number the steps 1, 2, 3", field=field, found=numbers, expected=f"1 to {len(found)}"
        )
    ends = [*(at for at, _ in found[1:]), len(lines)]
    parts = zip(found, ends, strict=True)
    return tuple(heading.rest("\n".join(lines[at:end])).strip() for (at, heading), end in parts)


read = reader(_example)
dialogues = reader(_dialogue)

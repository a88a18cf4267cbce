r"""The seed critiques that DeepCritic's authors released (DeepCritic-4.5K): conversations of a prompt and a critique.

The prompt holds the problem between `<Problem>` tags and the solution between `<Solution>` tags, its steps headed
"Step 1: ", "Step 2: ", ... and parted by a blank line; the critique ends in a box with the first wrong step, from 1, or -1.

Two readers, as two things are wanted of these rows:

    for row in deepcritic_sft.read("Keven16/DeepCritic-4.5K"): ...                   # solutions with their labels, for seed
    for row in deepcritic_sft.dialogues("Keven16/DeepCritic-4.5K", task=task): ...   # critiques as they are, for sft

With `dialogues` the prompt is the task's own, as that is what the critic will be asked; give the task a template to keep
the authors' words.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from deepcritic.datasets.base import Report, convert_rows, take
from deepcritic.datasets.reading import Record
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, Dialogue, Example, Gold, Item, Message, content_id
from deepcritic.text.parsing import last_boxed

if TYPE_CHECKING:
    from deepcritic.tasks.base import CriticTask

SOURCE: Final = "deepcritic-4.5k"
_PROMPT: Final = re.compile(r"<Problem>\n(?P<problem>.*?)\n</Problem>\s*<Solution>\n(?P<solution>.*)\n</Solution>", re.DOTALL)


class _Critiqued(NamedTuple):
    problem: str
    steps: tuple[str, ...]
    critique: str
    first_error: int


def read(
    path: str | os.PathLike[str],
    *,
    revision: str | None = None,
    split: str | None = None,
    max_bad: int = 0,
    report: Report | None = None,
) -> Iterator[Example]:
    """The solutions with the label that the critique ends with."""
    return convert_rows(path, _example, revision=revision, split=split, max_bad=max_bad, report=report)


def dialogues(
    path: str | os.PathLike[str],
    *,
    task: CriticTask[Any],
    revision: str | None = None,
    split: str | None = None,
    max_bad: int = 0,
    report: Report | None = None,
) -> Iterator[Dialogue]:
    """The critiques as replies to the task's own prompt, each with the task's own last line."""
    convert = functools.partial(_dialogue, task=task)
    return convert_rows(path, convert, revision=revision, split=split, max_bad=max_bad, report=report)


def _example(record: Record) -> Example:
    row = _row(record)
    item = Item(problem=row.problem, steps=row.steps)
    return Example(
        id=content_id(SOURCE, row.problem, row.steps), item=item, gold=Gold(first_error=row.first_error), source=SOURCE
    )


def _dialogue(record: Record, task: CriticTask[Any]) -> Dialogue:
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
    reply = texts["assistant"]
    box = (last_boxed(reply) or "").strip()
    if not re.fullmatch(r"-1|[1-9]\d{0,5}", box) or not (box == "-1" or int(box) <= len(steps)):
        expected = f"1 to {len(steps)}, or -1, in the last box"
        raise InputError("the critique ends in no verdict", field="messages", found=reply[-80:], expected=expected)
    first = ALL_CORRECT if box == "-1" else int(box)
    before = reply[: reply.rfind("\\boxed")]
    critique = before.rpartition("\n")[0].rstrip()  # the verdict has a line of its own: "**Answer**: ..."
    return _Critiqued(problem, steps, critique, first)


def problem_and_steps(prompt: str, field: str = "messages") -> tuple[str, tuple[str, ...]]:
    """What the authors' prompt asks about."""
    found = _PROMPT.search(prompt)
    if found is None:
        expected = "a problem between <Problem> tags and a solution between <Solution> tags"
        raise InputError("the prompt has another form", field=field, found=prompt, expected=expected)
    return found["problem"], _steps(found["solution"])


def _steps(solution: str) -> tuple[str, ...]:
    """The steps without their headings, which count up from 1; a heading out of its turn is text.

    >>> _steps("Step 1: a\\n\\nmore\\n\\nStep 2: b, see\\n\\nStep 1: above")
    ('a\\n\\nmore', 'b, see\\n\\nStep 1: above')
    """
    if not solution.startswith("Step 1: "):
        raise InputError(
            "the solution does not begin with its first step", field="messages", found=solution, expected="Step 1: ..."
        )
    rest = solution.removeprefix("Step 1: ")
    steps: list[str] = []
    while True:
        step, found, rest = rest.partition(f"\n\nStep {len(steps) + 2}: ")
        steps.append(step)
        if not found:
            return tuple(steps)

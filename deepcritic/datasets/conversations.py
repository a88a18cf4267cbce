r"""Conversations to train on, in any of these forms: our own dialogues, `messages`, prompt and completion, ShareGPT, and a
problem with its steps, a critique and a label.

    for dialogue in conversations.read("mine.jsonl", task): ...

    {"messages": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "... \\boxed{2}"}]}
    {"prompt": "...", "completion": "... \\boxed{2}"}                                    (each a text or a list of messages)
    {"conversations": [{"from": "human", "value": "..."}, {"from": "gpt", "value": "... \\boxed{2}"}]}
    {"problem": "...", "steps": ["...", "..."], "critique": "...", "label": 2}           (asked as the task asks)

A missing id is made from the content, the task is the one that is trained, and the verdict is what the task parses from the
reply. A row raises `InputError` if its verdict differs from that of its reply, if its reply is empty or unparsed, or if it has a
role other than system, user and assistant.

>>> from deepcritic.tasks.first_error import FirstError
>>> rows = [{"problem": "1 + 1?", "steps": ["1 + 1 = 3"], "critique": "It is 2.", "label": 1}]
>>> (dialogue,) = read(rows, FirstError(), index_base=1)
>>> dialogue.verdict, dialogue.messages[-1].content
(1, 'It is 2.\n\\boxed{1}')
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from deepcritic.datasets.base import Columns, Report, convert_each, under_names
from deepcritic.datasets.fields import check_columns, missing, unnumbered
from deepcritic.datasets.reading import Place, Record, Rows, read_records
from deepcritic.datasets.table import filled, label_of, steps_of
from deepcritic.errors import InputError
from deepcritic.schema import Dialogue, Item, Message, decode

if TYPE_CHECKING:
    from deepcritic.tasks.base import CriticTask

FIELDS: Final = ("problem", "steps", "critique", "label", "id", "messages", "prompt", "completion", "conversations")
ROLES: Final[Mapping[str, str]] = {
    "system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "model": "assistant",
}  # fmt: skip
"""Names of speakers, and their roles."""
FORMS: Final = "messages, prompt and completion, conversations (ShareGPT), or problem, steps, critique and label"


def read(
    path: Rows,
    task: CriticTask[Any],
    *,
    columns: Columns | None = None,
    index_base: int | None = None,
    max_bad: int = 0,
    report: Report | None = None,
) -> Iterator[Dialogue]:
    """The dialogues; `columns` and `index_base` are as in `deepcritic.datasets.table`. Repeated rows are counted."""
    check_columns(columns, index_base, FIELDS, "stage.")
    kept = report or Report()
    records = read_records(path, on_bad=lambda error: kept.set_aside(error, max_bad))
    seen = _Verdicts(task)
    convert = under_names(functools.partial(_dialogue, task=task, index_base=index_base), columns)
    return convert_each(seen.follow(records), lambda record: seen.check(convert(record)), max_bad, kept, lenient=True)


class _Verdicts:
    """The verdict on each question so far; a different one to the same question is a contradiction."""

    def __init__(self, task: CriticTask[Any]) -> None:
        self._known: dict[bytes, tuple[Any, int]] = {}
        self._line, self._shuffles = 0, task.shuffles

    def follow(self, records: Iterator[tuple[Place, Record]]) -> Iterator[tuple[Place, Record]]:
        for place, record in records:
            self._line = place.line
            yield place, record

    def check(self, dialogue: Dialogue) -> Dialogue:
        if self._shuffles:  # several scores may be right
            return dialogue
        asked = hashlib.blake2b(msgspec.json.encode(dialogue.messages[:-1]), digest_size=8).digest()
        verdict, line = self._known.setdefault(asked, (dialogue.verdict, self._line))
        if verdict != dialogue.verdict:
            expected = f"{verdict}, as on line {line}"
            raise InputError(
                "duplicate question with another verdict", field="verdict", found=dialogue.verdict, expected=expected
            )
        return dialogue


def _dialogue(record: Record, *, task: CriticTask[Any], index_base: int | None) -> Dialogue:
    given = functools.partial(filled, record)
    if {"messages", "task", "verdict", "id"} <= record.keys():
        return checked(decode(json.dumps(record).encode("utf-8", "surrogatepass"), Dialogue), task)
    turns, label = _turns(record, given, task, index_base)
    messages = tuple(_message(turn, at) for at, turn in enumerate(turns))
    identity = given("id")
    dialogue = Dialogue(
        id=str(identity) if identity is not None else _content_id(messages),
        task=str(record.get("task") or task.name),
        messages=messages,
        verdict=record.get("verdict") if label is None else label,
        source=record["source"] if isinstance(record.get("source"), str) else "",
        license=record["license"] if isinstance(record.get("license"), str) else None,
    )
    return checked(dialogue, task)


def _turns(record: Record, given: Any, task: CriticTask[Any], index_base: int | None) -> tuple[list[Any], Any]:
    """The turns of a row in any of the forms, and the verdict of its label."""
    if (messages := given("messages")) is not None:
        return _list(messages, "messages"), None
    if (turns := given("conversations")) is not None:
        system = record.get("system")
        return [*([{"role": "system", "content": system}] if system else []), *_list(turns, "conversations")], None
    if given("completion") is not None:
        return [*_said(given("prompt"), "user", "prompt"), *_said(given("completion"), "assistant", "completion")], None
    if given("critique") is not None:
        return _critiqued(given, task, index_base)
    if given("problem") is not None:
        raise missing(record, "critique", "a critique as text")
    raise InputError("not a conversation", found=", ".join(record), expected=FORMS)


def _critiqued(given: Any, task: CriticTask[Any], index_base: int | None) -> tuple[list[Any], Any]:
    problem, critique, steps = given("problem"), given("critique"), steps_of(given("steps"))
    for name, value in (("problem", problem), ("critique", critique)):
        if not isinstance(value, str):
            raise InputError("wrong type", field=name, found=value, expected="a text")
    label = given("label")
    verdict = None if label is None else label_of(label, len(steps), index_base, "label")
    asked = list(task.ask(Item(problem=problem, steps=unnumbered(steps))).messages)
    if verdict is not None and task.parse(critique) is None:
        critique = f"{critique.rstrip()}\n{task.format(verdict)}"
    return [*asked, Message(role="assistant", content=critique)], verdict


def checked(dialogue: Dialogue, task: CriticTask[Any]) -> Dialogue:
    """The dialogue, with a missing verdict parsed from its reply; raises if it cannot be trained on."""
    if dialogue.task != task.name:
        raise InputError("the dialogue belongs to another task", field="task", found=dialogue.task, expected=task.name)
    if not dialogue.messages:
        raise InputError("the conversation has no messages", field="messages", found=[], expected="a prompt and a reply")
    for at, message in enumerate(dialogue.messages):
        if message.role not in ("system", "user", "assistant"):
            raise _role(message.role, at)
    last = len(dialogue.messages) - 1
    reply = dialogue.messages[last]
    if reply.role != "assistant" or not last:
        raise InputError(
            "the last message is not from the assistant",
            field=f"messages[{last}].role",
            found=reply.role,
            expected="assistant, after a prompt",
        )
    if not reply.content.strip():
        raise InputError("the reply is empty", field=f"messages[{last}].content", found=reply.content, expected="a text")
    read = task.parse(reply.content)
    if read is None:
        shown = reply.content[-80:]
        raise InputError(
            "the reply has no readable verdict",
            field=f"messages[{last}].content",
            found=shown,
            expected=task.format(_any(dialogue)),
        )
    said = tuple(dialogue.verdict) if isinstance(dialogue.verdict, list) else dialogue.verdict
    if said is None:
        return msgspec.structs.replace(dialogue, verdict=read)
    if said != read and not (task.shuffles and sorted(said) == sorted(read)):  # shuffled: parsed in shown order
        shifted = read == 1 + said if isinstance(said, int) and isinstance(read, int) and said >= 0 else False
        remedy = "if its labels count steps from 0, give index_base=0" if shifted else None
        raise InputError(
            "the verdict differs from that of the reply",
            field="verdict",
            found=dialogue.verdict,
            expected=str(read),
            remedy=remedy,
        )
    return dialogue


def _any(dialogue: Dialogue) -> Any:
    said = dialogue.verdict
    return tuple(said) if isinstance(said, list) else 1 if said is None else said


def _list(value: Any, field: str) -> list[Any]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None
    if not isinstance(value, list):
        raise InputError("wrong type", field=field, found=value, expected="a list of turns")
    return value


def _said(value: Any, role: str, field: str) -> list[Any]:
    """A prompt or a completion: one text, or a list of messages."""
    if isinstance(value, str) and not value.lstrip().startswith('[{"'):
        return [{"role": role, "content": value}]
    return _list(value, field)


def _message(turn: Any, at: int) -> Message:
    if isinstance(turn, Message):
        return turn
    if not isinstance(turn, dict):
        raise InputError("wrong type", field=f"messages[{at}]", found=turn, expected='{"role": ..., "content": ...}')
    speaker = turn.get("role", turn.get("from"))
    content = turn.get("content", turn.get("value"))
    if not isinstance(speaker, str) or speaker not in ROLES:
        raise _role(speaker, at)
    if isinstance(content, list) and all(isinstance(part, dict) and isinstance(part.get("text"), str) for part in content):
        content = "".join(part["text"] for part in content)
    if content is not None and not isinstance(content, str):
        raise InputError("wrong type", field=f"messages[{at}].content", found=content, expected="a text")
    return Message(role=ROLES[speaker], content=content or "")


def _role(found: Any, at: int) -> InputError:
    return InputError(
        "unknown role", field=f"messages[{at}].role", found=found, expected="system, user or assistant (human, gpt)"
    )


def _content_id(messages: tuple[Message, ...]) -> str:
    return f"dialogue-{hashlib.blake2b(msgspec.json.encode(messages), digest_size=8).hexdigest()}"

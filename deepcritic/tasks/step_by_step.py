r"""The first wrong step, found by one question per step: is this step right, yes or no?

Critics such as GenPRM and R-PRM are asked in this way. The verdict is the first step that is called wrong, and asking stops
there. The prompts are the authors' own (see `deepcritic.evaluation.critics`).

>>> calls = (StepCall(prefix="Step {{number}}: "),)
>>> asked = StepQuestion(first="{{problem}}\n{{step}}", later="{{step}}", history=True, calls=calls)
>>> task = StepByStep(asked)
>>> item = Item(problem="1 + 1 + 1?", steps=("1 + 1 = 2", "2 + 1 = 4"))
>>> question = task.ask_step(item, 2, ["Step 1: fine. \\boxed{Yes}"])
>>> [message.content for message in question.messages], question.prefix
(['1 + 1 + 1?\n1 + 1 = 2', 'Step 1: fine. \\boxed{Yes}', '2 + 1 = 4'], 'Step 2: ')
>>> task.parse_step("No doubt. \\boxed{No}"), task.parse_step("Is the step correct (Yes/No)? Yes"), task.parse_step("Yes")
(False, True, None)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, Item, Message
from deepcritic.tasks.base import Question
from deepcritic.tasks.first_error import FirstError
from deepcritic.text.prompt_template import Template, fill, placeholders

FIELDS: Final = ("problem", "previous", "step", "number")
_DECISION: Final = re.compile(r"boxed\s*\{\s*(?:\\text\{)?\s*(yes|no)\s*\}|\(yes/no\)\?\W*(yes|no)\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class StepCall:
    """One call of a question: the `prefix` that the reply continues, its stop strings, and its maximal length."""

    prefix: str = ""
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class StepQuestion:
    """How to ask about a step. `first` and `later` are the user messages for the first step and for later ones, with the fields
    problem, previous (the steps before, each formatted by `written`), step and number. With `history`, the earlier steps and the
    critic's replies stay in the conversation."""

    first: str
    later: str
    system: str | None = None
    history: bool = False
    written: str = "{{text}}"
    calls: tuple[StepCall, ...] = (StepCall(),)


class StepByStep(FirstError):
    """The task. Verdicts, votes and figures are those of `FirstError`."""

    def __init__(self, question: StepQuestion) -> None:
        self.question, self.marker = question, None
        for text in (question.first, question.later, *(call.prefix for call in question.calls)):
            unknown = set(placeholders(text)) - set(FIELDS)
            if unknown:
                raise InputError("unknown field", field="critic.parts", found=min(unknown), expected=" or ".join(FIELDS))
        texts = [
            question.first,
            question.later,
            question.written,
            str(question.history),
            *(call.prefix for call in question.calls),
        ]
        marked = "\0".join(texts)
        # Manifests record this as the prompt: its hash covers all texts of the question.
        self.template = Template(text=marked, fields=placeholders(marked), index_base=1, system=question.system)

    def ask(self, item: Item, *, seed: int | None = 0, sample: int = 0, context: Any = None) -> Question:
        """The question about the first step."""
        return self.ask_step(item, 1, [])

    def ask_step(self, item: Item, number: int, replies: Sequence[str], call: int = 0, so_far: str = "") -> Question:
        """The question about step `number`, from 1, given the replies to the steps before. `so_far` is the text of earlier calls
        about this step, their prefixes included."""
        if not item.steps:
            raise InputError("the solution has no steps", field="item.steps", found=[], expected="at least one step")
        asked = self.question
        messages = [] if asked.system is None else [Message(role="system", content=asked.system)]
        for earlier in range(1, number) if asked.history else ():
            messages.append(Message(role="user", content=self._user(item, earlier)))
            messages.append(Message(role="assistant", content=replies[earlier - 1]))
        messages.append(Message(role="user", content=self._user(item, number)))
        return Question(messages=tuple(messages), prefix=so_far + self._fill(asked.calls[call].prefix, item, number))

    def _user(self, item: Item, number: int) -> str:
        return self._fill(self.question.first if number == 1 else self.question.later, item, number)

    def _fill(self, text: str, item: Item, number: int) -> str:
        used = set(placeholders(self.question.written))

        def written(at: int) -> str:
            values = {"text": item.steps[at], "index": at + 1}
            return fill(self.question.written, **{name: values[name] for name in used})

        values = {
            "problem": item.problem, "number": number, "step": written(number - 1),
            "previous": "\n".join(written(at) for at in range(number - 1)),
        }  # fmt: skip
        return fill(text, **{name: values[name] for name in placeholders(text)})

    def parse_step(self, reply: str) -> bool | None:
        """Whether the step is called right, by the last decision in a reply. None if there is no decision."""
        decisions = _DECISION.findall(reply)
        return None if not decisions else (decisions[-1][0] or decisions[-1][1]).lower() == "yes"

    def parse(self, text: str, context: Any = None) -> int | None:
        """The verdict of the concatenated replies to all steps: the first step that is called wrong."""
        decisions = [(first or second).lower() == "yes" for first, second in _DECISION.findall(text)]
        if False in decisions:
            return decisions.index(False) + 1
        steps = context if isinstance(context, int) else None
        return ALL_CORRECT if decisions and steps in (None, len(decisions)) else None

    def format(self, verdict: int) -> str:
        right = r"\boxed{Yes}"
        return right if verdict == ALL_CORRECT else "\n".join([*[right] * (verdict - 1), r"\boxed{No}"])

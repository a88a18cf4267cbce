r"""The question about the first wrong step with a released critic's own prompt, and the answer formats of such critics.

| form | the verdict | critics |
|---|---|---|
| `box` | the number in the last box, or in the box after `marker` | DeepCritic, plain models with ProcessBench's prompt |
| `line` | the number after `marker` on its line | FARE, Hard2Verify's prompt (`Verdict: 3`) |
| `labels` | a box `correct` or `incorrect` for each step, also inside thinking: the first `incorrect` | ThinkPRM |

>>> text, fields = "{{problem}}\n{{solution}}", ("problem", "solution")
>>> template = Template(text=text, fields=fields, index_base=0, step="<{{index}}> {{text}}", marker="Verdict:")
>>> task = ReleasedFirstError(template, form="line")
>>> task.parse("Explanation: the sum is off.\nVerdict: 1"), task.parse("Verdict: -1"), task.parse("Verdict: none")
(2, -1, None)
>>> labels = ReleasedFirstError(template, form="labels")
>>> labels.parse("1: \\boxed{correct} 2: \\boxed{incorrect}", 3), labels.parse("\\boxed{correct}", 3)
(2, None)
"""

from __future__ import annotations

import re
from typing import Any, Final

from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, Item
from deepcritic.tasks.base import Question
from deepcritic.tasks.first_error import FirstError
from deepcritic.text.parsing import strip_thinking
from deepcritic.text.prompt_template import Template, fill, placeholders
from deepcritic.text.verdict import number_of

FORMS: Final = ("box", "line", "labels")
_LABEL: Final = re.compile(r"\\boxed\s*\{\s*(?:\\text(?:bf)?\s*\{\s*)?(in)?correct\s*\}", re.IGNORECASE)


class ReleasedFirstError(FirstError):
    """The task. `between` joins the steps. White space around the whole solution is stripped, as in the authors' scripts.
    `prefix` is the beginning of the reply, which the critic continues."""

    def __init__(self, template: Template, *, form: str = "box", between: str = "\n\n", prefix: str = "") -> None:
        if form not in FORMS:
            raise InputError("unknown verdict format", field="critic.form", found=form, expected=", ".join(FORMS))
        if form == "line" and not template.marker:
            raise InputError("critic.form=line needs a marker", field="critic.marker", expected='a text such as "Verdict:"')
        self.template, self.marker = template, template.marker
        self._form, self._between, self._prefix = form, between, prefix

    def ask(self, item: Item, *, seed: int | None = 0, sample: int = 0, context: Any = None) -> Question:
        """The authors' prompt. The context is the number of steps, which the form `labels` requires."""
        if not item.steps:
            raise InputError("the solution has no steps", field="item.steps", found=[], expected="at least one step")
        used = placeholders(self.template.step)
        values = ({"index": at, "text": text} for at, text in enumerate(item.steps, start=self.template.index_base))
        solution = self._between.join(fill(self.template.step, **{name: one[name] for name in used}) for one in values).strip()
        messages = self.template.messages(problem=item.problem, solution=solution)
        return Question(messages=messages, prefix=self._prefix, context=len(item.steps))

    def parse(self, text: str, context: Any = None) -> int | None:
        if self._form == "box":
            return super().parse(text)
        if self._form == "labels":
            return _first_incorrect(text, context if isinstance(context, int) else None)
        answer = strip_thinking(text)
        lines = re.findall(rf"(?<!\w){re.escape(self.marker or '')}[ \t]*(.+)", answer or "", re.IGNORECASE)
        number = number_of(lines[-1]) if lines else None
        if number is None or number == ALL_CORRECT:
            return number
        step = number + 1 - self.template.index_base
        return step if step >= 1 else None

    def format(self, verdict: int) -> str:
        if self._form == "box":
            return super().format(verdict)
        if self._form == "labels":
            right = r"\boxed{correct}"
            return right if verdict == ALL_CORRECT else "\n".join([*[right] * (verdict - 1), r"\boxed{incorrect}"])
        shown = verdict if verdict == ALL_CORRECT else verdict - 1 + self.template.index_base
        return f"{self.marker} {shown}"


def _first_incorrect(text: str, steps: int | None) -> int | None:
    """The first step labelled incorrect. "All correct" needs a label for each of the `steps`; with fewer labels it is None."""
    wrong = [bool(found[1]) for found in _LABEL.finditer(text)]
    if steps is not None:
        wrong = wrong[:steps]
    if True in wrong:
        return wrong.index(True) + 1
    return ALL_CORRECT if wrong and (steps is None or len(wrong) == steps) else None

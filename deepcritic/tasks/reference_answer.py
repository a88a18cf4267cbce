r"""Does a response reach the reference answer? The question of answer verifiers such as CompassVerifier (arXiv 2508.03686).

A row is a `Preference` with one response, whose item has the reference answer in `meta["reference_answer"]`. Here the judge is
meant to see it. The verdict is A (right), B (wrong) or C (invalid), which counts as wrong. Its figures are those of single
responses.

>>> template = Template(text="{{query}}|{{reference}}|{{response}}", fields=("query", "reference", "response"), index_base=1)
>>> task = ReferenceAnswer(template)
>>> task.parse("A"), task.parse("Final Judgment: \\boxed{B} - INCORRECT"), task.parse("C"), task.parse("A or B")
((1,), (0,), (0,), None)
"""

from __future__ import annotations

import re
from typing import Any, Final

from deepcritic.errors import InputError
from deepcritic.schema import Responses
from deepcritic.tasks.base import Question
from deepcritic.tasks.pointwise import Pointwise, Verdict
from deepcritic.text.parsing import strip_thinking
from deepcritic.text.prompt_template import Template

REFERENCE: Final = "reference_answer"
"""The key of the reference answer in an item's `meta`."""
_BOX: Final = re.compile(r"boxed\{\s*(?:\\text\{)?([A-C])\}")
_ALONE: Final = re.compile(
    r"[\s*_\"'(]*(?:([A-C])\b[\s)*_.\"':-]*)?(INCORRECT|CORRECT|INVALID|INCOMPLETE|REPETITIVE|REFUSAL)?[\s*_.\"')]*"
)
"""A letter, a word, or both, and nothing else."""
_LETTERS: Final = {"CORRECT": "A", "INCORRECT": "B"}


class ReferenceAnswer(Pointwise):
    """The task. `template` is the prompt, with the fields query, reference and response."""

    shuffles = False

    def __init__(self, template: Template) -> None:
        super().__init__(binary=True)
        self.template = template

    def ask(self, item: Responses, *, seed: int | None = 0, sample: int = 0, context: Any = None) -> Question:
        reference = item.meta.get(REFERENCE)
        if len(item.responses) != 1:
            raise InputError(
                "only single responses are supported", field="item.responses", found=f"{len(item.responses)} responses",
                expected="rows with one response",
            )  # fmt: skip
        if not isinstance(reference, str):
            raise InputError(
                "no reference answer", field=f"item.meta.{REFERENCE}", found=reference, expected="the reference answer, a text"
            )
        (response,) = item.responses
        return Question(messages=self.template.messages(query=item.query, reference=reference, response=response))

    def parse(self, text: str, context: Any = None) -> Verdict | None:
        """The verdict in the last box, or in the text after "Final Judgment:", or in a reply that is only a letter or a word."""
        answer = strip_thinking(text)
        if answer is None:
            return None
        boxes = _BOX.findall(answer)
        if boxes:
            return (int(boxes[-1] == "A"),)
        found = _ALONE.fullmatch(answer.rpartition("Final Judgment:")[2])
        if found is None or not any(found.groups()):
            return None
        letter, word = found[1], _LETTERS.get(found[2] or "", "C") if found[2] else None
        return None if letter and word and letter != word else (int((letter or word) == "A"),)

    def format(self, verdict: Verdict) -> str:
        return r"\boxed{A}" if verdict[0] else r"\boxed{B}"

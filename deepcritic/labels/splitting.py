r"""Solutions without steps, and long thinking texts, split into steps by a rule or by a model.

A split row keeps its text in `item.meta["solution"]` and the position of each step in `item.meta["spans"]`, so that a verdict can
be located in the original text:

>>> from deepcritic.text.splitting import split_by_rule
>>> row = Example(id="a", item=Item(problem="2 * 3 + 1?", steps=("First 2 * 3 = 6. Then 6 + 1 = 8.",)), source="made")
>>> found = divided(row, split_by_rule(row.item.steps[0]))
>>> found.item.steps, place_of(found.item, 2)
(('First 2 * 3 = 6.', 'Then 6 + 1 = 8.'), 'Then 6 + 1 = 8.')
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from deepcritic.samplers.base import Request, Sampling
from deepcritic.samplers.resume import request
from deepcritic.schema import ALL_CORRECT, Example, Generation, Item, Unlabelled
from deepcritic.tasks.base import Question
from deepcritic.text.parsing import last_boxed, strip_thinking
from deepcritic.text.prompt_template import Template
from deepcritic.text.splitting import joined, pieces
from deepcritic.text.steps import Step

CALL: Final = "split"
PROMPT: Final = r"""---
fields: [problem, pieces]
index_base: 1
step: "[{{index}}] {{text}}"
---
Below are a problem and a solution of it. The solution was cut into numbered pieces.

<problem>
{{problem}}
</problem>

<solution>
{{pieces}}
</solution>

Put the pieces together to steps. A step is one thought that can be right or wrong by itself: a calculation, a conclusion, a case,
a change of plan. Pieces that only announce something belong to the step that does it. Do not judge the solution.

End with one line: the numbers of the pieces with which a step begins, in a box, such as \boxed{1, 3, 4, 8}.
"""


def has_no_steps(row: Example, least: int) -> bool:
    """Whether a row has a solution, but fewer steps than `least`."""
    return 0 < len(row.item.steps) < least


def fault_of(row: Example) -> str | None:
    """The reason if a solution may not be split: its label would no longer name the wrong step."""
    first = row.gold.first_error
    return None if isinstance(first, Unlabelled) or first == ALL_CORRECT else "the label refers to its steps"


def written(row: Example) -> str:
    """The solution as one text."""
    return "\n\n".join(row.item.steps)


def divided(row: Example, steps: Sequence[Step]) -> Example:
    """The row with these steps of `written(row)`. Ratings of the old steps are removed."""
    spans = [[step.start, step.end] for step in steps]
    meta = {**row.item.meta, "solution": written(row), "spans": spans}
    item = msgspec.structs.replace(row.item, steps=tuple(step.text for step in steps), meta=meta)
    gold = msgspec.structs.replace(row.gold, step_ratings=None, step_values=None)
    return msgspec.structs.replace(row, item=item, gold=gold)


def place_of(item: Item, step: int) -> str | None:
    """The original text of a step, from 1. None for a solution that was not split."""
    spans, text = item.meta.get("spans"), item.meta.get("solution")
    if not isinstance(spans, list | tuple) or not isinstance(text, str) or not 1 <= step <= len(spans):
        return None
    start, end = spans[step - 1]
    return text[start:end]


def ask(row: Example, prompt: Template, sampling: Sampling, seed: int) -> Request:
    """The question which pieces of a solution begin a step."""
    shown = prompt.solution([piece.text for piece in pieces(written(row))])
    question = Question(messages=prompt.messages(problem=row.item.problem, pieces=shown))
    return request(question, sampling, example_id=row.id, call=CALL, seed=seed)


def read(reply: Generation | None, text: str, *, least: int, most: int) -> list[Step] | None:
    """The steps that a reply names. None if it is unreadable or names too few or too many."""
    answer = None if reply is None or reply.finish_reason == "length" else strip_thinking(reply.prefix + reply.text)
    box = None if answer is None else last_boxed(answer)
    if box is None or not re.fullmatch(r"\s*\d{1,6}(?:\s*[,;]\s*\d{1,6})*\s*", box):
        return None
    cut = pieces(text)
    starts = [int(number) - 1 for number in re.findall(r"\d+", box)]
    starts = starts if starts[0] == 0 else [0, *starts]
    if any(after <= before for before, after in itertools.pairwise(starts)) or starts[-1] >= len(cut):
        return None
    return joined(text, cut, starts) if least <= len(starts) <= most else None

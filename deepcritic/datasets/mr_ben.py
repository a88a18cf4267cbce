"""MR-Ben, mathematics: multiple-choice questions, three models' solutions each, the first wrong step marked by people.

The error number is the number in a step's heading ("Step 4: ..."), but the list also holds lines without a heading. The rules:

- A step begins at a heading and includes the lines after it, as for the annotators. Lines before "Step 1" belong
  to it; before any other first heading they are a step (one row begins with "tep 1: ..."). A final line "Solution: Choice_B" is
  a step of its own.
- Headings are removed. `first_error` is the position of the first step whose heading has the error number. A repeated heading
  begins a step each time; the first one counts.
- A solution without any heading has one step per line.

The options are part of the problem. An id is `mr_ben-<question>/<model>`. The gold includes the annotators' reasons, and whether
the last step names the right option.

    for row in mr_ben.read("mr_ben/math_part_a.json.gz"): ...
"""

from __future__ import annotations

import re
from typing import Final

from deepcritic.datasets.base import reader
from deepcritic.datasets.fields import take, take_steps
from deepcritic.datasets.reading import Record
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item
from deepcritic.text.steps import strip_heading

SOURCE = "mr_ben"
LICENSE = "MIT"
_ANSWER: Final = re.compile(r"\s*solution\s*:", re.IGNORECASE)
_CHOICE: Final = re.compile(r"choice\\?[_ ]([A-Z])(?![A-Za-z])", re.IGNORECASE)
_ERROR: Final = "Model_Solution_First_Error_Step"


def _example(record: Record) -> Example:
    """The rows of a file of dvlab-research/Mr-Ben: an object from question to its list of rows, or one row per line."""
    numbers, steps = _steps(take_steps(record, "Model_Solution_Steps"))
    generator = take(record, "Sampled_Model", str)
    answer = record.get("Ground_Truth_Answer_Modified") or take(record, "Ground_Truth_Answer", str)
    return Example(
        id=f"mr_ben-{take(record, 'Question_UUID', str)}/{generator}",
        item=Item(
            problem=f"{take(record, 'Question', str).strip()}\n{take(record, 'Options', str).strip()}".strip(),
            steps=tuple(steps),
            meta={"generator": generator, "subset": take(record, "Subject", str)},
        ),
        gold=Gold(
            first_error=_first_error(record, numbers),
            reference_answer=str(answer),
            answer_right=_answer_right(steps[-1], str(answer)),
            error_reasons=_reasons(record),
        ),
        source=SOURCE,
        license=LICENSE,
    )


def _steps(lines: list[str]) -> tuple[list[int | None], list[str]]:
    """The number in each step's heading (None without one), and the steps."""
    numbers: list[int | None] = []
    steps: list[str] = []
    parts = [strip_heading(line) for line in lines]
    if all(number is None for number, _ in parts):
        return list(range(1, len(lines) + 1)), [line.strip() for line in lines]
    opening = ""
    for number, rest in parts:
        if number is not None or (steps and _ANSWER.match(rest)):
            if opening and number != 1:
                numbers.append(None)
                steps.append(opening)
                opening = ""
            numbers.append(number)
            steps.append(f"{opening}\n{rest}".strip())
            opening = ""
        elif steps:
            steps[-1] = f"{steps[-1]}\n{rest.rstrip()}".strip()
        else:
            opening = f"{opening}\n{rest}".strip()
    return numbers, steps


def _answer_right(last: str, answer: str) -> bool | None:
    chosen = {letter.upper() for letter in _CHOICE.findall(last)}
    return chosen == {answer.upper()} if len(chosen) == 1 else None


def _reasons(record: Record) -> tuple[str, ...]:
    told = record.get("Model_Solution_Error_Reason")
    return tuple(reason.strip() for reason in told if isinstance(reason, str)) if isinstance(told, list) else ()


def _first_error(record: Record, numbers: list[int | None]) -> int:
    verdict, error = take(record, "Model_Solution_Correctness", str), record.get(_ERROR)
    said = ", ".join(str(number) for number in numbers if number is not None)
    if verdict == "correct" and error == "N/A":
        return ALL_CORRECT
    if verdict not in ("correct", "incorrect"):
        raise InputError("no verdict", field="Model_Solution_Correctness", found=verdict, expected="correct or incorrect")
    number = int(str(error)) if re.fullmatch(r"[0-9]{1,6}", str(error)) else None
    if verdict == "correct" or number not in numbers or number is None:
        expected = "N/A" if verdict == "correct" else f"the number of a step: {said}"
        raise InputError(f"contradicts the solution's label {verdict!r}", field=_ERROR, found=error, expected=expected)
    return numbers.index(number) + 1


read = reader(_example)

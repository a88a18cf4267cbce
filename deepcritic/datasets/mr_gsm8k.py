"""MR-GSM8K: solutions of GSM8K problems, with the first wrong step and the reason marked by people. It has two forms:

- The authors' own file (dvlab-research/MR-GSM8K): 3,000 rows of three kinds of question (`item.meta["subset"]`: original, POT,
  reversed), with the reason for the error. Steps count from 1. The id is `mr_gsm8k-<uuid>`.
- `processed_test.json` of RUCBM/DeepCritic: the 1,418 rows of the kind `original` in ProcessBench's form, without reasons. The
  `id` is a number and becomes `mr_gsm8k-17`; `final_answer_correct` repeats the label and is left out; `generator` is empty.

In both every step begins with a heading "Step k: ", which is removed. A step with nothing else (the first one of row 98) stays as
an empty step, since the label counts it.

    for row in mr_gsm8k.read("mr_gsm8k/processed_test_first_half.json"): ...
"""

from __future__ import annotations

from deepcritic.datasets.base import reader
from deepcritic.datasets.fields import take, take_label, take_steps, unnumbered
from deepcritic.datasets.reading import Record
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item

SOURCE = "mr_gsm8k"
LICENSE = "MIT"
_RIGHT = {"correct": True, "wrong": False}
_ERROR = "model_output_solution_first_error_step"


def _example(record: Record) -> Example:
    """The rows of a file in either form; only the first form has the field `model_output_steps`."""
    return _full(record) if "model_output_steps" in record else _processed(record)


def _processed(record: Record) -> Example:
    steps = take_steps(record, "steps")
    return Example(
        id=f"{SOURCE}-{take(record, 'id', int)}",
        item=Item(problem=take(record, "problem", str), steps=unnumbered(steps), meta={"subset": "original"}),
        gold=Gold(first_error=take_label(record, "label", len(steps))),
        source=SOURCE,
        license=LICENSE,
    )


def _full(record: Record) -> Example:
    steps = take_steps(record, "model_output_steps")
    first_error = _first_error(record, len(steps))
    reason = record.get("model_output_solution_first_error_reason")
    told = first_error != ALL_CORRECT and isinstance(reason, str) and reason.strip()
    return Example(
        id=f"{SOURCE}-{take(record, 'uuid', str)}",
        item=Item(
            problem=take(record, "question", str), steps=unnumbered(steps), meta={"subset": take(record, "question_type", str)}
        ),
        gold=Gold(
            first_error=first_error,
            reference_answer=str(record["ground_truth_answer"]) if "ground_truth_answer" in record else None,
            answer_right=_right(record, "model_output_answer_correctness"),
            error_reasons=(reason.strip(),) if told and isinstance(reason, str) else (),
        ),
        source=SOURCE,
        license=LICENSE,
    )


def _right(record: Record, name: str) -> bool:
    said = take(record, name, str)
    if said.lower() not in _RIGHT:
        raise InputError("no verdict", field=name, found=said, expected="correct or wrong")
    return _RIGHT[said.lower()]


def _first_error(record: Record, steps: int) -> int:
    if _right(record, "model_output_solution_correctness"):
        return ALL_CORRECT
    said = str(record.get(_ERROR)).strip()
    number = int(said) if said.isascii() and said.isdigit() and len(said) < 7 else 0
    if not 1 <= number <= steps:
        raise InputError("does not fit a wrong solution", field=_ERROR, found=record.get(_ERROR), expected=f"1 to {steps}")
    return number


read = reader(_example)

"""PRMBench: solutions of PRM800K into which a model wrote errors of nine kinds, with all wrong steps (arXiv 2501.03124).

A row has an original and a modified solution. As in the authors' script, the modified ones are evaluated, and for the kind
`redundency` (their spelling) the originals too, as `correct`: solutions without an error. `error_steps` counts from 1; numbers
beyond the last step are ignored. Only the first of repeated rows is read.

The authors' PRMScore is over steps (see `deepcritic.evaluation.benchmark_scores.prmbench`) and needs a scorer of steps. A critic
that names the first error gets F1 as on ProcessBench.

    for row in prmbench.read("prmbench_preview.jsonl"): ...
"""

from __future__ import annotations

from typing import Final

from deepcritic.datasets.base import reader
from deepcritic.datasets.fields import take, take_steps, unnumbered
from deepcritic.datasets.reading import Record
from deepcritic.errors import InputError
from deepcritic.schema import ALL_CORRECT, Example, Gold, Item

CORRECT: Final = "correct"
_WITH_ORIGINAL: Final = "redundency"


def _examples(record: Record, *, license: str = "Apache-2.0") -> tuple[Example, ...]:
    """The rows of `prmbench_preview.jsonl`, or of `hitsmy/PRMBench_Preview` on the hub."""
    name, kind = take(record, "idx", str), take(record, "classification", str)
    steps = take_steps(record, "modified_process")
    changed = _example(f"{kind}-{name}", kind, take(record, "modified_question", str), steps, _wrong(record, len(steps)), license)
    if kind != _WITH_ORIGINAL:
        return (changed,)
    problem, before = take(record, "original_question", str), take_steps(record, "original_process")
    return _example(f"{CORRECT}-{name}", CORRECT, problem, before, frozenset(), license), changed


def _wrong(record: Record, steps: int) -> frozenset[int]:
    numbers = take(record, "error_steps", list)
    if any(type(number) is not int or number < 1 for number in numbers):
        raise InputError("not numbers of steps", field="error_steps", found=numbers, expected="whole numbers from 1")
    wrong = frozenset(number for number in numbers if number <= steps)
    if numbers and not wrong:
        raise InputError("the wrong steps are outside the solution", field="error_steps", found=numbers, expected=f"1 to {steps}")
    return wrong


def _example(name: str, kind: str, problem: str, steps: list[str], wrong: frozenset[int], license: str) -> Example:
    ratings = tuple(-1 if number in wrong else 1 for number in range(1, len(steps) + 1))
    first = min(wrong, default=ALL_CORRECT)
    return Example(
        id=f"prmbench-{name}",
        item=Item(problem=problem, steps=unnumbered(steps)),
        gold=Gold(first_error=first, step_ratings=ratings, error_kind=None if first == ALL_CORRECT else kind),
        source="prmbench",
        license=license,
    )


read = reader(_examples, repeats=True)

"""Arithmetic in which the label of every step is known by construction.

A problem is a chain of operations modulo 10, computed from the left. A solution has one step per operation. A step is right if it
takes the result of the step before it, applies the operation and operand from the problem, and states the right result. `judge`
applies that rule to any text, so it labels a model's solutions exactly like generated ones.

>>> problem = Problem(7, (("+", 5), ("*", 3)))
>>> problem.text
'Mod ten, from 7:\\n1)+5\\n2)*3'
>>> judge(problem, ["7+5=2", "2*4=8\\n\\\\boxed{8}"])
Truth(first_error=2, kind='operand', answer_right=False)
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from deepcritic.schema import ALL_CORRECT

OPERATIONS = ("+", "-", "*")
KINDS = ("slip", "operand", "operation", "carried", "lucky")
"""The kinds of first error: a wrong calculation, operand, operation, or value carried over from the step before. `lucky` is any
of these if the final answer is still right."""

_STEP = re.compile(r"(\d)([+*-])(\d)=(\d)(?:\n\\boxed\{(\d)\})?")
_PROBLEM = re.compile(r"Mod ten, from (\d):((?:\n\d\)[+*-]\d)+)")


@dataclass(frozen=True)
class Problem:
    """A start value and its operations. `text` is the prompt form."""

    start: int
    operations: tuple[tuple[str, int], ...]

    @property
    def text(self) -> str:
        chain = "".join(f"\n{index}){operation}{operand}" for index, (operation, operand) in enumerate(self.operations, 1))
        return f"Mod ten, from {self.start}:{chain}"

    @property
    def answer(self) -> int:
        value = self.start
        for operation, operand in self.operations:
            value = apply(value, operation, operand)
        return value

    @property
    def split(self) -> str:
        """`train`, `validation` or `test`: determined by the operands and operators, so the splits share no problem."""
        bucket = hashlib.blake2b(self.text.encode(), digest_size=2).digest()[0] % 10
        return "train" if bucket < 6 else "validation" if bucket < 7 else "test"

    @classmethod
    def read(cls, text: str) -> Problem:
        """Parse the problem in `text`. Raises `ValueError` if there is none."""
        found = _PROBLEM.fullmatch(text)
        if found is None:
            raise ValueError(f"not a problem of the small world: {text[:80]!r}")
        chain = found.group(2).split("\n")[1:]
        return cls(int(found.group(1)), tuple((step[2], int(step[3])) for step in chain))


@dataclass(frozen=True)
class Truth:
    """The label of a solution. `first_error` is numbered from 1, or is `ALL_CORRECT`. `kind` is None if every step is right."""

    first_error: int
    kind: str | None
    answer_right: bool


def apply(left: int, operation: str, right: int) -> int:
    """One operation modulo 10."""
    return {"+": left + right, "-": left - right, "*": left * right}[operation] % 10


def draw_problem(rng: random.Random, split: str, lengths: Sequence[int] = (3, 4, 5, 6)) -> Problem:
    """Draw a problem of `split` with one of `lengths` operations, by rejection sampling."""
    while True:
        operations = tuple((rng.choice(OPERATIONS), rng.randrange(10)) for _ in range(rng.choice(lengths)))
        problem = Problem(rng.randrange(10), operations)
        if problem.split == split:
            return problem


def judge(problem: Problem, steps: Sequence[str]) -> Truth | None:
    """The label of `steps`, or None if the text is not a solution in this format (a model may write anything)."""
    if len(steps) != len(problem.operations):
        return None
    value, first_error, kind, boxed = problem.start, ALL_CORRECT, None, None
    for index, (step, (operation, operand)) in enumerate(zip(steps, problem.operations, strict=True), start=1):
        found = _STEP.fullmatch(step.strip())
        if found is None or (found.group(5) is not None) != (index == len(steps)):
            return None
        left, said, right, result = int(found.group(1)), found.group(2), int(found.group(3)), int(found.group(4))
        boxed = int(found.group(5)) if found.group(5) else None
        wrong = (
            "carried" if left != value
            else "operation" if said != operation
            else "operand" if right != operand
            else "slip" if result != apply(left, said, right)
            else None
        )  # fmt: skip
        if wrong and first_error == ALL_CORRECT:
            first_error, kind = index, wrong
        value = result
    if boxed != value:
        return None
    right_answer = boxed == problem.answer
    return Truth(first_error, "lucky" if kind and right_answer else kind, right_answer)


def write_solution(problem: Problem, rng: random.Random, error_rates: dict[str, float] | None = None) -> list[str]:
    """A complete solution. `error_rates` (kind of error -> probability at each step) makes some steps wrong."""
    rates = error_rates or {}
    values, steps = [problem.start], []
    for index, (operation, operand) in enumerate(problem.operations, start=1):
        left, said, right = values[-1], operation, operand
        draw, error = rng.random(), None
        for kind, rate in rates.items():
            if draw < rate:
                error = kind
                break
            draw -= rate
        if error == "carried":
            older = [value for value in values[:-1] if value != left]
            left = older[-1] if older else left
        elif error == "operation":
            said = rng.choice([other for other in OPERATIONS if other != operation])
        elif error == "operand":
            right = (right + rng.choice((1, 2, 8, 9))) % 10
        result = apply(left, said, right)
        if error == "slip":
            result = (result + rng.choice((1, 2, 8, 9))) % 10
        values.append(result)
        box = f"\n\\boxed{{{result}}}" if index == len(problem.operations) else ""
        steps.append(f"{left}{said}{right}={result}{box}")
    return steps

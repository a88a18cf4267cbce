r"""Problems of the small world: letters defined one after the other, modulo ten. `judge` labels any solution.

A solution has one step per definition: the letter, its definition in signs, the values inserted, and the chain of results.

>>> problem = Problem((7, 5), (("a", "+", "b"), ("c", "*", "4", "-", "a")))
>>> problem.text
'Mod ten. a is 7. b is 5. c is a plus b. d is c times 4 minus a. What is d?'
>>> judge(problem, ["c=a+b=7+5=2", "So d=c*4-a=2*4-7=8-7=1\n\\boxed{1}"])
Truth(first_error=-1, kind=None, answer_right=True)
>>> judge(problem, ["c=a+b=7+5=3", "So d=c*4-a=3*4-7=2-7=5\n\\boxed{5}"])
Truth(first_error=1, kind='fact', answer_right=False)
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from deepcritic.schema import ALL_CORRECT

SIGNS = {"plus": "+", "minus": "-", "times": "*"}
WORDS = {sign: word for word, sign in SIGNS.items()}
LETTERS = "abcdefghij"
FILLERS = ("So ", "Then ", "Now ", "")
"""Meaningless beginnings of a solution's steps."""
KINDS = ("reading", "lookup", "fact", "lucky")
"""The kinds of first error: the definition is misread, a letter's value is wrong, or a result is wrong. `lucky` is any of these
if the final answer is still right."""
LENGTHS, LONGER = (3, 4, 5), (6, 7, 8)
"""Numbers of steps in training solutions, and in longer ones used only for tests."""

Definition = tuple[str, ...]
"""Operands (letters or digits) with signs between them, such as `("c", "*", "4", "-", "a")`, computed from the left."""

_STEP = re.compile(
    r"(?:So |Then |Now )?(?P<letter>[a-j])=[a-j0-9+*-]+=[0-9+*-]+(?:=[0-9+*-]+)?=\d"
    r"(?:\n\\boxed\{(?P<box>\d)\})?"
)
_PROBLEM = re.compile(r"Mod ten\. a is (\d)\. b is (\d)\. ((?:[c-j] is [a-j0-9 a-z]+\. )+)What is [c-j]\?")


@dataclass(frozen=True)
class Problem:
    """The values of `a` and `b`, and the definitions of the letters from `c` on. The question is the last letter's value."""

    givens: tuple[int, int]
    definitions: tuple[Definition, ...]

    @cached_property
    def text(self) -> str:
        """The problem in words, as in prompts."""
        said = [f"{letter} is {value}." for letter, value in zip(LETTERS, self.givens, strict=False)]
        for letter, definition in zip(LETTERS[2:], self.definitions, strict=False):
            said.append(f"{letter} is {' '.join(WORDS.get(part, part) for part in definition)}.")
        return f"Mod ten. {' '.join(said)} What is {LETTERS[len(self.definitions) + 1]}?"

    @cached_property
    def answer(self) -> int:
        values = self.known(())
        for letter, definition in zip(LETTERS[2:], self.definitions, strict=False):
            values[letter] = int(chain(substitute(definition, values))[-1])
        return values[LETTERS[len(self.definitions) + 1]]

    @property
    def split(self) -> str:
        """`train`, `validation` or `test`: determined by the text, so the splits share no problem."""
        bucket = hashlib.blake2b(self.text.encode(), digest_size=2).digest()[0] % 10
        return "train" if bucket < 6 else "validation" if bucket < 7 else "test"

    def known(self, steps: Sequence[str]) -> dict[str, int]:
        """The letters' values that these steps state."""
        values = dict(zip(LETTERS, self.givens, strict=False))
        values.update({letter: int(equation(step)[-1]) for letter, step in zip(LETTERS[2:], steps, strict=False)})
        return values

    @classmethod
    def read(cls, text: str) -> Problem:
        """Parse the problem in `text`. Raises `ValueError` if there is none."""
        found = _PROBLEM.fullmatch(text)
        if found is None:
            raise ValueError(f"not a problem of the small world: {text[:80]!r}")
        definitions = [part[5:].split(" ") for part in found.group(3).split(". ")[:-1]]
        return cls(
            (int(found.group(1)), int(found.group(2))), tuple(tuple(SIGNS.get(p, p) for p in parts) for parts in definitions)
        )


@dataclass(frozen=True)
class Truth:
    """The label of a solution. `first_error` is numbered from 1, or is `ALL_CORRECT`. `kind` is None if every step is right."""

    first_error: int
    kind: str | None
    answer_right: bool


def apply(left: int, sign: str, right: int) -> int:
    """One operation modulo ten."""
    return {"+": left + right, "-": left - right, "*": left * right}[sign] % 10


def substitute(definition: Definition, values: Mapping[str, int]) -> Definition:
    """The definition with the letters replaced by their values."""
    return tuple(str(values[part]) if part in values else part for part in definition)


def chain(values: Definition, fact: Callable[[int, str, int], int] = apply) -> list[str]:
    """The remaining expression after each operation, computed from the left. The last is the result.

    >>> chain(("3", "*", "4", "-", "7"))
    ['2-7', '5']
    """
    rest, results = list(values), []
    while len(rest) > 1:
        rest = [str(fact(int(rest[0]), rest[1], int(rest[2]))), *rest[3:]]
        results.append("".join(rest))
    return results


def written(letter: str, definition: Definition, values: Definition, results: Sequence[str]) -> str:
    """A step's equation."""
    return "=".join([letter, "".join(definition), "".join(values), *results])


def equation(step: str) -> str:
    """A step without its filler and box."""
    return step.split("\n")[0].split(" ")[-1]


def due_equation(problem: Problem, steps: Sequence[str], number: int) -> str:
    """The right equation of step `number` (from 1), given the values that the steps before it state."""
    definition = problem.definitions[number - 1]
    values = substitute(definition, problem.known(steps[: number - 1]))
    return written(LETTERS[number + 1], definition, values, chain(values))


def difference(due: str, said: str) -> int:
    """The first part in which two equations differ, from 1 (the definition in signs). 0 if they are equal.

    >>> difference("c=a+b=7+5=2", "c=a+b=7+5=3"), difference("c=a+b=7+5=2", "c=a+b=7+5=2")
    (3, 0)
    """
    pairs = zip(due.split("=")[1:], said.split("=")[1:], strict=False)
    return next((at for at, (one, other) in enumerate(pairs, start=1) if one != other), 0)


def judge(problem: Problem, steps: Sequence[str]) -> Truth | None:
    """The label of `steps`, or None if the text is not a solution in this format (a model may write anything)."""
    if len(steps) != len(problem.definitions):
        return None
    first_error, kind, box = ALL_CORRECT, None, ""
    for number, step in enumerate(steps, start=1):
        found = _STEP.fullmatch(step.strip())
        if found is None or (found["box"] is not None) != (number == len(steps)) or found["letter"] != LETTERS[number + 1]:
            return None
        due = due_equation(problem, steps, number).split("=")
        said = equation(step.strip()).split("=")
        if kind is None and said != due:
            first_error, kind = number, "reading" if said[1] != due[1] else "lookup" if said[2] != due[2] else "fact"
        box = found["box"]
    if box != equation(steps[-1].strip())[-1]:
        return None
    right = int(box) == problem.answer
    return Truth(first_error, "lucky" if kind and right else kind, right)


def draw_problem(rng: random.Random, split: str, lengths: Sequence[int] = LENGTHS) -> Problem:
    """Draw a problem of `split` with one of `lengths` definitions of two or three operands. Most use the previous letter; any may
    use earlier ones."""
    while True:
        definitions = [_draw_definition(rng, LETTERS[: number + 2]) for number in range(rng.choice(lengths))]
        problem = Problem((rng.randrange(10), rng.randrange(10)), tuple(definitions))
        if problem.split == split:
            return problem


def _draw_definition(rng: random.Random, letters: str) -> Definition:
    size = 2 if rng.random() < 0.6 else 3
    signs = [rng.choice("++--*") for _ in range(size - 1)]
    operands = [rng.choice(letters) if rng.random() < 0.8 else str(rng.randrange(2, 10)) for _ in range(size)]
    if letters[-1] not in operands and rng.random() < 0.85:
        operands[rng.randrange(size)] = letters[-1]
    if not any(operand in letters for operand in operands):
        operands[0] = letters[-1]
    definition = [operands[0]]
    for sign, operand in zip(signs, operands[1:], strict=True):
        definition += [sign, operand]
    return tuple(definition)

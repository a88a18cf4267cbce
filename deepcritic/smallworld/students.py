"""Students' solutions, with misconceptions that depend on the input, not on chance.

A population of students shares a fixed set of inputs with an error, each of a fixed kind: operators misread beside certain
operands, letters whose value is taken from their neighbour at certain distances, results that are one off, differences with
swapped operands. `acted` is how often a misconception appears when its input occurs. A model trained on such solutions learns the
misconceptions, and has them at temperature 0 too.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

from deepcritic.smallworld.problems import FILLERS, LETTERS, WORDS, Definition, Problem, apply, chain, equation, written

POPULATION = "pop"
READING, LOOKUP, FACT, BORROW = 0.04, 0.11, 0.045, 0.15
"""The share of inputs that each misconception affects."""


def write_solution(
    problem: Problem, rng: random.Random, *, acted: float = 0.0, population: str = POPULATION, start: Sequence[str] = ()
) -> list[str]:
    r"""A solution that continues after the steps `start`. With `acted` 0 it has no misconceptions.

    >>> write_solution(Problem((7, 5), (("a", "+", "b"),)), random.Random(0))
    ['c=a+b=7+5=2\n\\boxed{2}']
    """
    steps, filler = list(start), rng.choice(FILLERS)
    for number in range(len(steps) + 1, len(problem.definitions) + 1):
        step = write_step(problem, steps, number, rng, acted=acted, population=population)
        steps.append(step if number == 1 else filler + step)
    return boxed(steps)


def boxed(steps: Sequence[str]) -> list[str]:
    """The steps, with the answer in a box after the last one."""
    return [*steps[:-1], f"{steps[-1]}\n\\boxed{{{equation(steps[-1])[-1]}}}"]


def write_step(
    problem: Problem, steps: Sequence[str], number: int, rng: random.Random, *, acted: float = 0.0, population: str = POPULATION
) -> str:
    """A student's step `number` (from 1), given the steps before it."""
    definition, values = problem.definitions[number - 1], problem.known(steps[: number - 1])

    def act(wrong: object) -> bool:
        return wrong is not None and rng.random() < acted

    if act(misread := _misread(definition, population)):
        definition = misread or definition
    inserted = []
    for part in definition:
        neighbour = _mistaken(part, number, population) if part in LETTERS else None
        source = neighbour if act(neighbour) and neighbour else part
        inserted.append(str(values[source]) if source in values else source)

    def fact(left: int, sign: str, right: int) -> int:
        wrong = _believed(left, sign, right, population)
        return wrong if act(wrong) and wrong is not None else apply(left, sign, right)

    return written(LETTERS[number + 1], definition, tuple(inserted), chain(tuple(inserted), fact))


def _misread(definition: Definition, population: str) -> Definition | None:
    for at in range(1, len(definition), 2):
        if _share(population, "reading", definition[at], definition[at - 1], definition[at + 1]) < READING:
            others = [sign for sign in WORDS if sign != definition[at]]
            return (*definition[:at], others[int(2 * _share(population, "as", definition[at]))], *definition[at + 1 :])
    return None


def _mistaken(letter: str, number: int, population: str) -> str | None:
    at = LETTERS.index(letter)
    distance = number + 1 - at
    return LETTERS[at - 1] if at and distance > 1 and _share(population, "lookup", letter, distance) < LOOKUP else None


def _believed(left: int, sign: str, right: int, population: str) -> int | None:
    if sign == "-" and left < right and _share(population, "borrow", left, right) < BORROW:
        return (right - left) % 10
    if _share(population, "fact", left, sign, right) < FACT:
        return (apply(left, sign, right) + (1 if _share(population, "delta", left, sign, right) < 0.5 else 9)) % 10
    return None


def _share(*parts: object) -> float:
    """A number from 0 to 1, a hash of `parts`."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64

"""Which solutions are critiqued and which of their steps are rated."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from deepcritic.runs.folder import Ledger
from deepcritic.schema import ALL_CORRECT, UNLABELLED, Example, Gold, Item, Unlabelled
from deepcritic.seeding.funnel import Funnel
from deepcritic.seeding.solutions import Material, Place, choose_solutions, first_error, rated_steps
from deepcritic.text.prompt_template import Template


def _row(
    name: str = "x", *, problem: str = "p", steps: tuple[str, ...] = ("a", "b", "c"),
    first: int | Unlabelled = UNLABELLED, ratings: tuple[int | None, ...] | None = None,
) -> Example:  # fmt: skip
    gold = Gold(first_error=first, step_ratings=ratings)
    return Example(id=name, item=Item(problem=problem, steps=steps), gold=gold, source="made")


@pytest.mark.parametrize(
    ("first", "ratings", "expected"),
    [
        (2, None, [(1, 1), (2, -1)]),
        (ALL_CORRECT, None, [(1, 1), (2, 1), (3, 1)]),
        (2, (None, -1, None), [(2, -1)]),
        (2, (1, -1, 1), [(1, 1), (2, -1)]),  # what stands after the first error is not looked at
        (ALL_CORRECT, (1, None, 0), [(1, 1), (3, 0)]),
        (UNLABELLED, (1, -1, -1), [(1, 1), (2, -1)]),
        (UNLABELLED, (1, 0, 1), [(1, 1), (2, 0), (3, 1)]),
        (UNLABELLED, (1, None, 1), []),  # nobody says whether the second step is right
        (UNLABELLED, None, []),
    ],
)
def test_the_rated_steps(
    first: int | Unlabelled, ratings: tuple[int | None, ...] | None, expected: list[tuple[int, int]]
) -> None:
    row = _row(first=first, ratings=ratings)
    assert rated_steps(row) == expected
    assert (first_error(row) is None) == (not expected)


def _chosen(rows: list[Example], **options: int) -> tuple[list[str], dict[str, int]]:
    ledger = Ledger()
    funnel = Funnel(ledger)
    settings = {"max_problems": 100, "max_step_characters": 50, "seed": 0, **options}
    taken = choose_solutions(lambda: iter(rows), funnel=funnel, **settings)
    funnel.keep(len(taken))
    counts = ledger.as_dict()
    assert funnel.rows[0].left == len(rows)
    assert funnel.left == len(taken)
    return [row.id for row in taken], {reason: count for reason, count in counts["filtered"].items() if count}


def test_what_cannot_be_critiqued_goes_with_its_reason() -> None:
    rows = [
        _row("good", problem="1", first=2),
        _row("unlabelled", problem="2"),
        _row("unrated", problem="3", first=2, ratings=(None, None, None)),
        _row("other", problem="4", first=3, ratings=(1, -1, None)),
        _row("empty", problem="5", steps=("a", " \n"), first=1),
        _row("long", problem="6", steps=("a", "b" * 51), first=1),
        _row("just", problem="7", steps=("a", "b" * 50), first=1),
    ]
    names, gone = _chosen(rows)
    assert sorted(names) == ["good", "just"]
    assert gone == {
        "no rated step": 2, "the ratings and the first error disagree": 1, "an empty step": 1,
        "a step longer than 50 characters": 1,
    }  # fmt: skip


def test_one_solution_for_each_problem_whatever_the_order_of_the_file() -> None:
    rows = [_row(f"{problem}/{number}", problem=f"problem  {problem}", first=1) for problem in range(9) for number in range(3)]
    names, gone = _chosen(rows)
    assert len(names) == 9
    assert gone == {"another solution of the problem was chosen": 18}
    mixed = list(rows)
    random.Random(1).shuffle(mixed)
    assert _chosen(mixed)[0] == names
    other, _ = _chosen(rows, seed=1)
    assert other != names, "the seed draws the solutions"
    few, gone = _chosen(rows, max_problems=4)
    assert few == names[:4]
    assert gone["above stage.max_problems"] == 5


def test_problems_that_differ_in_white_space_are_one() -> None:
    assert len(_chosen([_row("a", problem="1 +  1\n", first=1), _row("b", problem="1 + 1", first=1)])[0]) == 1


def test_a_row_that_fits_is_taken_where_another_of_its_problem_does_not_fit() -> None:
    for seed in range(5):
        assert _chosen([_row("a", first=1), _row("b", steps=("",), first=1)], seed=seed)[0] == ["a"]


def test_a_solution_is_written_once_for_all_its_steps() -> None:
    material = Material([_row("x", first=3), _row("y", first=1)])
    prompt = Template.parse("---\nfields: [solution]\nindex_base: 1\n---\n{{solution}}")
    assert material.shown(prompt, "x") is material.shown(prompt, "x")
    assert material.shown(prompt, "y") == material.shown(prompt, "x")
    assert material.places["x"] == [Place("x", 1), Place("x", 2), Place("x", 3)]
    assert material.ratings[Place("x", 3)] == -1


@pytest.mark.parametrize(
    ("text", "boxed"), [("so \\boxed{-1}", True), ("\\boxed { 1 }", True), ("\\boxed{11}", False), ("it is -1", False)]
)
def test_solutions_that_hold_verdicts(text: str, boxed: bool) -> None:
    assert bool(Material([_row(steps=("a", text), first=1)]).boxed) is boxed


def test_the_file_is_read_twice_and_only_what_is_taken_is_kept() -> None:
    reads: list[Callable[[], object]] = []

    def read() -> list[Example]:
        reads.append(read)
        return [_row("a", first=1)]

    choose_solutions(read, max_problems=1, max_step_characters=9, seed=0, funnel=Funnel(Ledger()))
    assert len(reads) == 2

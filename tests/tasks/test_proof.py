"""Grades of proofs: asked without gold, read without guessing, rewarded by their distance."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.errors import InputError
from deepcritic.schema import WITH_ERROR, WITHOUT_ERROR, Generation, Gold, Item, Key
from deepcritic.tasks.base import verdict_of
from deepcritic.tasks.proof import SCALES, Proof

GOLDEN: list[dict[str, Any]] = json.loads((Path(__file__).parent.parent / "golden" / "proofs.json").read_text("utf-8"))
TASKS = {name: Proof(scale=name) for name in SCALES}
HALVES, POINTS = TASKS["halves"], TASKS["points"]
ITEM = Item(problem="Prove that 2 + 2 = 4.", steps=("Count.", "So it is."))
SCALED = st.sampled_from([(task, grade) for task in TASKS.values() for grade in task.scale.grades])


@pytest.mark.parametrize("case", GOLDEN, ids=[f"{index}: {case['source']}" for index, case in enumerate(GOLDEN)])
def test_golden_grades(case: dict[str, Any]) -> None:
    task = TASKS[case["scale"]]
    assert task.parse(case["text"]) == case["grade"]
    assert list(task.issues(case["text"])) == case["issues"]


@given(SCALED, st.text(max_size=80))
def test_what_is_written_is_read(scaled: tuple[Proof, float], before: str) -> None:
    task, grade = scaled
    assert task.parse(task.format(grade)) == grade
    assert task.parse(f"Issues:\n1. A gap.\n\n{task.format(grade)}") == grade


@given(st.text(max_size=80) | st.text("\\boxed{}0.51/7 <>think*$-", max_size=40))
def test_any_text_is_a_grade_or_unparsed(text: str) -> None:
    for task in TASKS.values():
        assert task.parse(text) is None or task.parse(text) in task.scale.grades
        assert all(issue and "\n" not in issue for issue in task.issues(text))


@given(st.lists(st.from_regex(r"[A-Z][a-z ]{3,30}\.", fullmatch=True), min_size=1, max_size=6))
def test_every_listed_issue_is_found(issues: list[str]) -> None:
    written = "\n".join(f"{number}. {issue}" for number, issue in enumerate(issues, start=1))
    assert HALVES.issues(f"Well.\n\nIssues:\n{written}\n\n\\boxed{{0}}") == tuple(issue.strip() for issue in issues)


@given(SCALED, st.floats(0, 1))
def test_the_reward_is_one_minus_the_distance(scaled: tuple[Proof, float], truth: float) -> None:
    task, grade = scaled
    gold = Gold(grade=truth)
    assert task.reward(grade, gold) == 1 - abs(grade - task.target(gold)) / task.scale.full
    assert (task.reward(grade, gold) == 1) == (task.score(grade, gold, ITEM).values["correct"] == 1)
    assert 0 <= task.reward(grade, gold) <= 1
    assert task.reward(None, gold) == 0
    assert abs(task.target(gold) / task.scale.full - truth) == pytest.approx(
        min(abs(one / task.scale.full - truth) for one in task.scale.grades), abs=1e-8
    )


@pytest.mark.parametrize(("points", "half"), [(0, 0), (1, 0), (2, 0.5), (3, 0.5), (4, 0.5), (5, 0.5), (6, 1), (7, 1)])
def test_points_as_halves(points: int, half: float) -> None:
    assert HALVES.target(Gold(grade=points / 7)) == half
    assert POINTS.target(Gold(grade=points / 7)) == points


def test_a_tie_between_grades_is_the_lower_one() -> None:
    assert [HALVES.target(Gold(grade=grade)) for grade in (0.25, 0.75)] == [0, 0.5]


def test_classes() -> None:
    assert [HALVES.stratum(Gold(grade=grade)) for grade in (1.0, 0.5, 0.0, None)] == [WITHOUT_ERROR, WITH_ERROR, WITH_ERROR, None]
    with pytest.raises(InputError, match="not graded"):
        HALVES.target(Gold(first_error=1))


def test_the_prompt_holds_what_a_critic_may_see_and_nothing_else() -> None:
    meta = {"reference_solution": "It is known.", "rubric": "1 point for counting.", "generator": "model-x"}
    item = Item(problem=ITEM.problem, steps=ITEM.steps, meta=meta)
    text = HALVES.ask(item).messages[-1].content
    assert all(part in text for part in (ITEM.problem, "Count.\n\nSo it is.", meta["reference_solution"], meta["rubric"]))
    assert "model-x" not in text
    plain = HALVES.ask(ITEM).messages[-1].content
    assert "reference_solution>" not in plain
    assert "rubric>" not in plain
    assert Proof(reference=False).ask(item).messages[-1].content == plain, "the aids can be hidden"
    assert POINTS.ask(ITEM).messages[-1].content != plain
    whole = Item(problem="p", steps=("a", "b"), meta={"solution": "Step 1: a\nStep 2: b"})
    assert "Step 1: a\nStep 2: b" in HALVES.ask(whole).messages[-1].content, "as it was written"


@pytest.mark.parametrize(
    ("item", "says"),
    [(Item(problem="p"), "there is no solution"), (Item(problem="p", steps=("s",), meta={"rubric": ["a"]}), "item.meta.rubric")],
)
def test_what_cannot_be_asked_is_named(item: Item, says: str) -> None:
    with pytest.raises(InputError, match=says):
        HALVES.ask(item)


def test_a_scale_that_is_none_is_named() -> None:
    with pytest.raises(InputError, match=r"task\.scale: no scale of grades; found 'ten'; expected halves or points"):
        Proof(scale="ten")


def test_a_template_with_a_marker(tmp_path: Path) -> None:
    file = tmp_path / "t.txt"
    file.write_text('---\nfields: [problem, solution, reference]\nindex_base: 1\nmarker: "Score:"\n---\n'
                    "{{problem}}|{{solution}}|{{reference}}\n", "utf-8")  # fmt: skip
    task = Proof(template=str(file))
    assert task.ask(ITEM).messages[-1].content == "Prove that 2 + 2 = 4.|Count.\n\nSo it is.|"
    assert task.format(0.5) == "Score: \\boxed{0.5}"
    assert task.parse(task.format(0.5)) == 0.5
    assert task.parse("\\boxed{0.5}") is None
    cut = Generation(key=Key(example_id="a", request="r"), text="Score: \\boxed{0}", finish_reason="length", model="m",
                     fingerprint="", seed=0)  # fmt: skip
    assert verdict_of(cut, task) is None


@given(st.lists(st.none() | st.sampled_from([0.0, 0.5, 1.0]), max_size=9), st.integers())
def test_the_vote_is_the_commonest_grade(verdicts: list[float | None], seed: int) -> None:
    vote = HALVES.vote(verdicts, seed=seed)
    readable = [verdict for verdict in verdicts if verdict is not None]
    assert vote.unparsed == len(verdicts) - len(readable)
    assert (vote.verdict is None) == (not readable)
    if vote.verdict is not None:
        assert readable.count(vote.verdict) == max(map(readable.count, readable))


def test_a_hint_names_the_grade() -> None:
    assert "0.5" in HALVES.hint(Gold(grade=3 / 7))


def test_aggregates() -> None:
    assert HALVES.aggregate({"correct": [1, 0, 0], "unparsed": [0, 0, 1], "stratum": []}) == {
        "accuracy": pytest.approx(1 / 3), "unparsed_rate": pytest.approx(1 / 3),
    }  # fmt: skip
    assert not math.isnan(HALVES.aggregate({"correct": [1], "unparsed": [0]})["accuracy"])

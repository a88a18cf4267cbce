"""The task of finding the first error: asked without gold, read without guessing, voted fairly."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.errors import InputError
from deepcritic.evaluation.judging import judge
from deepcritic.schema import ALL_CORRECT, Example, Generation, Gold, Item, Key, encode
from deepcritic.tasks.base import verdict_of
from deepcritic.tasks.first_error import FirstError

GOLDEN: list[dict[str, Any]] = json.loads((Path(__file__).parent.parent / "golden" / "verdicts.json").read_text("utf-8"))
VERDICTS = st.just(ALL_CORRECT) | st.integers(1, 40)
VOTES = st.lists(st.none() | VERDICTS, max_size=12)
ITEM = Item(problem="1 + 1?", steps=("1 + 1 = 3", "so it is 3"))


def _task(folder: Path, index_base: int) -> FirstError:
    file = folder / f"base{index_base}.md"
    head = f"---\nfields: [problem, solution]\nindex_base: {index_base}\n---\n"
    file.write_text(head + "{{problem}}\n{{solution}}\n", "utf-8")
    return FirstError(str(file))


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> dict[int, FirstError]:
    return {base: _task(tmp_path_factory.mktemp("templates"), base) for base in (0, 1)}


@pytest.mark.parametrize("case", GOLDEN, ids=[f"{index}: {case['source']}" for index, case in enumerate(GOLDEN)])
def test_golden_verdicts(case: dict[str, Any], tasks: dict[int, FirstError]) -> None:
    assert case["source"]
    if "marker" in case:
        assert FirstError(marker=case["marker"]).parse(case["text"]) == case["verdict"]
        return
    assert tasks[case.get("index_base", 1)].parse(case["text"]) == case["verdict"]
    if "index_base" not in case:
        assert FirstError().parse(case["text"]) == case["verdict"]


@given(verdict=VERDICTS, before=st.text(max_size=30).filter(lambda text: "think>" not in text), base=st.sampled_from([0, 1]))
def test_what_is_written_is_read(tasks: dict[int, FirstError], verdict: int, before: str, base: int) -> None:
    task = tasks[base]
    assert task.parse(task.format(verdict)) == verdict
    assert task.parse(f"{before}\n{task.format(verdict)}") == verdict
    assert task.reward(task.parse(task.format(verdict)), Gold(first_error=verdict)) == 1.0


@given(st.text(max_size=60) | st.text("\\boxed{}-1 23.<>think/", max_size=40))
def test_any_text_is_a_verdict_or_unparsed(text: str) -> None:
    verdict = FirstError().parse(text)
    assert verdict is None or verdict == ALL_CORRECT or verdict >= 1


def test_the_bases_differ_in_what_is_shown_alone(tasks: dict[int, FirstError]) -> None:
    assert "Step 0: 1 + 1 = 3" in tasks[0].ask(ITEM).messages[-1].content
    assert "Step 1: 1 + 1 = 3" in tasks[1].ask(ITEM).messages[-1].content
    assert tasks[0].format(1) == "\\boxed{0}"
    assert tasks[1].format(1) == "\\boxed{1}"


def test_the_prompt_shows_the_problem_and_every_step_and_asks_for_the_box() -> None:
    content = FirstError().ask(ITEM).messages[-1].content
    for piece in ("1 + 1?", "1 + 1 = 3", "so it is 3", "\\boxed{-1}", "<step_2>"):
        assert piece in content


@given(meta=st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9), max_size=3), sample=st.integers(0, 9))
def test_a_prompt_follows_from_problem_and_steps_alone(meta: dict[str, Any], sample: int) -> None:
    """`ask` gets no gold, and what stands in `meta` does not reach the prompt either."""
    task = FirstError()
    assert task.ask(Item(problem=ITEM.problem, steps=ITEM.steps, meta=meta), seed=1, sample=sample) == task.ask(ITEM)
    assert b"first_error" not in encode(ITEM)


def test_a_solution_that_holds_placeholders_and_verdicts_stays_text() -> None:
    item = Item(problem="{{solution}} \\boxed{-1}", steps=("{{problem}}", "</step_2>{x} \\boxed{-1}"))
    content = FirstError().ask(item).messages[-1].content
    assert "{{solution}} \\boxed{-1}" in content
    assert "{{problem}}" in content


def test_no_steps_no_question() -> None:
    with pytest.raises(InputError, match=r"item\.steps: the solution has no steps"):
        FirstError().ask(Item(problem="p"))


@given(verdict=st.none() | VERDICTS, gold=VERDICTS)
def test_the_reward_is_the_metric(verdict: int | None, gold: int) -> None:
    task = FirstError()
    score = task.score(verdict, Gold(first_error=gold), ITEM)
    assert task.reward(verdict, Gold(first_error=gold)) == score.values["correct"] == float(verdict == gold)
    assert score.values["unparsed"] == float(verdict is None)
    assert score.stratum == ("all correct" if gold == ALL_CORRECT else "with an error")


def test_without_a_label_there_is_no_score() -> None:
    for verdict in (None, 1):
        with pytest.raises(InputError, match=r"gold\.first_error: the example is not labelled"):
            FirstError().score(verdict, Gold(), ITEM)


def test_a_problem_is_one_cluster_however_it_is_spaced() -> None:
    task, gold = FirstError(), Gold(first_error=1)
    clusters = {task.score(1, gold, Item(problem=text, steps=("a",))).cluster for text in ("a b", " a\n b ", "a  b")}
    assert len(clusters) == 1
    assert task.score(1, gold, Item(problem="ab", steps=("a",))).cluster not in clusters


@given(votes=VOTES, seed=st.integers(0, 99))
def test_votes(votes: list[int | None], seed: int) -> None:
    task = FirstError()
    vote = task.vote(votes, seed=seed)
    readable = [verdict for verdict in votes if verdict is not None]
    assert vote.unparsed == len(votes) - len(readable)
    if not readable:
        assert vote.verdict is None
        assert vote.agreement == 0.0
        return
    most = max(readable.count(verdict) for verdict in readable)
    winners = {verdict for verdict in readable if readable.count(verdict) == most}
    assert vote.verdict in winners
    assert vote.tied == (len(winners) > 1)
    assert vote.agreement == pytest.approx(most / len(readable))
    assert vote.tally == {verdict: float(readable.count(verdict)) for verdict in readable}


@given(votes=VOTES, seed=st.integers(0, 99), shuffle=st.integers(0, 99))
def test_the_order_of_the_votes_does_not_matter(votes: list[int | None], seed: int, shuffle: int) -> None:
    shuffled = [*votes]
    random.Random(shuffle).shuffle(shuffled)
    assert FirstError().vote(shuffled, seed=seed) == FirstError().vote(votes, seed=seed)


def test_ties_are_drawn_by_the_seed_and_favour_nobody() -> None:
    drawn = [FirstError().vote([1, 2, ALL_CORRECT, None], seed=seed).verdict for seed in range(600)]
    assert drawn == [FirstError().vote([None, 2, ALL_CORRECT, 1], seed=seed).verdict for seed in range(600)]
    assert all(150 < drawn.count(verdict) < 250 for verdict in (1, 2, ALL_CORRECT))


@given(votes=VOTES, data=st.data())
def test_weights(votes: list[int | None], data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.integers(0, 5).map(float), min_size=len(votes), max_size=len(votes)))
    task = FirstError()
    repeated = [verdict for verdict, weight in zip(votes, weights, strict=True) for _ in range(int(weight))]
    weighted, plain = task.vote(votes, weights), task.vote(repeated)
    if any(verdict is not None for verdict in repeated):
        assert weighted.agreement == pytest.approx(plain.agreement)
        assert weighted.tally.get(weighted.verdict or 0) == max(weighted.tally.values())
        assert weighted.tied == plain.tied
    assert task.vote(votes, [1.0] * len(votes)) == task.vote(votes)


def _aggregate(correct: list[float], stratum: list[str]) -> dict[str, float]:
    return FirstError().aggregate({"correct": correct, "unparsed": np.zeros(len(correct)), "stratum": stratum})


def test_figures() -> None:
    figures = _aggregate([1, 0, 1, 1], ["with an error", "with an error", "all correct", "all correct"])
    assert figures == {"error_accuracy": 0.5, "correct_accuracy": 1.0, "f1": pytest.approx(2 / 3), "unparsed_rate": 0.0}
    assert _aggregate([0, 1], ["with an error", "all correct"])["f1"] == 0.0
    assert _aggregate([0, 0], ["with an error", "all correct"])["f1"] == 0.0
    assert math.isnan(_aggregate([1, 1], ["with an error"] * 2)["correct_accuracy"])


def test_a_cut_reply_has_no_verdict_where_the_task_names_a_marker() -> None:
    text = "**Judgement**: The correctness of Step 2 is: \\boxed{-1}\n\n**Answer**: \\boxed{2}"
    key = Key(example_id="a", request="critique")
    reply = Generation(key=key, text=text, finish_reason="stop", model="m", fingerprint="", seed=0)
    cut = msgspec.structs.replace(reply, finish_reason="length")
    marked = FirstError(marker="**Answer**:")
    assert [verdict_of(one, task) for task in (marked, FirstError()) for one in (reply, cut)] == [2, None, 2, 2]
    row = judge(Example(id="a", item=ITEM, gold=Gold(first_error=2), source="made"), [cut], marked, asked=1)
    assert (row.verdicts, row.correct, row.truncated) == ((None,), 0.0, 1)


def test_a_template_may_name_the_marker(tmp_path: Path) -> None:
    file = tmp_path / "marked.md"
    head = "---\nfields: [problem, solution]\nindex_base: 0\nmarker: '**Answer**:'\n---\n{{problem}}\n{{solution}}\n"
    file.write_text(head, "utf-8")
    task = FirstError(str(file))
    assert task.format(3) == "**Answer**: \\boxed{2}"
    assert [task.parse(text) for text in ("\\boxed{2}", "**Answer**: \\boxed{2}", task.format(3))] == [None, 3, 3]
    assert FirstError(str(file), marker="Verdict:").parse("Verdict: \\boxed{0}") == 1
    with pytest.raises(InputError, match="marker: the marker is empty"):
        FirstError(marker=" ")


def test_a_system_prompt_and_a_marker_replace_those_of_the_template(tmp_path: Path) -> None:
    file = tmp_path / "own.md"
    head = "---\nfields: [problem, solution]\nindex_base: 1\nsystem: Be strict.\nmarker: 'Verdict:'\n---\n"
    file.write_text(head + "{{problem}}\n{{solution}}\n", "utf-8")

    def asked(task: FirstError) -> list[tuple[str, str]]:
        return [(message.role, message.content.split("\n")[0]) for message in task.ask(ITEM).messages]

    plain, other = FirstError(str(file)), FirstError(str(file), system="Be kind.", marker="Answer:")
    assert (asked(plain), plain.marker) == ([("system", "Be strict."), ("user", "1 + 1?")], "Verdict:")
    assert (asked(other), other.marker) == ([("system", "Be kind."), ("user", "1 + 1?")], "Answer:")
    assert (len(asked(FirstError())), FirstError().marker) == (1, None)

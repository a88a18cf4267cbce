"""A process reward model through the scorer waist: what it learnt comes out at the right step, alone and in a batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.errors import InputError
from deepcritic.metrics.threshold import best_threshold, first_below
from deepcritic.schema import ALL_CORRECT, Example, Failure, Item, Scores

pytest.importorskip("torch", reason="the models need torch: pip install deepcritic[train]")
from deepcritic.scorers.prm import PRMScorer

pytestmark = pytest.mark.slow
Rows = Callable[[int, str, int], list[Example]]


def _scored(scorer: PRMScorer, rows: list[Example]) -> list[Scores | Failure]:
    outcomes = {outcome.key.example_id: outcome for outcome in scorer.score((row.id, row.item) for row in rows)}
    return [outcomes[row.id] for row in rows]


def _values(scorer: PRMScorer, *steps: str, problem: str = "Mod ten, from 1:\n1)+1\n2)+1") -> tuple[float, ...]:
    (outcome,) = scorer.score([("x", Item(problem=problem, steps=steps))])
    assert isinstance(outcome, Scores)
    return outcome.values


def test_it_finds_the_wrong_step_of_solutions_that_it_never_saw(prm_folder: Path, make_sums: Rows) -> None:
    rows, others = make_sums(200, "test", 1), make_sums(200, "validation", 2)
    with PRMScorer(str(prm_folder), device="cpu") as scorer:
        chosen = best_threshold(
            (outcome.values, row.gold.first_error)  # type: ignore[misc]
            for row, outcome in zip(others, _scored(scorer, others), strict=True)
            if isinstance(outcome, Scores)
        )
        assert chosen.f1 > 0.95
        right = {True: 0, False: 0}
        for row, outcome in zip(rows, _scored(scorer, rows), strict=True):
            assert isinstance(outcome, Scores)
            assert len(outcome.values) == len(row.item.steps)
            assert outcome.model == scorer.model_id
            right[row.gold.first_error == ALL_CORRECT] += first_below(outcome.values, chosen.threshold) == row.gold.first_error
    fine = sum(row.gold.first_error == ALL_CORRECT for row in rows)
    assert 50 < fine < 150
    assert right[True] > 0.9 * fine
    assert right[False] > 0.9 * (len(rows) - fine)


def test_a_batch_gives_what_each_gives_alone(prm_folder: Path, make_sums: Rows) -> None:
    rows = make_sums(20, "test", 3)
    with PRMScorer(str(prm_folder), batch_size=1, device="cpu") as one, PRMScorer(str(prm_folder), batch_size=20) as many:
        alone, together = _scored(one, rows), _scored(many, rows)
    for first, second in zip(alone, together, strict=True):
        assert isinstance(first, Scores)
        assert isinstance(second, Scores)
        assert first.values == pytest.approx(second.values, abs=1e-4)
        assert first.prompt_tokens == second.prompt_tokens


def test_numbers_are_read_at_the_ends_of_steps_and_not_at_separators_within(prm_folder: Path) -> None:
    with PRMScorer(str(prm_folder), device="cpu") as scorer:
        plain = _values(scorer, "1+1=2", "2-1=1")
        assert plain[0] > 0.5 > plain[1]
        broken = _values(scorer, "1+1=2\n\n", "2-1=1\n\\boxed{1}")
        assert len(broken) == 2
        assert _values(scorer, "", "2-1=1")[1] < 0.5
        assert _values(scorer) == ()


def test_the_text_of_a_control_token_stays_text(prm_folder: Path) -> None:
    with PRMScorer(str(prm_folder), device="cpu") as scorer:
        (outcome,) = scorer.score([("x", Item(problem="p<|im_end|>", steps=("1+1=2<|im_end|>",)))])
        assert isinstance(outcome, Scores)
        end = scorer._tokenizer.convert_tokens_to_ids("<|im_end|>")
        assert end not in scorer._layout.lay(scorer._tokenizer, Item(problem="p<|im_end|>", steps=("1+1=2<|im_end|>",))).ids


def test_a_solution_that_does_not_fit_is_set_aside(prm_folder: Path, make_sums: Rows) -> None:
    (row,) = make_sums(1, "test", 4)
    long = Example(id="long", item=Item(problem="1+1 " * 300, steps=("1+1=2",)), source="made")
    with PRMScorer(str(prm_folder), device="cpu") as scorer:
        first, second = _scored(scorer, [long, row])
    assert isinstance(first, Failure)
    assert first.permanent
    assert (first.reason, "exceed 256" in first.detail) == ("too_long", True)
    assert isinstance(second, Scores)


def test_what_stands_before_the_first_step_and_between_steps_can_be_said(prm_folder: Path) -> None:
    item = Item(problem="7", steps=("1+1=2", "2+1=3"))
    with PRMScorer(str(prm_folder), device="cpu", separator="\n\n", prompt_end="\n") as scorer:
        read = scorer._layout.lay(scorer._tokenizer, item)
        newline = scorer._tokenizer("\n", add_special_tokens=False)["input_ids"]
        assert len(read.ends) == 2
        assert read.ids[1:2] == newline
        assert read.ids[-2:] == newline * 2
        assert read.ends[-1] == len(read.ids) - 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"correct": 2}, "scorer.correct: the model does not have this class; found 2; expected 0 to 1"),
        ({"separator": ""}, "scorer.separator: has no token"),
    ],
)
def test_options_that_do_not_fit(prm_folder: Path, options: dict[str, Any], said: str) -> None:
    scorer = PRMScorer(str(prm_folder), device="cpu", **options)
    with pytest.raises(InputError, match=said), scorer:
        pass


def test_a_model_that_writes_is_no_scorer(tiny_model: Path) -> None:
    scorer = PRMScorer(str(tiny_model), device="cpu")
    with pytest.raises(InputError, match="the model has no token classification head; found 'Qwen2ForCausalLM'"), scorer:
        pass


def test_no_model() -> None:
    with pytest.raises(InputError, match="model: no such model folder; found '/nowhere'"):
        PRMScorer("/nowhere")

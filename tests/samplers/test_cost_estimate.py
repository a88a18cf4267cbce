"""What asking would take: counted as it would be sent, projected with an interval that holds what it says."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest

from deepcritic.runs.budget import Price
from deepcritic.samplers.base import Request, Sampling
from deepcritic.samplers.cost_estimate import CostEstimate, Spent, projection, sum_interval
from deepcritic.samplers.resume import request, user
from deepcritic.samplers.scripted import ScriptedSampler
from deepcritic.schema import Generation
from deepcritic.tasks.base import Question


def _asked(text: str, samples: int = 2, prefix: str = "") -> Request:
    question = Question(messages=user(text), prefix=prefix)
    return request(question, Sampling(max_tokens=10), example_id="a", call="c", seed=0, samples=range(samples))


def test_a_forecast_counts_samples_and_says_what_it_estimates() -> None:
    estimate = CostEstimate(Price(prompt=1_000_000.0, completion=1.0))
    estimate.count("critiques", [_asked("x" * 30), _asked("x" * 28, prefix="yy", samples=1)], ScriptedSampler(""))
    estimate.count("critiques", [_asked("x" * 3, samples=1)], ScriptedSampler(""))
    one, note = str(estimate).splitlines()
    assert one == "critiques: 4 requests, 31 prompt tokens, at most 40 completion tokens, cost at most 31.00"
    assert "estimated at 3 characters each" in note
    estimate.count("rewrites", [_asked("x" * 30, samples=1)], ScriptedSampler(""), bound=True, more=5)
    one, other, total, _ = str(estimate).splitlines()
    assert one.startswith("critiques: 4 requests")
    assert other.startswith("rewrites: at most 1 requests, at most 15 prompt tokens, at most 10 completion")
    assert total.startswith("total: at most 5 requests, at most 46 prompt tokens, at most 50 completion")


def test_prompt_tokens_are_those_that_the_engine_makes(tiny_model: Path) -> None:
    from deepcritic.samplers.transformers import TransformersSampler

    engine = TransformersSampler(str(tiny_model), device="cpu")
    asked = _asked("Find the first wrong step. <|im_end|>", prefix="7 + 5")
    estimate = CostEstimate(Price())
    estimate.count("critiques", [asked], engine)
    with engine:
        rows = list(engine.stream([asked]))
    prompt_tokens = sum(row.prompt_tokens or 0 for row in rows if isinstance(row, Generation))
    assert str(estimate) == f"critiques: 2 requests, {prompt_tokens} prompt tokens, at most 20 completion tokens"


def test_a_prediction_interval_holds_the_sum_of_the_rest() -> None:
    """In 95 of 100 samples, of skewed numbers too: 400 of them, each a probe of 20 rows of 200."""
    rng, held = random.Random(0), 0
    for _ in range(400):
        values = [rng.lognormvariate(5, 0.5) for _ in range(200)]
        _, low, high = sum_interval(values[:20], 180)
        held += low <= sum(values[20:]) <= high
    assert 0.9 <= held / 400 <= 0.98


def test_one_row_tells_no_interval() -> None:
    estimate, low, high = sum_interval([3.0], 7)
    assert estimate == 21
    assert math.isnan(low)
    assert math.isnan(high)
    assert "21 (an interval needs at least two rows)" in projection([Spent(3, 3, 0)], 7, None, Price())


def test_a_projection_in_words() -> None:
    rows = [Spent(100, 10, 0), Spent(100, 30, 50)]
    lines = projection(rows, 10, 3600.0, Price(prompt=1_000_000.0, cached=0.0, completion=0.0)).splitlines()
    assert lines[0] == "prompt tokens: 1,000 (95% interval 1,000 to 1,000)"
    assert lines[1].startswith("completion tokens: 200 (95% interval 0 to ")
    assert lines[2].startswith("hours: 200.00 ")
    assert lines[3].startswith("cost: 750.00 ")
    assert len(projection(rows, 10, None, Price()).splitlines()) == 2


@pytest.mark.parametrize("rest", [0, 1, 1000])
def test_with_no_variation_the_interval_is_a_point(rest: int) -> None:
    assert sum_interval([4.0, 4.0, 4.0], rest) == (4.0 * rest, 4.0 * rest, 4.0 * rest)

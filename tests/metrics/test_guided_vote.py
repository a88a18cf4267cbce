"""Votes with a Meta RM's choice against every subset, written out."""

from __future__ import annotations

import itertools
from collections.abc import Hashable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.metrics.guided_vote import guided_chances, kept_half, powers

POINTS = st.lists(
    st.none() | st.dictionaries(st.integers(1, 3), st.integers(1, 4).map(float), min_size=3, max_size=3), min_size=1, max_size=6
)


def _share(points: list[dict[int, float] | None], target: int) -> float:
    """The chance of `target` in one vote, ties drawn."""
    heard = [given for given in points if given is not None]
    sums = {name: sum(given[name] for given in heard) for name in (1, 2, 3)} if heard else {}
    best = [name for name, total in sums.items() if total == max(sums.values())]
    return 1 / len(best) if target in best else 0.0


@given(POINTS, st.integers(1, 3), st.data())
def test_all_replies_and_one_are_exact(points: list[dict[int, float] | None], target: int, data: st.DataObject) -> None:
    meta_rm_scores = data.draw(st.permutations([at / 10 for at in range(len(points))]))
    found = guided_chances(points, target, [len(points)], meta_rm_scores)  # type: ignore[arg-type]
    assert found.plain[0] == pytest.approx(_share(points, target))
    kept = [given for given, weight in zip(points, kept_half(meta_rm_scores), strict=True) if weight]
    assert found.guided[0] == pytest.approx(_share(kept, target))


def test_the_mean_over_subsets() -> None:
    points: list[dict[int, float] | None] = [{1: 9, 2: 1, 3: 1}, {1: 2, 2: 5, 3: 1}, None, {1: 3, 2: 3, 3: 1}, {1: 1, 2: 9, 3: 9}]
    meta_rm_scores = [0.9, 0.2, 0.8, 0.5, 0.1]
    for k in (1, 2, 3, 4):
        subsets = list(itertools.combinations(range(5), k))
        plain = np.mean([_share([points[at] for at in some], 1) for some in subsets])
        best = [sorted(some, key=lambda at: -meta_rm_scores[at])[: max(1, k // 2)] for some in subsets]
        guided = np.mean([_share([points[at] for at in some], 1) for some in best])
        found = guided_chances(points, 1, [k], meta_rm_scores)  # type: ignore[arg-type]
        assert (found.plain[0], found.guided[0]) == (pytest.approx(plain), pytest.approx(guided))


def test_the_mean_over_drawn_subsets_is_that_over_all() -> None:
    chance = np.random.default_rng(0)
    points = [dict(zip((1, 2, 3), map(float, chance.integers(1, 10, size=3)), strict=True)) for _ in range(12)]
    meta_rm_scores = list(chance.random(12))
    subsets = list(itertools.combinations(range(12), 4))
    plain = np.mean([_share([points[at] for at in some], 1) for some in subsets])
    drawn = [guided_chances(points, 1, [4], meta_rm_scores, seed=seed).plain[0] for seed in range(60)]  # type: ignore[arg-type]
    assert np.mean(drawn) == pytest.approx(plain, abs=0.02)


def test_without_a_guide_there_is_no_guided_vote() -> None:
    assert np.isnan(guided_chances([{1: 1.0}], 1, [1]).guided).all()


def test_a_guide_that_knows_makes_the_vote_right() -> None:
    right: dict[Hashable, float] = {1: 1.0}
    wrong: dict[Hashable, float] = {2: 1.0}
    points = [right] * 3 + [wrong] * 5
    found = guided_chances(points, 1, [8], [1.0] * 3 + [0.0] * 5)
    assert (found.plain[0], found.guided[0]) == (0, 1)


def test_the_half_that_is_kept() -> None:
    assert kept_half([0.1]) == [1]
    assert kept_half([0.5, 0.5]) == [1, 0]
    assert sum(kept_half([0.1] * 32)) == 16
    assert [powers(most) for most in (1, 2, 5, 32)] == [[1], [1, 2], [1, 2, 4, 5], [1, 2, 4, 8, 16, 32]]

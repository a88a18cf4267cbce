"""A vote is decided when, and only when, every continuation has the same single winner."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.metrics.early_vote import samples_needed

VERDICTS = (None, 1, 2, -1)


def _winners(verdicts: tuple[int | None, ...]) -> frozenset[int | None]:
    counts = Counter(one for one in verdicts if one is not None)
    return frozenset(one for one, count in counts.items() if count == max(counts.values()))


@pytest.mark.parametrize("samples", range(1, 6))
def test_zero_exactly_where_no_continuation_differs(samples: int) -> None:
    for known in range(samples + 1):
        for verdicts in itertools.product(VERDICTS, repeat=known):
            ends = {_winners(verdicts + rest) for rest in itertools.product((*VERDICTS, 3), repeat=samples - known)}
            decided = len(ends) == 1 and len(next(iter(ends))) == 1
            assert (samples_needed(verdicts, samples) == 0) == (decided or known == samples)


@given(st.lists(st.sampled_from(VERDICTS), max_size=12), st.integers(1, 16))
def test_it_is_the_fewest_that_could_decide(verdicts: list[int | None], samples: int) -> None:
    verdicts = verdicts[:samples]
    needed, left = samples_needed(verdicts, samples), samples - len(verdicts)
    counts = Counter(one for one in verdicts if one is not None)
    leader = counts.most_common(1)[0][0] if counts else 1
    assert 0 <= needed <= left
    assert samples_needed([*verdicts, *[leader] * needed], samples) == 0
    for fewer in range(needed):
        assert samples_needed([*verdicts, *[leader] * fewer], samples) > 0

"""Engines on a Ray cluster of this machine alone, under the contract of all engines; killed engines and killed clients."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest

from deepcritic.samplers import Sampler
from deepcritic.samplers.ray import RaySampler
from deepcritic.samplers.transformers import TransformersSampler
from tests.samplers.contract import Contract


@pytest.fixture(scope="module")
def opened(critic_model: Path) -> Iterator[Sampler]:
    engine = functools.partial(TransformersSampler, device="cpu")
    with RaySampler(str(critic_model), engine=engine, actors=2, block=4) as sampler:
        yield sampler


class TestRay(Contract):
    ROOM = 2 * 2 * 4 + 4

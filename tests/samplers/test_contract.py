"""The contract of engines, with transformers; `scripts/test engines` runs it over the others as well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deepcritic.samplers.base import Sampler
from tests.samplers.contract import Contract, WithoutEnd

pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")

from deepcritic.samplers.transformers import TransformersSampler


@pytest.fixture(scope="module")
def opened(critic_model: Path) -> Iterator[Sampler]:
    with TransformersSampler(str(critic_model), device="cpu", batch_size=16) as sampler:
        yield sampler


@pytest.fixture(scope="module")
def endless(endless_model: Path) -> Iterator[Sampler]:
    with TransformersSampler(str(endless_model), device="cpu") as sampler:
        yield sampler


class TestTransformers(Contract, WithoutEnd):
    ROOM = 8 * 16

"""Published figures, each with its source, date, and whether it was read there or quoted.

>>> critics = {figure.critic for figure in published().figures if figure.benchmark == "ProcessBench mean"}
>>> "GPT-4o" in critics, published().benchmarks["mr_gsm8k/original"].rows
(True, 1418)
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import yaml

from deepcritic.errors import InputError
from deepcritic.schema import Row

FILE = "published.yaml"
State = Literal["read", "second hand"]
"""`read`: found in the source or its authors' repository. `second hand`: found in a text that quotes it."""


class Source(Row, frozen=True, kw_only=True):
    """The source of a figure; `date` is a day or a month."""

    title: str
    link: str
    date: Annotated[str, msgspec.Meta(pattern=r"^20\d\d-\d\d(-\d\d)?$")]


class Benchmark(Row, frozen=True, kw_only=True):
    """A benchmark: its title, the number of rows behind published figures, and its data set on the hub."""

    title: str
    rows: int | None = None
    dataset: str | None = None
    split: str | None = None


class Figure(Row, frozen=True, kw_only=True):
    """One published F1 in percent. `benchmark` names a test, or a set of tests for the mean over it. `quoted_by` is the text in
    which a figure at second hand was found."""

    critic: str
    benchmark: str
    f1: float
    source: str
    state: State
    votes: int = 1
    quoted_by: str | None = None

    @property
    def confirmed(self) -> bool:
        """Whether the figure was read in the source."""
        return self.state == "read"

    @property
    def name(self) -> str:
        return f"{self.critic}, Maj@{self.votes}" if self.votes > 1 else self.critic


class System(Row, frozen=True, kw_only=True):
    """A system with its best-known result on its own test."""

    name: str
    result: str
    license: str
    source: str
    state: State


class Published(Row, frozen=True, kw_only=True):
    """The whole file. `sets` lists the tests of each mean, `systems` other systems in the field, best first."""

    sources: dict[str, Source]
    benchmarks: dict[str, Benchmark]
    sets: dict[str, tuple[str, ...]]
    figures: tuple[Figure, ...]
    systems: tuple[System, ...] = ()

    def mean_of(self, benchmarks: frozenset[str]) -> str | None:
        """The name of the set of exactly these tests, or None."""
        return next((name for name, tests in self.sets.items() if frozenset(tests) == benchmarks), None)


@functools.cache
def published() -> Published:
    """The figures shipped with the package."""
    package = Path(__file__).parent.parent
    inside = package / FILE
    return read_published(inside if inside.is_file() else package.parent / "data" / FILE)


def read_published(path: Path) -> Published:
    """Read a file of figures. Raises `InputError` for a figure with an unknown source or benchmark, without a `state`, or
    at second hand without `quoted_by`."""
    try:
        found = msgspec.convert(yaml.safe_load(path.read_text("utf-8")), Published)
    except (yaml.YAMLError, msgspec.ValidationError) as error:
        raise InputError(
            f"not a file of published figures ({error})", file=path, remedy="see data/published.yaml for the format"
        ) from None
    names = found.benchmarks.keys() | found.sets.keys()
    for figure in found.figures:
        for field, value, known in (("source", figure.source, found.sources.keys()), ("benchmark", figure.benchmark, names)):
            if value not in known:
                expected = f"one of {', '.join(sorted(known))}"
                raise InputError(f"unknown {field} of {figure.name}", file=path, field=field, found=value, expected=expected)
        if figure.confirmed == (figure.quoted_by is not None):
            expected = "the text that quotes a figure at second hand; none for one that was read in its source"
            raise InputError(
                f"the state of {figure.name} on {figure.benchmark}", file=path, field="quoted_by", found=figure.quoted_by,
                expected=expected,
            )  # fmt: skip
    for system in found.systems:
        if system.source not in found.sources:
            expected = f"one of {', '.join(sorted(found.sources))}"
            raise InputError(
                f"unknown source of {system.name}", file=path, field="source", found=system.source, expected=expected
            )
    return found

"""The YAML config of a data set: how its rows are read, and what is printed beside every score on it.

    bench = Benchmark(name="processbench", reader=processbench.read, path="processbench/", parts={"gsm8k": 400, "math": 1000},
                      license="Apache-2.0", measured="test", metric="F1, arXiv 2412.06559")
    for part in bench.read():                               # benchmark=processbench
        print(part.name, len(part.examples), part.facts)
    for row in bench(report=Report()):                      # source=processbench
        print(row.id)

`path` is a file, a folder with one file for each part, or a data set on the hub with a split for each part. Each part has its own
scores (`processbench/math`).
"""

from __future__ import annotations

import hashlib
import inspect
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from deepcritic.datasets import examples
from deepcritic.datasets.base import Report
from deepcritic.datasets.forged import forge
from deepcritic.datasets.reading import ENDINGS, files_of, read_records
from deepcritic.datasets.rows_on_disk import RowsOnDisk
from deepcritic.errors import InputError, UsageError
from deepcritic.metrics.subset import subset
from deepcritic.schema import ALL_CORRECT, Example, Preference

_ENDINGS: Final = tuple(ending + packed for ending in ENDINGS for packed in ("", ".gz"))
LEAST: Final = 4
"""Least average number of rows of the parts that a benchmark does not name, if there are more than two."""
PLAIN: Final = re.compile(r"[\w.+-]{1,64}")
"""A valid part name; scores are printed under it."""
OF_FIGURES: Final = frozenset(
    {"test_reader", "measured", "metric", "parts", "size", "single", "vote", "mr_score", "forged", "score"}
)
"""Fields used only for benchmarks."""
OF_PREPARING: Final = frozenset({"max_bad"})
"""Fields used only when a data set is prepared."""
_SINGLE: Final = {"temperature": 0.6, "top_p": 0.9}
_VOTE: Final = {"temperature": 1.0, "top_p": 0.9}


@dataclass(frozen=True, kw_only=True)
class Part:
    """The rows to evaluate under one name. Large parts stay on disk; `known` also holds the ids of rows beyond the limit."""

    name: str
    benchmark: Benchmark
    examples: RowsOnDisk[Example] | RowsOnDisk[Preference]
    known: frozenset[str]
    facts: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """A data set to evaluate on.

    `revision`, `config` and `split` select a version and a part of a hub data set; `columns`, `index_base` and `source` are for
    your own rows (see `table`). `prepare` may set aside up to `max_bad` rows; in a benchmark a bad row is an error.

    For a benchmark, `test_reader` reads the rows if their form differs from the training rows. `measured` is the evaluated part
    of the set, in its authors' words. `parts` gives the number of rows of each part of the full set; rows name their part in
    `item.meta["subset"]`. A set without parts has its `size` instead. `single` and `vote` are the sampling parameters for one
    sample and for several. `mr_score` adds MR-Score to F1, and `forged` adds the forged rows (see `forged`). `score` computes the
    score that its authors report, if it is another (see `deepcritic.evaluation.benchmark_scores`).
    """

    name: str
    reader: Callable[..., Iterable[Example]]
    path: str | None
    license: str | None
    metric: str
    test_reader: Callable[..., Iterable[Example]] | None = None
    measured: str | None = None
    parts: Mapping[str, int] | None = None
    size: int | None = None
    revision: str | None = None
    config: str | None = None
    split: str | None = None
    columns: Mapping[str, str] | None = None
    index_base: int | None = None
    source: str | None = None
    max_bad: int = 0
    single: Mapping[str, float] = field(default_factory=lambda: _SINGLE)
    vote: Mapping[str, float] = field(default_factory=lambda: _VOTE)
    mr_score: bool = False
    forged: bool = False
    score: Callable[..., dict[str, Any]] | None = None

    def read(self, limit: int | None = None) -> list[Part]:
        """The parts, each with `limit` of its rows (not counting forged ones), in proportion to both classes."""
        subsets, classes, groups = list[str](), list[bool | None](), dict[str, list[int]]()

        def noted() -> Iterator[Example]:
            for example in self._rows():
                subsets.append(sys.intern(_subset(example)))
                classes.append(example.gold.first_error == ALL_CORRECT if isinstance(example, Example) else None)
                yield example

        rows = RowsOnDisk(None, noted())
        names = self._part_names(subsets)
        for at, subset_name in enumerate(subsets):
            groups.setdefault(names.get(subset_name, self.name), []).append(at)
        if not groups:
            raise InputError(
                "the benchmark has no rows", field="benchmark.path", expected="a file with at least one labelled row"
            )
        return [self._made(name, rows.only(at), [classes[one] for one in at], limit) for name, at in groups.items()]

    def rows_of(self, path: str) -> list[Example]:
        """The rows of another file: our own Example rows, or rows in the form of this benchmark."""
        _, first = next(iter(read_records(path)), (None, {}))
        if isinstance(first.get("item"), dict):
            return list(examples.read(path))
        reader = self.test_reader or self.reader
        options = self._options(reader, "benchmark")
        return list(reader(path, **{name: value for name, value in options.items() if name not in {"revision", "split"}}))

    def __call__(self, *, report: Report | None = None) -> Iterator[Example]:
        """The rows to prepare; bad rows are set aside in `report`."""
        if self.path is None:
            raise UsageError(f"missing option: source.path=FILE (of {self.name})")
        if self.forged:
            raise UsageError("source=forged: forged rows are only for evaluation; expected source=processbench")
        return iter(self.reader(self.path, max_bad=self.max_bad, report=report, **self._options(self.reader, "source")))

    def sampling(self, samples: int) -> Mapping[str, float]:
        """Temperature and top_p for `samples` samples of each row."""
        return self.single if samples == 1 else self.vote

    def _rows(self) -> Iterator[Example]:
        if self.path is None:
            raise UsageError(f"missing option: benchmark.path=FILE (of {self.name})")
        reader = self.test_reader or self.reader
        options = self._options(reader, "benchmark")
        folder = Path(self.path).expanduser()
        if folder.is_dir() and not (folder / "dataset_dict.json").is_file():
            files = [file for part in self.parts or () for ending in _ENDINGS if (file := folder / f"{part}{ending}").is_file()]
            if not files and not files_of(folder):
                wanted = ", ".join(f"{part}.json" for part in self.parts or ()) or "a file instead"
                raise InputError("no file of the benchmark in this folder", file=self.path, expected=wanted)
            for file in files or [folder]:
                yield from reader(str(file), **options)
        elif self.parts and self.split is None and not folder.is_file() and not self.path.endswith(_ENDINGS):
            for split in self.parts:
                yield from reader(self.path, split=split, **options)
        else:
            yield from reader(self.path, **options)

    def _options(self, reader: Callable[..., Iterable[Example]], use: str) -> dict[str, Any]:
        """The options that the config gives to the reader."""
        named = {name: getattr(self, name) for name in ("revision", "config", "split", "columns", "index_base", "source")}
        given = {name: value for name, value in named.items() if value is not None}
        parameters = inspect.signature(reader).parameters
        open_ended = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
        for name in () if open_ended else given.keys() - parameters.keys():
            raise UsageError(f"{use}.{name} has no effect on {self.name}")
        return given | ({"license": self.license} if "license" in parameters and self.license is not None else {})

    def _part_names(self, subsets: list[str]) -> dict[str, str]:
        """The part name of each subset that is a part: those of the full set, and others with several rows each. A set whose ids
        only look like names with a number (UUIDs, hashes) has none."""
        counts = Counter(name for name in subsets if name and name != self.name)
        others = [name for name in counts if name not in (self.parts or {})]
        if len(others) > 2 and sum(counts[name] for name in others) < LEAST * len(others):
            others = []
        plain = [name for name in others if PLAIN.fullmatch(name)]
        return {name: f"{self.name}/{name}" for name in [*(self.parts or {}), *plain]} if self.parts else {}

    def _made(self, name: str, rows: RowsOnDisk[Example], classes: list[bool | None], limit: int | None) -> Part:
        some = rows if limit is None else rows.only(subset(rows.ids, limit, classes))
        everything, examples = (RowsOnDisk(None, forge(part)) if self.forged else part for part in (rows, some))
        whole = self.parts.get(name.rpartition("/")[2]) if self.parts else self.size
        digest = hashlib.sha256()
        for line in rows.encoded():
            digest.update(line)
        facts = {
            "name": name,
            "path": self.path,
            "revision": self.revision,
            "sha256": digest.hexdigest(),
            "rows": len(rows),
            "rows_when_whole": whole,
            "split": self.split or self.measured,
            "license": self.license,
            "metric": self.metric,
        }
        return Part(name=name, benchmark=self, examples=examples, known=frozenset(everything.ids), facts=facts)


def _subset(row: Example) -> str:
    name = row.item.meta.get("subset")
    return name if isinstance(name, str) else ""

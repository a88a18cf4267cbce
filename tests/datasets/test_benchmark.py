"""A benchmark: where its rows come from, how they fall into parts, and what is said of them."""

from __future__ import annotations

import gzip
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets import processbench
from deepcritic.datasets.benchmark import Benchmark
from deepcritic.datasets.forged import KINDS
from deepcritic.errors import InputError, UsageError
from deepcritic.schema import Example, Gold, Item, encode


def _bench(path: Path | str | None, **options: Any) -> Benchmark:
    given: dict[str, Any] = {"parts": {"gsm8k": 3, "math": 2, "omnimath": 1}, "reader": processbench.read, **options}
    return Benchmark(name="bench", path=None if path is None else str(path), license="MIT", measured="test", metric="F1", **given)


def _rows(part: str, count: int) -> list[dict[str, Any]]:
    return [{"id": f"{part}-{n}", "problem": f"{part} {n}?", "steps": ["a", "b"], "label": n % 3 - 1} for n in range(count)]


def test_a_folder_has_a_file_for_each_part(tmp_path: Path) -> None:
    (tmp_path / "gsm8k.json").write_text(json.dumps(_rows("gsm8k", 3)))
    with gzip.open(tmp_path / "math.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(row) + "\n" for row in _rows("math", 1))
    (tmp_path / "other.json").write_text("no JSON, and not looked at")
    first, second = _bench(tmp_path).read()
    assert (first.name, len(first.examples)) == ("bench/gsm8k", 3)
    assert (second.name, len(second.examples)) == ("bench/math", 1)
    assert (first.facts["rows"], first.facts["rows_when_whole"]) == (3, 3)
    assert (second.facts["rows"], second.facts["rows_when_whole"]) == (1, 2)
    assert {name: first.facts[name] for name in ("license", "split", "metric", "path", "revision")} == {
        "license": "MIT", "split": "test", "metric": "F1", "path": str(tmp_path), "revision": None,
    }  # fmt: skip


def test_a_file_of_several_parts_and_one_without(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(_rows("math", 2) + _rows("gsm8k", 2)))
    assert [part.name for part in _bench(tmp_path / "x.json").read()] == ["bench/math", "bench/gsm8k"]
    (whole,) = _bench(tmp_path / "x.json", parts=None, size=9).read()
    assert (whole.name, whole.facts["rows_when_whole"]) == ("bench", 9)


def test_a_limit_holds_for_each_part_and_what_lies_behind_it_is_known(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(_rows("math", 3) + _rows("gsm8k", 3)))
    math, gsm8k = _bench(tmp_path / "x.json").read(limit=2)
    assert [len(part.examples) for part in (math, gsm8k)] == [2, 2]
    assert {row.id for row in math.examples} < math.known
    assert math.known == {"math-0", "math-1", "math-2"}
    assert math.facts["rows"] == 3


def test_forged_rows_stand_beside_theirs(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(_rows("math", 3)))
    (part,) = _bench(tmp_path / "x.json", forged=True).read(limit=2)
    assert len(part.examples) == 2 * (1 + len(KINDS))
    assert part.facts["rows"] == 3
    assert len(part.known) == 3 * (1 + len(KINDS))


def test_the_hash_is_that_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(_rows("math", 2)))
    (tmp_path / "y.jsonl").write_text("".join(json.dumps(row) + "\n" for row in _rows("math", 2)))
    (tmp_path / "z.json").write_text(json.dumps([*_rows("math", 1), {**_rows("math", 2)[1], "label": 1}]))
    x, y, z = (_bench(tmp_path / name).read()[0].facts["sha256"] for name in ("x.json", "y.jsonl", "z.json"))
    assert x == y != z


def test_a_hub_id_has_a_split_for_each_part_and_its_revision_is_passed_on() -> None:
    asked = []

    def reader(path: str, **options: Any) -> Iterator[Example]:
        asked.append((path, options))
        part = options["split"]
        yield Example(id=f"{part}-0", item=Item(problem="p", steps=("s",), meta={"subset": part}), source="s")

    names = [part.name for part in _bench("org/bench", reader=reader, revision="abc").read()]
    assert names == ["bench/gsm8k", "bench/math", "bench/omnimath"]
    assert asked == [("org/bench", {"split": part, "revision": "abc"}) for part in ("gsm8k", "math", "omnimath")]


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"missing option: benchmark.path=FILE \(of bench\)"):
        _bench(None).read()
    with pytest.raises(
        InputError, match=r"no file of the benchmark in this folder; expected gsm8k.json, math.json, omnimath.json"
    ):
        _bench(tmp_path).read()
    with pytest.raises(InputError, match=r"no file of the benchmark in this folder; expected a file instead"):
        _bench(tmp_path, parts=None).read()
    (tmp_path / "x.json").write_text("[]")
    with pytest.raises(InputError, match=r"benchmark.path: the benchmark has no rows"):
        _bench(tmp_path / "x.json").read()
    with pytest.raises(InputError, match="no such file"):
        _bench(tmp_path / "none.json").read()


def test_rows_of_another_file_in_either_form(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps(_rows("math", 2)))
    own = Example(id="o", item=Item(problem="p", steps=("s",)), gold=Gold(first_error=1), source="made")
    (tmp_path / "own.jsonl").write_bytes(encode(own) + b"\n")
    bench = _bench(None)
    assert [row.id for row in bench.rows_of(str(tmp_path / "x.json"))] == ["math-0", "math-1"]
    assert bench.rows_of(str(tmp_path / "own.jsonl")) == [own]


def test_one_sample_and_several_are_drawn_differently() -> None:
    bench = _bench(None)
    assert bench.sampling(1) == {"temperature": 0.6, "top_p": 0.9}
    assert bench.sampling(8) == {"temperature": 1.0, "top_p": 0.9}


def _ids(path: Path, ids: list[str]) -> Benchmark:
    rows = [{"id": name, "problem": name, "steps": ["so"], "label": at % 2 - 1} for at, name in enumerate(ids)]
    path.write_text(json.dumps(rows), "utf-8")
    about = {"license": None, "split": "test", "metric": "F1", "parts": {"gsm8k": 400}}
    return Benchmark(name="processbench", reader=processbench.read, path=str(path), **about)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("ids", "parts"),
    [
        ([str(uuid.UUID(int=at * 7919 << 64 | at)) for at in range(200)], {"processbench": 200}),
        ([f"{at:08x}-{at}" for at in range(50)], {"processbench": 50}),
        ([f"gsm8k-{at}" for at in range(8)], {"processbench/gsm8k": 8}),
        ([*(f"gsm8k-{at}" for at in range(8)), *(str(uuid.UUID(int=at << 64)) for at in range(9))],
         {"processbench/gsm8k": 8, "processbench": 9}),
        ([*(f"mine-{at}" for at in range(4)), *(f"yours-{at}" for at in range(2))],
         {"processbench/mine": 4, "processbench/yours": 2}),
        ([f"{name}-{at}" for name in "abc" for at in range(4)], {f"processbench/{name}": 4 for name in "abc"}),
        ([f"\x1b[2J\x1b]0;x\x07-{at}" for at in range(8)], {"processbench": 8}),
        ([f"a\u202eb c-{at}" for at in range(8)], {"processbench": 8}),
    ],
)  # fmt: skip
def test_which_ids_name_a_part(tmp_path: Path, ids: list[str], parts: dict[str, int]) -> None:
    assert {part.name: len(part.examples) for part in _ids(tmp_path / "rows.json", ids).read()} == parts

"""Records out of files and off the hub, and errors that name their place."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.datasets.base import unnumbered
from deepcritic.datasets.reading import read_records
from deepcritic.errors import InputError

ROWS = [{"a": 1}, {"a": "two\n\x0c\u2028 lines"}, {"a": [{"b": None}]}]


def _write(path: Path, text: str) -> Path:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["x.json", "x.json.gz", "x.jsonl", "x.jsonl.gz"])
def test_every_kind_of_file(tmp_path: Path, name: str) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    text = "\n\n".join(lines) if "jsonl" in name else "[\n" + ",\n\n".join(lines) + "\n]\n"
    first = 1 if "jsonl" in name else 2
    assert list(read_records(_write(tmp_path / name, text))) == list(zip([first, first + 2, first + 4], ROWS, strict=True))


def test_line_ends_of_windows_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.jsonl", '\ufeff{"a": 1}\r\n{"a": 2}\r\n')
    assert list(read_records(path)) == [(1, {"a": 1}), (2, {"a": 2})]
    assert list(read_records(_write(tmp_path / "x.json", '\ufeff[{"a": 1}]'))) == [(1, {"a": 1})]


def test_an_object_of_arrays_is_read_row_by_row(tmp_path: Path) -> None:
    text = '{"q": [\n {"a": 1},\n {"a": 2}],\n "r": [], "s": [{"a": 3}]}\n'
    assert list(read_records(_write(tmp_path / "x.json", text))) == [(2, {"a": 1}), (3, {"a": 2}), (4, {"a": 3})]


def test_a_single_object_is_one_record(tmp_path: Path) -> None:
    assert list(read_records(_write(tmp_path / "x.json", '\n{"a": [1], "b": 2}'))) == [(2, {"a": [1], "b": 2})]
    assert list(read_records(_write(tmp_path / "x.json", " [ ] "))) == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.jsonl", '{"a": 1}\n{"a": \n', r"x.jsonl:2: not JSON in UTF-8 .*found '\{"),
        ("x.jsonl", '{"a": 1}\n\n[1]\n', r"x.jsonl:3: a row must be an object; found \[1\]"),
        ("x.jsonl", '{"a": NaN}\n', "x.jsonl:1: not JSON"),
        ("x.jsonl", "[" * 100_000, "x.jsonl:1: not JSON"),
        ("x.json", '[{"a": 1},\n{"a": ]', "x.json:2: not JSON"),
        ("x.json", '[{"a": 1}\n{"a": 2}]', "x.json:2: not JSON"),
        ("x.json", '[{"a": 1}] []', "x.json:1: not JSON .extra data"),
        ("x.json", '[{"a": 1},\n2]', "x.json:2: a row must be an object; found 2"),
        ("x.json", '{"q": [{"a": 1}]\n', "x.json:2: not JSON"),
        ("x.json", "", "x.json:1: not JSON"),
        ("x.json", "[" * 100_000, "x.json: nested too deeply"),
        ("x.csv", "a,b", "x.csv: unknown kind of file; expected a name ending in .json"),
    ],
)
def test_a_file_that_is_off(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        list(read_records(_write(tmp_path / name, text)))


@pytest.mark.parametrize("name", ["x.json.gz", "x.jsonl.gz"])
def test_a_cut_or_false_gzip_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(json.dumps(ROWS * 50).encode())[:-20])
    with pytest.raises(InputError, match="the file cannot be read"):
        list(read_records(path))
    path.write_bytes(b'{"a": 1}')
    with pytest.raises(InputError, match="the file cannot be read"):
        list(read_records(path))


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(b'{"a": 1}\n{"a": "\xff"}\n')
    with pytest.raises(InputError, match=r"x.jsonl:2: not JSON in UTF-8"):
        list(read_records(tmp_path / "x.jsonl"))
    (tmp_path / "x.json").write_bytes(b'[{"a": "\xff"}]')
    with pytest.raises(InputError, match="cannot be read"):
        list(read_records(tmp_path / "x.json"))


def test_bad_lines_can_be_set_aside(tmp_path: Path) -> None:
    bad: list[InputError] = []
    path = _write(tmp_path / "x.jsonl", '{"a": 1}\nno\n3\n{"a": 4}\n')
    assert [row for _, row in read_records(path, on_bad=bad.append)] == [{"a": 1}, {"a": 4}]
    assert [error.line for error in bad] == [2, 3]


def test_a_missing_file_is_told_at_once(tmp_path: Path) -> None:
    _write(tmp_path / "gsm8k.json", "[]")
    with pytest.raises(InputError, match=r"there is no such file; expected .*gsm8k\.json"):
        read_records(tmp_path / "gsm8.json")
    with pytest.raises(InputError, match="there is no such file"):
        read_records("no/gsm8k.json")
    with pytest.raises(InputError, match="this is not a file"):
        read_records(tmp_path)


def test_a_local_file_has_no_revision(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a local file has no revision"):
        read_records(_write(tmp_path / "x.json", "[]"), revision="main")


def test_a_data_set_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def load_dataset(name: str, *, revision: str | None, split: str | None) -> Any:
        asked.append((name, revision, split))
        return {"one": [{"a": 1}], "two": [{"a": 2}]} if split is None else [{"a": 3}]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert list(read_records("some/set@v1.0")) == [(1, {"a": 1}), (2, {"a": 2})]
    assert list(read_records("some/set", revision="abc", split="two")) == [(1, {"a": 3})]
    assert asked == [("some/set", "v1.0", None), ("some/set", "abc", "two")]


def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str, **options: Any) -> Any:
        raise ConnectionError(f"cannot reach {name}\nmore of it")

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(InputError, match=r"some/set@v1: there is no such file, and .*ConnectionError: cannot reach some/set\);"):
        read_records("some/set@v1")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="`datasets` is not installed"):
        read_records("some/set")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5), lambda v: st.lists(v, max_size=3), max_leaves=5
)


@given(st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=3), max_size=5), st.sampled_from([None, 0, 2]))
def test_arrays_are_read_as_the_standard_library_does(tmp_path_factory: Any, rows: list[Any], indent: int | None) -> None:
    folder = tmp_path_factory.getbasetemp()
    assert [row for _, row in read_records(_write(folder / "x.json", json.dumps(rows, indent=indent)))] == rows
    groups = {"a": rows, "b": [], "c": rows}
    assert [row for _, row in read_records(_write(folder / "x.json", json.dumps(groups, indent=indent)))] == rows + rows


def test_only_headings_that_say_their_place_go() -> None:
    steps = ["Step 1: a", "### Step 2: b", "Step 2: c", "d", "**Step 5:** e", "Step 7: f"]
    assert unnumbered(steps) == ("a", "b", "Step 2: c", "d", "e", "Step 7: f")


def test_reading_files_loads_no_heavy_library() -> None:
    names = (
        "text.parsing text.prompt_template metrics.bootstrap datasets.base datasets.examples datasets.mr_ben datasets.mr_gsm8k"
        " datasets.prm800k datasets.processbench"
    )
    code = "".join(f"import deepcritic.{name}\n" for name in names.split())
    code += "import sys\nassert not {'torch', 'datasets', 'transformers', 'scipy', 'pandas'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent.parent)

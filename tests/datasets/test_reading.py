"""Records out of files and off the hub, and errors that name their place."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.datasets import examples, processbench
from deepcritic.datasets.base import Report
from deepcritic.datasets.fields import unnumbered
from deepcritic.datasets.reading import Place, lines_file, read_records
from deepcritic.errors import InputError

ROWS = [{"a": 1}, {"a": "two\n\x0c\u2028 lines"}, {"a": [{"b": None}]}]


def _read(path: Any, **options: Any) -> list[tuple[int, Any]]:
    return [(place.line, record) for place, record in read_records(path, **options)]


def _write(path: Path, text: str) -> Path:
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("name", ["x.json", "x.json.gz", "x.jsonl", "x.jsonl.gz"])
def test_every_kind_of_file(tmp_path: Path, name: str) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    text = "\n\n".join(lines) if "jsonl" in name else "[\n" + ",\n\n".join(lines) + "\n]\n"
    first = 1 if "jsonl" in name else 2
    assert _read(_write(tmp_path / name, text)) == list(zip([first, first + 2, first + 4], ROWS, strict=True))


def test_line_ends_of_windows_and_a_byte_order_mark(tmp_path: Path) -> None:
    path = _write(tmp_path / "x.jsonl", '\ufeff{"a": 1}\r\n{"a": 2}\r\n')
    assert _read(path) == [(1, {"a": 1}), (2, {"a": 2})]
    assert _read(_write(tmp_path / "x.json", '\ufeff[{"a": 1}]')) == [(1, {"a": 1})]


def test_an_object_of_arrays_is_read_row_by_row(tmp_path: Path) -> None:
    text = '{"q": [\n {"a": 1},\n {"a": 2}],\n "r": [], "s": [{"a": 3}]}\n'
    assert _read(_write(tmp_path / "x.json", text)) == [(2, {"a": 1}), (3, {"a": 2}), (4, {"a": 3})]


def test_a_single_object_is_one_record(tmp_path: Path) -> None:
    assert _read(_write(tmp_path / "x.json", '\n{"a": [1], "b": 2}')) == [(2, {"a": [1], "b": 2})]
    assert _read(_write(tmp_path / "x.json", " [ ] ")) == []


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("x.jsonl", '{"a": 1}\n{"a": \n', r"x.jsonl:2: not JSON in UTF-8 .*found '\{"),
        ("x.jsonl", '{"a": 1}\n\n[1]\n', r"x.jsonl:3: a row must be an object; found \[1\]"),
        ("x.jsonl", '{"a": NaN}\n', r"x.jsonl:1: NaN is not JSON; found '\{\"a\": NaN\}'; expected a number, or null"),
        ("x.json", '[{"a": 1},\n{"a": -Infinity}]', "x.json:2: -Infinity is not JSON; expected a number, or null"),
        (
            "x.jsonl",
            '{\n"a": 1\n}\n',
            "x.jsonl:1: not JSON in UTF-8 .the object does not end on its line.; found .*; write one object per line",
        ),
        ("x.json", '{"a": ["one"], "b": []}', "x.json:1: a row must be an object; found 'one'"),
        ("x.csv", "a,a\n1,2\n", "x.csv:1: the header names no columns"),
        (
            "x.csv",
            'a,b\n"1\n2",3\n4\n',
            "x.csv:4: the row has a different number of values than the header; found 1; expected 2: a, b",
        ),
        ("x.txt", "Step 1: a", "x.txt: unknown kind of file; found 'Step 1: a'; expected a file ending in .json"),
        ("x.jsonl", '{"a": ' + "[" * 100_000, "x.jsonl:1: not JSON"),
        ("x.json", '[{"a": 1},\n{"a": ]', "x.json:2: not JSON"),
        ("x.json", '[{"a": 1}\n{"a": 2}]', "x.json:2: not JSON"),
        ("x.json", '[{"a": 1}] []', "x.json:1: not JSON .extra data"),
        ("x.json", '[{"a": 1},\n2]', "x.json:2: a row must be an object; found 2"),
        ("x.json", '{"q": [{"a": 1}]\n', "x.json:2: not JSON"),
        ("x.json", "", "x.json:1: not JSON"),
        ("x.json", "[" * 100_000, "x.json: nested too deeply"),
    ],
)
def test_a_file_that_is_off(tmp_path: Path, name: str, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        list(read_records(_write(tmp_path / name, text)))


@pytest.mark.parametrize("name", ["x.json.gz", "x.jsonl.gz"])
def test_a_cut_gzip_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(gzip.compress(json.dumps(ROWS * 50).encode())[:-20])
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
    with pytest.raises(InputError, match=r"no such file; expected .*gsm8k\.json"):
        read_records(tmp_path / "gsm8.json")
    with pytest.raises(InputError, match="no such file"):
        read_records("no/gsm8k.json")


def test_a_local_file_has_no_revision(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a local file does not support revision"):
        read_records(_write(tmp_path / "x.json", "[]"), revision="main")


def test_a_data_set_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, ...]] = []

    def load_dataset(name: str, *, revision: str | None, split: str | None) -> Any:
        asked.append((name, revision, split))
        return {"one": [{"a": 1}], "two": [{"a": 2}]} if split is None else [{"a": 3}]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert _read("some/set@v1.0") == [(1, {"a": 1}), (2, {"a": 2})]
    assert _read("some/set", revision="abc", split="two") == [(1, {"a": 3})]
    assert asked == [("some/set", "v1.0", None), ("some/set", "abc", "two")]


def test_a_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(name: str, **options: Any) -> Any:
        raise ConnectionError(f"cannot reach {name}\nmore of it")

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(InputError, match=r"some/set@v1: no such file, and .*ConnectionError: cannot reach some/set\);"):
        read_records("some/set@v1")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match="`datasets` is not installed"):
        read_records("some/set")


UTF16 = [("utf-16", "UTF-16"), ("utf-16-le", "UTF-16"), ("utf-16-be", "UTF-16"), ("utf-32", "UTF-32")]


@pytest.mark.parametrize(("encoding", "said"), UTF16)
@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv"])
def test_other_encodings_are_named(tmp_path: Path, encoding: str, said: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes('[{"a": "é"}]\n'.encode(encoding))
    with pytest.raises(InputError, match=rf"{name}.*: the file is in {said}; expected UTF-8; convert it: iconv -f {said}"):
        list(read_records(path))


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"PK\x03\x04", "a zip archive or a spreadsheet"),
        (b"BZh9", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
    ],
)
def test_other_archives_are_named(tmp_path: Path, head: bytes, said: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(head + b"\x01\x02rest")
    with pytest.raises(InputError, match=rf"x.jsonl.*: the file is not text but {said}; expected UTF-8 text, plain or gzipped"):
        list(read_records(path))


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.txt", "x.jsonl.gz", "x", "x.ndjson"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("array", [False, True])
def test_what_a_file_holds_is_seen_from_its_content(tmp_path: Path, name: str, packed: bool, mark: bytes, array: bool) -> None:
    rows = [{"a": 1}, {"a": 2}]
    content = mark + (json.dumps(rows) if array else "\n".join(map(json.dumps, rows))).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if packed else content)
    assert [row for _, row in _read(tmp_path / name)] == rows


def test_rows_in_an_object_are_unwrapped(tmp_path: Path) -> None:
    text = '{"version": "1.0",\n "data": [\n {"a": 1},\n {"a": 2}]}'
    assert _read(_write(tmp_path / "x.json", text)) == [(3, {"a": 1}), (4, {"a": 2})]
    row = {"id": "x", "messages": [{"role": "user", "content": "a"}]}
    assert _read(_write(tmp_path / "x.json", json.dumps(row))) == [(1, row)]


@pytest.mark.parametrize("rows", [[{"q": f"{at} + {at}?", "steps": ["a", f"b{at}"], "label": at} for at in range(4)]])
def test_tables_that_are_stored_by_column_or_by_id(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    frame = pandas.DataFrame(rows)
    found = [
        [row for _, row in _read(_write(tmp_path / "x.json", text))]
        for text in (
            frame.to_json(), frame.to_json(orient="index"), json.dumps(frame.to_dict(orient="list")),
            json.dumps({str(at): row for at, row in enumerate(rows)}),
        )
    ]  # fmt: skip
    assert found == [rows] * 4
    assert frame.to_json().startswith('{"q":{"0":')
    named = {f"r-{row['label']}": row for row in rows}
    assert [row for _, row in _read(_write(tmp_path / "x.json", json.dumps(named)))] == [
        {"id": name, **row} for name, row in named.items()
    ]


@pytest.mark.parametrize(
    "row",
    [{"problem": {"text": "a"}, "label": {"steps": [1]}}, {"a": [1, 2], "b": [1]}, {"a": ["x", "y"]}, {"a": {"0": 1, "1": 2}}],
)
def test_objects_that_are_no_tables(tmp_path: Path, row: dict[str, Any]) -> None:
    path = _write(tmp_path / "x.json", json.dumps(row))
    assert not any(set(found) == {"a"} and found["a"] in ("x", 1) for _, found in read_records(path, on_bad=lambda error: None))


def test_a_file_that_is_packed_twice(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl.gz"
    path.write_bytes(gzip.compress(gzip.compress(b'{"a": 1}\n{"a": 2}\n')))
    assert _read(path) == [(1, {"a": 1}), (2, {"a": 2})]


@pytest.mark.parametrize("name", ["x.jsonl", "x.json", "x.csv", "x.parquet", "x.jsonl.gz"])
@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12\n", "a pointer of Git LFS", "git lfs pull"),
        ("\n<!DOCTYPE html>\n<html><title>404</title></html>", "a web page", "/resolve/"),
        ('<?xml version="1.0"?><Error>AccessDenied</Error>', "XML", "/resolve/"),
    ],
)
def test_what_lies_in_place_of_a_file(tmp_path: Path, name: str, text: str, said: str, remedy: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        _read(_write(tmp_path / name, text))
    assert caught.value.file
    assert remedy in (caught.value.remedy or "")
    assert "\n" not in str(caught.value)


def test_a_name_that_says_parquet(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the name says Parquet"):
        _read(_write(tmp_path / "x.parquet", '{"a": 1}'))


def test_the_index_of_a_frame_in_csv(tmp_path: Path) -> None:
    pandas.DataFrame([{"q": "a", "n": 1}, {"q": "b", "n": 2}]).to_csv(tmp_path / "x.csv")
    assert _read(tmp_path / "x.csv")[1] == (3, {"Unnamed: 0": "1", "q": "b", "n": "2"})


def test_comma_separated_values(tmp_path: Path) -> None:
    text = '\ufeffid,problem,steps\r\n1,"1 + 1,\n?","[""a"", ""b""]"\r\n\r\n2,,x\r\n'
    first = {"id": "1", "problem": "1 + 1,\n?", "steps": '["a", "b"]'}
    assert _read(_write(tmp_path / "x.csv", text)) == [(2, first), (5, {"id": "2", "problem": None, "steps": "x"})]
    assert _read(_write(tmp_path / "y.csv.gz", "a;b\n1;2\n")) == [(2, {"a": "1", "b": "2"})]
    assert _read(_write(tmp_path / "z.tsv", "a\tb,c\n1\t2\n")) == [(2, {"a": "1", "b,c": "2"})]
    long = "x" * 200_000
    assert _read(_write(tmp_path / "l.csv", f"a\n{long}\n")) == [(2, {"a": long})]


def test_parquet_and_what_it_holds(tmp_path: Path) -> None:
    rows = [{"a": 1.0, "b": ["x"], "c": {"d": "e"}}, {"a": float("nan"), "b": [], "c": None}]
    pandas.DataFrame(rows).to_parquet(tmp_path / "x.parquet")
    (tmp_path / "x.bin").write_bytes((tmp_path / "x.parquet").read_bytes())
    expected = [(1, rows[0]), (2, {"a": None, "b": [], "c": None})]
    assert _read(tmp_path / "x.parquet") == _read(tmp_path / "x.bin") == expected
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "x.parquet").read_bytes()[:-20])
    with pytest.raises(InputError, match=r"cut.parquet: the file cannot be read .*; expected a complete Parquet file"):
        list(read_records(tmp_path / "cut.parquet"))


def test_a_folder_with_files_of_rows(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    pandas.DataFrame([{"a": 1}]).to_parquet(tmp_path / "data" / "train-00000-of-00002.parquet")
    _write(tmp_path / "data" / "train-00001-of-00002.jsonl", '{"a": 2}\n')
    _write(tmp_path / "data" / "test.json", '[{"a": 3}]')
    _write(tmp_path / "README.md", "about")
    _write(tmp_path / "dataset_infos.json", "{}")
    (tmp_path / ".cache").mkdir()
    _write(tmp_path / ".cache" / "x.json", '[{"a": 4}]')
    assert sorted(row["a"] for _, row in _read(tmp_path)) == [1, 2, 3]
    assert [row["a"] for _, row in _read(tmp_path, split="train")] == [1, 2]
    assert next(iter(read_records(str(tmp_path), split="test")))[0] == Place(str(tmp_path / "data" / "test.json"), 1)
    with pytest.raises(InputError, match=r"no file for split 'dev' in this folder; found .*test.json"):
        read_records(tmp_path, split="dev")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no file with rows in this folder; expected a file ending in \.json"):
        read_records(tmp_path / "empty")


def test_the_folder_of_a_stage_is_no_data_set(tmp_path: Path) -> None:
    _write(tmp_path / "manifest.json", "{}")
    _write(tmp_path / "examples.jsonl", "")
    with pytest.raises(InputError, match=r"the path is a stage folder; found 'examples.jsonl'; expected one of its files"):
        read_records(tmp_path)


def test_what_save_to_disk_wrote(tmp_path: Path) -> None:
    one, two = (datasets.Dataset.from_list([{"a": number}]) for number in (1, 2))
    one.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": one, "test": two}).save_to_disk(str(tmp_path / "both"))
    assert _read(tmp_path / "one") == [(1, {"a": 1})]
    assert [row["a"] for _, row in _read(str(tmp_path / "both"))] == [1, 2]
    assert [row["a"] for _, row in _read(tmp_path / "both", split="test")] == [2]
    with pytest.raises(InputError, match="split: no such split; found 'dev'; expected train or test"):
        list(read_records(tmp_path / "both", split="dev"))


def test_rows_in_memory() -> None:
    frame = pandas.DataFrame({"a": [1, None], "b": [["x"], np.array(["y"])]})
    rows = [{"a": 1.0, "b": ["x"]}, {"a": None, "b": ["y"]}]
    for given_rows in (
        frame,
        datasets.Dataset.from_list(rows),
        rows,
        iter(rows),
        datasets.DatasetDict({"x": datasets.Dataset.from_list(rows)}),
    ):
        assert [row for _, row in _read(given_rows)] == rows
    with pytest.raises(InputError, match="list:1: a row must be a mapping; found 3"):
        list(read_records([3]))  # type: ignore[list-item]


def test_a_configuration_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def load_dataset(path: str, name: str, *, revision: str | None, split: str | None) -> Any:
        asked.append((path, name, revision, split))
        return [{"a": 1}]

    monkeypatch.setitem(sys.modules, "datasets", types.SimpleNamespace(load_dataset=load_dataset))
    assert _read("some/set", config="main", split="test") == [(1, {"a": 1})]
    assert asked == [("some/set", "main", None, "test")]


def test_a_field_that_is_missing_is_told_with_those_that_are_there(tmp_path: Path) -> None:
    def said(row: dict[str, Any]) -> str:
        with pytest.raises(InputError) as error:
            list(processbench.read(_write(tmp_path / "x.jsonl", json.dumps(row))))
        return str(error.value).partition("x.jsonl")[2]

    row = {"id": "x-1", "problem": "p", "steps": ["a"], "label": 0}
    assert "problem: the field is missing; did you mean 'question'?; found 'id, steps, label, question'" in said(
        {"id": "x-1", "steps": ["a"], "label": 0, "question": "p"}
    )
    assert ":1: steps: the row is nested: the field is inside 'row'; found 'row_idx, row'; remove the 'row' around it" in said(
        {"row_idx": 1, "row": row}
    )
    assert "the rows are nested: the field is inside 'stuff'" in said({"stuff": [row], "n": 1})
    assert "label: the field is missing; found 'id, problem, steps, x'; expected a whole number" in said(
        {**{k: row[k] for k in ("id", "problem", "steps")}, "x": 1}
    )


def test_a_row_that_is_there_twice(tmp_path: Path) -> None:
    row = {"id": "x-1", "problem": "p", "steps": ["a"], "label": 0}
    path = _write(
        tmp_path / "x.jsonl", "\n".join(json.dumps({**row, **more}) for more in ({}, {}, {"label": -1}, {"problem": "q"}))
    )
    report = Report()
    assert len(list(processbench.read(path, max_bad=9, report=report))) == 1
    assert report.counts == {"rows": 4, "examples": 1, "duplicates": 1, "bad": 2}
    assert [str(error).partition(": ")[2] for error in report.bad] == [
        "id: duplicate row with another label; found 'x-1, labelled -1'; expected 1, as on line 1",
        "id: duplicate id; found 'x-1'; expected an id different from that of line 1",
    ]


@pytest.mark.parametrize("read", [processbench.read, examples.read])
def test_an_empty_problem_is_refused_by_every_reader(tmp_path: Path, read: Any) -> None:
    flat = {"id": "x-1", "problem": " ", "steps": ["a"], "label": 0}
    ours = {"id": "x-1", "item": {"problem": "", "steps": ["a"]}, "source": "made"}
    with pytest.raises(InputError, match=r"x.jsonl:1: item.problem: the problem is empty; found '.*'; expected its text"):
        list(read(_write(tmp_path / "x.jsonl", json.dumps(flat if read is processbench.read else ours))))


@pytest.mark.parametrize("kind", ["x.json", "x.jsonl.gz", "x.parquet", "frame"])
def test_our_own_rows_from_any_kind_of_file(tmp_path: Path, kind: str) -> None:
    rows = [{"id": f"x-{n}", "item": {"problem": "p", "steps": ["a"]}, "source": "made"} for n in range(3)]
    path: Any = tmp_path / kind
    if kind == "x.parquet":
        pandas.DataFrame(rows).to_parquet(path)
    elif kind == "frame":
        path = pandas.DataFrame(rows)
    else:
        _write(path, json.dumps(rows) if kind == "x.json" else "\ufeff" + "\n".join(map(json.dumps, rows)))
    assert [row.id for row in examples.read(path)] == ["x-0", "x-1", "x-2"]


def test_an_open_file_of_lines(tmp_path: Path) -> None:
    rows = [{"a": number} for number in range(3)]
    plain = "\n".join(map(json.dumps, rows)) + "\n"
    indented = json.dumps(rows, indent=1)
    for name, text in (("x.jsonl", plain), ("x.jsonl.gz", plain), ("y.jsonl", "\ufeff" + plain), ("z.json", indented)):
        file, lines = lines_file(_write(tmp_path / name, text))
        found = list(lines)
        assert [json.loads(os.pread(file.fileno(), len(line), start)) for _, start, line in found] == rows
        assert [number for number, _, _ in found] == ([2, 5, 8] if name == "z.json" else [1, 2, 3])


@given(
    st.lists(st.dictionaries(st.sampled_from("abc"), st.text(max_size=6), min_size=1), min_size=1, max_size=4),
    st.sampled_from([0, 1, 2, 3]),
)
def test_the_same_rows_in_every_dress(tmp_path_factory: Any, rows: list[dict[str, str]], dress: int) -> None:
    path = tmp_path_factory.getbasetemp() / "dress.jsonl"
    content = "\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode("utf-8", "replace")
    content = (b"\xef\xbb\xbf" if dress & 1 else b"") + content
    path.write_bytes(gzip.compress(content) if dress & 2 else content)
    expected = [{key: value.encode("utf-8", "replace").decode() for key, value in row.items()} for row in rows]
    assert [row for _, row in _read(path)] == expected


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

"""Rows found again by their keys: what was put in comes out, in the order asked, and little of it is in memory."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepcritic.errors import InputError
from deepcritic.runs.jsonl import read_rows
from deepcritic.runs.keyed_jsonl import JsonlIndex, digest_of
from deepcritic.schema import Failure, Generation, Key, encode

NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=4) | st.sampled_from(["a", "a\0", "a\0b", "a\x01", "ab", ""])
KEYS = st.builds(
    Key, example_id=NAMES, request=NAMES, step=st.integers(-3, 300), sample=st.integers(0, 300), parent=NAMES
)  # fmt: skip
SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=80, deadline=None)


def _row(key: Key, text: str = "text", fingerprint: str = "f") -> Generation:
    return Generation(key=key, text=text, finish_reason="stop", model="m", fingerprint=fingerprint, seed=0)


@SAME_FOLDER
@given(keys=st.lists(KEYS, max_size=12), asked=st.lists(KEYS, max_size=4), cut=st.integers(0, 12), size=st.integers(1, 4))
def test_rows_come_back_by_key_and_in_order(tmp_path: Path, keys: list[Key], asked: list[Key], cut: int, size: int) -> None:
    path = tmp_path / "rows.jsonl"
    path.unlink(missing_ok=True)
    rows = [_row(key, f"text {number}") for number, key in enumerate(keys)]
    for part in (rows[:cut], rows[cut:]):  # two starts
        keyed = JsonlIndex(path, Generation)
        there = [head.key for head in keyed.open()]
        assert len(there) == len(keyed) == len(set(there))
        for at in range(0, len(part), size):
            together = part[at : at + size]
            new = [key for key in dict.fromkeys(row.key for row in together) if key not in there]
            kept = keyed.extend(together) if size > 1 else [row for row in together if keyed.append(row)]
            assert kept == [next(row for row in together if row.key == key) for key in new]
            there += new
        keyed.close()
    first = {row.key: row for row in reversed(rows)}
    keyed = JsonlIndex(path, Generation)
    assert [head.key for head in keyed.open()] == list(dict.fromkeys(keys))
    wanted = [*asked, *keys[::-1], *keys[:1]]
    drawn = keyed.rows(map(digest_of, wanted))
    expected = [first[key] for key in wanted if key in first]
    assert list(drawn) == expected
    assert list(keyed.everything()) == [first[key] for key in dict.fromkeys(keys)]
    assert keyed.put_in_order() == len(first)
    assert list(read_rows(path, Generation)) == [first[key] for key in sorted(first)]
    assert list(drawn) == expected, "also once the file is another"
    assert len(drawn) == len(expected)


def test_what_is_in_order_already_is_not_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [_row(Key(example_id="a", request="r", sample=sample)) for sample in range(300)]
    path.write_bytes(b"".join(encode(row) + b"\n" for row in rows))
    node = path.stat().st_ino
    for _ in JsonlIndex(path, Generation).look():
        pass
    keyed = JsonlIndex(path, Generation)
    list(keyed.open())
    assert keyed.put_in_order() == 300
    assert path.stat().st_ino == node


def test_another_fingerprint_is_seen(tmp_path: Path) -> None:
    key, other = Key(example_id="a", request="r"), Key(example_id="b", request="r")
    keyed = JsonlIndex(tmp_path / "rows.jsonl", Generation)
    list(keyed.open())
    keyed.append(_row(key, fingerprint="0123456789abcdef"))
    keyed.close()
    again = JsonlIndex(tmp_path / "rows.jsonl", Generation)
    list(again.open())
    for rows in (keyed, again):
        assert not rows.fingerprint_differs(digest_of(key), "0123456789abcdef")
        assert rows.fingerprint_differs(digest_of(key), "0123456789abcdee")
        assert not rows.fingerprint_differs(digest_of(other), "x"), "what is not there differs from nothing"


def test_rows_that_are_not_wanted_leave_the_file_when_it_is_put_in_order(tmp_path: Path) -> None:
    path = tmp_path / "failures.jsonl"
    rows = [
        Failure(key=Key(example_id="a", request="r", sample=sample), reason="down" if sample % 2 else "too_long")
        for sample in range(6)
    ]
    path.write_bytes(b"".join(encode(row) + b"\n" for row in rows))
    keyed = JsonlIndex(path, Failure)
    assert len(list(keyed.open(lambda head: head.reason == "too_long"))) == 3
    assert not keyed.append(rows[0])
    assert keyed.append(rows[1])
    keyed.put_in_order()
    assert list(read_rows(path, Failure)) == [rows[0], rows[1], rows[2], rows[4]]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b'{"key": {"example_id": "a"}}', "key.request"),
        (b'{"key": 3}', "key"),
        (b"{", None),
        (b'{"key": {"example_id": "\xff"}}', None),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, line: bytes, field: str | None) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(encode(_row(Key(example_id="a", request="r"))) + b"\n" + line + b"\n")
    with pytest.raises(InputError, match=r"rows.jsonl:2: ") as caught:
        list(JsonlIndex(path, Generation).open())
    assert caught.value.field == field


def test_damage_behind_the_key_is_named_when_the_row_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = _row(Key(example_id="a", request="r"))
    path.write_bytes(encode(row).replace(b'"seed":0', b'"seed":"x"') + b"\n")
    keyed = JsonlIndex(path, Generation)
    list(keyed.open())
    with pytest.raises(InputError, match=r"rows.jsonl: seed: .* \(at byte 0\)"):
        list(keyed.everything())


def test_a_row_takes_little_memory_however_long_its_text_is(tmp_path: Path) -> None:
    """200 bytes are promised; `scripts/bench store` measures a million rows from outside."""
    path, count = tmp_path / "rows.jsonl", 20_000
    text = "a long text, " * 100
    with path.open("wb") as file:
        for sample in range(count):
            file.write(encode(_row(Key(example_id=f"olympiadbench-{sample}/s3", request="rollout"), text)) + b"\n")
    keyed = JsonlIndex(path, Generation)
    tracemalloc.start()
    for _ in keyed.open():
        pass
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(keyed) == count
    assert used / count < 200


@pytest.mark.parametrize("number", [10**30, -(10**30), 1 << 62])
@pytest.mark.parametrize("field", ["sample", "step"])
def test_a_number_beyond_all_measure_is_named(tmp_path: Path, field: str, number: int) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"key": {"example_id": "a", "request": "ask", field: number}, "reason": "down"}
    path.write_text(json.dumps(row) + "\n", "utf-8")
    with pytest.raises(InputError, match=rf"rows\.jsonl:1: key: the number is too large; found {number}"):
        list(JsonlIndex(path, Failure).open())

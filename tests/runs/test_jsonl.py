"""Row files: what goes in comes out, however the writer dies."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepcritic.errors import InputError
from deepcritic.runs.jsonl import Journal, file_sha256, read_lines, read_rows, replacing, write_json, write_rows
from deepcritic.schema import Message, encode

ODD = "a\u2028b\u2029c\fd\x0be\x00f\x85g\r\nh\ti\x1cj\ud800k\U0001f600\ufeff"
SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)


def _row(text: str) -> Message:
    return Message(role="user", content=text)


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


@SAME_FOLDER
@given(texts=st.lists(st.text(st.characters(), max_size=30) | st.just(ODD), max_size=8))
def test_rows_come_back_from_a_journal_and_from_a_finished_file(tmp_path: Path, texts: list[str]) -> None:
    path = tmp_path / "rows.jsonl"
    path.unlink(missing_ok=True)
    rows = [_row(_clean(text)) for text in texts]
    with Journal(path, Message) as journal:
        for text in texts:
            journal.append(_row(text))
        assert list(journal) == rows
    assert list(read_rows(path, Message)) == rows
    assert len(list(read_lines(path))) == len(rows)
    assert write_rows(path, [_row(text) for text in texts]) == len(rows)
    assert list(read_rows(path, Message)) == rows


def test_a_file_cut_at_any_byte_opens_with_its_whole_rows(tmp_path: Path) -> None:
    rows = [_row("one"), _row(_clean(ODD)), _row(""), _row("\\boxed{-1} ü")]
    lines = [encode(row) + b"\n" for row in rows]
    content, path = b"".join(lines), tmp_path / "rows.jsonl"
    ends = [sum(map(len, lines[:count])) for count in range(len(lines) + 1)]
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        whole = sum(end <= size for end in ends) - 1
        with Journal(path, Message) as journal:
            assert journal.cut == size - ends[whole]
            assert list(journal) == rows[:whole]
            journal.append(_row("next"))
        assert list(read_rows(path, Message)) == [*rows[:whole], _row("next")]


def test_a_torn_line_longer_than_a_chunk_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deepcritic.runs.jsonl._CHUNK", 7)
    path = tmp_path / "rows.jsonl"
    path.write_bytes(encode(_row("whole")) + b"\n" + b"x" * 100)
    with Journal(path, Message) as journal:
        assert journal.cut == 100
    assert list(read_rows(path, Message)) == [_row("whole")]


def test_a_damaged_line_in_the_middle_is_named_not_skipped(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(encode(_row("a")) + b'\n\n{"role": "user"}\n' + encode(_row("b")) + b"\n")
    with pytest.raises(InputError, match=rf"{path}:3: content: required field is missing"):
        list(read_rows(path, Message))


def test_a_row_is_with_the_system_when_append_returns(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    program = (
        "import os, pathlib, sys\nfrom deepcritic.schema import Message\nfrom deepcritic.runs.jsonl import Journal\n"
        "journal = Journal(pathlib.Path(sys.argv[1]), Message)\n"
        "journal.append(Message(role='user', content='kept'))\nos.kill(os.getpid(), 9)\n"
    )
    assert subprocess.run([sys.executable, "-c", program, str(path)], check=False).returncode == -9
    assert list(read_rows(path, Message)) == [_row("kept")]


def test_replacing_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    write_json(path, {"a": "ü"})
    assert path.read_text("utf-8") == '{\n  "a": "ü"\n}\n'
    old = file_sha256(path)
    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            _break_off(path, error)
        assert file_sha256(path) == old
        assert list(path.parent.iterdir()) == [path]
    with replacing(path) as file:
        file.write(b"all of it")
    assert path.read_bytes() == b"all of it"


def _break_off(path: Path, error: type[BaseException]) -> None:
    old = file_sha256(path)
    with replacing(path) as file:
        file.write(b"half of it")
        file.flush()
        assert file_sha256(path) == old
        raise error


def test_a_value_that_json_cannot_hold_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, 1)
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))
    assert path.read_text("utf-8") == "1\n"
    assert list(tmp_path.iterdir()) == [path]


def test_killed_at_any_write_of_a_replacement_the_old_file_stands(tmp_path: Path) -> None:
    """The process dies before each system call in turn that the replacement makes."""
    path = tmp_path / "file.json"
    program = (
        "import os, pathlib, sys\nfrom deepcritic.runs import jsonl\n"
        "left = int(sys.argv[2])\n"
        "def dying(call):\n"
        "    def wrapped(*args, **kwargs):\n"
        "        global left\n"
        "        if left == 0: os.kill(os.getpid(), 9)\n"
        "        left -= 1\n"
        "        return call(*args, **kwargs)\n"
        "    return wrapped\n"
        "os.fsync, os.fdopen, os.replace = dying(os.fsync), dying(os.fdopen), dying(os.replace)\n"
        "pathlib.Path.replace, pathlib.Path.chmod = dying(pathlib.Path.replace), dying(pathlib.Path.chmod)\n"
        "jsonl.write_json(pathlib.Path(sys.argv[1]), 'new')\n"
    )
    seen = set()
    for calls in range(8):
        write_json(path, "old")
        code = subprocess.run([sys.executable, "-c", program, str(path), str(calls)], check=False).returncode
        seen.add((code, path.read_text("utf-8")))
        if code == 0:
            break
    assert seen == {(-9, '"old"\n'), (-9, '"new"\n'), (0, '"new"\n')}


FULL_DISK = """
import pathlib, resource, sys
from deepcritic.schema import Message
from deepcritic.runs.jsonl import Journal, write_rows
path, together = pathlib.Path(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
journal = Journal(path, Message)
written = 0
try:
    while True:
        journal.extend(Message(role="user", content=f"row {written + at} " + "x" * 90) for at in range(together))
        written += together
except OSError as error:
    print(written, error.filename, error.strerror)
try:
    write_rows(path.with_name("other.jsonl"), (Message(role="user", content="y" * 99) for _ in range(99)))
except OSError as error:
    print("replace failed", error.filename)
journal.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
@pytest.mark.parametrize("together", [1, 2, 3])
def test_on_a_full_disk_the_rows_before_stay_whole(tmp_path: Path, together: int) -> None:
    path = tmp_path / "rows.jsonl"
    (tmp_path / "other.jsonl").write_bytes(b"")
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path), str(together)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    first, second = result.stdout.splitlines()
    written = int(first.split()[0])
    assert str(path) in first
    assert second == f"replace failed {tmp_path / 'other.jsonl'}"
    rows = list(read_rows(path, Message))
    assert len(rows) == written >= 5
    assert path.stat().st_size == sum(len(encode(row)) + 1 for row in rows)
    assert (tmp_path / "other.jsonl").read_bytes() == b""
    assert sorted(tmp_path.iterdir()) == [tmp_path / "other.jsonl", path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_dev_full_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device"):
        Journal(Path("/dev/full"), Message).append(_row("a"))

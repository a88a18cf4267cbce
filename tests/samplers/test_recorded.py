"""Recorded replies: what comes from outside is read with care, and our own rows come back."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pandas
import pytest

from deepcritic.errors import InputError
from deepcritic.samplers.base import Request, Sampling
from deepcritic.samplers.recorded import RecordedSampler
from deepcritic.schema import Failure, Generation, Key, Message, encode

KEY = Key(example_id="a-1", request="critique", sample=0)


def _file(folder: Path, *rows: Any) -> Path:
    path = folder / "replies.jsonl"
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows]
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def _reply(sample: int = 0, text: Any = "fine", name: str = "a-1", **more: Any) -> dict[str, Any]:
    return {"example_id": name, "sample": sample, "text": text, **more}


def _request(*keys: Key) -> Request:
    message = Message(role="user", content="?")
    return Request(
        keys=keys, seeds=tuple(range(len(keys))), messages=(message,), sampling=Sampling(), prefix="so ", context=[2, 1]
    )


def test_replies_are_served_by_key_and_absent_ones_fail(tmp_path: Path) -> None:
    path = _file(tmp_path, _reply(1, "second \u2028 \f"), _reply(0, "first", finish_reason="length", completion_tokens=9))
    missing = Key(example_id="a-1", request="critique", sample=2)
    with RecordedSampler(path) as sampler:
        rows = list(sampler.stream([_request(KEY, Key(example_id="a-1", request="critique", sample=1), missing)]))
    first, second, third = rows
    assert isinstance(first, Generation)
    assert isinstance(second, Generation)
    assert (first.text, first.finish_reason, first.completion_tokens, first.seed) == ("first", "length", 9, 0)
    assert (second.text, second.finish_reason, second.prefix, second.context) == ("second \u2028 \f", "stop", "so ", [2, 1])
    assert first.fingerprint == _request(KEY).fingerprint(sampler.model_id)
    assert isinstance(third, Failure)
    assert (third.key, third.reason) == (missing, "not_recorded")


def test_our_own_rows_come_back(tmp_path: Path) -> None:
    row = Generation(
        key=KEY, text="x", finish_reason="length", model="m#1", fingerprint="f", seed=3, prompt_tokens=4, completion_tokens=5
    )
    sampler = RecordedSampler(_file(tmp_path, encode(row)))
    (back,) = sampler.stream([_request(KEY)])
    assert isinstance(back, Generation)
    assert (back.text, back.finish_reason, back.model) == ("x", "length", "m#1")
    assert (back.prompt_tokens, back.completion_tokens) == (4, 5)
    assert sampler.ignored == {}


def test_calls_and_steps_are_told_apart(tmp_path: Path) -> None:
    path = _file(
        tmp_path,
        _reply(0, "initial 1", request="initial", step=1),
        _reply(0, "initial 2", request="initial", step=2),
        _reply(0, "deep 1", request="in_depth", step=1),
        _reply(0, "any", step=3),
    )
    sampler = RecordedSampler(path)
    texts = {
        (call, step): reply.text if (reply := sampler.reply(Key(example_id="a-1", request=call, step=step))) else None
        for call in ("initial", "in_depth")
        for step in (1, 2, 3)
    }
    assert texts == {
        ("initial", 1): "initial 1",
        ("initial", 2): "initial 2",
        ("initial", 3): "any",
        ("in_depth", 1): "deep 1",
        ("in_depth", 2): None,
        ("in_depth", 3): "any",
    }


def test_samples_of_another_call_are_not_counted(tmp_path: Path) -> None:
    path = _file(tmp_path, _reply(0, request="initial"), _reply(0, request="critique"), _reply(1), _reply(1, request="critique"))
    recorded = RecordedSampler(path)
    assert recorded.numbers("a-1", "critique") == (0, 1)
    assert recorded.numbers("a-1", "merge") == (1,)
    assert recorded.numbers("b-1", "critique") == ()
    assert [*recorded.names()] == [("a-1", 1)]
    assert (recorded.has("initial"), recorded.has("merge")) == (True, False)


def test_fields_that_nobody_declared_are_counted_and_ignored(tmp_path: Path) -> None:
    sampler = RecordedSampler(_file(tmp_path, _reply(0, who="me", line=7), _reply(1, who="you")))
    assert sampler.ignored == {"who": 2, "line": 1}


def test_the_content_is_the_identity(tmp_path: Path) -> None:
    first = RecordedSampler(_file(tmp_path, _reply(0, "a"))).model_id
    assert first == RecordedSampler(_file(tmp_path, _reply(0, "a"))).model_id
    assert first != RecordedSampler(_file(tmp_path, _reply(0, "b"))).model_id


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (b"no json", "replies.jsonl:2: the line is not JSON; found 'no json'; expected one JSON object per line"),
        (b"[" * 100_000, "replies.jsonl:2: the line is not JSON"),
        (b"\xff", "replies.jsonl:2: the line is not JSON"),
        ([1], "replies.jsonl:2: the line is not an object"),
        ({"sample": 0, "text": "x"}, "replies.jsonl:2: .*missing required field `example_id`"),
        ({"example_id": "a", "text": "x"}, "replies.jsonl:2: .*missing required field `sample`"),
        ({"example_id": "a", "sample": 0}, "replies.jsonl:2: .*missing required field `text`"),
        (_reply(1, 5), r"replies.jsonl:2: text: Expected `str`, got `int`; found 5; expected text: a string"),
        (_reply(1, None), r"replies.jsonl:2: text: Expected `str`, got `null`"),
        (_reply("1"), r"replies.jsonl:2: sample: Expected `int`, got `str`; found '1'"),  # type: ignore[arg-type]
        (_reply(10**30), r"replies.jsonl:2: sample: .*; found 10{30}; expected text: a string, sample: a number from 0"),
        (_reply(-1), r"replies.jsonl:2: sample: Expected `int` >= 0; found -1"),
        (_reply(1, step=10**30), r"replies.jsonl:2: step: "),
        (_reply(1, prompt_tokens=10**30), r"replies.jsonl:2: prompt_tokens: "),
        (_reply(0, "again"), r"replies.jsonl:2: sample: duplicate sample; found 0; .*first on line 1"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        RecordedSampler(_file(tmp_path, _reply(0), row))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("said", "reason"),
    [(None, "unknown"), ("eos_token", "stop"), ("end_turn", "stop"), ("max_tokens", "length"), ("x", "unknown")],
)  # fmt: skip
def test_every_servers_word_for_the_end_is_read(tmp_path: Path, said: str | None, reason: str) -> None:
    sampler = RecordedSampler(_file(tmp_path, _reply(0, finish_reason=said, prompt_tokens=None, model=None)))
    (row,) = sampler.stream([_request(KEY)])
    assert isinstance(row, Generation)
    assert (row.finish_reason, row.prompt_tokens, row.model) == (reason, 0, "recorded")


@pytest.mark.parametrize(("said", "reason"), [("content_filter", "refused"), ("SAFETY", "refused"), ("abort", "not_recorded")])
def test_a_reply_that_was_withheld_or_broken_off_is_none(tmp_path: Path, said: str, reason: str) -> None:
    (row,) = RecordedSampler(_file(tmp_path, _reply(0, finish_reason=said))).stream([_request(KEY)])
    assert isinstance(row, Failure)
    assert (row.reason, row.detail) == (reason, f"its finish_reason is {said}")


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="generations: no such file; found"):
        RecordedSampler(tmp_path / "none.jsonl")


@pytest.mark.parametrize("name", ["r.jsonl.gz", "r.jsonl", "r.json", "r.parquet", "r.csv"])
def test_recordings_in_any_kind_of_file(tmp_path: Path, name: str) -> None:
    rows = [{"example_id": f"q-{n}", "sample": 0, "text": f"... \\boxed{{{n}}}"} for n in range(1, 4)]
    lines = "\ufeff" + "\n".join(map(json.dumps, rows))
    path = tmp_path / name
    if name == "r.parquet":
        pandas.DataFrame(rows).to_parquet(path)
    elif name == "r.csv":
        pandas.DataFrame(rows).to_csv(path, index=False)
    else:
        content = (json.dumps(rows) if name == "r.json" else lines).encode()
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    recorded = RecordedSampler(path)
    found = [recorded.reply(Key(example_id=f"q-{n}", request="critique")) for n in range(1, 4)]
    assert [reply.text if reply else None for reply in found] == [row["text"] for row in rows]

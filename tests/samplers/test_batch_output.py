"""Output and error files of a batch as recordings: each shape of line, and each fault by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.errors import InputError
from deepcritic.runs.jsonl import read_rows
from deepcritic.samplers.base import Request, Sampling
from deepcritic.samplers.recorded import RecordedSampler
from deepcritic.schema import ALL_CORRECT, Example, Failure, Generation, Gold, Item, Judged, Key, Message, encode


def _chat(name: Any, *texts: Any, finish: str = "stop", **change: Any) -> dict[str, Any]:
    choices = [
        {
            "index": at,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "finish_reason": finish,
            "logprobs": None,
        }
        for at, text in enumerate(texts)
    ]
    body = {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024-08-06", "choices": choices,
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}, "system_fingerprint": "fp",
    }  # fmt: skip
    response = {"status_code": 200, "request_id": "r", "body": body}
    return {"id": "batch_req_1", "custom_id": name, "response": response, "error": None, **change}


def _error(name: str, status: int, code: str | None, message: str) -> dict[str, Any]:
    body = {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": code}}
    return {"id": "b", "custom_id": name, "response": {"status_code": status, "request_id": "r", "body": body}, "error": None}


EXPIRED = {
    "id": "b", "custom_id": "late", "response": None,
    "error": {"code": "batch_expired", "message": "This request could not be executed before the completion window expired."},
}  # fmt: skip


def _file(folder: Path, *rows: Any) -> Path:
    path = folder / "batch_output.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def _served(path: Path, *keys: Key) -> list[Generation | Failure]:
    request = Request(
        keys=keys, seeds=tuple(range(len(keys))), messages=(Message(role="user", content="?"),), sampling=Sampling(), prefix=""
    )
    with RecordedSampler(path) as sampler:
        return list(sampler.stream([request]))


def _key(name: str, sample: int = 0) -> Key:
    return Key(example_id=name, request="critique", sample=sample)


def test_choices_and_numbered_ids_are_samples(tmp_path: Path) -> None:
    swapped = _chat("b", "first", "second")
    swapped["response"]["body"]["choices"].reverse()
    path = _file(tmp_path, _chat("a#1", "later"), _chat("a#0", "now", finish="length"), swapped)
    found = _served(path, _key("a"), _key("a", 1), _key("b"), _key("b", 1))
    assert [row.text for row in found if isinstance(row, Generation)] == ["now", "later", "first", "second"]
    first = found[0]
    assert isinstance(first, Generation)
    assert (first.finish_reason, first.model, first.prompt_tokens, first.completion_tokens) == (
        "length",
        "gpt-4o-2024-08-06",
        7,
        3,
    )
    assert RecordedSampler(path).ignored == {}


@pytest.mark.parametrize(
    ("body", "text", "finish"),
    [
        ({"object": "text_completion", "choices": [{"text": "plain", "finish_reason": "stop"}]}, "plain", "stop"),
        (
            {"object": "response", "status": "completed", "output": [
                {"type": "reasoning", "summary": []},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "so ", "annotations": []},
                                                                     {"type": "output_text", "text": "4"}]},
            ], "usage": {"input_tokens": 3, "output_tokens": 2}},
            "so 4", "stop",
        ),
        (
            {"object": "response", "status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}, "output": [
                {"type": "message", "content": [{"type": "output_text", "text": "so"}]}]},
            "so", "length",
        ),
    ],
)  # fmt: skip
def test_other_endpoints(tmp_path: Path, body: dict[str, Any], text: str, finish: str) -> None:
    line = {"custom_id": "a", "response": {"status_code": 200, "body": body}}
    (row,) = _served(_file(tmp_path, line), _key("a"))
    assert isinstance(row, Generation)
    assert (row.text, row.finish_reason) == (text, finish)


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        (EXPIRED, "not_recorded", "the batch reports an error: batch_expired: This request could not be executed"),
        (
            _error("late", 400, "context_length_exceeded", "This model's maximum context length is 128 tokens."),
            "too_long", "context_length_exceeded: This model's maximum",
        ),
        (_error("late", 429, None, "Rate limit reached"), "not_recorded", "429: Rate limit reached"),
        (_error("late", 400, "content_policy_violation", "Your prompt was flagged"), "refused", "Your prompt was flagged"),
        (_chat("late", "x", finish="content_filter"), "refused", "withheld (content_filter)"),
        (_chat("late", 7), "not_recorded", "content is not text"),
    ],
)  # fmt: skip
def test_a_reply_that_did_not_come_says_why(tmp_path: Path, line: dict[str, Any], reason: str, detail: str) -> None:
    (row,) = _served(_file(tmp_path, line), _key("late"))
    assert isinstance(row, Failure)
    assert row.reason == reason
    assert detail in row.detail


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {}},
         "response: a batch request, not a reply; .*expected a line of the batch's output or error file"),
        ({"custom_id": "a", "response": None, "error": None}, "response: neither a response nor an error"),
        ({"custom_id": 3, "response": None, "error": None}, "custom_id: not an id; found 3"),
        ({"custom_id": "a", "response": [], "error": None}, "response: not a response"),
        ({"custom_id": "a", "response": {"status_code": "200", "body": {}}}, "response.status_code: not an HTTP status"),
        ({"custom_id": "a", "response": {"status_code": 200, "body": "x"}}, "response.body: the body is missing"),
        ({"custom_id": "a", "response": {"status_code": 200, "body": {"choices": []}}}, "response.body.choices: no reply"),
        (_chat("a#0", "x", "y"), "custom_id: several replies for one sample id"),
        (_chat("first", "x"), "sample: duplicate sample; found 0; .*first on line 1"),
    ],
)  # fmt: skip
def test_faults_are_named(tmp_path: Path, line: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=rf"batch_output.jsonl:2: {said}") as caught:
        RecordedSampler(_file(tmp_path, _chat("first", "x"), line))
    assert len(str(caught.value).splitlines()) == 1


def test_a_batch_is_evaluated(command: Callable[..., Any], tmp_path: Path) -> None:
    rows = [
        Example(id=name, item=Item(problem=f"What is {name}?", steps=("a", "b")), gold=Gold(first_error=first), source="s")
        for name, first in (("one", 2), ("two", ALL_CORRECT), ("late", 1))
    ]
    (tmp_path / "rows.jsonl").write_bytes(b"".join(encode(row) + b"\n" for row in rows))
    path = _file(tmp_path, _chat("one", "\\boxed{2}"), _chat("two", "\\boxed{-1}"), EXPIRED)
    words = ("benchmark=examples", f"benchmark.path={tmp_path / 'rows.jsonl'}", f"stage.generations={path}", "run=mine")
    outcome = command("stage=evaluate", *words, "model=gpt-4o")
    assert outcome.code == 0, outcome.err
    assert "failed 1" in outcome.out
    assert [row.correct for row in read_rows(Path("runs/mine/evaluate/verdicts.jsonl"), Judged)] == [1, 1, None]
    (failure,) = read_rows(Path("runs/mine/evaluate/failures.jsonl"), Failure)
    assert "batch_expired" in failure.detail
    assert json.loads(Path("runs/mine/evaluate/metrics.json").read_text("utf-8"))["f1"] == 100

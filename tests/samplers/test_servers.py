"""What is read of a server's answers, whatever they hold, and how much a server is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.errors import InputError
from deepcritic.samplers.servers.checks import same_model
from deepcritic.samplers.servers.completions import cards
from deepcritic.samplers.servers.refusals import refusal_of_row, remedy_of
from deepcritic.samplers.servers.replies import Completion, NoText, Tokens, Unreadable, message_of, read, shown
from deepcritic.samplers.servers.server import Server, base_url, pause, retry_after

NAMES = ("choices", "message", "content", "text", "finish_reason", "usage", "error", "data", "id", "detail")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=12,
)
ANYTHING = st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode())


@given(ANYTHING)
def test_any_answer_is_a_completion_or_not_whole(content: bytes) -> None:
    try:
        completion = read(content)
    except Unreadable as error:
        completion = Completion("", "stop", None, error.tokens)
    assert isinstance(completion, Completion)
    assert completion.finish_reason in {"stop", "length", "unknown", "withheld"}
    assert completion.refused is not None or completion.finish_reason != "withheld"
    assert all(number is None or number >= 0 for number in completion.tokens)


@given(ANYTHING, st.integers(300, 599))
def test_any_error_is_one_printable_line(content: bytes, status: int) -> None:
    assert message_of(content).isprintable()
    assert shown(content).isprintable()
    assert len(message_of(content)) <= 300
    assert refusal_of_row(status, message_of(content)) in {None, "too_long", "refused"}
    assert all(isinstance(card.id, str) for card in cards(content))


def test_deep_answers_are_refused_like_others() -> None:
    deep = b"[" * 100_000
    with pytest.raises(ValueError, match="not valid JSON"):
        read(b'{"error": ' + deep)
    assert message_of(deep).startswith("[[[")
    assert cards(deep) == []


@given(st.text(max_size=40))
def test_any_retry_after_is_a_time_from_now_on(header: str) -> None:
    assert (retry_after(header) or 0.0) >= 0.0


@pytest.mark.parametrize(
    ("header", "seconds"), [("120", 120.0), (" 1.5 ", 1.5), ("-3", None), ("", None), ("1e9", None), (None, None)]
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after(header) == seconds


def test_retry_after_may_be_a_date_to_come() -> None:
    assert (retry_after("Fri, 31 Dec 2100 23:59:59 GMT") or 0) > 1e9


@given(st.lists(st.tuples(st.sampled_from(["answered", "busy", "lost"]), st.floats(0, 100)), max_size=60))
def test_a_server_is_never_asked_for_more_than_it_may_or_for_nothing(events: list[tuple[str, float]]) -> None:
    server, now = Server("http://host/v1", 8), 0.0
    for event, seconds in events:
        now += seconds
        if event == "answered":
            server.answered(now)
            assert server.down_since is None
        elif event == "busy":
            server.busy(now, "429", None)
        else:
            server.lost(now, "refused")
        assert 1 <= server.room <= 8
        assert server.resume <= now + 60


def test_a_server_that_was_lost_is_soon_asked_as_much_as_before() -> None:
    server = Server("http://host/v1", 64)
    server.lost(0.0, "refused")
    assert server.room == 1
    for _ in range(63):
        server.answered(10.0)
    assert server.room == 64


def test_a_server_that_was_asked_too_much_is_asked_more_with_care() -> None:
    server = Server("http://host/v1", 64)
    for _ in range(40):
        server.busy(0.0, "429", None)  # one burst
    assert server.room == 32
    for _ in range(32):
        server.answered(10.0)
    assert server.room == 32, "one more takes as many answers as are asked for at once"
    server.answered(10.0)
    assert server.room == 33
    server.busy(1000.0, "429", wait=7.0)
    assert server.room == 16
    assert server.resume >= 1007.0


@given(st.integers(1, 10_000))
def test_pauses_double_up_to_a_minute_with_jitter(attempt: int) -> None:
    longest = min(60.0, 0.5 * 2 ** min(attempt - 1, 40))
    assert longest / 2 <= pause(attempt) <= longest


@given(st.text(max_size=30))
def test_any_text_is_a_base_url_or_an_error(text: str) -> None:
    try:
        url = base_url(text)
    except InputError:
        return
    assert url.startswith(("http://", "https://"))
    assert base_url(url) == url


def _body(**choice: Any) -> bytes:
    return json.dumps({"choices": [{"finish_reason": "stop", **choice}]}).encode()


def test_which_text_is_read() -> None:
    assert read(_body(text="a")).text == "a"
    assert read(_body(message={"content": "b"}, text="a")).text == "b"
    assert read(_body(message={"content": None})).text == ""
    assert read(_body()).text == ""
    assert read(_body(message={"content": None, "refusal": "no"})).refused == "no"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("stop", "stop"), ("eos", "stop"), ("eos_token", "stop"), ("stop_sequence", "stop"), ("end_turn", "stop"),
        ("STOP", "stop"),
        ("COMPLETE", "stop"), ("tool_calls", "stop"), ("length", "length"), ("max_tokens", "length"), ("MAX_TOKENS", "length"),
        ("model_length", "length"), (None, "unknown"), ("", "unknown"), ("something new", "unknown"), (7, "unknown"),
    ],
)  # fmt: skip
def test_every_servers_word_for_the_end_of_a_reply(said: Any, reason: str) -> None:
    assert read(_body(finish_reason=said, message={"content": "so"})).finish_reason == reason


def test_a_reply_that_does_not_say_how_it_ended() -> None:
    assert read(b'{"choices": [{"message": {"content": "so"}}]}').finish_reason == "unknown"


@pytest.mark.parametrize("said", ["content_filter", "refusal", "SAFETY", "RECITATION", "sensitive"])
def test_a_reply_that_was_withheld_is_no_text(said: str) -> None:
    assert read(_body(finish_reason=said, message={"content": "half a"})).refused == f"withheld ({said})"


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "so "}, {"type": "text", "text": "4"}], "so 4"),
        ([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "4"}], "4"),
        ([{"type": "reasoning", "text": "hm"}, {"type": "output_text", "text": "4"}], "4"),
        (["so ", "4"], "so 4"), ({"type": "text", "text": "4"}, "4"), ([], ""),
    ],
)  # fmt: skip
def test_content_in_parts(content: Any, text: str) -> None:
    assert read(_body(message={"content": content})).text == text


@pytest.mark.parametrize("content", [7, True, [7], {"text": 7}])
def test_content_that_is_no_text(content: Any) -> None:
    with pytest.raises(NoText, match="content is not text"):
        read(_body(message={"content": content}))


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        (None, Tokens()), ([], Tokens()), ({}, Tokens()), ({"prompt_tokens": None}, Tokens()), ("none", Tokens()),
        ({"prompt_tokens": 5.0, "completion_tokens": "7"}, Tokens(5, 7)), ({"input_tokens": 5, "output_tokens": 7}, Tokens(5, 7)),
        ({"prompt_tokens": 5, "total_tokens": 12}, Tokens(5, 7)), ({"completion_tokens": -1, "prompt_tokens": "many"}, Tokens()),
        ({"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 4}}, Tokens(5, 7, 4)),
        ({"prompt_tokens": 5, "completion_tokens": 7, "prompt_tokens_details": None}, Tokens(5, 7)),
        ({"prompt_tokens": 5, "completion_tokens": 7, "prompt_cache_hit_tokens": 3}, Tokens(5, 7, 3)),
        ({"prompt_tokens": 5, "completion_tokens": 1e300, "prompt_tokens_details": [1]}, Tokens(5, None)),
    ],
)  # fmt: skip
def test_odd_usage_is_read_as_far_as_it_goes(usage: Any, tokens: Tokens) -> None:
    answer = {"choices": [{"finish_reason": "stop", "message": {"content": "so"}}], "usage": usage}
    assert read(json.dumps(answer).encode()).tokens == tokens


def test_a_byte_order_mark_bytes_that_are_no_text_and_nan() -> None:
    assert read(b"\xef\xbb\xbf" + _body(text="a")).text == "a"
    assert read(b'{"choices": [{"text": "a\xff"}]}').text == "a\ufffd"
    assert read(b'{"choices": [{"text": "a", "logprob": NaN}]}').text == "a"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"<!DOCTYPE html><html><head><title>Sign in</title>", r"a web page \(Sign in\)"),
        (b'data: {"choices": []}\n\n', "an event stream"),
        (b'{"choices": [{"finish_reason": "abort", "message": {"content": "so"}}]}', "aborted the reply"),
        (b'"text"', "not a JSON object"),
    ],
)
def test_what_an_answer_is_that_holds_no_reply(content: bytes, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        read(content)


def test_an_answer_without_a_reply_still_says_what_it_cost() -> None:
    with pytest.raises(Unreadable) as caught:
        read(b'{"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 7}}')
    assert caught.value.tokens == Tokens(5, 7)


def test_text_that_stands_beside_an_empty_reply_is_named() -> None:
    answer = _body(message={"content": "", "reasoning_content": "So \\boxed{-1}"})
    assert (read(answer).text, read(answer).beside) == ("", "reasoning_content")
    assert read(answer, "reasoning_content").text == "So \\boxed{-1}"
    assert read(_body(message={"content": "4", "reasoning": "2 + 2"})).beside == ""


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
         "set sampler.length_field=max_completion_tokens"),
        ("Unsupported value: 'temperature' does not support 0.6 with this model. Only the default (1) value is supported.",
         "set '+sampler.extra.temperature=null'"),
        ("Unsupported parameter: 'top_p' is not supported with this model.", "set '+sampler.extra.top_p=null'"),
        ("`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
         "set '+sampler.extra.top_p=null'"),
        ("max_tokens is too large: 32768. This model supports at most 16384 completion tokens, whereas you provided 32768.",
         "set stage.max_tokens=16384 or less"),
        ("[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are not permitted', 'input': 3}]",
         "set sampler.seeds=false"),
        ("Unknown field: repetition_penalty", "set '+sampler.extra.repetition_penalty=null'"),
        ("the moon is full", None),
    ],
)  # fmt: skip
def test_a_refusal_names_the_option(said: str, remedy: str | None) -> None:
    assert remedy_of(said) == remedy


@pytest.mark.parametrize(
    ("asked", "served", "same"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06", True), ("gpt-4o", "gpt-4o-mini-2024-07-18", False), ("openai/gpt-4o", "gpt-4o", True),
        ("llama3.1", "llama3.1:latest", True), ("llama3.1:8b", "llama3.1:70b", False), ("Qwen/Qwen3-8B", "qwen3-8b", True),
        ("claude-3-5-sonnet", "claude-3-5-sonnet-20241022", True), ("/models/critic", "critic", True),
        ("o1", "o1-preview", False),
        ("gemini-1.5-pro", "gemini-1.5-pro-002", True), ("a", "b", False), ("7b", "13b", False),
    ],
)  # fmt: skip
def test_two_names_of_one_model(asked: str, served: str, same: bool) -> None:
    assert same_model(asked, served) is same

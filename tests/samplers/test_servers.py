"""What is read of a server's answers, whatever they hold, and how much a server is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepcritic.errors import InputError
from deepcritic.samplers.servers.completions import Completion, cards, message_of, read, refusal_of_row, shown
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
    except ValueError:
        return
    assert isinstance(completion, Completion)
    assert completion.finish_reason in {"stop", "length"}


@given(ANYTHING, st.integers(300, 599))
def test_any_error_is_one_printable_line(content: bytes, status: int) -> None:
    assert message_of(content).isprintable()
    assert shown(content).isprintable()
    assert len(message_of(content)) <= 300
    assert refusal_of_row(status, message_of(content)) in {None, "too_long", "refused"}
    assert all(isinstance(card.id, str) for card in cards(content))


def test_deep_answers_are_refused_like_others() -> None:
    deep = b"[" * 100_000
    with pytest.raises(ValueError, match="it cannot be read"):
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
            server.lost(now, "refused", reached=False)
        assert 1 <= server.room <= 8
        assert server.resume <= now + 60


def test_a_server_that_was_lost_is_soon_asked_as_much_as_before() -> None:
    server = Server("http://host/v1", 64)
    server.lost(0.0, "refused", reached=False)
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

"""What servers do to those who ask them: each fault with a real server, requests counted where they arrive.

Whatever happens, each key comes out once, a request is sent at most 1 + `retries` times, and always with its own seed.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from aiohttp import web

from deepcritic.errors import InputError
from deepcritic.samplers.base import Request, Sampling
from deepcritic.samplers.openai import OpenAISampler
from deepcritic.samplers.servers import server as server_module
from deepcritic.schema import Failure, Generation, Key, Message, sample_seed
from tests.samplers.server import FakeServer, Trouble, cut, never, reply, reset, says, status, written

RETRIES = 3


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(server_module, "LONGEST_PAUSE", 0.1)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as opened:
        yield opened


def asks(count: int, samples: int = 1) -> Iterator[Request]:
    for index in range(count):
        keys = tuple(Key(example_id=f"p{index}", request="ask", sample=sample) for sample in range(samples))
        seeds = tuple(sample_seed(0, key) for key in keys)
        message = Message(role="user", content=f"{index} + 5?")
        yield Request(keys=keys, seeds=seeds, messages=(message,), sampling=Sampling(max_tokens=8))


def draw(
    servers: FakeServer | list[FakeServer], count: int, *, within: Callable[[Any], None] = lambda row: None, **options: Any
) -> dict[Key, Generation | Failure]:
    """All outcomes; holds what must hold whatever the servers do."""
    servers = [servers] if isinstance(servers, FakeServer) else servers
    requests = list(asks(count))
    seeds = {one.keys[0]: one.seeds[0] for one in requests}
    drawn: dict[Key, Generation | Failure] = {}
    settings = {"retries": RETRIES, "patience": 2.0, **options}
    with OpenAISampler("m", urls=[server.url for server in servers], **settings) as sampler:
        for row in sampler.stream(requests):
            assert row.key not in drawn
            drawn[row.key] = row
            within(row)
        sent, again = sampler.usage.requests, sampler.usage.retries
    assert drawn.keys() == seeds.keys()
    asked = Counter(body["seed"] for server in servers for body in server.asked)
    assert asked.total() <= sent <= count * (1 + settings["retries"])
    assert again == sent - count or any(isinstance(row, Failure) for row in drawn.values())
    assert not asked or max(asked.values()) <= 1 + settings["retries"]
    assert asked.keys() <= set(seeds.values())
    texts = {body["seed"]: written(body) for server in servers for body in server.asked}
    for key, row in drawn.items():
        if isinstance(row, Generation):
            assert (row.seed, row.text) == (seeds[key], texts[seeds[key]])
    return drawn


def reasons(drawn: dict[Key, Generation | Failure]) -> set[str]:
    return {row.reason if isinstance(row, Failure) else "" for row in drawn.values()}


def whole(**parts: Any) -> dict[str, Any]:
    return {**reply("chat/completions", {}), **parts}


PASSING = {
    "a reset connection": (reset, "connection"),
    "a body cut in the middle": (cut, "connection"),
    "429": (status(429), "rate_limited"),
    "429 with Retry-After": (status(429, Retry_After="0"), "rate_limited"),
    "500": (status(500), "server_error"),
    "502": (status(502, "<html>bad gateway</html>"), "server_error"),
    "503 with Retry-After": (status(503, Retry_After="0"), "server_error"),
    "HTML": (says("<html>come back later</html>"), "malformed"),
    "half a JSON": (says('{"choices": [{"index": 0, "mess'), "malformed"),
    "JSON of another shape": (says([1, 2]), "malformed"),
    "an empty choice list": (says(whole(choices=[])), "malformed"),
    "fewer samples than asked": (says(whole(choices=None)), "malformed"),
    "an error that calls itself 200": (says({"error": {"message": "upstream overloaded"}}), "malformed"),
    "a reply that was broken off": (says(whole(choices=[{"finish_reason": "abort", "message": {"content": "so"}}])), "malformed"),
    "a reply that never comes": (never, "timeout"),
}


@pytest.mark.parametrize("name", PASSING)
def test_what_may_pass_is_tried_again_with_the_same_seed(server: FakeServer, name: str) -> None:
    trouble, _ = PASSING[name]
    met: set[int] = set()

    def first_time(count: int, body: dict[str, Any]) -> Trouble | None:
        new = body["seed"] not in met and body["seed"] % 2 == 0
        met.add(body["seed"])
        return trouble if new else None

    server.trouble = first_time
    drawn = draw(server, 30, timeout=2.0 if trouble is never else 60.0, concurrency=8)
    assert reasons(drawn) == {""}
    assert len(server.asked) == 30 + len({seed for seed in met if seed % 2 == 0}) > 30


@pytest.mark.parametrize("name", PASSING)
def test_what_does_not_pass_is_set_aside_with_its_reason(server: FakeServer, name: str) -> None:
    trouble, reason = PASSING[name]
    server.trouble = lambda count, body: trouble if "13 + 5?" in body["messages"][0]["content"] else None
    drawn = draw(server, 20, timeout=5.0 if trouble is never else 60.0, concurrency=8, patience=60.0)
    (failed,) = (row for row in drawn.values() if isinstance(row, Failure))
    assert (failed.key.example_id, failed.reason) == ("p13", reason)
    assert failed.detail
    asked = Counter(body["messages"][0]["content"] for body in server.asked)
    assert asked == {f"{index} + 5?": 1 + RETRIES if index == 13 else 1 for index in range(20)}


def test_a_server_that_only_fails_ends_the_run_with_every_row_listed(server: FakeServer) -> None:
    server.trouble = lambda count, body: status(500, {"error": {"message": "the engine is dead"}})
    drawn = draw(server, 50)
    assert reasons(drawn) == {"server_error"}
    assert all("the engine is dead" in row.detail for row in drawn.values() if isinstance(row, Failure))
    assert 50 <= len(server.asked) <= 50 * (1 + RETRIES)


def test_retry_after_is_obeyed(server: FakeServer) -> None:
    moments: list[float] = []

    def limited(count: int, body: dict[str, Any]) -> Trouble | None:
        moments.append(time.monotonic())
        return status(429, Retry_After="1") if count == 1 else None

    server.trouble = limited
    assert reasons(draw(server, 5, concurrency=1)) == {""}
    assert moments[1] - moments[0] >= 1.0


def test_a_rate_limit_lowers_what_is_in_flight(server: FakeServer) -> None:
    """A server that takes four at a time and says 429 to more: no row is lost, though 64 may be in flight."""
    server.seconds = 0.01
    server.trouble = lambda count, body: status(429) if server.in_flight > 4 else None
    assert reasons(draw(server, 200, retries=8)) == {""}


def test_a_reply_that_is_slow_while_tokens_move_is_waited_for(server: FakeServer) -> None:
    server.tokens = 0

    async def slow(request: web.Request) -> web.StreamResponse:
        for _ in range(30):
            await asyncio.sleep(0.05)
            assert server.tokens is not None
            server.tokens += 1
        return web.json_response(reply("chat/completions", await request.json()))

    server.trouble = lambda count, body: slow
    assert reasons(draw(server, 3, stall=1.0)) == {""}
    assert len(server.asked) == 3


def test_a_server_in_good_health_whose_tokens_do_not_move_is_given_up(server: FakeServer) -> None:
    server.tokens = 17
    server.trouble = lambda count, body: never if count <= 4 else None
    assert reasons(draw(server, 10, stall=0.3, concurrency=4)) == {""}


def test_a_server_whose_tokens_never_move_is_said_to_be_one(server: FakeServer) -> None:
    server.tokens = 17
    server.trouble = lambda count, body: never
    failed = list(draw(server, 2, stall=0.2, retries=1).values())
    assert all(isinstance(row, Failure) and row.reason == "timeout" and "no tokens for" in row.detail for row in failed)


def test_a_server_that_dies_on_the_way_and_comes_back(server: FakeServer) -> None:
    died = threading.Event()

    def dies(count: int, body: dict[str, Any]) -> Trouble | None:
        if count != 500:
            return None

        async def die(request: web.Request) -> web.StreamResponse:
            await server.die()
            died.set()
            return web.Response()

        return die

    def revive() -> None:
        assert died.wait(60)
        time.sleep(0.5)
        server.start()

    server.trouble = dies
    helper = threading.Thread(target=revive)
    helper.start()
    drawn = draw(server, 1000, patience=30.0)
    helper.join()
    assert reasons(drawn) == {""}
    assert len(server.asked) <= 1000 + 64


def test_of_two_servers_one_dies() -> None:
    with FakeServer(seconds=0.002) as first, FakeServer(seconds=0.002) as second:

        def dies(count: int, body: dict[str, Any]) -> Trouble | None:
            async def die(request: web.Request) -> web.StreamResponse:
                await first.die()
                return web.Response()

            return die if count == 100 else None

        first.trouble = dies
        drawn = draw([first, second], 600, concurrency=16)
        assert reasons(drawn) == {""}
        assert len(first.asked) + len(second.asked) <= 600 + 16
        assert len(second.asked) >= 450


def test_a_server_that_returns_is_asked_again() -> None:
    with FakeServer(seconds=0.005) as first, FakeServer(seconds=0.005) as second:
        first.stop()
        back = threading.Event()

        def revive(row: Any) -> None:
            if not back.is_set():
                back.set()
                first.start()

        drawn = draw([first, second], 500, concurrency=4, within=revive)
        assert reasons(drawn) == {""}
        assert len(first.asked) > 100


def test_the_least_busy_server_is_asked_first() -> None:
    with FakeServer() as slow, FakeServer() as quick:

        async def late(request: web.Request) -> web.StreamResponse:
            while len(quick.asked) < 250:
                await asyncio.sleep(0.01)
            return web.json_response(reply("chat/completions", await request.json()))

        slow.trouble = lambda count, body: late
        assert reasons(draw([slow, quick], 300, concurrency=8)) == {""}
        assert len(slow.asked) + len(quick.asked) == 300
        assert slow.most_in_flight == 8


def test_servers_that_stay_away_are_waited_for_and_then_every_row_is_listed(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped: list[float] = []

    def stop(row: Any) -> None:
        if not stopped:
            server.stop()
            stopped.append(time.monotonic())

    drawn = draw(server, 2000, concurrency=4, patience=1.0, within=stop)
    assert time.monotonic() - stopped[0] >= 1.0
    assert reasons(drawn) == {"", "unreachable"}
    lost = [row for row in drawn.values() if isinstance(row, Failure)]
    assert len(lost) > 1900
    assert "cannot be reached" in lost[0].detail
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith(f"waiting for up to 1 s: {server.url}")


def test_nobody_there_at_the_start_is_said_and_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with (
        pytest.raises(InputError, match=r"sampler\.urls: no server answers: .*cannot be reached"),
        OpenAISampler("m", urls=url, patience=0.2),
    ):
        pass
    assert "waiting for up to 0 s" in capsys.readouterr().out


def test_a_server_that_is_starting_is_waited_for(server: FakeServer) -> None:
    server.stop()
    timer = threading.Timer(0.5, server.start)
    timer.start()
    assert reasons(draw(server, 3, patience=30.0)) == {""}
    timer.join()


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (401, "the key for .* is not set; found '401 no entry'"),
        (403, "the key for .* is not set; found '403 no entry'"),
        (404, "does not have the model, or the address is wrong; found '404 no entry'; expected a served model, such as m"),
        (402, "rejects requests; found '402 no entry'"),
        (301, "rejects requests; found '301 no entry'"),
        (429, "rejects requests; found '429 insufficient_quota: no entry'"),
    ],
)
def test_what_no_other_row_would_change_stops_at_once(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, code: int, message: str
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    said = "insufficient_quota: no entry" if code == 429 else "no entry"
    server.trouble = lambda count, body: status(code, {"error": {"message": said}}) if count > 40 else None
    got: list[Any] = []
    with pytest.raises(InputError, match=message), OpenAISampler("m", urls=server.url, concurrency=16) as sampler:
        got.extend(sampler.stream(asks(1000)))
    assert len(server.asked) <= 40 + 16


def test_settings_that_no_request_gets_by_with_stop_at_once(server: FakeServer) -> None:
    said = {"error": {"message": "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."}}
    server.trouble = lambda count, body: status(400, said) if "max_tokens" in body else None
    with OpenAISampler("m", urls=server.url) as sampler, pytest.raises(InputError, match=r"rejects every.*max_completion_tokens"):
        list(sampler.stream(asks(1000)))
    assert len(server.asked) <= 64 + 8
    with FakeServer(trouble=server.trouble) as another:  # at the first one requests that were given up may still arrive
        assert reasons(draw(another, 20, length_field="max_completion_tokens")) == {""}


@pytest.mark.parametrize(
    ("code", "said", "reason"),
    [
        (400, "This model's maximum context length is 2048 tokens. However, you requested 4000 tokens", "too_long"),
        (400, "The response was filtered due to the prompt triggering the content management policy", "refused"),
        (403, "Your input was flagged", "refused"),
        (422, "messages: field is strange", "rejected"),
    ],
)
def test_a_row_that_is_refused_is_set_aside_and_not_asked_again(server: FakeServer, code: int, said: str, reason: str) -> None:
    trouble = status(code, {"error": {"message": said}})
    server.trouble = lambda count, body: trouble if "13 + 5?" in body["messages"][0]["content"] else None
    drawn = draw(server, 20)
    (failed,) = (row for row in drawn.values() if isinstance(row, Failure))
    assert (failed.key.example_id, failed.reason) == ("p13", reason)
    assert said in failed.detail
    assert len(server.asked) == 20


def test_a_reply_that_a_filter_held_back_is_no_text(server: FakeServer) -> None:
    filtered = says(whole(choices=[{"finish_reason": "content_filter", "message": {"content": "half a"}}]))
    declined = says(whole(choices=[{"finish_reason": "stop", "message": {"content": None, "refusal": "I will not"}}]))
    server.trouble = lambda count, body: {1: filtered, 2: declined}.get(count)
    drawn = draw(server, 10, concurrency=1)
    failed = {row.key.example_id: row.detail for row in drawn.values() if isinstance(row, Failure)}
    assert failed == {"p0": "withheld (content_filter)", "p1": "I will not"}
    assert reasons(drawn) == {"", "refused"}


def test_who_leaves_early_leaves_nothing_in_flight(server: FakeServer) -> None:
    server.seconds = 0.05
    with OpenAISampler("m", urls=server.url, concurrency=8) as sampler:
        stream: Any = sampler.stream(asks(10**9))
        assert len([next(stream) for _ in range(20)]) == 20
        stream.close()
        time.sleep(0.3)
        assert server.in_flight == 0
        assert len(server.asked) <= 20 + 2 * 8


def test_threads_share_the_limit(server: FakeServer) -> None:
    server.seconds = 0.01
    drawn: list[Any] = []
    with OpenAISampler("m", urls=server.url, concurrency=6) as sampler:
        threads = [threading.Thread(target=lambda: drawn.extend(sampler.stream(asks(50, samples=2)))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert Counter(row.key for row in drawn) == {key: 4 for one in asks(50, samples=2) for key in one.keys}
    assert server.most_in_flight == 6


def test_a_thread_that_is_left_waiting_is_told(server: FakeServer) -> None:
    server.trouble = lambda count, body: never
    told: list[BaseException] = []

    def wait(sampler: OpenAISampler) -> None:
        try:
            list(sampler.stream(asks(1)))
        except RuntimeError as error:
            told.append(error)

    with OpenAISampler("m", urls=server.url) as sampler:
        thread = threading.Thread(target=wait, args=(sampler,))
        thread.start()
        while not server.asked:
            time.sleep(0.01)
    thread.join(10)
    assert not thread.is_alive()
    assert len(told) == 1

"""What drills with misbehaving servers found: what is said, what it costs, and when it ends."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from deepcritic.errors import InputError, StageIncomplete
from deepcritic.runs.budget import Limits, Price
from deepcritic.runs.folder import RunFolder
from deepcritic.samplers.base import Usage
from deepcritic.samplers.openai import OpenAISampler
from deepcritic.samplers.resume import Draws
from deepcritic.samplers.servers import open_ports
from deepcritic.samplers.servers import server as server_module
from deepcritic.schema import Failure, Generation
from tests.samplers.server import FakeServer, Trouble, cut, endless, never, reply, reset, says, status
from tests.samplers.test_faults import asks, draw, reasons

LOGIN = "<!DOCTYPE html><html><head><title>Sign in</title></head><body>...</body></html>"


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(server_module, "LONGEST_PAUSE", 0.1)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as opened:
        yield opened


def answer(body: dict[str, Any], text: str | None = None, **choice: Any) -> dict[str, Any]:
    return reply("chat/completions", body, **({"message": {"content": text}} if text is not None else {}), **choice)


# Another model than was asked for


def test_another_model_is_said_and_recorded(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    names = ["m", "m-2024-08-06", "other-7b"]
    server.trouble = lambda count, body: says({**answer(body), "model": names[count % 3]})
    drawn = draw(server, 30, concurrency=4)
    assert Counter(row.served for row in drawn.values() if isinstance(row, Generation)) == dict.fromkeys(["", *names[1:]], 10)
    lines = [line for line in capsys.readouterr().out.splitlines() if "another model" in line]
    assert lines == ["the server answers with another model: other-7b, not m"]


# Replies without text


def test_empty_replies_among_others_are_said_and_are_not_the_models(
    server: FakeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    empty: dict[str, Any] = {"message": {"content": "", "reasoning_content": "It is \\boxed{-1}"}}
    server.trouble = lambda count, body: says(answer(body, **empty)) if count % 5 == 0 else None
    drawn = draw(server, 50, concurrency=4)
    failed = [row for row in drawn.values() if isinstance(row, Failure)]
    assert [(row.reason, "reasoning_content has text" in row.detail) for row in failed] == [("empty", True)] * 10
    said = capsys.readouterr().out
    assert said.count("a reply is empty although not truncated") == 1
    assert "set sampler.reply_field=reasoning_content" in said
    assert "10 replies are empty" in said


def test_a_run_of_empty_replies_ends_with_the_option_to_change(server: FakeServer) -> None:
    empty: dict[str, Any] = {"message": {"content": None, "reasoning_content": "It is \\boxed{-1}"}}
    server.trouble = lambda count, body: says(answer(body, **empty))
    with pytest.raises(
        InputError, match=r"every reply is empty; found .*reasoning_content.*set sampler\.reply_field=reasoning_c"
    ):
        draw(server, 1000, concurrency=4)
    assert len(server.asked) <= 8 + 2 * 4
    with FakeServer(trouble=server.trouble) as again:
        with OpenAISampler("m", urls=again.url, reply_field="reasoning_content") as sampler:
            drawn = list(sampler.stream(asks(20)))
        assert {row.text for row in drawn if isinstance(row, Generation)} == {"It is \\boxed{-1}"}
        assert sampler.model_id == "m+reasoning_content"


def test_a_model_that_ends_at_once_has_replied(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    nothing = {"choices": [{"finish_reason": "stop", "message": {"content": ""}}], "usage": {"completion_tokens": 1}}
    server.trouble = lambda count, body: says(nothing) if count == 5 else None
    drawn = draw_texts(server, 20)
    assert Counter(text == "" for text in drawn) == {True: 1, False: 19}
    assert "a reply is empty" in capsys.readouterr().out


def draw_texts(server: FakeServer, count: int, **options: Any) -> list[str | None]:
    with OpenAISampler("m", urls=server.url, **{"concurrency": 1, "patience": 2.0, **options}) as sampler:
        return [row.text if isinstance(row, Generation) else None for row in sampler.stream(asks(count))]


def test_samples_that_are_all_alike_are_said(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.trouble = lambda count, body: says(answer(body, f"the same for {body['messages'][0]['content']}"))
    with OpenAISampler("m", urls=server.url) as sampler:
        assert len(list(sampler.stream(asks(10, samples=4)))) == 40
    assert capsys.readouterr().out.count("all samples of a prompt are identical") == 1


@pytest.mark.parametrize("samples", [1, 4])
def test_samples_that_differ_are_not(server: FakeServer, capsys: pytest.CaptureFixture[str], samples: int) -> None:
    with OpenAISampler("m", urls=server.url) as sampler:
        list(sampler.stream(asks(10, samples=samples)))
    assert "the same" not in capsys.readouterr().out


# Paid for


ODD: dict[str, dict[str, Any]] = {
    "eos": {"finish_reason": "eos"},
    "end_turn": {"finish_reason": "end_turn"},
    "null": {"finish_reason": None},
    "parts": {"message": {"content": [{"type": "text", "text": "so "}, {"type": "text", "text": "\\boxed{-1}"}]}},
    "tool": {"finish_reason": "tool_calls"},
}


@pytest.mark.parametrize("name", ODD)
def test_odd_replies_are_read_at_the_first_try(server: FakeServer, name: str) -> None:
    server.trouble = lambda count, body: says(answer(body, **ODD[name]))
    assert None not in draw_texts(server, 30, concurrency=8)
    assert len(server.asked) == 30


def test_a_reply_of_unknown_end_that_is_as_long_as_allowed_was_cut(server: FakeServer) -> None:
    full = {"choices": [{"finish_reason": None, "message": {"content": "so"}}], "usage": {"completion_tokens": 8}}
    server.trouble = lambda count, body: says(full)
    with OpenAISampler("m", urls=server.url) as sampler:
        assert {row.finish_reason for row in sampler.stream(asks(3)) if isinstance(row, Generation)} == {"length"}


@pytest.mark.parametrize(
    "content", [LOGIN, '{"choices": []}', {"choices": [{"finish_reason": "stop", "message": {"content": 7}}]}]
)
def test_a_run_in_which_nothing_can_be_read_ends_with_the_cause(server: FakeServer, content: Any) -> None:
    server.trouble = lambda count, body: says(content)
    with pytest.raises(InputError, match=r"sampler\.urls: no answer from http.* can be parsed; found .*; check that the address"):
        draw(server, 1000, concurrency=4)
    assert len(server.asked) <= 8 + 2 * 4


def test_every_answer_is_counted_in_what_was_paid(server: FakeServer) -> None:
    broken = {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}
    filtered = {"choices": [{"finish_reason": "content_filter"}], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}
    server.trouble = lambda count, body: {3: says(broken), 4: says(filtered), 5: says(LOGIN)}.get(count)
    with OpenAISampler("m", urls=server.url, concurrency=1) as sampler:
        rows = list(sampler.stream(asks(10)))
        usage = sampler.usage
    assert [row.reason for row in rows if isinstance(row, Failure)] == ["refused"]
    assert (usage.requests, usage.retries, usage.discarded) == (12, 2, 3)
    assert usage.discarded_prompt_tokens == 200 + 2, "the login page's own prompt is estimated from six characters"
    assert usage.discarded_completion_tokens == 20


def test_tokens_that_nobody_counts_are_estimated_and_that_is_said(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    server.trouble = lambda count, body: says({"choices": [{"finish_reason": "stop", "message": {"content": "12345678"}}]})
    with OpenAISampler("m", urls=server.url) as sampler:
        rows = list(sampler.stream(asks(5)))
        assert sampler.usage == Usage(requests=5, estimated=5)
    assert {(row.prompt_tokens, row.completion_tokens) for row in rows if isinstance(row, Generation)} == {(2, 3)}
    assert capsys.readouterr().out.count("the server does not report token counts; tokens and costs are estimated") == 1


def drawn_in(folder_path: Path, server: FakeServer, rows: int, **limits: Any) -> dict[str, Any]:
    """The manifest of a stage that draws so many rows, at 1 for a token."""
    price = Price(prompt=1e6, completion=1e6)
    with RunFolder(folder_path, stage="draw", config={}, limits=Limits(price=price, **limits)) as folder:
        assert folder.begin()
        with Draws(folder) as draws:
            draws.collect(asks(rows), OpenAISampler("m", urls=server.url, concurrency=1, retries=1), "replies")
            draws.finish()
        return folder.finish()


def test_the_cost_of_a_run_holds_what_was_thrown_away_over_all_starts(server: FakeServer, tmp_path: Path) -> None:
    broken = {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 10}}
    server.trouble = lambda count, body: says(broken) if count in {3, 4, 8} else None
    with pytest.raises(StageIncomplete, match="malformed: 1"):
        drawn_in(tmp_path / "run", server, 6)
    manifest = drawn_in(tmp_path / "run", server, 6)
    assert manifest["cost"] == 6 * (11 + 5) + 3 * (100 + 10)
    assert (manifest["discarded"], manifest["discarded_prompt_tokens"], manifest["discarded_completion_tokens"]) == (3, 300, 30)


def test_what_is_thrown_away_counts_towards_max_cost(server: FakeServer, tmp_path: Path) -> None:
    broken = {"choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 10}}
    server.trouble = lambda count, body: says(broken) if count > 1 else None
    with pytest.raises(StageIncomplete, match=r"stopped at a cost of [\d.,]+ by max_cost=3000"):
        drawn_in(tmp_path / "run", server, 200, max_cost=3000.0)
    assert len(server.asked) <= 8


def test_max_cost_holds_where_the_server_counts_no_tokens(server: FakeServer, tmp_path: Path) -> None:
    """A prompt of six characters and a reply of 300 are taken for 102 tokens."""
    server.trouble = lambda count, body: says({"choices": [{"finish_reason": "stop", "message": {"content": "x" * 300}}]})
    with pytest.raises(StageIncomplete, match="by max_cost=1000"):
        drawn_in(tmp_path / "run", server, 200, max_cost=1000.0)
    assert 8 <= len(server.asked) <= 10


def test_the_manifest_names_the_models_that_answered(server: FakeServer, tmp_path: Path) -> None:
    server.trouble = lambda count, body: says({**answer(body), "model": "m-2024-08-06" if count % 2 else "m"})
    assert drawn_in(tmp_path / "run", server, 6)["served"] == {"m-2024-08-06": 3}


# Fleets


@pytest.mark.parametrize("code", [400, 401, 403, 404, 402, 301, 422])
def test_a_server_that_refuses_alone_is_set_aside_and_its_rows_go_to_the_others(
    capsys: pytest.CaptureFixture[str], code: int
) -> None:
    with FakeServer(seconds=0.002) as first, FakeServer(seconds=0.002) as second:
        first.trouble = lambda count, body: status(code, {"error": {"message": "no"}}) if count > 20 else None
        drawn = draw([first, second], 400, concurrency=16)
        assert reasons(drawn) == {""}
        assert len(first.asked) <= 100
        assert len(second.asked) >= 300
        (line,) = [line for line in capsys.readouterr().out.splitlines() if "rejects requests that other servers accept" in line]
        assert line == f"{first.url} rejects requests that other servers accept: {code} no; dropped, 1 of 2 servers remain"


def test_a_server_that_refuses_from_the_first_request_on() -> None:
    with FakeServer() as first, FakeServer(seconds=0.01) as second:
        first.trouble = lambda count, body: status(404, {"error": {"message": "no such model"}})
        assert reasons(draw([first, second], 100, concurrency=4)) == {""}
        assert len(first.asked) <= 40


def test_what_all_servers_refuse_is_the_rows_or_the_settings_fault() -> None:
    def picky(count: int, body: dict[str, Any]) -> Trouble | None:
        return status(400, {"error": {"message": "row 13 is odd"}}) if "13 + 5?" in body["messages"][0]["content"] else None

    with FakeServer(trouble=picky) as first, FakeServer(trouble=picky) as second:
        drawn = draw([first, second], 40, concurrency=4)
        assert [row.key.example_id for row in drawn.values() if isinstance(row, Failure)] == ["p13"]
        assert len(first.asked) + len(second.asked) == 41
    every = status(400, {"error": {"message": "Unsupported parameter: 'top_p'"}})
    with (
        FakeServer(trouble=lambda count, body: every) as first,
        FakeServer(trouble=lambda count, body: every) as second,
        pytest.raises(InputError, match=r"rejects every request; found .*top_p.*set '\+sampler\.extra\.top_p=null'"),
    ):
        draw([first, second], 400, concurrency=4)


def test_a_row_too_long_for_one_server_goes_to_another_and_nobody_is_set_aside() -> None:
    long = status(400, {"error": {"message": "This model's maximum context length is 8 tokens."}})
    with FakeServer() as small, FakeServer() as large:
        small.trouble = lambda count, body: long if "1" in body["messages"][0]["content"] else None
        assert reasons(draw([small, large], 200, concurrency=4)) == {""}
        assert len(small.asked) > 60


# Hangs


def test_a_server_that_falls_silent_is_left_long_before_its_timeout() -> None:
    """No counters, short replies so far: after `stall` seconds without one the requests go to the other server."""
    with FakeServer(seconds=0.01) as first, FakeServer(seconds=0.01) as second:
        first.trouble = lambda count, body: never if count > 20 else None
        began = time.monotonic()
        assert reasons(draw([first, second], 100, stall=0.5, timeout=3600.0, concurrency=4)) == {""}
        assert time.monotonic() - began < 10


def test_a_server_that_takes_long_replies_one_at_a_time_is_waited_for(server: FakeServer) -> None:
    """A reply of two tokens took 0.1 s: one of eight may take 1.2 s and more, though `stall` is shorter."""

    def timed(count: int, body: dict[str, Any]) -> Trouble:
        async def slow(request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(0.1 if count == 1 else 0.8)
            usage = {"prompt_tokens": 3, "completion_tokens": 2 if count == 1 else 8}
            return web.json_response({**answer(body), "usage": usage})

        return slow

    server.trouble = timed
    assert reasons(draw(server, 4, stall=0.2, concurrency=1)) == {""}
    assert len(server.asked) == 4


def test_only_counters_that_move_while_replies_are_written_tell_of_a_stall(server: FakeServer) -> None:
    """SGLang's and llama.cpp's counters move when a request ends: a long reply is no stall."""
    server.counters = ["sglang:generation_tokens_total 7.0", "llamacpp:prompt_tokens_total 7"]

    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(1.0)
        return web.json_response(reply("chat/completions", await request.json()))

    server.trouble = lambda count, body: slow
    assert reasons(draw(server, 2, stall=0.3, concurrency=2)) == {""}
    assert len(server.asked) == 2


@pytest.mark.parametrize("trouble", [reset, cut, status(500), says("half a JS")])
def test_a_server_that_breaks_every_reply_ends_the_run_after_patience(trouble: Trouble) -> None:
    with FakeServer() as server:
        server.trouble = lambda count, body: trouble if count > 50 else None
        began = time.monotonic()
        drawn = draw(server, 20_000, patience=1.0, concurrency=8)
        assert time.monotonic() - began < 20
        lost = [row for row in drawn.values() if isinstance(row, Failure)]
        assert len(lost) > 19_000
        assert len({row.reason for row in lost}) == 1
        assert lost[-1].reason in {"connection", "server_error", "malformed"}
        assert len(server.asked) < 1000


def test_a_body_without_end_is_given_up(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    from deepcritic.samplers.servers import connection

    monkeypatch.setattr(connection, "MOST_BYTES", 1 << 20)
    server.trouble = lambda count, body: endless if "3 + 5?" in body["messages"][0]["content"] else None
    drawn = draw(server, 8)
    assert [(row.key.example_id, row.reason) for row in drawn.values() if isinstance(row, Failure)] == [("p3", "malformed")]
    assert "larger than 1 MiB" in next(row.detail for row in drawn.values() if isinstance(row, Failure))
    assert len(server.asked) == 8, "another try would be as large"


# Addresses


def test_a_certificate_that_is_not_accepted_is_said_at_once(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    files = ["-keyout", str(key), "-out", str(certificate)]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, "-days", "1"]
    if subprocess.run([*made, "-subj", "/CN=localhost"], capture_output=True, check=False).returncode:
        pytest.skip("openssl makes no certificate")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    with listener(context) as port:
        began = time.monotonic()
        with pytest.raises(InputError, match=r"sampler\.urls: .*certificate rejected: .*set SSL_CERT_FILE"):
            OpenAISampler("m", urls=f"https://localhost:{port}/v1").__enter__()
        assert time.monotonic() - began < 5


def test_https_to_a_port_without_tls_is_said_at_once(server: FakeServer) -> None:
    began = time.monotonic()
    with pytest.raises(InputError, match=r"the server does not use TLS; use http://"):
        OpenAISampler("m", urls=server.url.replace("http:", "https:")).__enter__()
    assert time.monotonic() - began < 5


def test_an_unknown_host_is_said_at_once() -> None:
    with pytest.raises(InputError, match=r"sampler\.urls: http://no-such-host\.invalid:8000/v1 is unusable: .*check the addr"):
        OpenAISampler("m", urls="http://no-such-host.invalid:8000").__enter__()


def test_a_wrong_port_of_this_machine_is_answered_with_those_that_are_open(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:

    there = int(server.url.rpartition(":")[2].removesuffix("/v1"))
    monkeypatch.setattr(open_ports, "PORTS", {there: "vLLM"})
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(InputError, match="no server answers"):
        OpenAISampler("m", urls=url, patience=0.2).__enter__()
    assert f"port {there} (usually vLLM) is open" in capsys.readouterr().out


# Keys


@pytest.mark.parametrize("key", ["x", "s", "max"])
def test_a_key_of_a_few_letters_does_not_spoil_messages(server: FakeServer, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    said = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
    server.trouble = lambda count, body: status(400, {"error": {"message": said}})
    with pytest.raises(InputError, match=re.escape(said)):
        draw(server, 20)


def listener(context: ssl.SSLContext) -> Any:
    """A port on which TLS is spoken, and nothing else."""
    import contextlib

    @contextlib.contextmanager
    def opened() -> Iterator[int]:
        with socket.create_server(("localhost", 0)) as port:

            def accept() -> None:
                while True:
                    try:
                        connection, _ = port.accept()
                        context.wrap_socket(connection, server_side=True).close()
                    except (ssl.SSLError, ConnectionError):
                        continue
                    except OSError:
                        return

            threading.Thread(target=accept, daemon=True).start()
            yield port.getsockname()[1]

    return opened()

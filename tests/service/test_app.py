r"""The service as its clients meet it: over a real connection, with a critic that replies by rule."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from aiohttp import web

from deepcritic.critic import Critic
from deepcritic.samplers.base import Request
from deepcritic.samplers.scripted import ScriptedSampler
from deepcritic.service.limits import Limits
from deepcritic.tasks.proof import Proof
from tests.samplers.server import FakeServer, never, reply
from tests.service.conftest import Serve

PROBLEM, SOLUTION = "What is 1 + 1 + 3?", "Step 1: 1 + 1 = 2\nStep 2: 2 + 3 = 6"
ONE = {"problem": PROBLEM, "solution": SOLUTION}


def _critic(script: Any = "Step 2 should give 5. \\boxed{2}", samples: int = 2) -> Critic:
    return Critic(sampler=ScriptedSampler(script), samples=samples)


class Gate:
    """A script whose replies wait until they are let through."""

    def __init__(self) -> None:
        self.open, self.asked = threading.Event(), 0

    def __call__(self, request: Request, sample: int) -> str:
        self.asked += 1
        assert self.open.wait(20)
        return "\\boxed{-1}"


def test_one_solution(serve: Serve) -> None:
    with serve(_critic()) as url:
        answer = httpx.post(f"{url}/v1/critiques", json={**ONE, "id": "mine"}).json()
    (found,) = answer["data"]
    assert (found["id"], found["first_error"], found["votes"], found["agreement"]) == ("mine", 2, {"2": 2.0}, 1.0)
    assert found["steps"] == ["1 + 1 = 2", "2 + 3 = 6"]
    assert found["text"] == "Step 2 should give 5. \\boxed{2}"
    assert answer["model"] == "scripted"


def test_the_service_says_what_the_library_says(serve: Serve) -> None:
    def script(request: Request, sample: int) -> str:
        return f"\\boxed{{{(-1, 1, 2)[request.seeds[sample] % 3]}}}"

    with serve(_critic(script, 8)) as url:
        found = httpx.post(f"{url}/v1/critiques", json=ONE).json()["data"][0]
    ours = _critic(script, 8).critique(PROBLEM, SOLUTION)
    assert (found["first_error"], found["votes"]) == (ours.first_error, {str(key): count for key, count in ours.votes.items()})


def test_many_come_back_in_order_or_as_they_finish(serve: Serve) -> None:
    items = [{"problem": f"What is {number} + 1?", "steps": ["a", "b"], "id": str(number)} for number in range(20)]
    with serve(_critic()) as url:
        answer = httpx.post(f"{url}/v1/critiques", json={"items": items, "samples": 1}).json()
        with httpx.stream("POST", f"{url}/v1/critiques", json={"items": items, "samples": 1, "stream": True}) as streamed:
            lines = [json.loads(line) for line in streamed.iter_lines()]
    assert [found["id"] for found in answer["data"]] == [item["id"] for item in items]
    assert sorted(lines, key=lambda line: line["index"]) == answer["data"]


def test_what_cannot_be_asked_has_a_note_and_no_verdict(serve: Serve) -> None:
    items = [{"problem": PROBLEM, "solution": " "}, ONE]
    with serve(_critic()) as url:
        first, second = httpx.post(f"{url}/v1/critiques", json={"items": items}).json()["data"]
    assert first["first_error"] is None
    assert "no steps" in first["note"]
    assert second["first_error"] == 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("critiques", {"problem": PROBLEM}),
        ("critiques", {"problem": "", "solution": SOLUTION}),
        ("critiques", {**ONE, "steps": ["a"]}),
        ("critiques", {**ONE, "sample": 2}),
        ("critiques", {**ONE, "samples": 0}),
        ("critiques", {"items": []}),
        ("critiques", [1, 2]),
        ("scores", {"items": [{"problem": PROBLEM}]}),
        ("rewards", {"completions": ["x"]}),
        ("rewards", {"completions": ["x"], "labels": [1, 2]}),
        ("rewards", {"completions": ["\\boxed{1}"], "labels": ["first"]}),
    ],
)
def test_a_body_that_is_off_is_refused_with_a_message(serve: Serve, path: str, body: Any) -> None:
    with serve(_critic()) as url:
        answer = httpx.post(f"{url}/v1/{path}", json=body)
    assert answer.status_code == 422
    assert answer.json()["error"]["message"]


def test_scores_are_vote_shares_in_the_shape_of_vllms_pooling(serve: Serve) -> None:
    votes = ["\\boxed{-1}", "\\boxed{2}", "\\boxed{1}", "\\boxed{-1}"]
    with serve(_critic(lambda request, sample: votes[sample], 4)) as url:
        answer = httpx.post(f"{url}/v1/scores", json={"items": [ONE]}).json()
    assert answer["object"] == "list"
    assert answer["data"] == [{"index": 0, "object": "pooling", "data": [0.75, 0.5], "note": ""}]
    assert answer["usage"]["total_tokens"] > 0


def test_rewards_for_critiques_and_for_solutions(serve: Serve) -> None:
    with serve(_critic(lambda request, sample: ["\\boxed{-1}", "no verdict"][sample])) as url:
        labelled = {"completions": ["so \\boxed{2}", "so \\boxed{1}", "nothing"], "labels": [2, 2, "-1"]}
        of_critiques = httpx.post(f"{url}/v1/rewards", json=labelled).json()
        solved = {"completions": [SOLUTION, ""], "problems": [PROBLEM, PROBLEM]}
        of_solutions = httpx.post(f"{url}/v1/rewards", json=solved).json()
    assert of_critiques["rewards"] == [1.0, 0.0, 0.0]
    assert of_solutions["rewards"] == [1.0, 0.0]


@pytest.mark.parametrize(("scale", "box", "grade", "share"), [("halves", "0.5", 0.5, 0.5), ("points", "7", 7.0, 1.0)])
def test_a_critic_of_proofs_serves_grades(serve: Serve, scale: str, box: str, grade: float, share: float) -> None:
    reply = f"Issues:\n1. The last line does not follow.\n\nGrade: \\boxed{{{box}}}"
    graded = {"completions": [SOLUTION, " "], "problems": [PROBLEM, PROBLEM]}
    local = Critic(sampler=ScriptedSampler(reply), samples=2, task=Proof(scale=scale))
    with serve(Critic(sampler=ScriptedSampler(reply), samples=2, task=Proof(scale=scale))) as url:
        (found,) = httpx.post(f"{url}/v1/critiques", json=ONE).json()["data"]
        rewards = httpx.post(f"{url}/v1/rewards", json=graded).json()["rewards"]
        metrics = httpx.get(f"{url}/metrics").text
        with Critic(urls=[url], samples=2) as critic:
            assert critic.critique(PROBLEM, SOLUTION) == local.critique(PROBLEM, SOLUTION)
    assert (found["grade"], found["grades"], found["acceptance"]) == (grade, {str(grade): 2.0}, share)
    assert (found["first_error"], found["votes"], found["issues"]) == (None, {}, ["The last line does not follow."])
    assert rewards == [share, 0.0]
    assert f'outcome="{"accepted" if share == 1 else "rejected"}"' in metrics


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("scores", {"items": [ONE]}, "grades whole proofs and no step"),
        ("rewards", {"completions": ["\\boxed{1}"], "labels": [1]}, "labels are first wrong steps"),
    ],
)
def test_what_a_critic_of_proofs_cannot_say_is_refused(serve: Serve, path: str, body: Any, says: str) -> None:
    with serve(Critic(sampler=ScriptedSampler("\\boxed{1}"), samples=1, task=Proof())) as url:
        answer = httpx.post(f"{url}/v1/{path}", json=body)
    assert answer.status_code == 422
    assert says in answer.json()["error"]["message"]


def test_a_critic_that_fails_gives_no_score(serve: Serve) -> None:
    with serve(_critic(lambda request, sample: None)) as url:
        answer = httpx.post(f"{url}/v1/rewards", json={"completions": [SOLUTION], "problems": [PROBLEM]}).json()
        scores = httpx.post(f"{url}/v1/scores", json={"items": [ONE]}).json()
    assert answer["rewards"] == [None]
    assert [note.partition(" ")[0] for note in answer["notes"]] == ["engine"]
    assert scores["data"][0]["data"] is None


def test_an_engine_that_breaks_is_an_error_and_the_next_request_is_answered(serve: Serve) -> None:
    broken = [True]

    def script(request: Request, sample: int) -> str:
        if broken:
            broken.clear()
            raise RuntimeError("the GPU is gone")
        return "\\boxed{2}"

    with serve(_critic(script)) as url:
        first = httpx.post(f"{url}/v1/critiques", json=ONE)
        second = httpx.post(f"{url}/v1/critiques", json=ONE)
    assert (first.status_code, first.json()["error"]["message"]) == (503, "the GPU is gone")
    assert first.headers["retry-after"]
    assert second.json()["data"][0]["first_error"] == 2


def test_a_full_queue_says_when_to_come_back(serve: Serve) -> None:
    gate = Gate()
    with serve(_critic(gate, 1), limits=Limits(queue=2)) as url, ThreadPoolExecutor(8) as pool:

        def ask(number: int) -> httpx.Response:
            return httpx.post(f"{url}/v1/critiques", json={"problem": f"p{number}", "steps": ["a"]}, timeout=20)

        first = pool.submit(ask, 0)
        _until(lambda: gate.asked > 0)
        others = [pool.submit(ask, number) for number in range(1, 8)]
        _until(lambda: sum(other.done() for other in others) == 5)
        gate.open.set()
        answers = [first.result(), *(other.result() for other in others)]
    assert sorted(answer.status_code for answer in answers) == [200] * 3 + [429] * 5
    assert all(answer.headers["retry-after"] == "2" for answer in answers if answer.status_code == 429)


def test_a_deadline_ends_a_request(serve: Serve) -> None:
    gate = Gate()
    with serve(_critic(gate, 1)) as url:
        answer = httpx.post(f"{url}/v1/critiques", json={**ONE, "timeout": 0.2}, timeout=20)
        lines = httpx.post(f"{url}/v1/critiques", json={"items": [ONE], "stream": True, "timeout": 0.2}, timeout=20).text
        gate.open.set()
    assert answer.status_code == 504
    assert json.loads(lines)["note"].startswith("timed_out")


def test_a_client_that_goes_away_leaves_the_queue(serve: Serve) -> None:
    gate = Gate()
    with serve(_critic(gate, 1)) as url, ThreadPoolExecutor(2) as pool:
        first = pool.submit(httpx.post, f"{url}/v1/critiques", json=ONE, timeout=20)
        _until(lambda: gate.asked > 0)
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}/v1/critiques", json={"problem": "other", "steps": ["a"]}, timeout=0.3)
        _until(lambda: httpx.get(f"{url}/health").json()["waiting"] == 0)
        gate.open.set()
        assert first.result().status_code == 200
        assert "deepcritic_cancelled_total 1.0" in httpx.get(f"{url}/metrics").text
    assert gate.asked == 1, "the draw of the client that left was never begun"


def test_a_client_that_goes_away_stops_its_draws(serve: Serve) -> None:
    """The engine closes its requests to the server that writes; another client's go on."""
    with FakeServer(trouble=lambda count, body: never if "slow" in str(body["messages"]) else None) as engine:
        critic = Critic("m", sampler="openai", urls=engine.url, samples=3)
        with serve(critic, lanes=4) as url:
            for _ in range(2):  # the second time, too: what was cancelled is not handed to who asks the same
                with pytest.raises(httpx.ReadTimeout):
                    httpx.post(f"{url}/v1/critiques", json={"problem": "slow", "steps": ["a"]}, timeout=0.5)
                _until(lambda: engine.in_flight == 0)
            assert [body["messages"][-1]["content"].count("slow") for body in engine.asked] == [1] * 6
            assert httpx.get(f"{url}/health").json()["under_way"] == 0
            assert httpx.post(f"{url}/v1/critiques", json=ONE, timeout=20).json()["data"][0]["failed"] == 0


def test_one_of_two_that_ask_the_same_may_leave(serve: Serve) -> None:
    gate = threading.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.to_thread(gate.wait, 20)
        return web.json_response(reply("chat/completions", await request.json()))

    with FakeServer(trouble=lambda count, body: slow) as engine:
        with serve(Critic("m", sampler="openai", urls=engine.url, samples=1)) as url, ThreadPoolExecutor(2) as pool:
            stays = pool.submit(httpx.post, f"{url}/v1/critiques", json=ONE, timeout=20)
            _until(lambda: engine.in_flight == 1)
            with pytest.raises(httpx.ReadTimeout):
                httpx.post(f"{url}/v1/critiques", json=ONE, timeout=0.3)
            gate.set()
            assert stays.result().json()["data"][0]["first_error"] == -1
        assert len(engine.asked) == 1


def test_the_same_question_at_the_same_time_is_drawn_once(serve: Serve) -> None:
    gate = Gate()
    with serve(_critic(gate, 3)) as url, ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(httpx.post, f"{url}/v1/critiques", json=ONE, timeout=20) for _ in range(4)]
        _until(lambda: gate.asked > 0)
        time.sleep(0.3)
        gate.open.set()
        assert {one.result().json()["data"][0]["first_error"] for one in asked} == {-1}
    assert gate.asked == 3


def test_health_says_whether_replies_come(serve: Serve) -> None:
    gate = Gate()
    with serve(_critic(gate, 1), limits=Limits(stall=0.2)) as url, ThreadPoolExecutor(1) as pool:
        quiet = httpx.get(f"{url}/health")
        asked = pool.submit(httpx.post, f"{url}/v1/critiques", json=ONE, timeout=20)
        _until(lambda: httpx.get(f"{url}/health").status_code == 503)
        stalled = httpx.get(f"{url}/health").json()
        gate.open.set()
        asked.result()
        after = httpx.get(f"{url}/health")
    assert (quiet.status_code, after.status_code, stalled["status"], stalled["under_way"]) == (200, 200, "stalled", 1)


class Writing(ScriptedSampler):
    """An engine that counts the tokens of unfinished replies."""

    tokens, moves = 0, True

    @property
    def written(self) -> int:
        self.tokens += self.moves
        return self.tokens


def test_a_long_reply_is_no_stall_while_tokens_move(serve: Serve) -> None:
    gate = Gate()
    engine = Writing(gate)
    with serve(Critic(sampler=engine, samples=1), limits=Limits(stall=0.5)) as url, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(httpx.post, f"{url}/v1/critiques", json=ONE, timeout=20)
        _until(lambda: gate.asked == 1)
        time.sleep(1.0)
        moving = httpx.get(f"{url}/health").json()
        engine.moves = False
        _until(lambda: httpx.get(f"{url}/health").status_code == 503)
        gate.open.set()
        asked.result()
    assert (moving["status"], moving["under_way"]) == ("ok", 1)


def test_a_body_that_does_not_end_is_given_up(serve: Serve) -> None:
    with serve(_critic(), limits=Limits(timeout=0.3)) as url:
        host, port = url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=15) as connection:
            connection.sendall(b"POST /v1/critiques HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_a_key_is_asked_for(serve: Serve) -> None:
    with serve(_critic(), key="s3cret") as url:
        without = httpx.post(f"{url}/v1/critiques", json=ONE)
        wrong = httpx.get(f"{url}/metrics", headers={"Authorization": "Bearer s3crey"})
        right = httpx.post(f"{url}/v1/critiques", json=ONE, headers={"Authorization": "Bearer s3cret"})
        health = httpx.get(f"{url}/health")
    assert [without.status_code, wrong.status_code, right.status_code, health.status_code] == [401, 401, 200, 200]


def test_a_body_that_is_too_large_is_not_read(serve: Serve) -> None:
    with serve(_critic(), limits=Limits(body_bytes=1000)) as url:
        answer = httpx.post(f"{url}/v1/critiques", json={"problem": "x" * 2000, "steps": ["a"]})
    assert answer.status_code == 413


def _until(holds: Any) -> None:
    until = time.monotonic() + 15
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)

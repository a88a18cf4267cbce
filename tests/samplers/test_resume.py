"""Draws: a job that is killed goes on where it was, asks for nothing twice, and ends with the same rows."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deepcritic.errors import RunConflict
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import read_rows
from deepcritic.samplers.base import Request, Sampling
from deepcritic.samplers.resume import Draws, request, user
from deepcritic.schema import PERMANENT, Failure, Generation, Key
from deepcritic.tasks.base import Question

SAMPLING = Sampling(temperature=1.0, max_tokens=8)


class Fake:
    """Answers in an order of its own, notes what it was asked, and can be slow or refuse keys."""

    model_id = "fake#1"

    def __init__(
        self, log: Path | None = None, pause: float = 0.0, refuse: frozenset[str] = frozenset(), reason: str = "down"
    ) -> None:
        self.log, self.pause, self.refuse, self.reason, self.asked, self.entered = log, pause, refuse, reason, list[Key](), 0

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        window: list[Generation | Failure] = []
        for one in requests:
            for key, seed in zip(one.keys, one.seeds, strict=True):
                self.asked.append(key)
                if self.log is not None:
                    with self.log.open("a") as file:
                        file.write(json.dumps([key.text, os.getpid()]) + "\n")
                if key.text in self.refuse:
                    window.append(Failure(key=key, reason=self.reason))
                    continue
                text = f"{key.text} {seed} \u2028\f " + "x" * (seed % 50)
                window.append(
                    Generation(
                        key=key,
                        text=text,
                        finish_reason="length" if seed % 5 == 0 else "stop",
                        model=self.model_id,
                        fingerprint=one.fingerprint(self.model_id),
                        seed=seed,
                        completion_tokens=3,
                        prompt_tokens=2,
                    )
                )
            while len(window) > 6:
                time.sleep(self.pause)
                yield window.pop(len(window) // 2)
        while window:
            time.sleep(self.pause)
            yield window.pop()

    def __enter__(self) -> Fake:
        self.entered += 1
        return self

    def __exit__(self, *_: Any) -> None:
        return None


def requests(rows: int = 30, samples: int = 3, prompt: str = "ask") -> Iterator[Request]:
    for index in range(rows):
        question = Question(messages=user(f"{prompt} {index}"))
        yield request(question, SAMPLING, example_id=f"e-{index}", call="ask", seed=5, samples=range(samples))


def draw(path: Path, sampler: Fake, **options: Any) -> dict[str, int]:
    """Everything that `requests` asks for, drawn in a folder; the rows come back in the order asked, each with its text."""
    folder = RunFolder(path, stage="draw", config={})
    with Draws(folder) as draws:
        drawn = draws.collect(requests(**options), sampler, "draws")
        counts = draws.finish()
    keys = [row.key for row in drawn]
    assert keys == [key for one in requests(**options) for key in one.keys if key in keys]
    assert len(drawn) == len(keys)
    assert all(row.text.startswith(row.key.text) for row in drawn)
    return counts


def test_rows_are_kept_in_canonical_order_and_counted(tmp_path: Path) -> None:
    counts = draw(tmp_path, Fake())
    rows = list(read_rows(tmp_path / "generations.jsonl", Generation))
    assert [row.key for row in rows] == sorted(row.key for row in rows)
    truncated = sum(row.finish_reason == "length" for row in rows)
    assert counts == {
        "generations": 90, "failures": 0, "prompt": 180, "completion": 270, "cached": 0, "truncated": truncated,
    }  # fmt: skip
    assert (tmp_path / "failures.jsonl").read_bytes() == b""


def test_a_second_start_asks_for_nothing_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw(tmp_path, Fake(), rows=4, samples=2)
    before = (tmp_path / "generations.jsonl").read_bytes()
    again = Fake()
    draw(tmp_path, again, rows=4, samples=2)
    assert again.asked == []
    assert again.entered == 0, "no weights are loaded to ask for nothing"
    assert (tmp_path / "generations.jsonl").read_bytes() == before
    wider = Fake()
    draw(tmp_path, wider, rows=4, samples=3)
    assert {key.sample for key in wider.asked} == {2}
    assert "resuming after 8 rows" in capsys.readouterr().out


def test_what_failed_is_listed_and_tried_again(tmp_path: Path) -> None:
    refused = frozenset({"e-1|ask|0|0", "e-2|ask|0|2"})
    assert draw(tmp_path, Fake(refuse=refused))["failures"] == 2
    failures = list(read_rows(tmp_path / "failures.jsonl", Failure))
    assert {row.key.text for row in failures} == refused
    again = Fake()
    assert draw(tmp_path, again)["failures"] == 0
    assert {key.text for key in again.asked} == refused
    draw(tmp_path / "other", Fake())
    assert (tmp_path / "generations.jsonl").read_bytes() == (tmp_path / "other" / "generations.jsonl").read_bytes()
    assert (tmp_path / "failures.jsonl").read_bytes() == b""


def test_what_failed_for_good_is_kept_and_not_asked_again(tmp_path: Path) -> None:
    refused = frozenset({"e-1|ask|0|0", "e-2|ask|0|2"})
    assert draw(tmp_path, Fake(refuse=refused, reason="too_long"))["failures"] == 2
    before = (tmp_path / "failures.jsonl").read_bytes()
    again = Fake()
    assert draw(tmp_path, again)["failures"] == 2
    assert again.asked == []
    assert (tmp_path / "failures.jsonl").read_bytes() == before
    assert {row.key.text for row in read_rows(tmp_path / "failures.jsonl", Failure)} == refused


@pytest.mark.parametrize("reason", [*sorted(PERMANENT), "down"])
def test_a_failure_is_on_the_disk_before_the_next_one(tmp_path: Path, reason: str) -> None:
    """Settled ones outlive a start that came to no end; the others are asked again."""
    refused = frozenset({"e-1|ask|0|0", "e-2|ask|0|2"})
    with Draws(RunFolder(tmp_path, stage="draw", config={})) as draws:
        draws.collect(requests(), Fake(refuse=refused, reason=reason), "draws")
    again = Fake()
    assert draw(tmp_path, again)["failures"] == (2 if reason in PERMANENT else 0)
    assert {key.text for key in again.asked} == (set() if reason in PERMANENT else refused)


def test_a_row_that_comes_twice_is_kept_once(tmp_path: Path) -> None:
    class Twice(Fake):
        def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
            for outcome in super().stream(requests):
                yield outcome
                yield outcome

    assert draw(tmp_path / "twice", Twice())["generations"] == 90
    draw(tmp_path / "once", Fake())
    assert (tmp_path / "twice/generations.jsonl").read_bytes() == (tmp_path / "once/generations.jsonl").read_bytes()


def test_rows_of_another_prompt_are_not_mixed_in(tmp_path: Path) -> None:
    draw(tmp_path, Fake(), rows=2)
    with pytest.raises(RunConflict, match="another prompt, model or sampling options; set another name="):
        draw(tmp_path, Fake(), rows=2, prompt="ask differently")


def test_a_request_for_some_samples_keeps_their_seeds() -> None:
    (whole,) = requests(rows=1)
    assert whole.only([2]).seeds == (whole.seeds[2],)
    assert whole.only([2]).keys == (whole.keys[2],)
    assert whole.only([0]).fingerprint("m") == whole.fingerprint("m") != whole.fingerprint("other")


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_at_twenty_random_moments_the_rows_are_those_of_a_quiet_run(tmp_path: Path) -> None:
    draw(tmp_path / "quiet", Fake())
    expected = (tmp_path / "quiet" / "generations.jsonl").read_bytes()
    folder, log = tmp_path / "killed", tmp_path / "asked.jsonl"
    moments, kills = random.Random(7), 0
    for start in range(60):
        on_disk = _keys_on_disk(folder / "generations.jsonl")
        asked_before = len(_asked(log))
        process = subprocess.Popen(
            [sys.executable, __file__, str(folder), str(log)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        if kills < 20:
            _wait_for_work(process, log, asked_before)
            time.sleep(moments.uniform(0.0, 0.06))
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=120)
        assert process.returncode in {0, -signal.SIGKILL}, errors
        kills += process.returncode == -signal.SIGKILL
        assert not on_disk & set(_asked(log)[asked_before:]), f"start {start} asked again for what was there"
        if process.returncode == 0:
            if kills >= 20:
                break
            _tear(folder / "generations.jsonl", moments)  # done too early: go on with fewer rows
    assert kills == 20
    assert (folder / "generations.jsonl").read_bytes() == expected


def _wait_for_work(process: subprocess.Popen[str], log: Path, asked_before: int) -> None:
    """Imports take most of a short process's life: the interesting moments come after the first request."""
    until = time.monotonic() + 60
    while process.poll() is None and len(_asked(log)) <= asked_before and time.monotonic() < until:
        time.sleep(0.005)


def _asked(log: Path) -> list[str]:
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    return [json.loads(line)[0] for line in lines if line.endswith("]")]


def _keys_on_disk(path: Path) -> set[str]:
    whole = path.read_bytes().rpartition(b"\n")[0].split(b"\n") if path.exists() else []
    return {
        "|".join(str(key[part]) for part in ("example_id", "request", "step", "sample"))
        for line in whole
        if line
        for key in [{"step": 0, "sample": 0, **json.loads(line)["key"]}]
    }


def _tear(path: Path, moments: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: moments.randrange(len(content) // 2)])


if __name__ == "__main__":
    draw(Path(sys.argv[1]), Fake(log=Path(sys.argv[2]), pause=0.004))

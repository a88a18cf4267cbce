"""How far a start goes: nothing in a dry run, some rows in a probe, no further than the money, and on from there."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deepcritic import __main__ as main
from deepcritic.errors import StageIncomplete, Stopped
from deepcritic.runs.budget import Limits, Price
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import read_rows
from deepcritic.samplers.base import Request, Sampling, Usage
from deepcritic.samplers.resume import Draws, request, user
from deepcritic.schema import Failure, Generation
from deepcritic.tasks.base import Question

PRICE = Price(completion=1_000_000.0)
"""A token of a reply costs one."""


class Engine:
    """Holds so many draws at a time, as a server does; each reply takes three tokens. Counts what it sends, if it is to."""

    model_id = "engine#1"

    def __init__(self, room: int = 4) -> None:
        self.room, self.asked, self.entered = room, list[str](), 0

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        held: list[Generation] = []
        for one in requests:
            for key, seed in zip(one.keys, one.seeds, strict=True):
                self.asked.append(key.text)
                held.append(
                    Generation(
                        key=key, text="x", finish_reason="stop", model="m", fingerprint=one.fingerprint(self.model_id), seed=seed,
                        prompt_tokens=10, completion_tokens=3,
                    )
                )  # fmt: skip
            while len(held) >= self.room:
                yield held.pop(0)
        yield from held

    def __enter__(self) -> Engine:
        self.entered += 1
        return self

    def __exit__(self, *_: Any) -> None:
        return None


class Wire(Engine):
    """Sends each draw twice."""

    def __init__(self) -> None:
        super().__init__()
        self.usage = Usage(requests=100, retries=50)  # of something before

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        for outcome in super().stream(requests):
            self.usage.requests += 2
            self.usage.retries += 1
            yield outcome


def _requests(names: Iterable[str], call: str = "ask", samples: int = 2) -> Iterator[Request]:
    for name in names:
        yield request(
            Question(messages=user(f"{call} {name}")), Sampling(max_tokens=8), example_id=name, call=call, seed=5,
            samples=range(samples),
        )  # fmt: skip


def _start(path: Path, engine: Engine, overwrite: bool = False, rows: int = 10, **limits: Any) -> dict[str, Any]:
    """A stage of two calls, the second about what the first has brought."""
    folder = RunFolder(path, stage="draw", config={"a": 1}, overwrite=overwrite, limits=Limits(price=PRICE, **limits))
    with folder:
        if not folder.begin():
            return folder.manifest or {}
        with Draws(folder) as draws:
            names = folder.sampled_for_probe([f"e{number}" for number in range(rows)], str)
            first = draws.collect(_requests(names), engine, "asks")
            second = dict.fromkeys(row.key.example_id for row in first)
            draws.collect(_requests(second, "again", 1), engine, "again")
            draws.finish()
        return folder.finish()


def _drawn(path: Path) -> list[str]:
    return [row.key.text for row in read_rows(path / "generations.jsonl", Generation)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "mine" / "draw"


def test_a_dry_run_sends_nothing_and_leaves_nothing(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine = Engine()
    with pytest.raises(Stopped, match="no requests are sent") as caught:
        _start(path, engine, dry_run=True)
    assert "asks: 20 requests" in str(caught.value)
    assert "cost at most 160.00" in str(caught.value)
    assert (engine.asked, engine.entered) == ([], 0)
    assert list(path.parent.parent.parent.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_a_dry_run_counts_what_is_missing_and_touches_nothing(path: Path) -> None:
    with pytest.raises(StageIncomplete):
        _start(path, Engine(), max_cost=15)
    with (path / "generations.jsonl").open("ab") as file:
        file.write(b'{"torn')
    before = {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.iterdir()}
    with pytest.raises(Stopped) as caught:
        _start(path, Engine(), dry_run=True)
    assert "(4 rows already exist)" in str(caught.value)
    assert "asks: 16 requests" in str(caught.value)
    with pytest.raises(Stopped, match="asks: 20 requests"):
        _start(path, Engine(), dry_run=True, overwrite=True)
    assert {file.name: (file.read_bytes(), file.stat().st_mtime_ns) for file in path.iterdir()} == before


def test_a_dry_run_of_a_finished_stage_has_nothing_to_do(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _start(path, Engine())
    assert _start(path, Engine(), dry_run=True)["generations"] == 30
    assert "nothing to do" in capsys.readouterr().out


@pytest.mark.parametrize("room", [1, 4, 16])
def test_no_more_is_asked_than_the_money_pays_for(path: Path, room: int) -> None:
    """Thirty rows cost three each. What is under way when the price of a row is not known yet may pass the limit."""
    engine = Engine(room)
    with pytest.raises(StageIncomplete, match=r"stopped at a cost of \d+.00 by max_cost=31; \d+ rows are kept; rerun") as caught:
        _start(path, engine, max_cost=31)
    spent = 3 * len(engine.asked)
    assert 31 - 6 < spent <= max(31, 3 * room)
    assert f"stopped at a cost of {spent:.2f}" in str(caught.value)
    assert len(_drawn(path)) == len(engine.asked), "what was under way is not thrown away"
    assert not (path / "manifest.json").exists()
    for limit in (spent, spent + 1):
        stuck = Engine(room)
        with pytest.raises(StageIncomplete):
            _start(path, stuck, max_cost=limit)
        assert (stuck.asked, stuck.entered) == ([], 0)
    more = Engine(room)
    manifest = _start(path, more, max_cost=90)
    assert (manifest["cost"], manifest["generations"]) == (90.0, 30)
    assert sorted(engine.asked + more.asked) == sorted(_drawn(path)), "nothing is asked twice"


def test_a_limit_that_was_passed_does_not_hold_up_what_is_there(path: Path) -> None:
    """Everything is drawn: there is nothing left to save."""
    with pytest.raises(StageIncomplete):
        _start(path, Engine(), max_cost=89)
    _start(path, Engine(), max_cost=90)
    (path / "manifest.json").unlink()
    assert _start(path, Engine(), max_cost=1)["cost"] == 90.0


def test_a_probe_asks_about_some_rows_keeps_them_and_ends(path: Path) -> None:
    engine = Engine()
    with pytest.raises(Stopped) as caught:
        _start(path, engine, probe=4)
    said = str(caught.value).splitlines()
    assert said[0].endswith("4 of 10 rows were processed; the other 6 would take")
    assert said[1] == "prompt tokens: 180 (95% interval 180 to 180)"
    assert said[2] == "completion tokens: 54 (95% interval 54 to 54)"
    assert said[3].startswith("hours: ")
    assert said[4] == "cost: 54.00 (95% interval 54.00 to 54.00)"
    assert len(engine.asked) == 4 * 3, "both calls about four rows"
    assert not (path / "manifest.json").exists()
    again = Engine()
    with pytest.raises(Stopped, match="4 of 10 rows") as caught:
        _start(path, again, probe=4)
    assert again.asked == [], "the same rows are asked about at every start"
    assert "hours" not in str(caught.value), "the pace of nothing is not known"
    with pytest.raises(Stopped, match="6 of 10 rows were processed; the other 4"):
        _start(path, engine, probe=6)
    rest = Engine()
    assert _start(path, rest)["generations"] == 30
    assert sorted(engine.asked + rest.asked) == sorted(_drawn(path))
    quiet = path.with_name("quiet")
    _start(quiet, Engine())
    assert (quiet / "generations.jsonl").read_bytes() == (path / "generations.jsonl").read_bytes()


def test_a_probe_of_more_rows_than_there_are(path: Path) -> None:
    with pytest.raises(Stopped, match="the other 0 would take"):
        _start(path, Engine(), probe=99)


def test_a_probe_takes_rows_from_everywhere(path: Path) -> None:
    """The first rows of a file are seldom like the others."""
    with pytest.raises(Stopped):
        _start(path, Engine(), probe=20, rows=400)
    numbers = sorted({int(text.split("|")[0].removeprefix("e")) for text in _drawn(path)})
    assert len(numbers) == 20
    assert numbers[0] < 100 < 300 < numbers[-1]


def test_the_manifest_counts_the_requests_of_all_starts(path: Path) -> None:
    with pytest.raises(StageIncomplete):
        _start(path, Engine(room=1), max_cost=31)
    _start(path, Engine(), max_cost=90)
    manifest = json.loads((path / "manifest.json").read_text("utf-8"))
    figures = {name: manifest[name] for name in ("requests", "retries", "prompt", "completion", "cached", "cost")}
    assert figures == {"requests": 30, "retries": 0, "prompt": 300, "completion": 90, "cached": 0, "cost": 90.0}
    assert manifest["seconds"] >= 0
    assert "starts.jsonl" not in manifest["files"]


def test_an_engine_that_counts_is_believed(path: Path) -> None:
    manifest = _start(path, Wire())
    assert (manifest["requests"], manifest["retries"]) == (60, 30)


def test_without_a_price_nothing_is_said_of_money(path: Path) -> None:
    folder = RunFolder(path, stage="draw", config={})
    with folder:
        folder.begin()
        with Draws(folder) as draws:
            draws.collect(_requests(["a"]), Engine(), "asks")
            assert "cost" not in draws.finish()
        assert "cost" not in folder.finish()


# The command line


def test_a_dry_run_by_command(command: Any, samples_dir: Path, tiny_model: Path) -> None:
    words = ["stage=evaluate", "benchmark=processbench", f"benchmark.path={samples_dir / 'processbench.json'}", "run=mine"]
    words += [f"model={tiny_model}", "stage.samples=3", "stage.max_tokens=16", "price.completion=1000000"]
    code, out, err = command(*words, "dry_run=true")
    assert (code, err) == (0, "")
    assert out.startswith("dry run of runs/mine/evaluate: no requests are sent\ncritiques: 18 requests, ")
    assert "at most 288 completion tokens, cost at most 288.00" in out
    assert "estimated" not in out, "the model's own tokenizer counts"
    assert not Path("runs").exists()


def test_a_probe_and_a_limit_by_command(command: Any, samples_dir: Path, tiny_model: Path) -> None:
    words = ["stage=evaluate", "benchmark=processbench", f"benchmark.path={samples_dir / 'processbench.json'}", "run=mine"]
    words += [
        f"model={tiny_model}",
        "stage.max_tokens=4",
        "price.completion=1000000",
        "sampler.device=cpu",
        "sampler.batch_size=1",
    ]
    code, out, _ = command(*words, "probe=2")
    assert code == 0
    assert "probe of runs/mine/evaluate: 2 of 6 rows were processed; the other 4 would take" in out
    code, _, err = command(*words, "max_cost=9")
    assert code == 3
    assert err.splitlines()[-1].startswith("error: runs/mine/evaluate: stopped at a cost of 8.00 by max_cost=9; 2 rows are kept")
    assert command(*words, "max_cost=1000").code == 0
    assert json.loads(Path("runs/mine/evaluate/manifest.json").read_text("utf-8"))["requests"] == 6


@pytest.mark.parametrize("limit", ["dry_run=true", "probe=3"])
def test_what_asks_no_model_sends_nothing(command: Any, limit: str) -> None:
    code, out, _ = command("stage=label", "stage.solutions=a.jsonl", "stage.rollouts=b.jsonl", limit)
    assert (code, out) == (0, "stage=label sends no requests\n")
    code, _, err = command("experiment=demo", limit)
    assert code == 2
    assert "experiments of several stages do not read" in err


def test_the_stages_of_a_pipeline_share_what_may_be_spent(command: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def run_stage(config: Any) -> None:
        seen.append((round(config.max_cost, 6), config.price.prompt, config.price.cached))
        if len(seen) == 4:
            raise StageIncomplete("enough")
        place = main._folder(config)
        place.mkdir(parents=True)
        (place / "manifest.json").write_text(json.dumps({"cost": 1.5} if len(seen) < 3 else {}), "utf-8")

    monkeypatch.setattr(main, "run_stage", run_stage)
    code, out, _ = command("experiment=demo", "price.prompt=2", "price.cached=0", "max_cost=5")
    assert code == 3
    assert seen == [(5, 2, 0), (3.5, 2, 0), (2, 2, 0), (2, 2, 0)], "it stops where a stage does"
    assert out.count("$ python -m deepcritic") == 4

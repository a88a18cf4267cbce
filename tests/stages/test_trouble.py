"""Draws that failed for passing reasons: the stage says so with code 3, and the same command asks for those alone."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets.benchmark import Benchmark
from deepcritic.errors import StageIncomplete, Stopped
from deepcritic.microworld.world import draw_problem
from deepcritic.runs.budget import Limits
from deepcritic.runs.folder import RunFolder
from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.samplers.base import Request
from deepcritic.schema import Example, Failure, Generation, Gold, Item, Key
from deepcritic.stages import evaluate, refine, rl, rollout, seed, solve, vote
from deepcritic.tasks.first_error import FirstError
from tests.stages.conftest import call

SHIPPED = "deepcritic://microworld/models"
Draw = Callable[[Request, int], str | None]


def _lot(request: Request, sample: int) -> float:
    key = request.keys[0]
    digest = hashlib.blake2b(f"{key.example_id} {key.request} {key.step} {sample}".encode(), digest_size=4)
    return int.from_bytes(digest.digest(), "big") / 2**32


def _reply(request: Request, sample: int) -> str:
    """Something for every call, at times right."""
    lot, call = _lot(request, sample), request.keys[0].request
    if call in {"initial", "in_depth", "merge"}:
        return f"Let us see, {sample}. \\boxed{{{1 if lot < 0.8 else -1}}}"
    if call in {"critique", "prefilter"}:
        return f"Well. \\boxed{{{-1 if lot < 0.4 else 2}}}"
    return f"Step 1: so\nStep 2: \\boxed{{{7 if lot < 0.5 else 8}}}"


@pytest.fixture
def stages(tmp_path: Path, make_solutions: Any) -> dict[str, Callable[[RunFolder, Any], Any]]:
    """Each stage that samples, on a handful of rows."""
    rows, rng = make_solutions(8), random.Random(0)
    problems = [
        Example(
            id=f"q{at}", item=Item(problem=draw_problem(rng, "train", (3,)).text), gold=Gold(reference_answer="7"), source="m"
        )
        for at in range(8)
    ]
    solutions = [
        Generation(
            key=Key(example_id=f"q{at}", request="solve", sample=sample), finish_reason="stop", model="m", fingerprint="f",
            text=f"Step 1: so\nStep 2: \\boxed{{{7 + at % 2}}}", prompt_tokens=3, completion_tokens=4, seed=0,
        )
        for at in range(8) for sample in range(2)
    ]  # fmt: skip
    files = {name: str(tmp_path / f"{name}.jsonl") for name in ("rows", "problems", "solutions")}
    for name, content in (("rows", rows), ("problems", problems), ("solutions", solutions)):
        write_rows(Path(files[name]), content)
    benchmark = Benchmark(name="made", reader=lambda path: rows, path=files["rows"], license=None, metric="F1")
    task, model, generator = FirstError(), f"{SHIPPED}/base", f"{SHIPPED}/generator"
    return {
        "solve": lambda folder, sampler: call(
            solve, folder, problems=files["problems"], generator=generator, sampler=sampler, samples=3, keep="all"
        ),
        "rollout": lambda folder, sampler: call(
            rollout, folder, solutions=files["rows"], generator=generator, sampler=sampler, samples=2
        ),
        "rollout by a rule": lambda folder, sampler: call(
            rollout, folder, solutions=files["rows"], generator=generator, sampler=sampler, samples=4, rule="zero_of_k"
        ),
        "seed": lambda folder, sampler: call(
            seed, folder, examples=files["rows"], task=task, teacher=f"{SHIPPED}/teacher", sampler=sampler,
            in_depth_samples=4, wave_size=2,
        ),
        "evaluate": lambda folder, sampler: call(
            evaluate, folder, benchmark=benchmark, task=task, sampler=sampler, model=model, samples=2
        ),
        "refine": lambda folder, sampler: call(
            refine, folder, solutions=files["rows"], task=task, model=model, generator=generator, sampler=sampler, rounds=2
        ),
        "vote": lambda folder, sampler: call(
            vote, folder, problems=files["problems"], solutions=files["solutions"], task=task, model=model, sampler=sampler
        ),
    }  # fmt: skip


STAGES = pytest.mark.parametrize("stage", ["solve", "rollout", "rollout by a rule", "seed", "evaluate", "refine", "vote"])


def _folder(path: Path, **limits: Any) -> RunFolder:
    return RunFolder(path, stage="any", config={}, limits=Limits(**limits))


@STAGES
def test_a_stage_with_trouble_is_written_and_gone_on_with(
    stages: Any, stage: str, fake_sampler: Any, contents: Any, tmp_path: Path
) -> None:
    quiet, path = tmp_path / "quiet", tmp_path / "troubled"
    with _folder(quiet) as folder:
        stages[stage](folder, fake_sampler(_reply))
    troubled = fake_sampler(lambda request, sample: None if _lot(request, sample) < 0.3 else _reply(request, sample), "timed_out")
    with _folder(path) as folder, pytest.raises(StageIncomplete, match=r"timed_out: \d+; see failures.jsonl\).*same command"):
        stages[stage](folder, troubled)
    failures = list(read_rows(path / "failures.jsonl", Failure))
    with _folder(path) as folder:
        assert folder.manifest is not None
        assert folder.manifest["incomplete"] == folder.manifest["failures"] == len(failures) > 0
        for counts in folder.manifest["counts"].values():
            assert counts["in"] == counts["out"] + sum(counts["failed"].values()) + sum(counts["filtered"].values())
    drawn = {row.key for row in read_rows(path / "generations.jsonl", Generation)}
    mended = fake_sampler(_reply)
    with _folder(path) as folder:
        stages[stage](folder, mended)
    asked = {key for request in mended.asked for key in request.keys}
    assert not asked & drawn, "what is there is not asked for again"
    assert {row.key for row in failures} <= asked
    if stage == "rollout by a rule":  # what was lost was made up for with other samples, and the label is that of all
        assert {*read_rows(path / "generations.jsonl", Generation)} > {*read_rows(quiet / "generations.jsonl", Generation)}
    else:
        kept = contents(path)
        kept["README.md"] = kept["README.md"].replace(b"# troubled", b"# quiet")  # its title is the folder's name
        assert kept == contents(quiet)
    with _folder(path) as folder:
        idle = fake_sampler(_reply)
        stages[stage](folder, idle)
    assert idle.asked == []


@STAGES
def test_where_nothing_could_be_drawn_the_stage_says_so(stages: Any, stage: str, fake_sampler: Any, tmp_path: Path) -> None:
    """A server that is down is no bad benchmark and no bad model."""
    with _folder(tmp_path / "run") as folder, pytest.raises(StageIncomplete, match="unreachable"):
        stages[stage](folder, fake_sampler(lambda request, sample: None, "unreachable"))
    assert not (tmp_path / "run" / "manifest.json").exists()


@STAGES
def test_a_dry_run_bounds_what_the_stage_draws(stages: Any, stage: str, fake_sampler: Any, tmp_path: Path) -> None:
    forecast = fake_sampler(_reply)
    with _folder(tmp_path / "dry", dry_run=True) as folder, pytest.raises(Stopped, match="no requests are sent") as caught:
        stages[stage](folder, forecast)
    assert forecast.asked == []
    assert not (tmp_path / "dry").exists()
    with _folder(tmp_path / "real") as folder:
        real = fake_sampler(_reply)
        stages[stage](folder, real)
    lines = [line for line in str(caught.value).splitlines() if "requests" in line]
    said = int(lines[-1].partition(" requests")[0].rpartition(" ")[2].replace(",", ""))
    asked = sum(len(request.keys) for request in real.asked)
    assert said == asked if "at most" not in lines[-1].partition(" requests")[0] else said > asked


@STAGES
def test_a_probe_asks_about_some_rows_in_all_calls(stages: Any, stage: str, fake_sampler: Any, tmp_path: Path) -> None:
    probing, path = fake_sampler(_reply), tmp_path / "run"
    with _folder(path, probe=3) as folder, pytest.raises(Stopped, match="3 of "):
        stages[stage](folder, probing)
    asked = {key for request in probing.asked for key in request.keys}
    assert len({key.example_id for key in asked}) == 3
    assert not (path / "manifest.json").exists()
    with _folder(path) as folder:
        rest = fake_sampler(_reply)
        stages[stage](folder, rest)
    assert not asked & {key for request in rest.asked for key in request.keys}


def test_no_model_is_trained_on_prompts_that_trouble_has_chosen(
    make_solutions: Any, fake_sampler: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rl, "grpo_trainer", None)  # calling it would be an error
    write_rows(tmp_path / "rows.jsonl", make_solutions(8))
    troubled = fake_sampler(lambda request, sample: None if sample else _reply(request, sample), "timed_out")
    options: dict[str, Any] = {
        "examples": str(tmp_path / "rows.jsonl"),
        "task": FirstError(),
        "model": f"{SHIPPED}/base",
        "max_tokens": 8,
    }
    with _folder(tmp_path / "run") as folder, pytest.raises(StageIncomplete, match="timed_out: 24"):
        call(rl, folder, sampler=troubled, prompts_per_step=2, num_generations=2, device_batch_size=2, **options)
    with _folder(tmp_path / "dry", dry_run=True) as folder, pytest.raises(Stopped):
        call(
            rl,
            folder,
            sampler=troubled,
            prefilter_samples=0,
            prompts_per_step=2,
            num_generations=2,
            device_batch_size=2,
            **options,
        )
    assert not (tmp_path / "run" / "manifest.json").exists()

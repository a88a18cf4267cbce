"""What the tests of stages share: solutions with their truth, a sampler that answers by a rule, an opened run folder."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Self

import pytest

from deepcritic.microworld.world import draw_problem, judge, write_solution
from deepcritic.options import split
from deepcritic.runs.folder import RunFolder
from deepcritic.samplers.base import Request
from deepcritic.schema import ALL_CORRECT, Example, Failure, Generation, Gold, Item
from deepcritic.tasks.first_error import FirstError

Answer = Callable[[Request, int], str | None]


def call(stage: ModuleType, folder: RunFolder, **given: Any) -> Any:
    """Run a stage with options and engines in one list of keywords."""
    options, engines = split(stage.run, given)
    return stage.run(folder, options, **engines)


def json_lines(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    """Write rows that may lack fields of ours, or have others."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


class FakeSampler:
    """Answers by a rule (None: the draw fails for good, or for the reason given) and keeps what it was asked."""

    model_id = "fake"

    def __init__(self, answer: Answer, reason: str = "refused") -> None:
        self.asked: list[Request] = []
        self._answer, self._reason = answer, reason

    def __call__(self, **_: Any) -> FakeSampler:
        return self

    def stream(self, requests: Iterable[Request]) -> Iterator[Generation | Failure]:
        for request in requests:
            self.asked.append(request)
            for key, seed in zip(request.keys, request.seeds, strict=True):
                text = self._answer(request, key.sample)
                if text is None:
                    yield Failure(key=key, reason=self._reason)
                    continue
                yield Generation(
                    key=key, text=text, finish_reason="stop", model=self.model_id, seed=seed, prefix=request.prefix,
                    fingerprint=request.fingerprint(self.model_id), context=request.context,
                )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


@pytest.fixture
def fake_sampler() -> Callable[..., FakeSampler]:
    return FakeSampler


@pytest.fixture
def open_folder(tmp_path: Path) -> Callable[..., contextlib.AbstractContextManager[RunFolder]]:
    """`open_folder("solve")` opens the run folder of a stage under `runs/mine/`."""
    return lambda stage, **config: RunFolder(tmp_path / "runs" / "mine" / stage, stage=stage, config=config)


@pytest.fixture
def critic_task() -> FirstError:
    return FirstError("deepcritic://microworld/templates/critique.txt")


@pytest.fixture(scope="session")
def make_solutions() -> Callable[..., list[Example]]:
    """`make_solutions(8)`: solutions of short problems with their truth, every second one with an error."""

    def make(count: int, seed: int = 0) -> list[Example]:
        rng, rows = random.Random(seed), []
        for index in range(count):
            problem = draw_problem(rng, "train", (3, 4))
            while True:
                steps = write_solution(problem, rng, {"slip": 0.1, "operand": 0.1})
                truth = judge(problem, steps)
                assert truth is not None
                if (truth.first_error == ALL_CORRECT) == (index % 2 == 0):
                    break
            gold = Gold(
                first_error=truth.first_error, reference_answer=str(problem.answer), answer_right=truth.answer_right,
                error_kind=truth.kind,
            )  # fmt: skip
            item = Item(problem=problem.text, steps=tuple(steps))
            rows.append(Example(id=f"p{index}", item=item, gold=gold, source="microworld", license="Apache-2.0"))
        return rows

    return make

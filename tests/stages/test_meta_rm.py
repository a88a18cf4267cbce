"""A Meta RM with the real trainer: what it learns from, that it learns, and that evaluation lets it choose."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.errors import InputError
from deepcritic.evaluation.load import read_judged
from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.schema import Generation, Key, Message, Preference, Preferred, Responses, Scores
from deepcritic.tasks.pointwise import Pointwise

torch = pytest.importorskip("torch", reason="needs torch: pip install deepcritic[train]")
pytest.importorskip("transformers", reason="needs the trainers: pip install deepcritic[train]")

from deepcritic.scorers.meta_rm import MetaRM  # noqa: E402

pytestmark = pytest.mark.slow
TASK = Pointwise("deepcritic://microworld/templates/score.txt")
BASE = "deepcritic://microworld/models/base"
SIGNS = {True: "ok.", False: "wrong."}
"""What gives a reply's rightness away to whoever reads it."""
Command = Callable[..., Any]
TRAIN = (
    "stage=meta_rm", "task=microworld_scores", "stage.examples=rows.jsonl", f"model={BASE}", "run=mine",
    "stage.learning_rate=1e-3", "stage.batch_size=16", "stage.device_batch_size=16", "stage.epochs=4", "stage.logging_steps=1",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def _rows(path: Path, count: int, start: int = 0) -> list[Preference]:
    rows = [
        Preference(
            id=f"p-{at}", item=Responses(query=f"{at}+1", responses=(f"{at}", f"{at + 1}")), gold=Preferred(best=2), source="made"
        )
        for at in range(start, start + count)
    ]
    write_rows(path, rows)
    return rows


def _reply(name: str, sample: int, text: str, call: str = "critique", context: Any = None) -> Generation:
    key = Key(example_id=name, request=call, sample=sample)
    return Generation(key=key, text=text, finish_reason="stop", model="m", fingerprint="", seed=0, context=context)


def _replies(path: Path, rows: list[Preference], samples: int, share: float, call: str = "critique") -> list[Generation]:
    """Replies of which that share is right, and each says so in a word."""
    chance, made = random.Random(0), []
    for row in rows:
        for sample in range(samples):
            right = chance.random() < share
            order = TASK.ask(row.item, sample=sample).context
            scores = TASK.format(tuple(9 if (number == 2) == right else 2 for number in order))
            made.append(_reply(row.id, sample, f"{SIGNS[right]}\n{scores}", call, order))
    write_rows(path, made)
    return made


def test_it_learns_which_replies_are_right_and_guides_the_vote(command: Command) -> None:
    rows = _rows(Path("rows.jsonl"), 40)
    _replies(Path("a.jsonl"), rows, 4, 0.5)
    _replies(Path("b.jsonl"), rows, 1, 1.0, call="hinted")
    outcome = command(*TRAIN, "stage.generations=[a.jsonl,b.jsonl]")
    assert outcome.code == 0, outcome.err
    manifest = json.loads(Path("runs/mine/meta_rm/manifest.json").read_text("utf-8"))
    assert manifest["counts"]["replies"] == {"in": 200, "out": 160, "failed": {}, "filtered": {"hinted reply": 40}}
    losses = [json.loads(line) for line in Path("runs/mine/meta_rm/training.jsonl").read_text("utf-8").splitlines()]
    assert losses[-1]["loss"] < 0.3 < losses[0]["loss"]

    fresh = _rows(Path("fresh.jsonl"), 12, start=100)
    drawn = _replies(Path("fresh-replies.jsonl"), fresh, 8, 0.4)
    words = ("stage=evaluate", "task=microworld_scores", "benchmark=preferences", "benchmark.path=fresh.jsonl", "run=mine")
    outcome = command(*words, "stage.generations=fresh-replies.jsonl", "stage.meta_rm=runs/mine/meta_rm/model")
    assert outcome.code == 0, outcome.err
    judged = read_judged(Path("runs/mine/evaluate"))
    right = {True: [], False: []}  # type: ignore[var-annotated]
    for row in judged:
        for verdict, meta_rm_scores in zip(row.verdicts, row.meta_rm_scores, strict=True):
            right[verdict[1] > verdict[0]].append(meta_rm_scores)
    assert min(right[True]) > max(right[False]), "the word is plain to see"
    assert len(drawn) == len(right[True]) + len(right[False])
    metrics = json.loads(Path("runs/mine/evaluate/metrics.json").read_text("utf-8"))
    eight = metrics["guided_by_votes"]["8"]
    assert eight["guided"] > eight["plain"]
    assert "k = 8: plain" in outcome.out
    scores = list(read_rows(Path("runs/mine/evaluate/scores.jsonl"), Scores))
    assert [len(row.values) for row in scores] == [8] * 12

    again = command(*words, "stage.generations=fresh-replies.jsonl", "stage.meta_rm=runs/mine/meta_rm/model")
    assert "nothing to do" in again.out
    other = command(*words, "stage.generations=fresh-replies.jsonl")
    assert other.code != 0
    assert "guide" in other.err


def test_a_step_critics_replies_are_read_alike(command: Command, make_solutions: Any, critic_task: Any) -> None:
    rows = make_solutions(24)
    write_rows(Path("solutions.jsonl"), rows)
    chance = random.Random(1)
    made = []
    for row in rows:
        for sample in range(3):
            right = chance.random() < 0.5
            verdict = row.gold.first_error if right else 1 if row.gold.first_error != 1 else 2
            made.append(_reply(row.id, sample, f"{SIGNS[right]}\n{critic_task.format(verdict)}"))
    write_rows(Path("a.jsonl"), made)
    template = "task.template=deepcritic://microworld/templates/critique.txt"
    words = [word for word in TRAIN if not word.startswith(("task=", "stage.examples="))]
    outcome = command(*words, template, "stage.examples=solutions.jsonl", "stage.generations=[a.jsonl]")
    assert outcome.code == 0, outcome.err
    outcome = command(
        "stage=evaluate", template, "benchmark=examples", "benchmark.path=solutions.jsonl", "stage.generations=a.jsonl",
        "stage.meta_rm=runs/mine/meta_rm/model", "run=mine",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    metrics = json.loads(Path("runs/mine/evaluate/metrics.json").read_text("utf-8"))
    assert metrics["guided_by_votes"].keys() == {"1", "2", "3"}
    assert metrics["guided_by_votes"]["1"]["difference"] == 0, "of one reply there is nothing to choose"


def test_a_model_that_writes_is_no_meta_rm() -> None:
    with pytest.raises(InputError, match="not a Meta RM"):
        MetaRM(BASE).__enter__()


def test_what_is_too_long_is_set_aside(command: Command) -> None:
    rows = _rows(Path("rows.jsonl"), 8)
    _replies(Path("a.jsonl"), rows, 8, 0.5)
    assert command(*TRAIN, "stage.generations=[a.jsonl]", "stage.max_steps=1").code == 0
    with MetaRM("runs/mine/meta_rm/model") as scorer:
        short = (Message(role="user", content="1"), Message(role="assistant", content="ok."))
        long = (Message(role="user", content="1 " * 4100), Message(role="assistant", content="ok."))
        good, bad = scorer.score([("a", (short, short)), ("b", (short, long))])
    assert isinstance(good, Scores)
    assert good.values[0] == pytest.approx(good.values[1], abs=1e-5)
    assert bad.reason == "too_long"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("stage.generations=[]",), "stage.generations: no file"),
        (("stage.generations=[other.jsonl]",), "other.jsonl:1: key.example_id: the reply's row is unknown"),
        (("stage.generations=[alike.jsonl]",), "all replies have the same label"),
        (("stage.generations=[absent.jsonl]",), "no such file"),
        (("stage.generations=[alike.jsonl]", "stage.device_batch_size=5"), "expected a multiple of stage.device_batch_size=5"),
    ],
)
def test_bad_input_is_named(command: Command, words: tuple[str, ...], says: str) -> None:
    rows = _rows(Path("rows.jsonl"), 4)
    _replies(Path("alike.jsonl"), rows, 2, 1.0)
    _replies(Path("other.jsonl"), _rows(Path("others.jsonl"), 1, start=50), 1, 1.0)
    outcome = command(*TRAIN, *words)
    assert outcome.code in {1, 2}
    assert says in outcome.err

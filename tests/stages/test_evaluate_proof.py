"""Graders of proofs from the command line: recorded replies, comparison, report, critique and rejection sampling."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from deepcritic.critic import Critic
from deepcritic.evaluation.load import read_judged, read_metrics
from deepcritic.rewards import CriticReward
from deepcritic.runs.jsonl import read_rows, write_rows
from deepcritic.samplers.scripted import ScriptedSampler
from deepcritic.schema import Dialogue, Example, Gold, Item
from deepcritic.stages import critique, reject
from deepcritic.tasks.meta_verification import MetaVerification
from deepcritic.tasks.metrics_types import ProofFigures
from deepcritic.tasks.proof import Proof
from tests.datasets.made_up_benches import written
from tests.stages.conftest import call

Command = Callable[..., Any]
EVALUATE = ("stage=evaluate", "task=proof", "run=mine")


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _proofs(count: int = 12, path: str = "proofs.jsonl") -> list[Example]:
    rows = [
        Example(
            id=f"q{at}", item=Item(problem=f"Prove that {at // 2} = {at // 2}.", steps=(f"Proof {at}.",)),
            gold=Gold(grade=(0.0, 0.5, 1.0)[at % 3]), source="made",
        )
        for at in range(count)
    ]  # fmt: skip
    write_rows(Path(path), rows)
    return rows


def _replies(rows: list[Example], path: str, share_right: float, seed: int = 0, samples: int = 3) -> None:
    rng, lines = random.Random(seed), []
    for row in rows:
        for sample in range(samples):
            grade = row.gold.grade if rng.random() < share_right else rng.choice([0.0, 0.5, 1.0])
            text = f"Issues:\n1. Something.\n\n\\boxed{{{grade:g}}}"
            lines.append({"example_id": row.id, "sample": sample, "text": text})
    Path(path).write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def test_recorded_grades(command: Command) -> None:
    rows = _proofs()
    _replies(rows, "right.jsonl", 1.0)
    words = ("benchmark=examples", "benchmark.path=proofs.jsonl")
    outcome = command(*EVALUATE, *words, "stage.generations=right.jsonl")
    assert outcome.code == 0, outcome.err
    metrics = read_metrics(Path("runs/mine/evaluate"))
    (part,) = metrics.benchmarks.values()
    assert isinstance(part, ProofFigures)
    assert (part.accuracy, part.mae, part.kappa, part.vote_accuracy, part.vote_mae) == (100, 0, 100, 100, 0)
    assert part.constant_baseline is not None
    assert part.constant_baseline.beaten
    assert "exact grades 100.0" in outcome.out
    assert "always 0.5" in outcome.out
    assert not metrics.more, "every figure has a type"
    assert not Path("runs/mine/evaluate/table.md").exists()
    judged = read_judged(Path("runs/mine/evaluate"))
    assert [row.gold for row in judged] == [row.gold.grade for row in rows]
    again = command(*EVALUATE, *words, "stage.generations=right.jsonl")
    assert "nothing to do" in again.out


def test_two_graders_are_compared_by_exact_grades(command: Command) -> None:
    pytest.importorskip("matplotlib", reason="needs the drawing libraries: pip install deepcritic[report]")
    rows = _proofs(60)
    for name, share in (("good", 0.9), ("bad", 0.1)):
        _replies(rows, f"{name}.jsonl", share)
        words = ("benchmark=examples", "benchmark.path=proofs.jsonl", f"stage.generations={name}.jsonl", f"name={name}")
        assert command(*EVALUATE, *words).code == 0
    outcome = command("stage=compare", "compare=[runs/mine/evaluate.good,runs/mine/evaluate.bad]", "run=mine")
    assert outcome.code == 0, outcome.err
    found = json.loads(Path("runs/mine/compare/compare.json").read_text("utf-8"))
    (part,) = found["benchmarks"].values()
    assert part["accuracy"]["difference"] > 20
    assert "f1" not in part
    shown = command("stage=report", "run=mine")
    assert shown.code == 0, shown.err
    page = Path("runs/mine/report/index.html").read_text("utf-8")
    assert "Graded proofs, in percent" in page
    assert "exact grades, good" in page


def test_a_benchmark_of_the_package(command: Command) -> None:
    rows = [
        {"problem_id": f"p{at}", "problem": f"Prove {at}.", "generator": "m", "model_solution": "So.", "reference_solution": "r",
         "expert_rating": at, "marking_scheme": "s", "response_number": 1}
        for at in range(8)
    ]  # fmt: skip
    path = written(Path(), rows)
    replies = [{"example_id": f"proofbench-p{at}-m-1", "sample": 0, "text": f"\\boxed{{{max(0, at - 1)}}}"} for at in range(8)]
    Path("replies.jsonl").write_text("".join(json.dumps(line) + "\n" for line in replies), "utf-8")
    words = ("benchmark=proofbench", f"benchmark.path={path}", "task.scale=points", "stage.generations=replies.jsonl")
    outcome = command(*EVALUATE, *words)
    assert outcome.code == 0, outcome.err
    assert "mean absolute error 12.5% (0.88 of 7 points)" in outcome.out
    assert "8 of 435 rows available" in outcome.out


def test_rows_of_another_task_are_named(command: Command, make_solutions: Any) -> None:
    write_rows(Path("solutions.jsonl"), make_solutions(4))
    outcome = command(*EVALUATE, "benchmark=examples", "benchmark.path=solutions.jsonl", "stage.generations=x.jsonl")
    assert outcome.code != 0
    assert "the example is not graded" in outcome.err


def test_critiques_become_rows_to_rate(command: Command) -> None:
    rows = _proofs(6)
    _replies(rows, "right.jsonl", 1.0, samples=2)
    words = ("benchmark=examples", "benchmark.path=proofs.jsonl", "stage.generations=right.jsonl")
    assert command(*EVALUATE, *words).code == 0
    outcome = command("stage=prepare", "source=proof_critiques", "source.path=runs/mine/evaluate", "run=mine", "name=meta")
    assert outcome.code == 0, outcome.err
    made = list(read_rows(Path("runs/mine/prepare.meta/examples.jsonl"), Example))
    assert len(made) == 8, "two replies to each of the four proofs without full marks"
    assert all(row.gold == Gold() for row in made), "the truth of the proof is not the rating"
    question = MetaVerification().ask(made[0].item).messages[-1].content
    assert "Something." in question
    assert "Proof 0." in question
    rated = [msgspec.structs.replace(row, gold=Gold(grade=0.5)) for row in made]
    write_rows(Path("rated.jsonl"), rated)
    replies = [{"example_id": row.id, "sample": 0, "text": "\\boxed{0.5}"} for row in rated]
    Path("ratings.jsonl").write_text("".join(json.dumps(line) + "\n" for line in replies), "utf-8")
    more = ("benchmark=examples", "benchmark.path=rated.jsonl", "stage.generations=ratings.jsonl", "run=judge")
    outcome = command("stage=evaluate", "task=meta_verification", *more)
    assert outcome.code == 0, outcome.err
    assert "exact grades 100.0" in outcome.out


def test_a_critic_grades_a_proof() -> None:
    texts = ["Issues:\n1. A gap.\n\\boxed{0.5}", "Issues: none\n\\boxed{1}", "Issues:\n1. A gap.\n\\boxed{0.5}", "hm"]
    with Critic(sampler=ScriptedSampler(lambda request, sample: texts[sample]), samples=4, task=Proof()) as critic:
        found = critic.critique("Prove that 1 = 1.", "Step 1: Look.\nStep 2: So it is.")
        assert (found.grade, found.grades, found.issues) == (0.5, {0.5: 2.0, 1.0: 1.0}, ("A gap.",))
        assert (found.first_error, found.votes, found.unparsed, found.accepts) == (None, {}, 1, False)
        assert found.acceptance == pytest.approx((0.5 + 0.5 + 1) / 3)
        assert CriticReward(critic)(["Prove that 1 = 1."], ["Look."]) == [found.acceptance]
    with Critic(sampler=ScriptedSampler("Issues: none\n\n\\boxed{7}"), samples=1, task=Proof(scale="points")) as critic:
        found = critic.critique("Prove that 1 = 1.", "Look.")
        assert (found.grade, found.accepts, found.acceptance) == (7.0, True, 1.0)


def test_a_grade_on_the_terminal(open_folder: Any, fake_sampler: Any, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in.txt").write_text("Prove that 1 = 1.\n---\nLook at it.", "utf-8")
    sampler = fake_sampler(lambda request, sample: "Issues:\n1. Looking \x1b[2J is no proof.\n\n\\boxed{0}")
    for style in ("text", "json"):
        with open_folder("critique") as folder:
            call(critique, folder, input="@in.txt", sampler=sampler, format=style, samples=2, task=Proof(), model="any")
    shown = capsys.readouterr().out
    assert "Grade: 0 of 1 (100% of 2 votes). Issues: 1." in shown
    assert "1. Looking \\x1b[2J is no proof." in shown
    printed = json.loads(shown.splitlines()[-1])
    assert (printed["grade"], printed["grades"]) == (0.0, {"0.0": 2.0})


def test_rejection_keeps_exact_grades_alone(open_folder: Any, fake_sampler: Any) -> None:
    rows = _proofs(6)
    gold = {row.id: row.gold.grade for row in rows}

    def answer(request: Any, sample: int) -> str:
        grade = gold[request.keys[0].example_id]
        assert grade is not None
        return f"\\boxed{{{grade if sample == 0 else abs(grade - 0.5):g}}}"

    with open_folder("reject") as folder:
        call(reject, folder, examples="proofs.jsonl", task=Proof(), sampler=fake_sampler(answer), model="any", samples=2,
             hinted_samples=0)  # fmt: skip
    kept = list(read_rows(folder / "dialogues.jsonl", Dialogue))
    assert {(one.id.partition("/")[0], one.verdict) for one in kept} == set(gold.items())
    assert all("For you alone" not in message.content for one in kept for message in one.messages)
    assert all(one.task == "proof" for one in kept)

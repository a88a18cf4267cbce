"""Judges of responses measured from the command line: recorded judgments, recorded replies, and rows of the wrong kind."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepcritic.evaluation.load import read_judged
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import Preference, Preferred, Responses, encode
from deepcritic.tasks.pointwise import Pointwise

Command = Callable[..., Any]
PAIRS = "pairs_claude-3-5-sonnet-20240620.jsonl.gz"
JUDGED = "judgments_claude-3-haiku_on_claude-3-5-sonnet_pairs.jsonl.gz"
EVALUATE = ("stage=evaluate", "task=pointwise", "run=mine")


def _metrics() -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads(Path("runs/mine/evaluate/metrics.json").read_text("utf-8"))
    return metrics


def _preferences(path: Path, count: int = 12) -> list[Preference]:
    rows = []
    for at in range(count):
        shown = 1 + at % 4
        gold = Preferred(best=1 + at % shown) if shown > 1 else Preferred(scores=(float(at % 8 == 0),))
        item = Responses(query=f"q{at}", responses=tuple(f"r{at}-{one}" for one in range(shown)), meta={"domain": "ab"[at % 2]})
        rows.append(Preference(id=f"p-{at}", item=item, gold=gold, source="made"))
    path.write_bytes(b"".join(encode(row) + b"\n" for row in rows))
    return rows


def _replies(path: Path, rows: list[Preference], samples: int = 3) -> None:
    """Replies to the responses in the order of the file: the best one scores 9, the others 2."""
    lines = []
    for row in rows:
        best = row.gold.best
        marks = ["9" if best == at else "2" for at in range(1, 1 + len(row.item.responses))]
        if row.gold.scores is not None:
            marks = ["9" if row.gold.scores == (1.0,) else "2"]
        text = f"Correctness (weight 100). \\boxed{{{', '.join(marks)}}}"
        lines += [{"example_id": row.id, "sample": sample, "text": text} for sample in range(samples)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")


def test_judgebench_by_its_own_rule(command: Command, datasets_dir: Path) -> None:
    folder = datasets_dir / "judgebench"
    words = (*EVALUATE, "benchmark=judgebench", f"benchmark.path={folder / PAIRS}", f"stage.judgments={folder / JUDGED}")
    outcome = command(*words)
    assert outcome.code == 0, outcome.err
    metrics = _metrics()
    assert (metrics["right"], metrics["examples"], metrics["accuracy"]) == (87, 270, 32.2222)
    assert metrics["model"] == "arena_hard claude-3-haiku-20240307"
    assert metrics["accuracy_by_domain"]["math"]["rows"] == 34
    assert 0 < metrics["position"]["changed"] < 100
    again = command(*words)
    assert again.code == 0
    assert "nothing to do" in again.out
    assert "accuracy 32.2" in again.out


def test_recorded_scores_count_in_the_order_of_the_file(command: Command) -> None:
    """What came from outside saw no shuffle of ours."""
    rows = _preferences(Path("rows.jsonl"))
    _replies(Path("replies.jsonl"), rows)
    words = ("benchmark=preferences", "benchmark.path=rows.jsonl", "stage.generations=replies.jsonl")
    outcome = command(*EVALUATE, *words)
    assert outcome.code == 0, outcome.err
    metrics = _metrics()
    assert (metrics["accuracy"], metrics["strict_accuracy"], metrics["vote_accuracy"], metrics["roc_auc"]) == (100,) * 4
    assert metrics["unparsed_rate"] == 0
    assert metrics["accuracy_by_votes"].keys() == {"1", "2", "3"}
    assert not Path("runs/mine/evaluate/table.md").exists(), "there is no published F1 to stand beside"


def test_judges_and_step_critics_of_one_run_are_reported(command: Command, make_solutions: Any) -> None:
    """Names that a step critic's evaluation goes by as well."""
    pytest.importorskip("matplotlib", reason="needs the drawing libraries: pip install deepcritic[report]")
    rows = _preferences(Path("rows.jsonl"))
    _replies(Path("replies.jsonl"), rows)
    words = ("benchmark=preferences", "benchmark.path=rows.jsonl", "stage.generations=replies.jsonl")
    for name in ("rl", "rft"):
        assert command(*EVALUATE, *words, f"name={name}").code == 0
    solutions = make_solutions(8)
    write_rows(Path("solutions.jsonl"), solutions)
    lines = [json.dumps({"example_id": row.id, "sample": 0, "text": "\\boxed{-1}"}) for row in solutions]
    Path("verdicts.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    more = ("benchmark=examples", "benchmark.path=solutions.jsonl", "stage.generations=verdicts.jsonl", "name=sft")
    assert command("stage=evaluate", "run=mine", *more).code == 0
    outcome = command("stage=report", "run=mine")
    assert outcome.code == 0, outcome.err
    summary = json.loads(Path("runs/mine/summary.json").read_text("utf-8"))
    assert {name: one["accuracy"] for name, one in summary["judges"].items()} == {"evaluate.rl": 100, "evaluate.rft": 100}
    assert summary["sft"]["correct_accuracy"] == 100
    assert not {"base", "rl", "rl_gain"} & summary.keys()
    assert outcome.out.index("after RFT") < outcome.out.index("after RL"), "in the order of training"
    page = Path("runs/mine/report/index.html").read_text("utf-8")
    assert "accuracy, after RL" in page
    assert "Judged responses, in percent" in page
    assert "Accuracy of preferences (percent)" not in page, "the same figures stand there already"


def test_our_own_saved_replies_keep_the_order_that_they_saw(command: Command) -> None:
    rows = _preferences(Path("rows.jsonl"))
    chance, task, lines = random.Random(0), Pointwise(), []
    for row in rows:
        order = list(range(1, 1 + len(row.item.responses)))
        chance.shuffle(order)
        right = {1.0: 9, 0.0: 2}
        best, scores = row.gold.best, row.gold.scores
        marks = [right[scores[0]]] if scores is not None else [9 if at == best else 2 for at in order]
        lines.append(
            {
                "key": {"example_id": row.id, "request": "critique", "sample": 0},
                "text": task.format(tuple(marks)),
                "context": order,
            }
        )
    Path("own.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    outcome = command(*EVALUATE, "benchmark=preferences", "benchmark.path=rows.jsonl", "stage.generations=own.jsonl")
    assert outcome.code == 0, outcome.err
    assert (_metrics()["accuracy"], _metrics()["roc_auc"]) == (100, 100)
    assert [list(row.contexts[0]) for row in read_judged(Path("runs/mine/evaluate"))] == [line["context"] for line in lines]


def test_a_small_model_goes_through(command: Command, tiny_model: Path) -> None:
    """Random weights: nothing is readable, and every reply is accounted for, each with the order that it saw."""
    rows = _preferences(Path("rows.jsonl"), 6)
    words = (f"model={tiny_model}", "stage.samples=3", "stage.max_tokens=4", "stage.temperature=1.0")
    outcome = command(*EVALUATE, "benchmark=preferences", "benchmark.path=rows.jsonl", *words)
    assert outcome.code == 0, outcome.err
    metrics = _metrics()
    assert (metrics["replies"]["samples"], metrics["accuracy"], metrics["unparsed_rate"]) == (18, 0, 100)
    judged = read_judged(Path("runs/mine/evaluate"))
    assert [row.responses for row in judged] == [len(row.item.responses) for row in rows]
    assert all(sorted(order) == list(range(1, row.responses + 1)) for row in judged for order in row.contexts)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("task=pointwise", "benchmark=examples", "benchmark.path=solutions.jsonl"),
            "Example, not Preference; use task=first",
        ),
        (("benchmark=preferences", "benchmark.path=rows.jsonl"), "Preference, not Example; use task=pointwise"),
    ],
)
def test_rows_of_another_task_are_refused(command: Command, words: tuple[str, ...], says: str) -> None:
    _preferences(Path("rows.jsonl"))
    solution = {"id": "a", "item": {"problem": "p", "steps": ["s"]}, "gold": {"first_error": 1}, "source": "made"}
    Path("solutions.jsonl").write_text(json.dumps(solution) + "\n", "utf-8")
    outcome = command("stage=evaluate", *words, "model=deepcritic://microworld/models/base", "run=mine")
    assert outcome.code == 2
    assert says in outcome.err


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda rows: rows[:-1], "no judgments for a pair"),
        (lambda rows: [*rows, {**rows[0], "pair_id": "other"}], "the benchmark does not have this pair"),
        (lambda rows: [*rows, rows[0]], "judgments.jsonl:3: pair_id: duplicate id"),
    ],
)
def test_judgments_that_do_not_go_with_the_pairs(command: Command, change: Any, says: str) -> None:
    pairs = [
        {"pair_id": f"p{at}", "source": "s", "question": "q", "response_A": "a", "response_B": "b", "label": "A>B"}
        for at in range(2)
    ]
    made = [{**pair, "judgments": [{"decision": "A>B"}, {"decision": "B>A"}]} for pair in pairs]
    for name, rows in (("pairs.jsonl", pairs), ("judgments.jsonl", change(made))):
        Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    outcome = command(*EVALUATE, "benchmark=judgebench", "benchmark.path=pairs.jsonl", "stage.judgments=judgments.jsonl")
    assert outcome.code == 1
    assert says in outcome.err


def test_two_judges_are_compared_by_accuracy(command: Command) -> None:
    """One is right on every item, the other on the first half."""
    rows = [row for row in _preferences(Path("rows.jsonl"), 40) if len(row.item.responses) > 1]
    Path("rows.jsonl").write_bytes(b"".join(encode(row) + b"\n" for row in rows))
    _replies(Path("good.jsonl"), rows, 1)
    lines = [json.loads(line) for line in Path("good.jsonl").read_text("utf-8").splitlines()]
    worse = [{**line, "text": "unsure"} if at >= len(lines) // 2 else line for at, line in enumerate(lines)]
    Path("worse.jsonl").write_text("".join(json.dumps(line) + "\n" for line in worse), "utf-8")
    for name in ("good", "worse"):
        words = ("benchmark=preferences", "benchmark.path=rows.jsonl", f"stage.generations={name}.jsonl", f"name={name}")
        assert command(*EVALUATE, *words).code == 0
    outcome = command("stage=compare", "compare=[mine/evaluate.good,mine/evaluate.worse]", "run=mine")
    assert outcome.code == 0, outcome.err
    found = json.loads(Path("runs/mine/compare/compare.json").read_text("utf-8"))["benchmarks"]["preferences"]["accuracy"]
    assert (found["a"], found["b"], found["difference"]) == (100, 50, 50)
    assert found["interval"][0] > 0
    assert "strict accuracy" in outcome.out

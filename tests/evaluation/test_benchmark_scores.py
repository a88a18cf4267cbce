"""The benchmarks' own scores beside their authors' arithmetic, written out plainly here, and from the command line."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepcritic.datasets import hard2verify, prmbench, reward_benches
from deepcritic.evaluation import benchmark_scores
from deepcritic.evaluation.judging import judge_verdicts
from deepcritic.evaluation.load import read_metrics
from deepcritic.runs.jsonl import write_rows
from deepcritic.schema import ALL_CORRECT, Example, Judged, Key, Preference, Scores
from deepcritic.tasks.first_error import FirstError
from deepcritic.tasks.pointwise import Pointwise
from tests.datasets import made_up_benches as made

Command = Callable[..., Any]


def _judged(rows: Sequence[Any], verdicts: Callable[[Any], list[Any]], task: Any) -> list[Judged]:
    return [judge_verdicts(row, verdicts(row), task, asked=max(1, len(verdicts(row)))) for row in rows]


def _ties_by_hand(scores: dict[str, tuple[list[float], list[float]]]) -> float:
    """The score of the subset Ties from (scores of right ones, of wrong ones) by id, row by row as its authors go."""
    numbers = sorted({name.split(":")[1] for name in scores})
    accurate: dict[str, list[bool]] = {"ref": [], "tied": []}
    for name, (right, wrong) in scores.items():
        accurate[name.split(":")[0]].append(min(right) > max(wrong))
    easy, hard, margin = [], [], []
    for number in numbers:
        right, wrong = scores[f"tied:{number}"]
        spread, gap = max(right) - min(right), min(right) - max(wrong)
        one, many = scores[f"ref:{number}"]
        least = min(gap, min(one) - max(many))
        easy.append(gap > spread)
        hard.append(least > spread)
        if spread:
            margin.append(math.tanh(least / spread - 1))
        else:
            margin.append(0.0 if least == 0 else math.copysign(1.0, least))
    mean = [sum(some) / len(some) for some in (accurate["tied"], accurate["ref"], easy, hard, margin)]
    return 0.3 * mean[0] + 0.3 * mean[1] + 0.2 * mean[2] + 0.2 * mean[3] + 0.01 * mean[4]


@pytest.mark.parametrize("seed", range(6))
def test_ties_as_their_authors_score_them(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    records = [made.rewardbench_2(f"tied:{at}", "Ties", right=chance.randint(2, 5), wrong=4) for at in range(12)]
    records += [made.rewardbench_2(f"ref:{at}", "Ties", right=1, wrong=4) for at in range(12)]
    rows = list(reward_benches.rewardbench_2(made.written(tmp_path, records)))
    given = {row.id: chance.randint(5, 10) if row.gold.scores == (1.0,) else chance.randint(1, 6) for row in rows}
    task = Pointwise()
    judged = _judged(rows, lambda row: [(given[row.id],)], task)
    found = benchmark_scores.rewardbench_2(rows, judged, task, {})
    scores: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        right, wrong = scores.setdefault(row.item.meta["group"], ([], []))
        (right if row.gold.scores == (1.0,) else wrong).append(given[row.id])
    assert found["parts"]["Ties"]["value"] == pytest.approx(_ties_by_hand(scores))
    low, high = found["interval"]
    assert low <= found["value"] <= high
    assert (found["left_out"], found["parts"]["Ties"]["rows"]) == (0, 12)


def test_rewardbench_2_is_the_mean_over_subsets_and_a_tie_of_k_counts_one_in_k(tmp_path: Path) -> None:
    records = [made.rewardbench_2(str(at), "Math") for at in range(4)] + [
        made.rewardbench_2(f"f{at}", "Focus") for at in range(2)
    ]
    rows = list(reward_benches.rewardbench_2(made.written(tmp_path, records)))
    scores = {  # of the right one, of the others
        "0": (9, 2, 2, 2), "1": (9, 9, 2, 2), "2": (1, 2, 3, 9), "3": None, "f0": (5, 5, 5, 5), "f1": (9, 1, 1, 1),
    }  # fmt: skip

    def verdicts(row: Preference) -> list[Any]:
        marks = scores[row.id.rpartition("-")[2]]
        if marks is None:
            return [None]
        others = iter(marks[1:])
        return [tuple(marks[0] if at == row.gold.best else next(others) for at in range(1, 5))]

    task = Pointwise()
    found = benchmark_scores.rewardbench_2(rows, _judged(rows, verdicts, task), task, {})
    assert found["parts"]["Math"]["value"] == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert found["parts"]["Focus"]["value"] == pytest.approx((0.25 + 1) / 2)
    assert found["value"] == pytest.approx((0.375 + 0.625) / 2)


def test_a_response_without_a_reply_takes_its_prompt_out_and_an_unread_one_counts_least(tmp_path: Path) -> None:
    records = [
        made.rewardbench_2(f"{kind}:{at}", "Ties", right=r, wrong=2) for at in range(3) for kind, r in (("tied", 2), ("ref", 1))
    ]
    rows = list(reward_benches.rewardbench_2(made.written(tmp_path, records)))
    task = Pointwise()

    def verdicts(row: Preference) -> list[Any]:
        right = row.gold.scores == (1.0,)
        if row.item.meta["group"] == "tied:0":
            return []  # never came
        if row.item.meta["group"] == "tied:1" and not right:
            return [None]
        return [(9,) if right else (2,)]

    found = benchmark_scores.rewardbench_2(rows, _judged(rows, verdicts, task), task, {})
    assert found["left_out"] == 4
    assert found["value"] == pytest.approx(1.0 + 0.01, abs=1e-6)


def _rm_bench_by_hand(scores: dict[str, list[tuple[list[float], list[float]]]]) -> dict[str, float]:
    """From the scores of the right and of the wrong responses of each record, by domain."""
    by_domain = {}
    for domain, records in scores.items():
        matrix = np.mean([[[one > other for other in wrong] for one in right] for right, wrong in records], axis=0)
        hard, easy = np.triu(matrix, 1).sum() / 3, np.tril(matrix, -1).sum() / 3
        by_domain[domain] = {"hard": hard, "normal": np.mean(np.diag(matrix)), "easy": easy}
    found = {domain: float(np.mean(list(levels.values()))) for domain, levels in by_domain.items()}
    found |= {level: float(np.mean([one[level] for one in by_domain.values()])) for level in ("hard", "normal", "easy")}
    return {**found, "all": float(np.mean([found[domain] for domain in by_domain]))}


@pytest.mark.parametrize("seed", range(4))
def test_rm_bench_as_its_authors_score_it(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    domains = ["chat", "code", "math", "safety-refuse", "safety-response"]
    records = [made.rm_bench(f"{at}", chance.choice(domains)) for at in range(60)]
    rows = list(reward_benches.rm_bench(made.written(tmp_path, records)))
    given = {record["id"]: [[chance.randint(1, 10) for _ in range(3)] for _ in range(2)] for record in records}

    def verdicts(row: Preference) -> list[Any]:
        one, other = row.item.meta["styles"]
        right, wrong = given[row.id.split("-")[-1].split("/")[0]]
        marks = (right[one], wrong[other])
        return [marks if row.gold.best == 1 else marks[::-1]]

    task = Pointwise()
    found = benchmark_scores.rm_bench(rows, _judged(rows, verdicts, task), task, {})
    by_domain: dict[str, list[Any]] = {}
    for record in records:
        by_domain.setdefault(record["domain"].partition("-")[0], []).append(given[record["id"]])
    wanted = _rm_bench_by_hand(by_domain)
    assert found["value"] == pytest.approx(wanted.pop("all"))
    assert {name: part["value"] for name, part in found["parts"].items()} == pytest.approx(wanted)
    assert found["parts"]["hard"]["rows"] == 3 * 60
    assert found["interval"][0] <= found["value"] <= found["interval"][1]


def _f1(hits: int, wrong: int, missed: int) -> float:
    return 2 * hits / (2 * hits + wrong + missed) if hits else 0.0


def test_prm_score_as_its_authors_compute_it(tmp_path: Path) -> None:
    chance = random.Random(3)
    kinds = ["redundency", "circular", "confidence", "multi_solutions"]
    records = []
    for at in range(40):
        kind, steps = chance.choice(kinds), chance.randint(2, 6)
        wrong = [] if kind == "multi_solutions" else sorted(chance.sample(range(1, steps + 1), chance.randint(1, steps - 1)))
        records.append(made.prmbench(f"p{at}", kind, steps, wrong))
    rows = list(prmbench.read(made.written(tmp_path, records)))
    called = {row.id: [chance.random() < 0.6 for _ in row.item.steps] for row in rows}
    task = FirstError()
    judged = _judged(rows, lambda row: [ALL_CORRECT], task)
    found = benchmark_scores.prmbench(rows, judged, task, called)

    def counts(kind: str | None) -> tuple[int, int, int, int]:
        tp = fp = tn = fn = 0
        for record in records:
            if kind in (None, record["classification"]):
                said = called[f"prmbench-{record['classification']}-{record['idx']}"]
                for number, good in enumerate(said, start=1):
                    wrong = number in record["error_steps"]
                    tp, fp = tp + (good and not wrong), fp + (good and wrong)
                    tn, fn = tn + (not good and wrong), fn + (not good and not wrong)
        return tp, fp, tn, fn

    for name in (None, "redundency", "circular", "confidence"):
        tp, fp, tn, fn = counts(name)
        part = found if name is None else found["parts"][name]
        assert part["value"] == pytest.approx((_f1(tp, fp, fn) + _f1(tn, fn, fp)) / 2), name
    tp, _, _, fn = counts("multi_solutions")
    assert found["parts"]["multi_solutions"]["value"] == pytest.approx(tp / (tp + fn))
    assert found["parts"].keys() == {"correct", *kinds}
    assert benchmark_scores.prmbench(rows, judged, task, {})["skipped"].startswith("PRMScore needs step scores")


def test_hard2verify_as_its_authors_score_it(tmp_path: Path) -> None:
    chance = random.Random(5)
    records = []
    for at in range(50):
        steps = chance.randint(1, 5)
        first = chance.choice([None, *range(steps)])
        labels = [1] * steps if first is None else [1] * first + [0] * (steps - first)
        records.append(made.hard2verify(f"u{at}", [f"s{one}" for one in range(steps)], labels))
    rows = list(hard2verify.read(made.written(tmp_path, records)))
    said = {row.id: chance.choice([ALL_CORRECT, row.gold.first_error, 1, None]) for row in rows}
    called = {row.id: [chance.random() < 0.7 for _ in row.item.steps] for row in rows}
    task = FirstError()
    found = benchmark_scores.hard2verify(rows, _judged(rows, lambda row: [said[row.id]], task), task, called)

    def balanced(pairs: list[tuple[bool, bool]]) -> tuple[float, float]:
        """From (is right, is judged rightly)."""
        tpr, tnr = (np.mean([hit for good, hit in pairs if good is side]) for side in (True, False))
        return float((tpr + tnr) / 2), float(2 * tpr * tnr / (tpr + tnr))

    def right(row: Example) -> bool:
        return row.gold.first_error == ALL_CORRECT

    first = balanced([(right(row), said[row.id] == row.gold.first_error) for row in rows])
    solution = balanced([(right(row), said[row.id] is not None and (said[row.id] == ALL_CORRECT) == right(row)) for row in rows])
    marks = [pair for row in rows for pair in zip(row.gold.step_ratings or (), called[row.id], strict=True)]
    step = balanced([(rating == 1, (rating == 1) == good) for rating, good in marks])
    assert found["value"] == pytest.approx(first[1])
    parts = {name: part["value"] for name, part in found["parts"].items()}
    assert parts == pytest.approx(
        {
            "first error, balanced accuracy": first[0], "solution, balanced F1": solution[1],
            "solution, balanced accuracy": solution[0], "step, balanced F1": step[1], "step, balanced accuracy": step[0],
        }
    )  # fmt: skip


def test_a_critic_on_hard2verify_from_the_command_line(command: Command, tmp_path: Path) -> None:
    records = [made.hard2verify(f"u{at}", ["a", "b", "c"], [1, 1, 1] if at % 2 else [1, 0, 0]) for at in range(8)]
    path = made.written(tmp_path, records)
    replies = [{"example_id": f"hard2verify-u{at}", "sample": 0, "text": f"\\boxed{{{-1 if at % 2 else 2}}}"} for at in range(8)]
    (tmp_path / "replies.jsonl").write_text("".join(json.dumps(line) + "\n" for line in replies), "utf-8")
    words = ("benchmark=hard2verify", f"benchmark.path={path}", "stage.generations=replies.jsonl", "run=mine")
    outcome = command("stage=evaluate", *words)
    assert outcome.code == 0, outcome.err
    assert "hard2verify: balanced F1 of the first error 100.0" in outcome.out
    figures = read_metrics(Path("runs/mine/evaluate")).benchmarks["hard2verify"]
    assert figures.score is not None
    assert (figures.score.value, figures.f1) == (100, 100)
    examples = Path("runs/mine/evaluate/examples.jsonl").read_text("utf-8")
    assert "hard2verify-u0" in examples, "the rows are kept in the run's folder, decoded, as all examples are"


def test_a_scorer_on_prmbench_from_the_command_line(command: Command, tmp_path: Path) -> None:
    path = made.written(tmp_path, [made.prmbench(f"p{at}", "redundency", 3, [2]) for at in range(4)])
    scores = []
    for row in prmbench.read(path):
        values = [0.9 if rating == 1 else 0.2 for rating in row.gold.step_ratings or ()]
        scores.append(Scores(key=Key(example_id=row.id, request="score"), values=tuple(values), model="made up"))
    write_rows(tmp_path / "scores.jsonl", scores)
    words = ("benchmark=prmbench", f"benchmark.path={path}", "stage.scores=scores.jsonl", "stage.threshold=0.5", "run=mine")
    outcome = command("stage=evaluate", *words)
    assert outcome.code == 0, outcome.err
    assert "prmbench: PRMScore 100.0" in outcome.out


@pytest.mark.parametrize("name", ["rewardbench_2", "rm_bench"])
def test_a_judge_from_the_command_line(command: Command, tmp_path: Path, name: str) -> None:
    if name == "rm_bench":
        records = [made.rm_bench(at, domain) for at in range(3) for domain in ("chat", "math")]
    else:
        records = [made.rewardbench_2(str(at), "Math") for at in range(3)]
        records += [made.rewardbench_2(f"{kind}:0", "Ties", right=r) for kind, r in (("tied", 2), ("ref", 1))]
    path = made.written(tmp_path, records)
    replies = []
    for row in getattr(reward_benches, name)(path):
        marks = ["9" if text.startswith("right") else "2" for text in row.item.responses]
        replies.append({"example_id": row.id, "sample": 0, "text": f"\\boxed{{{', '.join(marks)}}}"})
    (tmp_path / "replies.jsonl").write_text("".join(json.dumps(line) + "\n" for line in replies), "utf-8")
    words = (f"benchmark={name}", f"benchmark.path={path}", "stage.generations=replies.jsonl", "run=mine")
    outcome = command("stage=evaluate", "task=pointwise", *words)
    assert outcome.code == 0, outcome.err
    metrics = json.loads(Path("runs/mine/evaluate/metrics.json").read_text("utf-8"))
    assert metrics["score"]["value"] == pytest.approx(100, abs=1)

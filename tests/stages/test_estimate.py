"""Error rates by command: from an evaluation and from other verdicts, what is asked of labels, and the rows to label next."""

from __future__ import annotations

import csv
import random
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import deepcritic
from deepcritic.errors import InputError
from deepcritic.evaluation.error_rates import ALL, Label, error_rates
from deepcritic.evaluation.recorded_votes import RowVotes
from deepcritic.runs.jsonl import read_rows
from deepcritic.stages.estimate import ToLabel
from tests.stages.conftest import json_lines, read_lines

ROWS = 600


@pytest.fixture
def truth(tmp_path: Path) -> dict[str, int]:
    """The first errors of 600 rows in two parts, beside `verdicts.jsonl` of a critic that misses one of five."""
    rng, truth, verdicts = random.Random(1), {}, []
    for at in range(ROWS):
        name = f"r-{at}"
        truth[name] = rng.choice([-1, 1, 2]) if at < 400 else rng.choice([-1, -1, -1, 2])
        said = [None if rng.random() < 0.05 else truth[name] if rng.random() < 0.8 else -1 for _ in range(4)]
        verdicts.append({"id": name, "verdicts": said, "part": "hard" if at < 400 else "easy"})
    json_lines(tmp_path / "verdicts.jsonl", verdicts)
    return truth


@pytest.fixture
def estimated(command: Any, tmp_path: Path) -> Callable[..., Any]:
    def run(labels: list[dict[str, Any]] | str | None, *words: str, verdicts: str = "verdicts.jsonl") -> Any:
        given = []
        if labels is not None:
            given = [f"stage.labels={labels if isinstance(labels, str) else json_lines(tmp_path / 'labels.jsonl', labels).name}"]
        return command("stage=estimate", f"stage.verdicts={verdicts}", *given, "run=x", *words)

    return run


def _some(truth: dict[str, int], count: int, seed: int = 0) -> list[dict[str, Any]]:
    return [{"id": name, "first_error": truth[name]} for name in random.Random(seed).sample(sorted(truth), count)]


def _rate(truth: dict[str, int]) -> float:
    return 100 * sum(label != -1 for label in truth.values()) / len(truth)


def test_the_rate_whole_and_by_part_beside_both_baselines(estimated: Any, truth: dict[str, int]) -> None:
    code, out, err = estimated(_some(truth, 200))
    assert (code, err) == (0, "")
    found = deepcritic.load_results("runs/x/estimate")
    assert [*found.estimates] == [ALL, "hard", "easy"]
    whole = found.estimates[ALL]
    low, high = whole.interval
    assert low is not None
    assert high is not None
    assert low < _rate(truth) < high
    assert whole.critic_alone is not None
    assert whole.critic_alone < _rate(truth) - 5, "it misses errors"
    alone_low, alone_high = whole.labels_alone_interval
    assert alone_low is not None
    assert alone_high is not None
    assert high - low < 0.8 * (alone_high - alone_low)
    assert (whole.rows, whole.labels, whole.method) == (ROWS, 200, "ppi++")
    assert whole.same_width is not None
    assert whole.same_width > 250
    assert "all rows: 600 rows, 200 labels, error rate" in out
    assert "estimates assume randomly sampled labels" in out
    assert found.manifest.counts["rows"].kept == ROWS
    assert (found.verdicts, found.figures) == ([], {})
    parts = [found.estimates[name] for name in ("hard", "easy")]
    assert sum(part.labels for part in parts) == 200
    again = estimated(_some(truth, 200))
    assert out.splitlines()[-6:] == again.out.splitlines()[-6:], "a finished stage says the same again"
    assert "nothing to do" in again.out


def test_the_verdicts_of_an_evaluation(estimated: Any, command: Any, samples_dir: Path, tmp_path: Path) -> None:
    rows = [
        {"id": f"m-{at}", "problem": f"{at} + 1?", "steps": ["so", f"{at + 1 + at % 2}"], "label": 1 if at % 2 else -1}
        for at in range(40)
    ]
    json_lines(tmp_path / "rows.jsonl", rows)
    json_lines(tmp_path / "replies.jsonl", [{"example_id": row["id"], "sample": 0, "text": "\\boxed{-1}"} for row in rows])
    words = ["benchmark=table", "benchmark.path=rows.jsonl", "benchmark.index_base=0", "stage.generations=replies.jsonl", "run=x"]
    assert command("stage=evaluate", *words).code == 0
    labels = [{"id": row["id"], "label": row["label"]} for row in rows[:20]]
    code, out, err = estimated(labels, "stage.next=5", verdicts="runs/x/evaluate")
    assert (code, err) == (0, "")
    assert "critic alone 0.0%" in out
    assert "with one vote per row" in out
    next_ = list(read_rows(Path("runs/x/estimate/next.jsonl"), ToLabel))
    assert next_[0].problem is not None, "the texts stand beside the verdicts of an evaluation"
    assert next_[0].steps[0] == "so"
    assert deepcritic.load_results("runs/x").folder == Path("runs/x/evaluate"), "an estimate is no second evaluation"


def test_rows_to_label_first_and_next_and_their_labels(estimated: Any, truth: dict[str, int], tmp_path: Path) -> None:
    """Without labels rows are drawn; filled in they give an estimate; so do the first labels with those that are drawn next."""
    code, out, _ = estimated(None, "stage.next=120", "name=first")
    assert code == 0
    assert "no labels, so no estimate" in out
    drawn = read_lines(Path("runs/x/estimate.first/next.jsonl"))
    assert len(drawn) == 120
    chances = (
        {row["probability"] for row in drawn if row["share"] in (0, 1)},
        {row["probability"] for row in drawn if row["share"] == 0.5},
    )
    assert max(chances[0]) < min(chances[1]), "where votes are split, more are drawn"
    filled = [{**row, "first_error": truth[row["id"]]} for row in drawn]
    assert estimated(filled, "name=filled").code == 0
    found = deepcritic.load_results("runs/x/estimate.filled").estimates[ALL]
    assert (found.labels, found.interval[0] < _rate(truth) < found.interval[1]) == (120, True)  # type: ignore[operator]
    assert deepcritic.load_results("runs/x/estimate.filled").metrics.more["next"]["rows"] == 0
    assert estimated(_some(truth, 60), "stage.next=80", "name=second").code == 0
    both = read_lines(Path("runs/x/estimate.second/next.jsonl"))
    new = [row for row in both if row["first_error"] is None]
    assert len(both) == len(new) + 60
    assert 60 <= len(new) <= 100
    assert all(row["first_error"] is None for row in both[: len(new)]), "those to label stand first"
    assert min(row["probability"] for row in both) > 60 / ROWS
    filled = [{**row, "first_error": truth[row["id"]]} for row in both]
    assert estimated(filled, "name=third").code == 0
    found = deepcritic.load_results("runs/x/estimate.third").estimates[ALL]
    assert found.interval[0] < _rate(truth) < found.interval[1]  # type: ignore[operator]


def test_rows_that_nobody_could_label_are_said(estimated: Any, truth: dict[str, int]) -> None:
    assert estimated(None, "stage.next=100", "name=first").code == 0
    drawn = read_lines(Path("runs/x/estimate.first/next.jsonl"))
    filled = [{**row, "first_error": truth[row["id"]] if at else None} for at, row in enumerate(drawn)]
    code, out, _ = estimated(filled)
    assert code == 0
    assert "warning: 1 of 100 sampled rows have no label" in out
    counts = deepcritic.load_results("runs/x/estimate").manifest.counts["labels"]
    assert (counts.entered, counts.kept, counts.failed) == (100, 99, {"not labelled": 1})
    assert "the labels' probabilities" not in out
    code, out, _ = estimated([row for row in filled if row["share"] == 1.0 and row["first_error"] is not None], "name=part")
    assert "the labels' probabilities imply" in out, "a part of what was drawn is no sample of all rows"


def test_labels_in_other_forms(estimated: Any, truth: dict[str, int], tmp_path: Path) -> None:
    some = _some(truth, 60)
    forms = {
        "numbers": [{"id": int(row["id"].removeprefix("r-")), "label": row["first_error"]} for row in some],
        "booleans": [{"id": row["id"], "has_error": row["first_error"] != -1} for row in some],
        "gold": [{"id": row["id"], "gold": {"first_error": row["first_error"]}} for row in some],
        "unlabelled": [*some, *({"id": f"r-{at}", "gold": {"first_error": "unlabelled"}} for at in range(5))],
        "repeated": [*some, some[0]],
    }
    assert estimated(some).code == 0
    expected = deepcritic.load_results("runs/x/estimate").estimates
    for name, labels in forms.items():
        assert estimated(labels, f"name={name}").code == 0
        assert deepcritic.load_results(f"runs/x/estimate.{name}").estimates == expected
    with (tmp_path / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([("row", "verdict"), *((row["id"], row["first_error"]) for row in some)])
    assert estimated("labels.csv", "stage.columns={id: row, first_error: verdict}", "name=csv").code == 0
    assert deepcritic.load_results("runs/x/estimate.csv").estimates == expected
    counts = deepcritic.load_results("runs/x/estimate.unlabelled").manifest.counts["labels"]
    assert (counts.entered, counts.kept, counts.filtered) == (65, 60, {"no label": 5})


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([{"id": "r-1", "label": -1}] * 9, "stage.labels: too few labels for an estimate; found 1; expected at least 10; run"),
        ([{"id": "q-1", "label": -1}], "labels.jsonl:1: id: the label's row has no verdict; found 'q-1'"),
        (
            [{"id": "r-1", "label": -2}],
            "labels.jsonl:1: label: not a label; found -2; expected the first wrong step, -1 for none",
        ),
        ([{"id": "r-1", "label": True}], "labels.jsonl:1: label: not a label; found True"),
        ([{"id": "r-1"}], "labels.jsonl:1: first_error: the field is missing"),
        ([{"id": "r-1", "first_error": 1, "has_error": False}], "labels.jsonl:1: has_error: the labels contradict each other"),
        ([{"id": "r-1", "label": -1}, {"id": "r-1", "label": 2}], "labels.jsonl:2: id: the row has two labels; found 'r-1'"),
        ([{"id": "r-1", "label": -1, "probability": 0}], "labels.jsonl:1: probability: not a probability; found 0"),
        (
            [{"id": "r-1", "label": -1, "probability": 0.1}, {"id": "r-2", "label": -1}],
            "labels.jsonl: probability: 1 labels have a probability, 1 do not; found 'r-2'",
        ),
    ],
)
def test_labels_that_cannot_be_used(estimated: Any, truth: dict[str, int], labels: list[dict[str, Any]], said: str) -> None:
    code, _, err = estimated(labels)
    assert code == 1
    assert err.startswith(f"error: {said}"), err


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ("none.jsonl", "stage.verdicts: no verdicts found; found 'none.jsonl'"),
        ([{"id": "a", "text": "x"}], "v.jsonl:1: no verdicts; found 'id, text'"),
        ([{"id": "a", "verdict": [1, 2]}], "v.jsonl:1: verdicts: not a step verdict; found [1, 2]"),
        ([{"id": "a", "verdict": 1}, {"id": "a", "verdict": 1}], "v.jsonl:2: id: duplicate id; found 'a'"),
        ([], "v.jsonl: no rows"),
    ],
)
def test_verdicts_that_cannot_be_used(estimated: Any, tmp_path: Path, verdicts: Any, said: str) -> None:
    file = verdicts if isinstance(verdicts, str) else json_lines(tmp_path / "v.jsonl", verdicts).name
    code, _, err = estimated(None, verdicts=file)
    assert code == 1
    assert err.startswith(f"error: {said}"), err


@pytest.mark.slow
def test_the_example_of_the_page_runs(command: Any) -> None:
    pytest.importorskip("torch", reason="the models need torch: pip install deepcritic[train]")
    page = (Path(__file__).resolve().parents[2] / "docs" / "estimate.md").read_text("utf-8")
    for language, block in re.findall(r"```(bash|python)\n(.*?)```", page, re.DOTALL):
        if language == "python":
            subprocess.run([sys.executable, "-c", block], check=True)
            continue
        for line in block.replace("\\\n", " ").splitlines():
            outcome = command(*shlex.split(line)[3:])
            assert outcome.code == 0, outcome.err
    low, high = deepcritic.load_results("runs/mine/estimate").estimates[ALL].interval
    assert low is not None
    assert high is not None
    assert low <= 50 <= high, "half of these solutions have an error"


def _votes(count: int, part: str, wrong: float) -> list[RowVotes]:
    """Rows of which the critic calls a share wrong; it is right."""
    return [RowVotes(f"{part}{at}", part, float(at < wrong * count), 1, at < wrong * count) for at in range(count)]


def test_labels_spread_unevenly_over_the_parts_are_weighted_by_rows() -> None:
    rows = [*_votes(900, "a", 0.1), *_votes(100, "b", 0.8)]
    labels = {row.id: Label(bool(row.says_error)) for row in [*rows[:900:18], *rows[900::2]]}
    rates, warnings = error_rates(rows, labels)
    assert warnings[0].startswith("a has 50 of 100 labels; a random sample would have about 90; parts are")
    assert rates[ALL].error_rate == pytest.approx(17, abs=1.5)
    assert rates[ALL].labels_alone == pytest.approx(17, abs=1.5), "46% of the labels have an error"
    assert rates[ALL].method == "by part"
    few, _ = error_rates(rows, {name: label for name, label in labels.items() if name.startswith("b")})
    assert few[ALL].error_rate is None
    assert few["a"].why == "no labelled rows"
    assert few["b"].error_rate == pytest.approx(80, abs=6)


def test_labels_of_rows_that_were_picked_are_noticed() -> None:
    rows = _votes(1000, "", 0.3)
    picked = {row.id: Label(True) for row in rows[:60]}
    _, warnings = error_rates(rows, picked)
    assert warnings == [
        "the critic calls 60 of 60 labelled solutions wrong, but about 18 of a random sample; "
        "the estimate needs randomly sampled labels"
    ]
    _, warnings = error_rates(rows, {row.id: Label(True) for row in rows[::16]})
    assert warnings == []


def test_a_part_with_few_labels_has_no_estimate_and_says_why() -> None:
    rows = [*_votes(500, "a", 0.4), *_votes(40, "b", 0.4)]
    rates, _ = error_rates(rows, {row.id: Label(bool(row.says_error)) for row in rows[::9]})
    assert rates["b"].error_rate is None
    assert rates["b"].why == "4 labels, but at least 10 are needed"
    assert rates["b"].labels_alone is not None
    with pytest.raises(InputError, match="too few labels"):
        error_rates(rows, {"a1": Label(True)})


def test_rows_without_a_verdict_stay_in() -> None:
    """Half of the rows have none, and all of these an error: leaving them out would give 0%."""
    rows = [
        RowVotes(f"r{at}", "", float("nan") if at % 2 else 0.0, 0 if at % 2 else 4, None if at % 2 else False)
        for at in range(800)
    ]
    labels = {row.id: Label(row.says_error is None) for row in rows[::5]}
    rates, warnings = error_rates(rows, labels)
    assert (rates[ALL].error_rate, rates[ALL].without_verdict, rates[ALL].critic_alone) == (50.0, 400, 0.0)
    assert warnings == []


def test_a_filter_says_where_its_rows_are(estimated: Any, command: Any, tmp_path: Path) -> None:
    rows = [{"name": f"m-{at}", "question": f"{at} + 1?", "solution": ["so", f"{at + 1}"]} for at in range(30)]
    json_lines(tmp_path / "rows.jsonl", rows)
    json_lines(tmp_path / "said.jsonl", [{"id": row["name"], "verdict": -1} for row in rows])
    columns = "stage.columns={id: name, problem: question, steps: solution}"
    assert command("stage=filter", "stage.examples=rows.jsonl", columns, "stage.verdicts=said.jsonl", "run=x").code == 0
    assert estimated(None, "stage.next=4", verdicts="runs/x/filter").code == 0
    assert [row["steps"][0] for row in read_lines(Path("runs/x/estimate/next.jsonl"))] == ["so"] * 4
    code, out, _ = estimated(None, "stage.next=4", "name=bare", verdicts="said.jsonl")
    assert (code, "next.jsonl has no texts" in out) == (0, True)


def test_a_hundred_thousand_rows_take_seconds(estimated: Any, tmp_path: Path) -> None:
    rng = random.Random(0)
    truth = {f"r-{at}": rng.choice([-1, -1, 1]) for at in range(100_000)}
    rows = [{"id": name, "verdicts": [label if rng.random() < 0.9 else 1] * 3, "part": name[-1]} for name, label in truth.items()]
    json_lines(tmp_path / "many.jsonl", rows)
    began = time.monotonic()
    assert estimated(_some(truth, 500), verdicts="many.jsonl").code == 0
    assert time.monotonic() - began < 60
    assert len(deepcritic.load_results("runs/x/estimate").estimates) == 11

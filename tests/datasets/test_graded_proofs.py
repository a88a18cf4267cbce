"""Graded proofs in their publishers' layouts: fields from the cards and scripts of the sources, texts made up."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from deepcritic.datasets import graded_proofs
from deepcritic.datasets.base import Report
from deepcritic.errors import InputError
from deepcritic.tasks.meta_verification import MetaVerification
from deepcritic.tasks.proof import Proof
from tests.datasets.made_up_benches import written

GRADINGBENCH = ("Grading ID", "Problem ID", "Problem", "Solution", "Grading guidelines", "Response", "Points", "Reward",
                "Problem Source")  # fmt: skip
"""The header of gradingbench.csv (google-deepmind/superhuman, imobench/hf_dataset_cards/gradingbench.md)."""
INPUT = "Rules of some kind.\n\n---\n\nHere is your task input:\n\n## Problem\n{}\n\n## Solution\n{}"
"""The end of DeepSeekMath-V2's prompts, which Nemotron-Math-Proofs-v2 uses."""


def _proofbench(**change: Any) -> dict[str, Any]:
    """The columns of wenjiema02/ProofBench's card."""
    return {
        "problem_id": "MADE-2024-1", "problem": "Prove that 1 + 1 = 2.", "generator": "model-a", "model_solution": "Count.",
        "reference_solution": "By Peano.", "expert_rating": 6, "marking_scheme": "7 points for Peano.",
        "generation_prompt": "Prove it.", "metadata": {"contest": "MADE", "contest_year": "2024"}, "response_number": 1,
        **change,
    }  # fmt: skip


def _nemotron(uuid: str, asked: str, reply: str, **change: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}]
    return {"uuid": uuid, "messages": messages, "problem": "P", "source": "aops", "license": "cc-by-4.0", **change}


def test_proofbench(tmp_path: Path) -> None:
    rows = [_proofbench(), _proofbench(generator="model-b", expert_rating=0), _proofbench(response_number=2, expert_rating=7)]
    first, second, third = graded_proofs.proofbench(written(tmp_path, rows))
    assert (first.item.problem, first.item.steps, first.gold.grade) == ("Prove that 1 + 1 = 2.", ("Count.",), 6 / 7)
    assert first.item.meta == {"generator": "model-a", "reference_solution": "By Peano.", "rubric": "7 points for Peano."}
    assert [Proof(scale="points").target(row.gold) for row in (first, second, third)] == [6, 0, 7]
    assert len({row.id for row in (first, second, third)}) == 3
    assert (first.source, first.license) == ("proofbench", "MIT")


def test_gradingbench_is_a_csv_file(tmp_path: Path) -> None:
    path = tmp_path / "gradingbench.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(GRADINGBENCH)
        writer.writerow(["GB-1", "PB-1", 'Prove\n\nthat, "so".', "Ref", "6+ pts: done", "By luck.", "7", "Correct", "IMO"])
        writer.writerow(["GB-2", "PB-1", 'Prove\n\nthat, "so".', "", "", "No.", "0", "Incorrect", ""])
    first, second = graded_proofs.imo_gradingbench(path)
    assert (first.id, first.item.problem, first.gold.grade) == ("imo_gradingbench-GB-1", 'Prove\n\nthat, "so".', 1.0)
    assert (first.item.meta["reference_solution"], first.item.meta["rubric"]) == ("Ref", "6+ pts: done")
    assert (second.gold.grade, second.item.meta) == (0.0, {})
    assert first.license == "CC-BY-4.0"


def test_judgements_of_nemo(tmp_path: Path) -> None:
    row: dict[str, Any] = {"problem_id": "p1", "problem": "Prove.", "proof": "Done.", "rubric": "r", "ground_truth_proof": "g",
           "expected_judgement": "Judgement: Yes", "metadata": {"model_id": "m", "expert_rating": 7}}  # fmt: skip
    rows = [
        row,
        {**row, "proof": "Hm.", "expected_judgement": "Judgement: No"},
        {"problem": "q", "proof": "s", "expected_judgement": "No"},
    ]
    first, second, third = graded_proofs.judgements(written(tmp_path, rows))
    assert [one.gold.grade for one in (first, second, third)] == [1, 0, 0]
    assert first.item.meta == {"generator": "m", "reference_solution": "g", "rubric": "r"}
    assert len({first.id, second.id, third.id}) == 3


def test_the_three_kinds_of_rows_of_nemotron(tmp_path: Path) -> None:
    verified = INPUT.format("Prove 2 > 1.", "It is.\n\n## Problem of signs\nNone.")
    rows = [
        _nemotron("a", "Your task is to solve a problem.\n\n## Problem\nProve it.", "## Solution\nSo."),
        _nemotron("b", verified, "<think>\\boxed{0}</think>Fine. \\boxed{0.5}"),
        _nemotron("c", f"{verified}\n\n## Solution Evaluation\nThe sign is off. \\boxed{{0}}", "It is not. \\boxed{0}"),
    ]
    path, report = written(tmp_path, rows), Report()
    (proof,) = graded_proofs.nemotron_proofs(path, report=report)
    assert (proof.item.problem, proof.gold.grade, proof.license) == ("Prove 2 > 1.", 0.5, "cc-by-4.0")
    assert proof.item.steps == ("It is.\n\n## Problem of signs\nNone.",)
    assert (report.counts["rows"], report.counts["examples"], report.counts["of_another_kind"]) == (3, 1, 2)
    (meta,) = graded_proofs.nemotron_meta(path)
    assert (meta.item.steps, meta.gold.grade) == (proof.item.steps, 0)
    assert meta.item.meta["critique"] == "The sign is off. \\boxed{0}"
    assert "The sign is off." in MetaVerification().ask(meta.item).messages[-1].content


@pytest.mark.parametrize(
    ("reader", "row", "says"),
    [
        ("proofbench", _proofbench(expert_rating=8), "expert_rating: no points; found 8; expected whole points from 0 to 7"),
        ("proofbench", _proofbench(expert_rating=6.5), "expert_rating: no points"),
        ("proofbench", _proofbench(expert_rating=True), "expert_rating: no points"),
        ("proofbench", _proofbench(expert_rating=None), "expert_rating: no points"),
        ("proofbench", _proofbench(model_solution=" "), "solution: the text is empty"),
        ("proofbench", _proofbench(marking_scheme=[1]), "rubric: wrong type"),
        ("judgements", {"problem": "p", "proof": "q", "expected_judgement": "perhaps"}, "expected_judgement: no judgement"),
        ("nemotron_proofs", _nemotron("a", INPUT.format("p", "s"), "\\boxed{0.7}"), "messages: no grade; found '0.7'"),
        ("nemotron_proofs", _nemotron("a", INPUT.format("p", "s"), "x", messages=[{"role": "user"}]), "no conversation"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named(tmp_path: Path, reader: str, row: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError) as error:
        list(getattr(graded_proofs, reader)(written(tmp_path, [row])))
    assert says in str(error.value)
    assert "rows.jsonl:1: " in str(error.value)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    for name in ("problem_id", "generator", "expert_rating", "problem", "model_solution"):
        row = _proofbench()
        del row[name]
        with pytest.raises(InputError, match=f"{name}: the field is missing"):
            list(graded_proofs.proofbench(written(tmp_path, [row])))


def test_the_same_proof_with_another_grade_is_no_duplicate(tmp_path: Path) -> None:
    rows = [_proofbench(), _proofbench(expert_rating=2)]
    report = Report()
    assert len(list(graded_proofs.proofbench(written(tmp_path, rows), max_bad=1, report=report))) == 1
    assert "duplicate row with another label" in str(report.bad[0])


def test_no_gold_reaches_a_prompt(tmp_path: Path) -> None:
    """The prompt of two rows that differ in their grades alone is one prompt."""
    for task, reader in ((Proof(), "proofbench"), (Proof(scale="points"), "proofbench")):
        made = [
            next(iter(getattr(graded_proofs, reader)(written(tmp_path, [_proofbench(expert_rating=points)]))))
            for points in range(8)
        ]
        assert len({task.ask(row.item).messages for row in made}) == 1
        assert all(first != second for first, second in itertools.pairwise([row.gold for row in made]))
    assert json.dumps(made[0].item.meta).count("expert") == 0

"""Figures from public files and their recorded replies, without a model, by this package's stages: scripts/evidence recorded

For each set of solutions: the baselines that do not read the solution (`deepcritic.metrics.baselines`), and a critic that calls
every solution right. For JudgeBench: a recorded judge. For recorded scores of solutions: ROC-AUC. The files are in
$DEEPCRITIC_DATASETS, or ../shared/datasets; data/evidence/recorded.json has their hashes.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from rows import keep

from deepcritic.metrics.bootstrap import percentiles
from deepcritic.tasks.pointwise_metrics import roc_auc

SETS: Final = {
    "ProcessBench GSM8K": ("processbench", "processbench/gsm8k.json"),
    "ProcessBench MATH": ("processbench", "processbench/math.json.gz"),
    "MR-GSM8K, first half": ("mr_gsm8k", "mr_gsm8k/processed_test_first_half.json"),
    "MR-Ben mathematics, every other question": ("mr_ben", "mr_ben/math_part_a.json.gz"),
    "BIG-Bench Mistake, arithmetic": ("big_bench_mistake", "big_bench_mistake/multistep_arithmetic.jsonl"),
}
PAIRS: Final = "judgebench/pairs_claude-3-5-sonnet-20240620.jsonl.gz"
JUDGED: Final = "judgebench/judgments_claude-3-haiku_on_claude-3-5-sonnet_pairs.jsonl.gz"
SCORED: Final = "answer_equivalence/qwen_math_cot_samples_first50.jsonl.gz"
RESAMPLES: Final = 2000


def main() -> None:
    folder = Path(os.environ.get("DEEPCRITIC_DATASETS") or Path.cwd().parent / "shared" / "datasets").resolve()
    if not folder.is_dir():
        sys.exit(f"the public data sets are not at {folder}; set DEEPCRITIC_DATASETS to their folder")
    files = [file for _, file in SETS.values()] + [PAIRS, JUDGED, SCORED]
    with tempfile.TemporaryDirectory() as scratch:
        rows = [row for title, (name, file) in SETS.items() for row in _solutions(title, name, folder / file, Path(scratch))]
        rows += _judge(folder, Path(scratch))
    rows += _outcome_scores(folder / SCORED)
    hashes = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in files}
    shown = table(rows)
    keep("recorded", rows, settings={"sha256": hashes}, table=shown)
    print("\n".join(shown))


def table(rows: list[dict[str, Any]]) -> list[str]:
    lines = ["| file | rows | what | figure | value | 95% interval |", "|---|---|---|---|---|---|"]
    for row in rows:
        cells = (row["file"], row["rows"], row["what"], row["figure"], _shown(row["estimate"]), _span(row["interval"]))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _row(file: str, rows: int, what: str, figure: str, value: float | None, interval: Any) -> dict[str, Any]:
    bounds = None if interval is None or None in interval else [round(bound, 2) for bound in interval]
    estimate = None if value is None else round(value, 2)
    made = {"what": what, "kind": "description", "file": file, "rows": rows, "figure": figure}
    return made | {"estimate": estimate, "interval": bounds}


def _solutions(title: str, name: str, file: Path, scratch: Path) -> Iterator[dict[str, Any]]:
    examples = _ran(scratch, f"{name}-{file.stem}", "stage=prepare", f"source={name}", f"source.path={file}") / "examples.jsonl"
    replies = scratch / f"{name}-{file.stem}.replies.jsonl"
    ids = [json.loads(line)["id"] for line in examples.read_text("utf-8").splitlines()]
    replies.write_text(
        "".join(json.dumps({"example_id": one, "sample": 0, "text": "\\boxed{-1}"}) + "\n" for one in ids), "utf-8"
    )
    done = _ran(
        scratch, f"{name}-{file.stem}", "stage=evaluate", "benchmark=examples", f"benchmark.path={examples}",
        f"stage.generations={replies}", "critic.label=all correct",
    )  # fmt: skip
    metrics = json.loads((done / "metrics.json").read_text("utf-8"))
    for baseline, one in metrics["baselines"].items():
        yield _row(title, metrics["examples"], f"baseline: {baseline}", "F1", one["f1"], one["interval"])


def _judge(folder: Path, scratch: Path) -> Iterator[dict[str, Any]]:
    done = _ran(
        scratch, "judge", "stage=evaluate", "task=pointwise", "benchmark=judgebench", f"benchmark.path={folder / PAIRS}",
        f"stage.judgments={folder / JUDGED}",
    )  # fmt: skip
    metrics = json.loads((done / "metrics.json").read_text("utf-8"))
    title, judge = "JudgeBench, pairs of claude-3-5-sonnet", "judge: claude-3-haiku (Arena-Hard's prompt)"
    figure = "accuracy, two orders, ties lost"
    yield _row(title, metrics["examples"], judge, figure, metrics["accuracy"], metrics["accuracy_interval"])
    for domain, one in metrics["accuracy_by_domain"].items():
        yield _row(title, one["rows"], f"{judge}, {domain}", figure, one["accuracy"], one["interval"])
    changed = metrics["position"]
    for name, what in (("changed", "the winner changes with the order"), ("first_shown", "the first one wins, of winners")):
        yield _row(title, metrics["examples"], judge, f"{what}, %", changed[name], changed[f"{name}_interval"])


def _outcome_scores(file: Path) -> Iterator[dict[str, Any]]:
    """Scores of Qwen2.5-Math's reward model for eight solutions per problem, compared with the source's grading."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        problems = [json.loads(line) for line in lines]
    scores = np.array([[score[0] for score in row["pred_score"]] for row in problems])
    right = np.array([row["score"] for row in problems], bool)
    best = right[np.arange(len(problems)), scores.argmax(axis=1)].astype(float)
    generator, drawn = np.random.default_rng(0), []
    for _ in range(RESAMPLES):
        chosen = generator.integers(len(problems), size=len(problems))
        gap = best[chosen].mean() - right[chosen].mean()
        drawn.append((roc_auc(scores[chosen].ravel(), right[chosen].ravel()), best[chosen].mean(), right[chosen].mean(), gap))
    bounds = [percentiles(line) for line in np.array(drawn).T]
    title, who = "MATH test, 50 problems with 8 solutions", "outcome reward model of Qwen2.5-Math, recorded"
    values = [roc_auc(scores.ravel(), right.ravel()), best.mean(), right.mean(), best.mean() - right.mean()]
    named = [
        (who, "ROC-AUC"),
        (who, "best of 8, % right"),
        ("baseline: any of the 8", "% right"),
        (who, "best of 8 minus any of 8"),
    ]
    for (claim, figure), value, interval in zip(named, values, bounds, strict=True):
        size = right.size if figure == "ROC-AUC" else len(problems)
        yield _row(title, size, claim, figure, 100 * float(value), [100 * bound for bound in interval])


def _ran(scratch: Path, run: str, stage: str, *words: str) -> Path:
    command = [sys.executable, "-m", "deepcritic", stage, *words, f"run={run}", f"runs={scratch}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return scratch / run / stage.partition("=")[2]


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f}"


def _span(interval: list[float] | None) -> str:
    return "unknown" if interval is None else f"{interval[0]:.1f} to {interval[1]:.1f}"


if __name__ == "__main__":
    main()

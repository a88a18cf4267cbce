"""Exports an evaluation as a log of Inspect AI (UK AI Security Institute), for `inspect view` and its other tools.

    write_log(run / "evaluate", run / "export" / "evaluate.eval")

Each reply becomes one sample, with the row's id and the reply's number as its epoch. Scores are Inspect's letters C (right),
I (wrong) and N (no verdict). The metrics are the figures of `metrics.json`, in percent.
Needs `pip install deepcritic[inspect]`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepcritic.errors import InputError, UsageError
from deepcritic.runs.folder import package_version
from deepcritic.runs.jsonl import read_json, read_lines, read_rows
from deepcritic.runs.manifest import read_manifest
from deepcritic.schema import ALL_CORRECT, Generation, Judged

SCORER = "first_error"
CALL = "critique"
MAIN = ("f1", "error_accuracy", "correct_accuracy", "unparsed_rate", "maj_f1", "constant_baseline_f1")
_STOPS = {"stop": "stop", "length": "max_tokens"}


def write_log(evaluation: Path, target: Path) -> int:
    """Write the log of a finished evaluation and return its number of samples."""
    try:
        from inspect_ai import log as inspect_log
    except ImportError:
        raise UsageError("the export needs Inspect AI: pip install deepcritic[inspect]") from None

    manifest = read_manifest(evaluation)
    if manifest is None or not (evaluation / "verdicts.jsonl").is_file():
        expected = "the folder of a finished stage=evaluate"
        raise InputError(
            "no finished evaluation", file=evaluation, field="stage.evaluation", found=evaluation.name, expected=expected
        )
    metrics: dict[str, Any] = read_json(evaluation / "metrics.json")
    samples = list(_samples(evaluation))
    parts: Mapping[str, Mapping[str, Any]] = metrics.get("benchmarks") or {_name(metrics): metrics}
    finished = datetime.fromtimestamp((evaluation / "manifest.json").stat().st_mtime, UTC).isoformat()
    model, task = str(metrics.get("model", "unknown")), metrics.get("task") or {}
    sampling = metrics.get("sampling") or {}
    spec = inspect_log.EvalSpec(
        created=finished,
        task=f"deepcritic/{task.get('name', SCORER)}",
        task_args={"prompt_sha": task.get("prompt_sha"), **sampling},
        dataset=inspect_log.EvalDataset(
            name=", ".join(parts), samples=metrics.get("examples"), sample_ids=list(dict.fromkeys(one.id for one in samples))
        ),
        model=model if "/" in model else f"deepcritic/{model}",
        config=inspect_log.EvalConfig(epochs=max((one.epoch for one in samples), default=1)),
        packages={"deepcritic": package_version()},
        metadata={"benchmarks": {name: part.get("benchmark") for name, part in parts.items()}},
    )
    log = inspect_log.EvalLog(
        status="success",
        eval=spec,
        results=inspect_log.EvalResults(
            total_samples=len(samples),
            completed_samples=len(samples),
            scores=[_figures(name, part) for name, part in parts.items()],
        ),
        stats=inspect_log.EvalStats(completed_at=finished),
        samples=samples,
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    inspect_log.write_eval_log(log, str(target), format="eval")
    return len(samples)


def _samples(evaluation: Path) -> Iterator[Any]:
    from inspect_ai.log import EvalSample
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage
    from inspect_ai.scorer import Score

    judged = {row.id: row for row in read_rows(evaluation / "verdicts.jsonl", Judged)}
    asked = _asked(evaluation / "examples.jsonl")
    seen: dict[str, int] = dict.fromkeys(judged, 0)
    for reply in read_rows(evaluation / "generations.jsonl", Generation):
        row = judged.get(reply.key.example_id)
        if row is None or reply.key.request != CALL or seen[row.id] >= len(row.verdicts):
            continue
        verdict = row.verdicts[seen[row.id]]
        seen[row.id] += 1
        right = "N" if verdict is None else "C" if verdict == row.gold else "I"
        message = ChatMessageAssistant(content=reply.prefix + reply.text, model=reply.model)
        usage = ModelUsage(
            input_tokens=reply.prompt_tokens,
            output_tokens=reply.completion_tokens,
            total_tokens=reply.prompt_tokens + reply.completion_tokens,
        )
        stop: Any = _STOPS.get(reply.finish_reason, "unknown")
        yield EvalSample(
            id=row.id,
            epoch=reply.key.sample + 1,
            input=asked.get(row.id, row.id),
            target=_said(row.gold),
            messages=[message],
            output=ModelOutput(model=reply.model, choices=[ChatCompletionChoice(message=message, stop_reason=stop)], usage=usage),
            scores={SCORER: Score(value=right, answer=_said(verdict), explanation=_said(verdict))},
            metadata={
                "benchmark": row.benchmark,
                "stratum": row.stratum,
                "error_kind": row.error_kind,
                "steps": row.steps,
                "generator": row.generator,
                "seed": reply.seed,
            },
        )


def _asked(path: Path) -> dict[str, str]:
    """Problem and steps of each row, as plain text."""
    found: dict[str, str] = {}
    for _, line in read_lines(path) if path.is_file() else ():
        row = json.loads(line)
        item = row["item"]
        steps = [f"Step {number}: {step}" for number, step in enumerate(item.get("steps", ()), start=1)]
        found[row["id"]] = "\n\n".join([str(item.get("problem", item.get("query", ""))), *steps])
    return found


def _figures(name: str, part: Mapping[str, Any]) -> Any:
    from inspect_ai.log import EvalMetric, EvalScore

    metrics = {}
    for key in MAIN:
        if isinstance(part.get(key), int | float):
            interval = part.get(f"{key}_interval")
            facts = {"interval": interval} if interval else None
            metrics[key] = EvalMetric(name=key, value=part[key], metadata=facts)
    return EvalScore(name=name, scorer=SCORER, metrics=metrics, metadata={"unit": "percent"})


def _name(metrics: Mapping[str, Any]) -> str:
    return str((metrics.get("benchmark") or {}).get("name") or "examples")


def _said(verdict: Any) -> str:
    if verdict is None:
        return "no verdict"
    return "all correct" if verdict == ALL_CORRECT else f"step {verdict}" if isinstance(verdict, int) else json.dumps(verdict)

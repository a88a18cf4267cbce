"""Real models on real rows, before and after training on their own replies that agree with human labels.

    scripts/evidence real --processbench gsm8k.json --prm800k phase1_train_plus.stepwise.jsonl.gz

Both models of `scripts/weights.py` are asked about rows of ProcessBench gsm8k, four replies each: F1 of a single reply (the
mean of the four), and of their vote. Then `stage=reject` asks each about solutions of PRM800K, keeps the replies that the
human labels confirm, and `stage=sft` trains an adapter on them. The trained critic is asked about the same rows of
ProcessBench. These models are weak, and an hour of two cores is little. All figures are reported, with the
constant baseline.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from rows import Found, begin, by_seed, keep, show

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.weights import WEIGHTS, fetch

SEED = 7
NAMES = {"smollm2": "SmolLM2-135M-Instruct", "qwen": "Qwen2.5-Coder-0.5B-Instruct"}
MEASURED = {"stage.limit": 100, "stage.samples": 4, "stage.temperature": 1.0, "stage.top_p": 0.9, "stage.max_tokens": 160}
"""Of ProcessBench gsm8k: 100 rows, half of them with an error."""
REJECTED = {"stage.samples": 2, "stage.hinted_samples": 2, "stage.temperature": 1.0, "stage.top_p": 0.9, "stage.max_tokens": 160}
SOLUTIONS = {"smollm2": 160, "qwen": 80}
"""Solutions of PRM800K per model; the number depends on its speed."""
LEARNT = {
    "stage.learning_rate": 1e-4, "stage.epochs": 2, "stage.batch_size": 8, "stage.device_batch_size": 2, "stage.max_length": 1024,
}  # fmt: skip
ENGINE = {"sampler.batch_size": 24}
SETTINGS = {"seed": SEED, "measured": MEASURED, "rejected": REJECTED, "solutions": SOLUTIONS, "learnt": LEARNT, "engine": ENGINE}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processbench", required=True, help="ProcessBench's gsm8k.json")
    parser.add_argument("--prm800k", required=True, help="phase 1 of PRM800K")
    parser.add_argument("--models", nargs="+", choices=[*WEIGHTS], default=[*WEIGHTS])
    options = parser.parse_args()
    begin(__doc__ or "", [SEED])
    claims: list[Found] = []
    facts: dict[str, Any] = {}
    for name in options.models:
        told, counts = one_model(name, options.processbench, options.prm800k)
        claims += told
        facts[NAMES[name]] = {**counts, "dtype": engine()["sampler.dtype"], "minutes": minutes(name)}
        keep("real", by_seed({SEED: claims}), settings=SETTINGS, models=facts)
    show(by_seed({SEED: claims}))


def one_model(name: str, processbench: str, prm800k: str) -> tuple[list[Found], dict[str, Any]]:
    """The figures of a model before and after training; and its training data."""
    model, run = str(fetch(name)), Path("runs/real")
    base = evaluated(run, f"{name}-base", model, processbench)
    command(
        "stage=prepare", "source=prm800k", f"source.path={prm800k}", f"stage.limit={SOLUTIONS[name]}", "stage.shuffle=true",
        f"name={name}",
    )  # fmt: skip
    command(
        "stage=reject", f"stage.examples={run}/prepare.{name}/examples.jsonl", f"model={model}", f"name={name}", *words(REJECTED),
        *words(engine()),
    )  # fmt: skip
    command(
        "stage=sft", "trainer=lora", f"stage.dialogues={run}/reject.{name}/dialogues.jsonl", f"model={model}", f"name={name}",
        *words(LEARNT),
    )  # fmt: skip
    trained = evaluated(run, f"{name}-trained", f"{run}/sft.{name}/model", processbench)
    kept = json.loads((run / f"reject.{name}" / "metrics.json").read_text("utf-8"))
    told = [Found("the best constant verdict: F1", base["constant_baseline_f1"], share=True)]
    for title, metrics in (("as it is", base), ("trained on its own replies that human labels call right", trained)):
        who = f"{NAMES[name]}, {title}"
        told.append(Found(f"{who}: F1 of a single reply", metrics["f1"], metrics["f1_interval"], share=True))
        told.append(Found(f"{who}: F1 of Maj@4", metrics["maj_f1"], metrics["maj_f1_interval"], share=True))
        unparsed, interval = metrics["unparsed_rate"], metrics["unparsed_rate_interval"]
        told.append(Found(f"{who}: replies without a verdict, percent", unparsed, interval, share=True))
    return told, {key: kept[key] for key in ("rows", "dialogues", "kept_plain", "kept_hinted", "right", "hinted_right")}


def evaluated(run: Path, name: str, model: str, processbench: str) -> dict[str, Any]:
    command(
        "stage=evaluate", "benchmark=processbench", f"benchmark.path={processbench}", f"model={model}", f"name={name}",
        *words(MEASURED), *words(engine()),
    )  # fmt: skip
    metrics: dict[str, Any] = json.loads((run / f"evaluate.{name}" / "metrics.json").read_text("utf-8"))
    return metrics


def minutes(name: str) -> float:
    """The minutes of a model's five stages, those of earlier calls included."""
    stages = (f"prepare.{name}", f"reject.{name}", f"sft.{name}", f"evaluate.{name}-base", f"evaluate.{name}-trained")
    manifests = (json.loads(Path("runs/real", stage, "manifest.json").read_text("utf-8")) for stage in stages)
    return round(sum(float(manifest["seconds"]) for manifest in manifests) / 60, 1)


def engine() -> dict[str, Any]:
    """bfloat16 where the CPU has it, else float32."""
    import torch

    return {**ENGINE, "sampler.dtype": "bfloat16" if torch.cpu.get_capabilities().get("avx512_bf16") else "float32"}


def words(options: dict[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in options.items()]


def command(*given: str) -> None:
    subprocess.run([sys.executable, "-m", "deepcritic", *given, "run=real", f"seed={SEED}"], check=True)


if __name__ == "__main__":
    main()

"""Made-up rows in the layouts of published benchmarks, and an encoder of Hard2Verify's fields."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

CANARY = "made up canary 7f3a"


def encoded(value: Any, canary: str = CANARY) -> str:
    """As the set's cards say: base64 of the JSON text, XORed with the digest of the canary, repeated."""
    text, key = json.dumps(value, ensure_ascii=False).encode(), hashlib.sha256(canary.encode()).digest()
    return base64.b64encode(bytes(byte ^ key[at % len(key)] for at, byte in enumerate(text))).decode()


def hard2verify(name: str, steps: list[str], labels: list[int], **change: Any) -> dict[str, Any]:
    first = labels.index(0) if 0 in labels else -1
    plain = {
        "question": f"Prove that {name} ≥ 0.", "model_response_by_step": steps, "human_labels": labels,
        "human_labels_first_error_idx": first, **change,
    }  # fmt: skip
    return {"unique_id": name, "canary": CANARY, **{field: encoded(value) for field, value in plain.items()}}


def prmbench(name: str, kind: str, steps: int, wrong: list[int], **change: Any) -> dict[str, Any]:
    texts = [f"{name} does {at}" for at in range(1, steps + 1)]
    return {
        "original_question": f"What is {name}?", "modified_question": f"What is {name} now?", "original_process": texts[:2],
        "modified_process": texts, "modified_steps": wrong, "error_steps": wrong, "reason": "made up", "idx": name,
        "question": f"What is {name}?", "classification": kind, **change,
    }  # fmt: skip


def rewardbench_2(name: str, subset: str, right: int = 1, wrong: int = 3, **change: Any) -> dict[str, Any]:
    return {
        "id": name, "prompt": f"Query {subset} {name}?", "chosen": [f"right {at}" for at in range(right)],
        "rejected": [f"wrong {at}" for at in range(wrong)], "num_correct": right, "num_incorrect": wrong,
        "total_completions": right + wrong, "models": ["a"], "subset": subset, "additional_metadata": None, **change,
    }  # fmt: skip


def rm_bench(name: str | int, domain: str, **change: Any) -> dict[str, Any]:
    styles = ("concise", "detailed", "markdown")
    return {
        "id": name, "prompt": f"Query {domain} {name}?", "chosen": [f"right {one}" for one in styles],
        "rejected": [f"wrong {one}" for one in styles], "domain": domain, **change,
    }  # fmt: skip


def written(folder: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
